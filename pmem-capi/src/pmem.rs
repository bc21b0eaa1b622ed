//! `pmem.h`: the proposal's functions by their names, over one manager.

mod change;
mod driver;
mod handle;
mod mapping;

pub use driver::{pmem_driver_deregister, pmem_driver_register, pmem_driver_resync, pmem_driver_verify};
pub use handle::{ArenaPtr, DriverPtr, LinkPtr, RegionPtr};
pub use mapping::{
    MappingPtr, pmem_mapping_bridge, pmem_mapping_free, pmem_mapping_table, pmem_mapping_window,
};

use crate::failure::{EBUSY, EDEADLK, EINVAL, ENOENT, fail, failed};
use crate::memory;
use pmem_core::{
    AddrRange, ArenaType, Attrs, Error, Manager, Mapping, Metric, Props, Prot, Released, Request, Spot,
    Usage, Way,
};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::ptr;
use std::sync::{LazyLock, Mutex, PoisonError};

/// `paddr_t`.
type Paddr = usize;

static MANAGER: LazyLock<Mutex<Manager>> = LazyLock::new(Mutex::default);

thread_local! {
    /// Whether this thread is in a verb: a driver's callback that calls another would wait for itself.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Calls `run` with the manager; what went wrong is kept, and its number returned.
pub(crate) fn with<T>(run: impl FnOnce(&mut Manager) -> Result<T, Error>) -> Result<T, c_int> {
    // Whoever waits for the manager here may be what the manager's driver waits for.
    if BUSY.get() || memory::is_here() {
        return Err(fail(EDEADLK, "not from within a callback, nor while this thread keeps memory as it is"));
    }
    let mut manager = MANAGER.lock().unwrap_or_else(PoisonError::into_inner);
    BUSY.set(true);
    let result = run(&mut manager);
    BUSY.set(false);
    result.map_err(|error| failed(&error))
}

fn status<T>(result: Result<T, c_int>) -> c_int {
    result.map_or_else(|errno| errno, |_| 0)
}

/// [`start`, `end`), where an end of 0 is 2^64.
fn range(start: Paddr, end: Paddr) -> Result<AddrRange, Error> {
    let range = match end {
        0 => AddrRange::inclusive(start as u64, u64::MAX),
        end => AddrRange::new(start as u64, end as u64),
    };
    Ok(range?)
}

/// Attributes of the numbers of C; bits that mean nothing are refused.
fn attrs(usage: c_uint, prot: c_uint, props: c_uint) -> Result<Attrs, c_int> {
    let bad = |what: &str, bits: c_uint| fail(EINVAL, format!("{bits:#x} is no {what}"));
    let byte = |bits: c_uint, what: &str| u8::try_from(bits).map_err(|_| bad(what, bits));
    let usage = Usage::from_bits(byte(usage, "usage")?).ok_or_else(|| bad("usage", usage))?;
    let prot = Prot::from_bits(byte(prot, "protection")?).ok_or_else(|| bad("protection", prot))?;
    let props = Props::from_bits(byte(props, "property")?).ok_or_else(|| bad("property", props))?;
    Attrs::new(usage, prot, props).map_err(|error| fail(EINVAL, error))
}

/// Makes an arena.
///
/// # Safety
/// `name` is a string, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_create(name: *const c_char, kind: c_uint) -> ArenaPtr {
    // SAFETY: the caller's.
    let name = if name.is_null() { c"" } else { unsafe { CStr::from_ptr(name) } };
    let name = name.to_string_lossy().into_owned();
    let Some(kind) = kind.try_into().ok().and_then(ArenaType::from_bits) else {
        fail(EINVAL, format!("{kind:#x} is no type of arena"));
        return ArenaPtr::NULL;
    };
    with(|pmem| pmem.create_arena(name, kind)).map_or(ArenaPtr::NULL, ArenaPtr::from)
}

/// Removes an arena.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_remove(arena: ArenaPtr) -> c_int {
    status(with(|pmem| pmem.remove_arena(arena.id())))
}

/// Connects two arenas.
///
/// # Safety
/// `mapping` is null or came from this interface and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_connect(
    left: ArenaPtr,
    right: ArenaPtr,
    mapping: MappingPtr,
    metric: u32,
) -> LinkPtr {
    // SAFETY: the caller's.
    let mapping = unsafe { mapping.as_ref() }.cloned().unwrap_or(Mapping::Identity);
    let linked = with(|pmem| pmem.connect(left.id(), right.id(), mapping, Metric::new(metric)));
    linked.map_or(LinkPtr::NULL, LinkPtr::from)
}

/// Disconnects two arenas.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_disconnect(link: LinkPtr) -> c_int {
    status(with(|pmem| pmem.disconnect(link.id())))
}

/// Says what a bridge's window covers even when nothing goes through it.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_interconnect_set_floor(link: LinkPtr, start: Paddr, end: Paddr) -> c_int {
    status(with(|pmem| {
        let floor = if start == end { None } else { Some(range(start, end)?) };
        pmem.set_floor(link.id(), Way::ToRight, 0, floor)
    }))
}

/// Says what it costs to cross an interconnect in one direction.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_interconnect_set_metric(link: LinkPtr, to_left: c_int, metric: u32) -> c_int {
    let way = if to_left == 0 { Way::ToRight } else { Way::ToLeft };
    status(with(|pmem| pmem.set_metric(link.id(), way, Metric::new(metric))))
}

/// Loads an arena with addresses.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_prime(
    arena: ArenaPtr,
    start: Paddr,
    end: Paddr,
    usage: c_uint,
    prot: c_uint,
    props: c_uint,
) -> c_int {
    let attrs = match attrs(usage, prot, props) {
        Ok(attrs) => attrs,
        Err(errno) => return errno,
    };
    status(with(|pmem| pmem.prime(arena.id(), range(start, end)?, attrs)))
}

/// Hands out nothing more of a range.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_seal(arena: ArenaPtr, start: Paddr, end: Paddr) -> c_int {
    status(with(|pmem| pmem.seal(arena.id(), range(start, end)?)))
}

/// Hands out a range again.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_unseal(arena: ArenaPtr, start: Paddr, end: Paddr) -> c_int {
    status(with(|pmem| pmem.unseal(arena.id(), range(start, end)?)))
}

/// Takes a range away from an arena.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_unprime(arena: ArenaPtr, start: Paddr, end: Paddr) -> c_int {
    status(with(|pmem| pmem.unprime(arena.id(), range(start, end)?)))
}

/// Says what an address means.
///
/// # Safety
/// `place` and `there` are null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_resolve(
    arena: ArenaPtr,
    addr: Paddr,
    place: *mut ArenaPtr,
    there: *mut Paddr,
) -> c_int {
    let found = with(|pmem| {
        pmem.state().info(arena.id()).ok_or(Error::NoArena(arena.id()))?;
        let resolution = pmem.state().resolve(arena.id(), addr as u64);
        Ok(resolution.accepted().map(|place| (place.arena, place.addr)))
    });
    match found {
        Err(errno) => errno,
        Ok(None) => fail(ENOENT, format!("{addr:#x} leads nowhere, or to more than one place")),
        Ok(Some((arena, addr))) => {
            // SAFETY: the caller's.
            unsafe {
                store(place, arena.into());
                store(there, addr as Paddr);
            }
            0
        }
    }
}

/// Writes where something is wanted.
///
/// # Safety
/// `to` is null or may be written to.
unsafe fn store<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: the caller's.
        unsafe { to.write(value) };
    }
}

/// Reserves a region.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_alloc(
    arena: ArenaPtr,
    start: Paddr,
    end: Paddr,
    prot: c_uint,
    props: c_uint,
    usage: c_uint,
    align: usize,
    len: usize,
    max_metric: u32,
) -> RegionPtr {
    let Ok(wanted) = attrs(usage, prot, props) else { return RegionPtr::NULL };
    let allocated = with(|pmem| {
        let mut request =
            Request::new(len as u64).window(range(start, end)?).max_metric(Metric::new(max_metric));
        if align > 1 {
            request = request.align(align as u64);
        }
        if prot != 0 {
            request = request.prot(wanted.prot());
        }
        if props != 0 {
            request = request.props(wanted.props());
        }
        if usage != 0 {
            request = request.usage(wanted.usage());
        }
        pmem.alloc(arena.id(), &request)
    });
    allocated.map_or(RegionPtr::NULL, RegionPtr::from)
}

/// Says what a region amounts to.
///
/// # Safety
/// `prot`, `props` and `usage` are null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_get(
    region: RegionPtr,
    prot: *mut c_uint,
    props: *mut c_uint,
    usage: *mut c_uint,
) -> c_int {
    match with(|pmem| pmem.attrs(region.id())) {
        Err(errno) => errno,
        Ok(attrs) => {
            // SAFETY: the caller's.
            unsafe {
                store(prot, attrs.prot().bits().into());
                store(props, attrs.props().bits().into());
                store(usage, attrs.usage().bits().into());
            }
            0
        }
    }
}

/// Sets a region's attributes.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_set(region: RegionPtr, prot: c_uint, props: c_uint, usage: c_uint) -> c_int {
    match attrs(usage, prot, props) {
        Ok(attrs) => status(with(|pmem| pmem.set(region.id(), attrs))),
        Err(errno) => errno,
    }
}

/// Counts another reference.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_incref(region: RegionPtr) -> c_int {
    status(with(|pmem| pmem.incref(region.id())))
}

/// Gives up a reference.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_decref(region: RegionPtr) -> c_int {
    match with(|pmem| pmem.decref(region.id())) {
        Ok(Released::Condemned { by }) => fail(EBUSY, format!("{by} does not let go of it yet")),
        Ok(_) => 0,
        Err(errno) => errno,
    }
}

/// Maps a region into an arena.
///
/// # Safety
/// `paddr` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_map(arena: ArenaPtr, region: RegionPtr, paddr: *mut Paddr) -> RegionPtr {
    let mapped = with(|pmem| {
        let mapped = pmem.map(arena.id(), region.id())?;
        Ok((mapped, pmem.start_of(mapped)?.1))
    });
    let Ok((mapped, start)) = mapped else { return RegionPtr::NULL };
    // SAFETY: the caller's.
    unsafe { store(paddr, start as Paddr) };
    mapped.into()
}

/// Maps a region into an arena, where it is wanted.
///
/// # Safety
/// `paddr` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_map_at(
    arena: ArenaPtr,
    region: RegionPtr,
    start: Paddr,
    end: Paddr,
    align: usize,
    paddr: *mut Paddr,
) -> RegionPtr {
    let mapped = with(|pmem| {
        let spot = Spot::within(range(start, end)?).align(align.max(1) as u64);
        let mapped = pmem.map_at(arena.id(), region.id(), spot)?;
        Ok((mapped, pmem.start_of(mapped)?.1))
    });
    let Ok((mapped, start)) = mapped else { return RegionPtr::NULL };
    // SAFETY: the caller's.
    unsafe { store(paddr, start as Paddr) };
    mapped.into()
}

/// Removes a mapping.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_unmap(region: RegionPtr) -> c_int {
    pmem_decref(region)
}

/// Says where a region is.
///
/// # Safety
/// `arena`, `first` and `last` are null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_where(
    region: RegionPtr,
    arena: *mut ArenaPtr,
    first: *mut Paddr,
    last: *mut Paddr,
) -> c_int {
    let found = with(|pmem| Ok((pmem.placement(region.id())?.arena, pmem.range_of(region.id())?)));
    match found {
        Err(errno) => errno,
        Ok((id, range)) => {
            // SAFETY: the caller's.
            unsafe {
                store(arena, id.into());
                store(first, range.start() as Paddr);
                store(last, range.last() as Paddr);
            }
            0
        }
    }
}

/// Moves a region.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_relocate(region: RegionPtr, start: Paddr) -> c_int {
    status(with(|pmem| pmem.relocate(region.id(), start as u64)))
}

/// A pointer that is none.
const fn null<T>() -> *mut T {
    ptr::null_mut()
}
