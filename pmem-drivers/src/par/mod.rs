//! AMD Élan SC520: programs the sixteen programmable address regions (PARs), which route addresses and restrict
//! access to them.
//!
//! Sources: Élan SC520 Register Set Manual (AMD 22005B), "Programmable Address Region 0-15" (MMCR offsets 88h-C4h);
//! NetBSD's `elan520reg.h`.
//!
//! ```
//! use pmem_drivers::par::{Attributes, Map, Target, Value, plan};
//!
//! // Write-protect the text of a kernel in 16 MiB of SDRAM.
//! let sdram = Value::memory(Target::Sdram, Attributes::empty());
//! let mut map = Map::new(16 << 20);
//! map.set(0x10_0000, 0x34_5fff, Value::memory(Target::Sdram, Attributes::NO_WRITE))?;
//! let plan = plan(&map)?;
//! // One register for 36 pages of 64 KiB, and one over the part of the last page that is not text.
//! assert_eq!(plan.registers.len(), 2);
//! assert_eq!(map.at(0x34_6000), Some(sdram));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod change;
mod driver;
#[cfg(feature = "fake")]
mod fake;
mod map;
mod order;
mod plan;
mod port;
mod register;

pub use change::{ChangeError, change};
pub use driver::{Par, Targets};
#[cfg(feature = "fake")]
pub use fake::FakeMmcr;
pub use map::{Map, MapError};
pub use order::{Step, order};
pub use plan::{Granules, Plan, PlanError, Requirement, plan, plan_with};
pub use port::Port;
pub use register::{Attributes, Register, Target, Value};

/// The number of registers. A register with a lower number takes precedence over one with a higher number.
pub const REGISTERS: usize = 16;
