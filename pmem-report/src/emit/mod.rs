//! What is known of a machine, in the forms that other programs read.

mod dts;
mod firmware;
mod hwloc;
mod qemu;

pub use dts::dts;
pub use firmware::{e820, memmap};
pub use hwloc::hwloc_xml;
pub use qemu::qemu;

/// Why nothing can be emitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// No source says where memory is.
    #[error("no source says where memory is")]
    NoMemory,
    /// No source says how much memory a node has.
    #[error("no source says how much memory node {0} has")]
    NoSize(u32),
    /// There is nothing that the form could say.
    #[error("no source says anything of {0}")]
    Nothing(&'static str),
}
