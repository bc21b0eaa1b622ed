//! Drivers, which program hardware to follow the model.

mod change;
mod contract;
mod deltas;
mod flat;
mod mirror;
mod registry;
mod spans;
#[cfg(feature = "test-util")]
pub mod test_util;

pub use change::Change;
pub use contract::{Concern, Driver, Fault, Figures, Mismatch, Phase, Step, Veto};
pub use deltas::{Delta, Effective};
pub use mirror::{Hardware, Mirror};
pub use registry::{Interest, Kinds, Scope, Subscription};

pub(crate) use flat::Update;
pub(crate) use registry::Registry;
