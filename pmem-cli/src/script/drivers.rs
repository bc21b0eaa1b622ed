//! Drivers of a script: they trace their calls, and fail when told to.

use pmem_core::test_util::{Call, Faults, Faulty, Log, Quiet, Tracer};
use pmem_core::{Driver, DriverId};

/// A registered driver of the script.
pub(super) struct Scripted {
    pub(super) id: DriverId,
    pub(super) faults: Faults,
}

/// Makes a driver that traces into `log`.
pub(super) fn make(name: &str, log: &Log) -> (Box<dyn Driver>, Faults) {
    let faults = Faults::default();
    let driver = Tracer::around(Faulty::around(Quiet::new(name), &faults), log);
    (Box::new(driver), faults)
}

/// The step that a word names.
pub(super) fn step(word: &str) -> Result<Call, String> {
    match word {
        "attach" => Ok(Call::Attach),
        "prepare" => Ok(Call::Prepare),
        "withdraw" => Ok(Call::Withdraw),
        "install" => Ok(Call::Install),
        "revert-withdraw" => Ok(Call::RevertWithdraw),
        "revert-install" => Ok(Call::RevertInstall),
        "resync" => Ok(Call::Resync),
        _ => Err(format!(
            "no step {word:?}: attach, prepare, withdraw, install, revert-withdraw, revert-install or resync"
        )),
    }
}
