//! PCI functions as `/sys` shows them.

mod bdf;
mod function;
mod header;
mod resource;

pub use bdf::Bdf;
pub use function::Function;
pub(crate) use function::read_functions;
pub use header::{BridgeHeader, Header, HeaderError};
pub use resource::{PciResource, ResourceKind};
