//! The contract between the manager and a driver.

use super::change::Change;
use crate::model::State;
use core::any::Any;
use core::fmt;
use pmem_space::AddrRange;

/// A driver that programs hardware to follow the model: MTRRs, a bridge's windows, an IOMMU's page tables.
///
/// If the hardware holds values by key, such as slots or table entries, implement [`Hardware`](crate::Hardware)
/// instead and wrap it in a [`Mirror`](crate::Mirror), which is a driver.
///
/// # One change
/// Every concerned driver *prepares*, those of higher priority first; any of them may refuse. Then, in reverse order,
/// each *withdraws* what goes away: hardware stops honouring it. Then, in the first order, each *installs* what is
/// new. Only then is the change published, and each driver is notified. A fault reverts every step that was begun, in
/// exact reverse order, starting with the step that faulted; drivers that had only prepared *abort*.
///
/// | callback | may refuse or fail | may sleep or allocate | what can follow |
/// |---|---|---|---|
/// | attach | yes | yes | prepare, resync, verify |
/// | prepare | yes | yes | withdraw, abort |
/// | withdraw | fault | must not allocate | install, revert |
/// | install | fault | must not allocate | published, or revert |
/// | revert | fault: degraded | must not allocate | after reverting install: revert of withdraw; else nothing |
/// | published | no | yes | nothing |
/// | abort | no | must not allocate | nothing |
/// | resync | fault: stays degraded | yes | prepare |
/// | verify | mismatch | yes | anything |
///
/// The manager's lock is held in every callback. A callback may read the state it is given and may drop regions;
/// calling a verb that changes the model is an error there. Under `stop_machine` only withdraw, install, revert and
/// abort may be called.
///
/// # Examples
/// A hypervisor with four memory slots refuses a fifth region:
/// ```
/// use pmem_core::{
///     AddrRange, ArenaType, Attrs, Change, Concern, Driver, Error, Fault, Manager, Mismatch, Request, Scope,
///     State, Step, Subscription, Veto,
/// };
///
/// struct Slots;
///
/// impl Driver for Slots {
///     fn name(&self) -> &str { "hypervisor slots" }
///     fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto> {
///         let used = change.after().arenas().map(|(_, _, arena)| arena.regions().count() as u64).sum();
///         if used > 4 { Err(Veto::new("out of slots").needs(used, 4)) } else { Ok(Concern::Concerned) }
///     }
///     // A real driver programs the hardware here, without allocating.
///     fn withdraw(&mut self) -> Result<(), Fault> { Ok(()) }
///     fn install(&mut self) -> Result<(), Fault> { Ok(()) }
///     fn revert(&mut self, _: Step) -> Result<(), Fault> { Ok(()) }
///     fn abort(&mut self) {}
///     fn attach(&mut self, _: &State) -> Result<(), Veto> { Ok(()) }
///     fn resync(&mut self, _: &State) -> Result<(), Fault> { Ok(()) }
///     fn verify(&mut self, _: &State) -> Result<(), Mismatch> { Ok(()) }
/// }
///
/// let mut pmem = Manager::new();
/// let guest = pmem.create_arena("guest memory", ArenaType::RAM)?;
/// pmem.prime(guest, AddrRange::new(0, 0x10_0000)?, Attrs::ram())?;
/// pmem.register(Box::new(Slots), Subscription::new([Scope::Arena(guest)]))?;
/// for _ in 0..4 {
///     pmem.alloc(guest, &Request::new(0x1000))?;
/// }
/// let refused = pmem.alloc(guest, &Request::new(0x1000)).unwrap_err();
/// assert!(matches!(refused, Error::Refused { veto, .. } if veto.needed_of == Some((5, 4))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Driver: Any + Send {
    /// Returns the driver's name, as errors and lists print it.
    fn name(&self) -> &str;

    /// Takes over the hardware as it is, or programs it to the current state.
    ///
    /// # Errors
    /// [`Veto`] if the driver cannot do so; it is then not registered.
    fn attach(&mut self, state: &State) -> Result<(), Veto>;

    /// Computes what a change asks of the hardware, and sets aside whatever carrying it out takes.
    ///
    /// # Errors
    /// [`Veto`] refuses the whole change.
    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto>;

    /// Makes the hardware stop honouring what goes away.
    ///
    /// # Errors
    /// [`Fault`] if the hardware fails to do so.
    fn withdraw(&mut self) -> Result<(), Fault>;

    /// Makes the hardware honour what is new.
    ///
    /// # Errors
    /// [`Fault`] if the hardware fails to do so.
    fn install(&mut self) -> Result<(), Fault>;

    /// Called once the change is committed and can no longer be rolled back. Do here what had to wait for that, such
    /// as freeing memory or notifying others. Does nothing by default.
    fn published(&mut self) {}

    /// Undoes one step, whether it finished or faulted half-way. Reverting a withdraw, the first step, also drops
    /// what was prepared.
    ///
    /// # Errors
    /// [`Fault`] if the hardware fails to do so. The driver is then degraded until it has resynced.
    fn revert(&mut self, step: Step) -> Result<(), Fault>;

    /// Drops what was prepared.
    fn abort(&mut self);

    /// Reprograms everything: after a fault, a resume, a CPU coming online, a hot reset.
    ///
    /// # Errors
    /// [`Fault`] if the hardware fails to do so.
    fn resync(&mut self, state: &State) -> Result<(), Fault>;

    /// Reads the hardware back and compares it with the state.
    ///
    /// # Errors
    /// [`Mismatch`] says where the hardware differs from what the state asks for.
    fn verify(&mut self, state: &State) -> Result<(), Mismatch>;
}

/// A driver's answer in prepare: whether the change asks anything of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// The change concerns the driver. It has prepared, and its callbacks are called until the change is done or
    /// dropped.
    Concerned,
    /// The change does not concern the driver. None of its callbacks is called again for it.
    Indifferent,
}

/// A step of a change, as [`Driver::revert`] undoes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// What [`Driver::withdraw`] did.
    Withdraw,
    /// What [`Driver::install`] did.
    Install,
}

/// The phase in which a driver failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Reprogramming a degraded driver, on request or before a change.
    Resync,
    /// Making the hardware stop honouring what goes away.
    Withdraw,
    /// Making the hardware honour what is new.
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

/// A driver's reason to refuse.
///
/// # Examples
/// ```
/// use pmem_core::{AddrRange, Veto};
///
/// let veto = Veto::new("not enough MTRRs").at(AddrRange::new(0xe000_0000, 0xe800_0000)?).needs(10, 8);
/// assert!(veto.to_string().starts_with("not enough MTRRs at "));
/// assert_eq!(veto.needed_of, Some((10, 8)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Veto {
    /// The reason in words, in lower case and without a full stop.
    pub reason: &'static str,
    /// The addresses concerned, if any in particular.
    pub range: Option<AddrRange>,
    /// How much would be needed, and how much there is: registers, slots or bytes.
    pub needed_of: Option<(u64, u64)>,
    /// Figures that explain the refusal.
    pub figures: Option<Figures>,
}

/// The number of named figures in a [`Figures`].
const FIGURES: usize = 6;

/// Named figures that explain a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    names: &'static [&'static str; FIGURES],
    /// Bytes, so that errors stay small. `u8::MAX` means no value.
    values: [u8; FIGURES],
}

impl Figures {
    /// Returns figures in the order of their names. `None` prints as `-`. Values must be below 255, which stands for
    /// `None`.
    #[must_use]
    pub fn new(names: &'static [&'static str; FIGURES], values: [Option<u8>; FIGURES]) -> Self {
        Self { names, values: values.map(|value| value.unwrap_or(u8::MAX)) }
    }

    /// Iterates over the names, each with its value.
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
    /// Returns a veto for a reason.
    #[must_use]
    pub const fn new(reason: &'static str) -> Self {
        Self { reason, range: None, needed_of: None, figures: None }
    }

    /// Sets the addresses concerned.
    #[must_use]
    pub const fn at(self, range: AddrRange) -> Self {
        Self { range: Some(range), ..self }
    }

    /// Sets how much would be needed, and how much is available.
    #[must_use]
    pub const fn needs(self, needed: u64, available: u64) -> Self {
        Self { needed_of: Some((needed, available)), ..self }
    }

    /// Adds figures that explain the refusal.
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
            write!(f, ": needs {needed}, has {available}")?;
        }
        self.figures.map_or(Ok(()), |figures| write!(f, " ({figures})"))
    }
}

/// What hardware failed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The reason in words, in lower case and without a full stop.
    pub reason: &'static str,
    /// The addresses concerned, if any in particular.
    pub range: Option<AddrRange>,
}

impl Fault {
    /// Returns a fault for a reason.
    #[must_use]
    pub const fn new(reason: &'static str) -> Self {
        Self { reason, range: None }
    }

    /// Sets the addresses concerned.
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

/// Where hardware differs from what the state asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The difference in words, in lower case and without a full stop.
    pub reason: &'static str,
    /// The addresses concerned, if any in particular.
    pub range: Option<AddrRange>,
    /// The value that the state asks for, and the value that the hardware holds, if they are numbers.
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
