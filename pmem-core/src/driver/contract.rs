//! The contract between the manager and a driver.

use super::change::Change;
use crate::model::State;
use core::any::Any;
use core::fmt;
use pmem_space::AddrRange;

/// What programs hardware to follow the model: MTRRs, a bridge's windows, an IOMMU's tables.
///
/// # One change
/// Every concerned driver *prepares*, those of higher priority first; each may refuse. Then, in reverse order, each
/// *withdraws* what goes away: hardware stops honouring it. Then, in the first order, each *installs* what comes.
/// Only then is the change published, and each is told. A fault takes back every step that was begun, in exact reverse, the faulted
/// one first; drivers that had only prepared *abort*.
///
/// | callback | may refuse | may sleep, take memory | after it |
/// |---|---|---|---|
/// | attach | yes | yes | prepare, resync, verify |
/// | prepare | yes | yes | withdraw, abort |
/// | withdraw | fault | no memory | install, revert |
/// | install | fault | no memory | published, or revert |
/// | revert | fault: degraded | no memory | of an install, the withdraw's revert; else nothing |
/// | published | no | yes | nothing |
/// | abort | no | no memory | nothing |
/// | resync | fault: stays degraded | yes | prepare |
/// | verify | mismatch | yes | anything |
///
/// The manager's lock is held in all of them. A callback reads the state it is given, and may drop regions; a verb
/// that writes is an error there. Under `stop_machine` only withdraw, install, revert and abort may be entered.
pub trait Driver: Any + Send {
    /// What people call it.
    fn name(&self) -> &str;

    /// Takes over, or programs, the present state.
    ///
    /// # Errors
    /// [`Veto`] if it cannot: it is then not registered.
    fn attach(&mut self, state: &State) -> Result<(), Veto>;

    /// Works out what a change asks of the hardware, and sets aside what that takes.
    ///
    /// # Errors
    /// [`Veto`] refuses the whole change.
    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto>;

    /// Makes hardware stop honouring what goes away.
    ///
    /// # Errors
    /// [`Fault`] if the hardware does not do so.
    fn withdraw(&mut self) -> Result<(), Fault>;

    /// Makes hardware honour what comes.
    ///
    /// # Errors
    /// [`Fault`] if the hardware does not do so.
    fn install(&mut self) -> Result<(), Fault>;

    /// Hears that the change is done and cannot be taken back: for what had to wait for that, such as giving memory
    /// back or telling others. By default nothing.
    fn published(&mut self) {}

    /// Undoes one step, whether it was finished or faulted half-way. Reverting the first step also drops what
    /// was prepared.
    ///
    /// # Errors
    /// [`Fault`] if the hardware does not do so: the driver is then degraded until it has resynced.
    fn revert(&mut self, step: Step) -> Result<(), Fault>;

    /// Drops what was prepared.
    fn abort(&mut self);

    /// Programs everything again: after a fault, a resume, a CPU coming online, a hot reset.
    ///
    /// # Errors
    /// [`Fault`] if the hardware does not do so.
    fn resync(&mut self, state: &State) -> Result<(), Fault>;

    /// Reads the hardware back and compares.
    ///
    /// # Errors
    /// [`Mismatch`] says where it is not what the state asks for.
    fn verify(&mut self, state: &State) -> Result<(), Mismatch>;
}

/// Whether a change asks anything of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// It does: the driver has prepared, and is called until the change is done or dropped.
    Concerned,
    /// It does not: the driver is not called again for it.
    Indifferent,
}

/// A step that a revert undoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// What [`Driver::withdraw`] did.
    Withdraw,
    /// What [`Driver::install`] did.
    Install,
}

/// Where in the protocol something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Before a change, by a driver that was degraded.
    Resync,
    /// Making hardware stop.
    Withdraw,
    /// Making hardware start.
    Install,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resync => "resync",
            Self::Withdraw => "withdraw",
            Self::Install => "install",
        })
    }
}

/// Why a driver refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Veto {
    /// In words, lower case.
    pub reason: &'static str,
    /// The addresses that it is about.
    pub range: Option<AddrRange>,
    /// How much it would need, and how much there is: registers, slots, bytes.
    pub needed_of: Option<(u64, u64)>,
    /// More numbers, each with its name.
    pub figures: Option<Figures>,
}

/// How many named numbers a veto carries at most.
const FIGURES: usize = 6;

/// Numbers with names, for whoever wants to know why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    names: &'static [&'static str; FIGURES],
    /// Small, so that errors stay so.
    values: [u8; FIGURES],
}

impl Figures {
    /// Numbers in the order of their names; one that is not there is shown as `-`. They are below 255.
    pub fn new(names: &'static [&'static str; FIGURES], values: [Option<u8>; FIGURES]) -> Self {
        Self { names, values: values.map(|value| value.unwrap_or(u8::MAX)) }
    }

    /// Each name with its number.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Option<u8>)> + '_ {
        let shown = |value: u8| (value != u8::MAX).then_some(value);
        self.names.iter().copied().zip(self.values.map(shown))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            match value {
                Some(value) => write!(f, "{comma}{name} {value}")?,
                None => write!(f, "{comma}{name} -")?,
            }
        }
        Ok(())
    }
}

impl Veto {
    /// Refuses for a reason.
    pub const fn new(reason: &'static str) -> Self {
        Self { reason, range: None, needed_of: None, figures: None }
    }

    /// Says which addresses it is about.
    #[must_use]
    pub const fn at(self, range: AddrRange) -> Self {
        Self { range: Some(range), ..self }
    }

    /// Says how much would be needed, and how much there is.
    #[must_use]
    pub const fn needs(self, needed: u64, available: u64) -> Self {
        Self { needed_of: Some((needed, available)), ..self }
    }

    /// Adds more numbers.
    #[must_use]
    pub const fn figures(self, figures: Figures) -> Self {
        Self { figures: Some(figures), ..self }
    }
}

impl core::error::Error for Veto {}

impl fmt::Display for Veto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)?;
        if let Some(range) = self.range {
            write!(f, " at {range}")?;
        }
        if let Some((needed, available)) = self.needed_of {
            write!(f, ": needs {needed} of {available}")?;
        }
        self.figures.map_or(Ok(()), |figures| write!(f, " ({figures})"))
    }
}

/// What hardware did not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In words, lower case.
    pub reason: &'static str,
    /// The addresses that it is about.
    pub range: Option<AddrRange>,
}

impl Fault {
    /// A fault for a reason.
    pub const fn new(reason: &'static str) -> Self {
        Self { reason, range: None }
    }

    /// Says which addresses it is about.
    #[must_use]
    pub const fn at(self, range: AddrRange) -> Self {
        Self { range: Some(range), ..self }
    }
}

impl core::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)?;
        self.range.map_or(Ok(()), |range| write!(f, " at {range}"))
    }
}

/// Where hardware is not what the state asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// In words, lower case.
    pub reason: &'static str,
    /// The addresses that it is about.
    pub range: Option<AddrRange>,
    /// What the state asks for, and what the hardware has, where that is a number.
    pub wanted_found: Option<(u64, u64)>,
}

impl core::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)?;
        if let Some(range) = self.range {
            write!(f, " at {range}")?;
        }
        self.wanted_found
            .map_or(Ok(()), |(wanted, found)| write!(f, ": wanted {wanted:#x}, found {found:#x}"))
    }
}
