//! `pmem.h`: the proposal's functions by their names, over one manager.

mod arena;
mod change;
mod driver;
mod handle;
mod interconnect;
mod mapping;
mod region;

pub use arena::{
    pmem_arena_create, pmem_arena_prime, pmem_arena_remove, pmem_arena_seal, pmem_arena_unprime,
    pmem_arena_unseal, pmem_resolve,
};
pub use driver::{pmem_driver_deregister, pmem_driver_register, pmem_driver_resync, pmem_driver_verify};
pub use handle::{ArenaPtr, DriverPtr, LinkPtr, RegionPtr};
pub use interconnect::{
    pmem_arena_connect, pmem_arena_disconnect, pmem_interconnect_set_floor, pmem_interconnect_set_metric,
};
pub use mapping::{
    MappingPtr, pmem_mapping_bridge, pmem_mapping_free, pmem_mapping_table, pmem_mapping_window,
};
pub use region::{
    pmem_alloc, pmem_decref, pmem_get, pmem_incref, pmem_map, pmem_map_at, pmem_relocate, pmem_set,
    pmem_unmap, pmem_where,
};

use crate::failure::{EDEADLK, EINVAL, fail, failed};
use crate::memory;
use pmem_core::{AddrRange, Attrs, Error, Manager, Props, Prot, Usage};
use std::cell::Cell;
use std::ffi::{c_int, c_uint};
use std::ptr;
use std::sync::{LazyLock, Mutex, PoisonError};

/// `paddr_t`.
type Paddr = usize;

static MANAGER: LazyLock<Mutex<Manager>> = LazyLock::new(Mutex::default);

thread_local! {
    /// Whether this thread is in a call to the manager. A driver's callback that makes another would wait for itself.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Calls `run` with the manager. On failure, stores the message and returns the error number.
pub(crate) fn with<T>(run: impl FnOnce(&mut Manager) -> Result<T, Error>) -> Result<T, c_int> {
    // The manager's driver may be waiting for the memory that this thread has, so this thread must not wait for the
    // manager.
    if BUSY.get() || memory::is_here() {
        return Err(fail(
            EDEADLK,
            "not allowed in a callback, nor between pmem_get_online_mems() and pmem_put_online_mems()",
        ));
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

/// Makes the range `start..end`, where an end of 0 means 2^64.
fn range(start: Paddr, end: Paddr) -> Result<AddrRange, Error> {
    let range = match end {
        0 => AddrRange::inclusive(start as u64, u64::MAX),
        end => AddrRange::new(start as u64, end as u64),
    };
    Ok(range?)
}

/// Converts attributes from C. Bits without a meaning are refused.
fn attrs(usage: c_uint, prot: c_uint, props: c_uint) -> Result<Attrs, c_int> {
    let bad = |what: &str, bits: c_uint| fail(EINVAL, format!("unknown {what} bits: {bits:#x}"));
    let byte = |bits: c_uint, what: &str| u8::try_from(bits).map_err(|_| bad(what, bits));
    let usage = Usage::from_bits(byte(usage, "usage")?).ok_or_else(|| bad("usage", usage))?;
    let prot = Prot::from_bits(byte(prot, "protection")?).ok_or_else(|| bad("protection", prot))?;
    let props = Props::from_bits(byte(props, "property")?).ok_or_else(|| bad("property", props))?;
    Attrs::new(usage, prot, props).map_err(|error| fail(EINVAL, error))
}

/// Writes a result if the caller wants it.
///
/// # Safety
/// `to` is null or valid for writes.
unsafe fn store<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: `to` is not null, so the caller guarantees that it is valid for writes.
        unsafe { to.write(value) };
    }
}

/// The null pointer.
const fn null<T>() -> *mut T {
    ptr::null_mut()
}
