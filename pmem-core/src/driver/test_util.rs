//! Drivers for tests: one does nothing, one calls a hook, one traces another driver, one makes another driver fail.

use super::change::Change;
use super::contract::{Concern, Driver, Fault, Mismatch, Step, Veto};
use crate::model::State;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::{Mutex, PoisonError};

/// A driver whose hardware always does what it is asked.
#[derive(Clone, Debug)]
pub struct Quiet(String);

impl Quiet {
    /// Returns a driver with this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

impl Driver for Quiet {
    fn name(&self) -> &str {
        &self.0
    }
    fn attach(&mut self, _: &State) -> Result<(), Veto> {
        Ok(())
    }
    fn prepare(&mut self, _: &Change<'_>) -> Result<Concern, Veto> {
        Ok(Concern::Concerned)
    }
    fn withdraw(&mut self) -> Result<(), Fault> {
        Ok(())
    }
    fn install(&mut self) -> Result<(), Fault> {
        Ok(())
    }
    fn revert(&mut self, _: Step) -> Result<(), Fault> {
        Ok(())
    }
    fn abort(&mut self) {}
    fn resync(&mut self, _: &State) -> Result<(), Fault> {
        Ok(())
    }
    fn verify(&mut self, _: &State) -> Result<(), Mismatch> {
        Ok(())
    }
}

/// A driver that calls a hook in each callback except `published`, and otherwise behaves like [`Quiet`].
pub struct Hooked<F> {
    name: String,
    hook: F,
}

impl<F: FnMut(Call) + Send> Hooked<F> {
    /// Returns a driver with this name and hook.
    pub fn new(name: impl Into<String>, hook: F) -> Self {
        Self { name: name.into(), hook }
    }
}

impl<F: FnMut(Call) + Send + 'static> Driver for Hooked<F> {
    fn name(&self) -> &str {
        &self.name
    }
    fn attach(&mut self, _: &State) -> Result<(), Veto> {
        (self.hook)(Call::Attach);
        Ok(())
    }
    fn prepare(&mut self, _: &Change<'_>) -> Result<Concern, Veto> {
        (self.hook)(Call::Prepare);
        Ok(Concern::Concerned)
    }
    fn withdraw(&mut self) -> Result<(), Fault> {
        (self.hook)(Call::Withdraw);
        Ok(())
    }
    fn install(&mut self) -> Result<(), Fault> {
        (self.hook)(Call::Install);
        Ok(())
    }
    fn revert(&mut self, step: Step) -> Result<(), Fault> {
        (self.hook)(Call::revert(step));
        Ok(())
    }
    fn abort(&mut self) {
        (self.hook)(Call::Abort);
    }
    fn resync(&mut self, _: &State) -> Result<(), Fault> {
        (self.hook)(Call::Resync);
        Ok(())
    }
    fn verify(&mut self, _: &State) -> Result<(), Mismatch> {
        (self.hook)(Call::Verify);
        Ok(())
    }
}

/// The lines that tracing drivers wrote, in the order of the calls. Clones share the lines.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Appends a line.
    pub fn push(&self, line: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.into());
    }

    /// Returns all lines, and empties the log.
    pub fn take(&self) -> Vec<String> {
        core::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A driver that writes each call of another driver to a [`Log`]: the driver's name, the callback and the outcome.
/// Calls of `published` are passed on but not written.
///
/// # Examples
/// ```
/// use pmem_core::test_util::{Log, Quiet, Tracer};
/// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Scope, Subscription};
///
/// let (mut pmem, log) = (Manager::new(), Log::default());
/// let ram = pmem.create_arena("RAM", ArenaType::RAM)?;
/// let driver = Tracer::around(Quiet::new("MTRRs"), &log);
/// pmem.register(Box::new(driver), Subscription::new([Scope::Arena(ram)]))?;
/// assert_eq!(log.take(), ["MTRRs: attach"]);
/// pmem.prime(ram, AddrRange::new(0, 0x1000)?, Attrs::ram())?;
/// assert_eq!(log.take(), ["MTRRs: prepare", "MTRRs: withdraw", "MTRRs: install"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tracer<D> {
    inner: D,
    log: Log,
}

impl<D: Driver> Tracer<D> {
    /// Returns a driver that calls `inner` and writes the calls to `log`.
    pub fn around(inner: D, log: &Log) -> Self {
        Self { inner, log: log.clone() }
    }

    fn trace<T, E: ToString>(&self, call: &str, result: &Result<T, E>) {
        let name = self.inner.name();
        self.log.push(match result {
            Ok(_) => format!("{name}: {call}"),
            Err(error) => format!("{name}: {call} failed: {}", error.to_string()),
        });
    }
}

impl<D: Driver> Driver for Tracer<D> {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn attach(&mut self, state: &State) -> Result<(), Veto> {
        let result = self.inner.attach(state);
        self.trace("attach", &result);
        result
    }
    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto> {
        let result = self.inner.prepare(change);
        match result {
            Ok(Concern::Indifferent) => self.trace("prepare, indifferent", &result),
            _ => self.trace("prepare", &result),
        }
        for delta in change.deltas() {
            let attrs =
                |e: Option<super::Effective>| e.map_or("nothing".to_string(), |e| e.attrs.to_string());
            let (name, old, new) = (self.inner.name(), attrs(delta.old), attrs(delta.new));
            self.log.push(format!("{name}:   {} {old} -> {new}", delta.range));
        }
        result
    }
    fn withdraw(&mut self) -> Result<(), Fault> {
        let result = self.inner.withdraw();
        self.trace("withdraw", &result);
        result
    }
    fn install(&mut self) -> Result<(), Fault> {
        let result = self.inner.install();
        self.trace("install", &result);
        result
    }
    fn published(&mut self) {
        self.inner.published();
    }
    fn revert(&mut self, step: Step) -> Result<(), Fault> {
        let result = self.inner.revert(step);
        let call = match step {
            Step::Withdraw => "revert withdraw",
            Step::Install => "revert install",
        };
        self.trace(call, &result);
        result
    }
    fn abort(&mut self) {
        self.inner.abort();
        self.trace("abort", &Ok::<(), String>(()));
    }
    fn resync(&mut self, state: &State) -> Result<(), Fault> {
        let result = self.inner.resync(state);
        self.trace("resync", &result);
        result
    }
    fn verify(&mut self, state: &State) -> Result<(), Mismatch> {
        let result = self.inner.verify(state);
        self.trace("verify", &result);
        result
    }
}

/// A callback of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`Driver::attach`].
    Attach,
    /// [`Driver::prepare`].
    Prepare,
    /// [`Driver::withdraw`].
    Withdraw,
    /// [`Driver::install`].
    Install,
    /// [`Driver::revert`] of a withdraw.
    RevertWithdraw,
    /// [`Driver::revert`] of an install.
    RevertInstall,
    /// [`Driver::abort`], which cannot fail.
    Abort,
    /// [`Driver::resync`].
    Resync,
    /// [`Driver::verify`].
    Verify,
}

impl Call {
    const fn revert(step: Step) -> Self {
        match step {
            Step::Withdraw => Self::RevertWithdraw,
            Step::Install => Self::RevertInstall,
        }
    }
}

/// The calls that are going to fail. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<(Call, u32)>>>);

impl Faults {
    /// Makes the `nth` call of this kind fail, once. 1 is the next call.
    pub fn arm(&self, call: Call, nth: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((call, nth));
    }

    fn trips(&self, call: Call) -> bool {
        let mut armed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        armed.iter_mut().filter(|(c, _)| *c == call).for_each(|(_, left)| *left = left.saturating_sub(1));
        let before = armed.len();
        armed.retain(|(_, left)| *left > 0);
        armed.len() < before
    }
}

/// A driver that passes calls on to another driver, except those that [`Faults`] makes fail.
///
/// # Examples
/// A failing install leaves the model as it was:
/// ```
/// use pmem_core::test_util::{Call, Faults, Faulty, Quiet};
/// use pmem_core::{AddrRange, ArenaType, Attrs, Error, Manager, Phase, Scope, Subscription};
///
/// let (mut pmem, faults) = (Manager::new(), Faults::default());
/// let ram = pmem.create_arena("RAM", ArenaType::RAM)?;
/// let driver = Faulty::around(Quiet::new("MTRRs"), &faults);
/// pmem.register(Box::new(driver), Subscription::new([Scope::Everything]))?;
///
/// faults.arm(Call::Install, 1);
/// let failed = pmem.prime(ram, AddrRange::new(0, 0x1000)?, Attrs::ram());
/// assert!(matches!(failed, Err(Error::Failed { phase: Phase::Install, .. })));
/// assert!(pmem.state().arena(ram).is_some_and(|arena| arena.is_blank()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Faulty<D> {
    inner: D,
    faults: Faults,
}

impl<D: Driver> Faulty<D> {
    /// Returns a driver that calls `inner` unless `faults` makes the call fail.
    pub fn around(inner: D, faults: &Faults) -> Self {
        Self { inner, faults: faults.clone() }
    }
}

const VETO: Veto = Veto::new("injected veto");
const FAULT: Fault = Fault::new("injected fault");

impl<D: Driver> Driver for Faulty<D> {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn attach(&mut self, state: &State) -> Result<(), Veto> {
        if self.faults.trips(Call::Attach) { Err(VETO) } else { self.inner.attach(state) }
    }
    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto> {
        if self.faults.trips(Call::Prepare) { Err(VETO) } else { self.inner.prepare(change) }
    }
    fn withdraw(&mut self) -> Result<(), Fault> {
        if self.faults.trips(Call::Withdraw) { Err(FAULT) } else { self.inner.withdraw() }
    }
    fn install(&mut self) -> Result<(), Fault> {
        if self.faults.trips(Call::Install) { Err(FAULT) } else { self.inner.install() }
    }
    fn published(&mut self) {
        self.inner.published();
    }
    fn revert(&mut self, step: Step) -> Result<(), Fault> {
        if self.faults.trips(Call::revert(step)) { Err(FAULT) } else { self.inner.revert(step) }
    }
    fn abort(&mut self) {
        self.inner.abort();
    }
    fn resync(&mut self, state: &State) -> Result<(), Fault> {
        if self.faults.trips(Call::Resync) { Err(FAULT) } else { self.inner.resync(state) }
    }
    fn verify(&mut self, state: &State) -> Result<(), Mismatch> {
        self.inner.verify(state)
    }
}
