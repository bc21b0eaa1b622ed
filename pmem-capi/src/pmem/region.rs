//! Regions and their mappings.

use super::{ArenaPtr, Paddr, RegionPtr, attrs, range, status, store, with};
use crate::failure::{EBUSY, fail};
use pmem_core::{Constraints, Metric, Released, Request};
use std::ffi::{c_int, c_uint};

/// Allocates a region.
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

/// Reads a region's effective attributes.
///
/// # Safety
/// `prot`, `props` and `usage` are null or valid for writes.
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
            // SAFETY: the caller guarantees that all three are null or valid for writes.
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

/// Adds a reference.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_incref(region: RegionPtr) -> c_int {
    status(with(|pmem| pmem.incref(region.id())))
}

/// Drops a reference.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_decref(region: RegionPtr) -> c_int {
    match with(|pmem| pmem.decref(region.id())) {
        Ok(Released::Condemned { by }) => {
            fail(EBUSY, format!("{by} still uses the region; it will be released later"))
        }
        Ok(_) => 0,
        Err(errno) => errno,
    }
}

/// Maps a region into an arena.
///
/// # Safety
/// `paddr` is null or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_map(arena: ArenaPtr, region: RegionPtr, paddr: *mut Paddr) -> RegionPtr {
    let mapped = with(|pmem| {
        let mapped = pmem.map(arena.id(), region.id())?;
        Ok((mapped, pmem.start(mapped)?.1))
    });
    let Ok((mapped, start)) = mapped else { return RegionPtr::NULL };
    // SAFETY: the caller guarantees that `paddr` is null or valid for writes.
    unsafe { store(paddr, start as Paddr) };
    mapped.into()
}

/// Maps a region into an arena, inside `start..end` there and aligned.
///
/// # Safety
/// `paddr` is null or valid for writes.
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
        let spot = Constraints::within(range(start, end)?).align(align.max(1) as u64);
        let mapped = pmem.map_at(arena.id(), region.id(), spot)?;
        Ok((mapped, pmem.start(mapped)?.1))
    });
    let Ok((mapped, start)) = mapped else { return RegionPtr::NULL };
    // SAFETY: the caller guarantees that `paddr` is null or valid for writes.
    unsafe { store(paddr, start as Paddr) };
    mapped.into()
}

/// Removes a mapping.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_unmap(region: RegionPtr) -> c_int {
    pmem_decref(region)
}

/// Reads where a region is: its arena, and its first and last address there.
///
/// # Safety
/// `arena`, `first` and `last` are null or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_where(
    region: RegionPtr,
    arena: *mut ArenaPtr,
    first: *mut Paddr,
    last: *mut Paddr,
) -> c_int {
    let found = with(|pmem| Ok((pmem.placement(region.id())?.arena, pmem.range(region.id())?)));
    match found {
        Err(errno) => errno,
        Ok((id, range)) => {
            // SAFETY: the caller guarantees that all three are null or valid for writes.
            unsafe {
                store(arena, id.into());
                store(first, range.start() as Paddr);
                store(last, range.last() as Paddr);
            }
            0
        }
    }
}

/// Moves a region to another start address.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_relocate(region: RegionPtr, start: Paddr) -> c_int {
    status(with(|pmem| pmem.relocate(region.id(), start as u64)))
}
