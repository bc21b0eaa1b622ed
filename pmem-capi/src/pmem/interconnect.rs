//! Interconnects between arenas.

use super::{ArenaPtr, LinkPtr, MappingPtr, Paddr, range, status, with};
use pmem_core::{Mapping, Metric, Way};
use std::ffi::c_int;

/// Connects two arenas.
///
/// # Safety
/// `mapping` is null, or came from this interface and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_connect(
    left: ArenaPtr,
    right: ArenaPtr,
    mapping: MappingPtr,
    metric: u32,
) -> LinkPtr {
    // SAFETY: the caller guarantees that `mapping` is null or points to a mapping.
    let mapping = unsafe { mapping.as_ref() }.cloned().unwrap_or(Mapping::Identity);
    let linked = with(|pmem| pmem.connect(left.id(), right.id(), mapping, Metric::new(metric)));
    linked.map_or(LinkPtr::NULL, LinkPtr::from)
}

/// Disconnects two arenas.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_disconnect(link: LinkPtr) -> c_int {
    status(with(|pmem| pmem.disconnect(link.id())))
}

/// Sets what a bridge's window covers even when nothing goes through it. An empty range removes the floor.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_interconnect_set_floor(link: LinkPtr, start: Paddr, end: Paddr) -> c_int {
    status(with(|pmem| {
        let floor = if start == end { None } else { Some(range(start, end)?) };
        pmem.set_floor(link.id(), Way::ToRight, 0, floor)
    }))
}

/// Sets the cost of crossing an interconnect in one direction.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_interconnect_set_metric(link: LinkPtr, to_left: c_int, metric: u32) -> c_int {
    let way = if to_left == 0 { Way::ToRight } else { Way::ToLeft };
    status(with(|pmem| pmem.set_metric(link.id(), way, Metric::new(metric))))
}
