//! Drivers that are tables of C callbacks.

use super::change::{CChange, Edits};
use super::{ArenaPtr, DriverPtr, status, with};
use crate::failure::{EBUSY, EINVAL, EIO, ENOENT, ENOMEM, ENOSPC, EPERM, fail};
use pmem_core::{
    ArenaId, Change, Concern, Driver, Error, Fault, Mismatch, Scope, State, Step, Subscription, Veto,
};
use std::ffi::{CStr, c_char, c_int, c_void};

type Show = Option<unsafe extern "C" fn(*mut c_void, *const CChange) -> c_int>;
type Call = Option<unsafe extern "C" fn(*mut c_void) -> c_int>;
type Tell = Option<unsafe extern "C" fn(*mut c_void)>;

/// `PMEM_CONCERNED`.
const CONCERNED: c_int = 0;
/// `PMEM_INDIFFERENT`.
const INDIFFERENT: c_int = c_int::MAX;
/// `enum pmem_step`.
const STEP_WITHDRAW: c_int = 1;
const STEP_INSTALL: c_int = 2;

/// `struct pmem_driver_ops`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Ops {
    name: *const c_char,
    attach: Show,
    prepare: Show,
    withdraw: Call,
    install: Call,
    revert: Option<unsafe extern "C" fn(*mut c_void, c_int) -> c_int>,
    abort: Tell,
    published: Tell,
    resync: Show,
    verify: Show,
}

/// A driver written in C.
struct Table {
    name: String,
    ops: Ops,
    context: *mut c_void,
}

// SAFETY: the table and its context are used by whichever thread makes a change, one at a time, under the manager's
// lock. Whoever registers a driver accepts that.
unsafe impl Send for Table {}

impl Table {
    fn call(&self, call: Call) -> c_int {
        // SAFETY: the caller of `pmem_driver_register` guarantees that the callbacks take this context.
        call.map_or(0, |call| unsafe { call(self.context) })
    }

    fn show(&self, show: Show, sequence: u64, edits: impl FnOnce() -> Edits) -> c_int {
        let Some(show) = show else { return 0 };
        // SAFETY: as above. The change lives until the callback returns.
        edits().show(sequence, |shown| unsafe { show(self.context, shown) })
    }

    fn tell(&self, tell: Tell) {
        if let Some(tell) = tell {
            // SAFETY: as above.
            unsafe { tell(self.context) };
        }
    }

    fn step(&self, call: Call) -> Result<(), Fault> {
        if self.call(call) == 0 { Ok(()) } else { Err(FAULT) }
    }
}

const FAULT: Fault = Fault::new("the driver's callback failed");

/// Returns a veto that names the driver's error number.
fn veto(errno: c_int) -> Veto {
    Veto::new(match errno.saturating_abs() {
        EPERM => "the driver refuses: EPERM",
        ENOENT => "the driver refuses: ENOENT",
        EIO => "the driver refuses: EIO",
        ENOMEM => "the driver refuses: ENOMEM",
        EBUSY => "the driver refuses: EBUSY",
        EINVAL => "the driver refuses: EINVAL",
        ENOSPC => "the driver refuses: ENOSPC",
        _ => "the driver refuses",
    })
}

/// A driver and the view that it is registered on. It hears of that view only.
struct Registered(Table, Option<ArenaId>);

impl Registered {
    /// Shows a callback the whole present state.
    fn present(&self, show: Show, state: &State) -> c_int {
        self.0.show(show, state.sequence(), || Edits::of_state(state, self.1))
    }
}

impl Driver for Registered {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn attach(&mut self, state: &State) -> Result<(), Veto> {
        match self.present(self.0.ops.attach, state) {
            0 => Ok(()),
            errno => Err(veto(errno)),
        }
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto> {
        let edits = || Edits::of_change(change, self.1);
        let answer = self.0.show(self.0.ops.prepare, change.sequence(), edits);
        match answer {
            CONCERNED => Ok(Concern::Concerned),
            INDIFFERENT => Ok(Concern::Indifferent),
            errno => Err(veto(errno)),
        }
    }

    fn withdraw(&mut self) -> Result<(), Fault> {
        self.0.step(self.0.ops.withdraw)
    }

    fn install(&mut self) -> Result<(), Fault> {
        self.0.step(self.0.ops.install)
    }

    fn published(&mut self) {
        self.0.tell(self.0.ops.published);
    }

    fn revert(&mut self, step: Step) -> Result<(), Fault> {
        let step = match step {
            Step::Withdraw => STEP_WITHDRAW,
            Step::Install => STEP_INSTALL,
        };
        // SAFETY: as in `Table::call`.
        let status = self.0.ops.revert.map_or(0, |revert| unsafe { revert(self.0.context, step) });
        if status == 0 { Ok(()) } else { Err(FAULT) }
    }

    fn abort(&mut self) {
        self.0.tell(self.0.ops.abort);
    }

    fn resync(&mut self, state: &State) -> Result<(), Fault> {
        if self.present(self.0.ops.resync, state) == 0 { Ok(()) } else { Err(FAULT) }
    }

    fn verify(&mut self, state: &State) -> Result<(), Mismatch> {
        match self.present(self.0.ops.verify, state) {
            0 => Ok(()),
            _ => Err(Mismatch { reason: "verify() returned an error", range: None, wanted_found: None }),
        }
    }
}

/// Registers a driver.
///
/// # Safety
/// `ops` is null, or points to a table that outlives the driver together with its name and `context`. Any thread may
/// call its callbacks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_driver_register(
    ops: *const Ops,
    context: *mut c_void,
    view: ArenaPtr,
    priority: c_int,
) -> DriverPtr {
    if ops.is_null() {
        fail(EINVAL, "ops is NULL: pass a struct pmem_driver_ops");
        return DriverPtr::NULL;
    }
    // SAFETY: `ops` is not null, so the caller guarantees that it points to a table.
    let ops = unsafe { ops.read() };
    // SAFETY: the name is not null, so the caller guarantees that it points to a string.
    let name = if ops.name.is_null() { c"driver" } else { unsafe { CStr::from_ptr(ops.name) } };
    let table = Table { name: name.to_string_lossy().into_owned(), ops, context };
    let view = (!view.is_null()).then(|| view.id());
    let driver = Box::new(Registered(table, view));
    let scope = view.map_or(Scope::Everything, Scope::View);
    let registered = with(|pmem| {
        if let Some(view) = view.filter(|view| pmem.state().info(*view).is_none()) {
            return Err(Error::NoArena(view));
        }
        pmem.register(driver, Subscription::new([scope]).priority(priority))
    });
    registered.map_or(DriverPtr::NULL, DriverPtr::from)
}

/// Deregisters a driver.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_driver_deregister(driver: DriverPtr) -> c_int {
    status(with(|pmem| pmem.deregister(driver.id())))
}

/// Makes a driver program everything again.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_driver_resync(driver: DriverPtr) -> c_int {
    status(with(|pmem| pmem.resync(driver.id())))
}

/// Makes a driver compare its hardware with the model.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_driver_verify(driver: DriverPtr) -> c_int {
    status(with(|pmem| pmem.verify(driver.id())))
}
