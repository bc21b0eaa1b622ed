//! Drivers as tables of C callbacks.

use super::{ArenaPtr, DriverPtr, LinkPtr, Paddr, RegionPtr, status, with};
use crate::failure::{EBUSY, EINVAL, EIO, ENOENT, ENOMEM, ENOSPC, EPERM, fail};
use pmem_core::{
    AddrRange, ArenaId, Attrs, Change, Concern, Delta, Driver, Edit, Effective, Fault, Mismatch, Placement,
    Scope, Span, SpanState, State, Step, Subscription, Veto,
};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

/// `struct pmem_side`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Side {
    present: c_int,
    first: Paddr,
    last: Paddr,
    usage: c_uint,
    prot: c_uint,
    props: c_uint,
    state: c_int,
}

/// `struct pmem_edit`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CEdit {
    kind: c_int,
    arena: ArenaPtr,
    link: LinkPtr,
    region: RegionPtr,
    before: Side,
    after: Side,
}

/// `struct pmem_change`.
#[derive(Debug)]
#[repr(C)]
pub struct CChange {
    sequence: u64,
    count: usize,
    edits: *const CEdit,
}

type Call = Option<unsafe extern "C" fn(*mut c_void) -> c_int>;
type Tell = Option<unsafe extern "C" fn(*mut c_void)>;

/// `struct pmem_driver_ops`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Ops {
    name: *const c_char,
    attach: Call,
    prepare: Option<unsafe extern "C" fn(*mut c_void, *const CChange) -> c_int>,
    withdraw: Call,
    install: Call,
    revert: Option<unsafe extern "C" fn(*mut c_void, c_int) -> c_int>,
    abort: Tell,
    published: Tell,
    resync: Call,
    verify: Call,
}

/// A driver of C.
struct Table {
    name: String,
    ops: Ops,
    context: *mut c_void,
}

// SAFETY: the table and its context are for whichever thread makes a change, one at a time under the manager's lock: that is
// what registering asks of the caller.
unsafe impl Send for Table {}

impl Table {
    fn call(&self, call: Call) -> c_int {
        // SAFETY: the caller of `pmem_driver_register` says that its callbacks take its context.
        call.map_or(0, |call| unsafe { call(self.context) })
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

/// A veto that says which errno the driver gave.
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

impl Side {
    fn of(range: AddrRange, attrs: Option<Attrs>, state: c_int) -> Self {
        let bits =
            attrs.map_or([0; 3], |a| [a.usage().bits(), a.prot().bits(), a.props().bits()]).map(c_uint::from);
        let [usage, prot, props] = bits;
        let (first, last) = (range.start() as Paddr, range.last() as Paddr);
        Self { present: 1, first, last, usage, prot, props, state }
    }

    fn there(present: bool) -> Self {
        Self { present: c_int::from(present), ..Self::default() }
    }

    fn placed(placement: &Option<Placement>) -> Self {
        placement.map_or(Self::default(), |p| match p.seat.range() {
            Some(range) => Self::of(range, Some(p.record.attrs), 0),
            None => Self { first: 0, last: 0, ..Self::of(AddrRange::ALL, Some(p.record.attrs), 0) },
        })
    }
}

impl CEdit {
    fn new(kind: c_int) -> Self {
        let (before, after) = (Side::default(), Side::default());
        Self { kind, arena: ArenaPtr::NULL, link: LinkPtr::NULL, region: RegionPtr::NULL, before, after }
    }

    /// An edit as C sees it; none for reference counts.
    fn of(edit: &Edit) -> Option<Self> {
        Some(match edit {
            Edit::Arena { arena, old, new } => {
                let (before, after) = (Side::there(old.is_some()), Side::there(new.is_some()));
                Self { arena: (*arena).into(), before, after, ..Self::new(1) }
            }
            Edit::Link { link, old, new } => {
                let (before, after) = (Side::there(old.is_some()), Side::there(new.is_some()));
                Self { link: (*link).into(), before, after, ..Self::new(2) }
            }
            Edit::Span { arena, range, old, new } => {
                let state = |span: &Span| match span.state {
                    SpanState::Open => 0,
                    SpanState::Sealed => 1,
                    SpanState::Lent => 2,
                };
                let side = |span: &Option<Span>| {
                    span.as_ref().map_or(Side::default(), |s| Side::of(*range, Some(s.attrs), state(s)))
                };
                Self { arena: (*arena).into(), before: side(old), after: side(new), ..Self::new(3) }
            }
            Edit::Window { link, old, new, .. } => {
                let side =
                    |range: &Option<AddrRange>| range.map_or(Side::default(), |r| Side::of(r, None, 0));
                Self { link: (*link).into(), before: side(old), after: side(new), ..Self::new(4) }
            }
            Edit::Region { region, old, new } => {
                let arena = new.or(*old).map_or(ArenaPtr::NULL, |p| p.arena.into());
                let (before, after) = (Side::placed(old), Side::placed(new));
                Self { arena, region: (*region).into(), before, after, ..Self::new(5) }
            }
            _ => return None,
        })
    }

    fn of_view(view: ArenaPtr, delta: &Delta) -> Self {
        let side = |e: Option<Effective>| {
            e.map_or(Side::default(), |e| Side::of(delta.range, Some(e.attrs), c_int::from(e.taken)))
        };
        Self { arena: view, before: side(delta.old), after: side(delta.new), ..Self::new(6) }
    }
}

/// A driver, and the view that it is registered on: it is told of that alone.
struct Registered(Table, Option<ArenaId>);

impl Registered {
    fn edits(&self, change: &Change<'_>) -> Vec<CEdit> {
        match self.1 {
            None => change.edits().iter().filter_map(CEdit::of).collect(),
            Some(view) => change.deltas().iter().map(|delta| CEdit::of_view(view.into(), delta)).collect(),
        }
    }
}

impl Driver for Registered {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn attach(&mut self, _: &State) -> Result<(), Veto> {
        match self.0.call(self.0.ops.attach) {
            0 => Ok(()),
            errno => Err(veto(errno)),
        }
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto> {
        let edits = self.edits(change);
        let shown = CChange { sequence: change.sequence(), count: edits.len(), edits: edits.as_ptr() };
        // SAFETY: as in `Table::call`; the change lives until the callback returns.
        let answer = self.0.ops.prepare.map_or(0, |prepare| unsafe { prepare(self.0.context, &shown) });
        match answer {
            0 => Ok(Concern::Concerned),
            c_int::MAX => Ok(Concern::Indifferent),
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
            Step::Withdraw => 1,
            Step::Install => 2,
        };
        // SAFETY: as in `Table::call`.
        let status = self.0.ops.revert.map_or(0, |revert| unsafe { revert(self.0.context, step) });
        if status == 0 { Ok(()) } else { Err(FAULT) }
    }

    fn abort(&mut self) {
        self.0.tell(self.0.ops.abort);
    }

    fn resync(&mut self, _: &State) -> Result<(), Fault> {
        self.0.step(self.0.ops.resync)
    }

    fn verify(&mut self, _: &State) -> Result<(), Mismatch> {
        match self.0.call(self.0.ops.verify) {
            0 => Ok(()),
            _ => Err(Mismatch { reason: "the driver's callback says so", range: None, wanted_found: None }),
        }
    }
}

/// Registers a driver.
///
/// # Safety
/// `ops` leads to a table that, with its name and with `context`, outlives the driver; its callbacks may be called by any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_driver_register(
    ops: *const Ops,
    context: *mut c_void,
    view: ArenaPtr,
    priority: c_int,
) -> DriverPtr {
    if ops.is_null() {
        fail(EINVAL, "no table of callbacks");
        return DriverPtr::NULL;
    }
    // SAFETY: the caller's.
    let ops = unsafe { ops.read() };
    // SAFETY: the caller's.
    let name = if ops.name.is_null() { c"driver" } else { unsafe { CStr::from_ptr(ops.name) } };
    let table = Table { name: name.to_string_lossy().into_owned(), ops, context };
    let view = (!view.is_null()).then(|| view.id());
    let driver = Box::new(Registered(table, view));
    let scope = view.map_or(Scope::Everything, Scope::View);
    let registered = with(|pmem| pmem.register(driver, Subscription::new([scope]).priority(priority)));
    registered.map_or(DriverPtr::NULL, DriverPtr::from)
}

/// Deregisters a driver.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_driver_deregister(driver: DriverPtr) -> c_int {
    status(with(|pmem| pmem.deregister(driver.id())))
}

/// Has a driver program everything again.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_driver_resync(driver: DriverPtr) -> c_int {
    status(with(|pmem| pmem.resync(driver.id())))
}

/// Has a driver compare its hardware with the model.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_driver_verify(driver: DriverPtr) -> c_int {
    match with(|pmem| pmem.verify(driver.id())) {
        Ok(Ok(())) => 0,
        Ok(Err(mismatch)) => fail(EIO, mismatch),
        Err(errno) => errno,
    }
}
