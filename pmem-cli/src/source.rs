//! Which machine is meant.

use crate::Failure;
use crate::args::Args;
use pmem_core::ArenaId;
use pmem_import::{Machine, Root, read_net};

/// Reads the machine, capture or net that the command line names.
pub(crate) fn open(args: &Args) -> Result<Machine, Failure> {
    match (&args.net, &args.root) {
        (Some(net), _) => Ok(read_net(net)?),
        (None, root) => Ok(Machine::read(&open_root(root.as_deref())?)?),
    }
}

/// The root folder that the command line names.
pub(crate) fn open_root(root: Option<&std::path::Path>) -> Result<Root, Failure> {
    Ok(Root::open(root.unwrap_or(std::path::Path::new("/")))?)
}

/// The arena that is looked from.
pub(crate) fn viewer(machine: &Machine, from: Option<&str>) -> Result<ArenaId, Failure> {
    from.map_or(Ok(machine.system), |word| machine.viewer(word).map_err(Failure::Usage))
}
