//! Reads a machine's physical address space into a [`pmem_core`] model.
//!
//! Sources are a Linux machine's `/proc` and `/sys`, live or captured under a [`Root`] folder, and decoding nets in
//! JSON. Each source has a parser that knows its text and nothing else; [`Machine::read`] lays what they say over
//! one another. What a source does not say stays unknown; where two disagree, a warning names both, and the rest is
//! imported.
#![forbid(unsafe_code)]

mod build;
mod error;
mod gather;
mod machine;
mod mtrr;
mod net;
mod node;
mod number;
mod pci;
mod resource;
mod root;

pub use error::{ImportError, Warning};
pub use gather::{Gathered, gather};
pub use machine::{Bus, Machine, NodeArenas};
pub use mtrr::{Entry, Memory, MtrrFacts};
pub use net::{Net, read_net};
pub use node::{Access, Distances, Initiators, Node, Nodes};
pub use number::{parse_addr, parse_list, show_list};
pub use pci::{Bdf, BridgeHeader, Function, Header, HeaderError, PciResource, ResourceKind};
pub use resource::{Resource, Resources};
pub use root::Root;
