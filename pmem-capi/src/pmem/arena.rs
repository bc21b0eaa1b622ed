//! Arenas, their contents, and the meaning of their addresses.

use super::{ArenaPtr, Paddr, attrs, range, status, store, with};
use crate::failure::{EINVAL, ENOENT, fail};
use pmem_core::{ArenaType, Error};
use std::ffi::{CStr, c_char, c_int, c_uint};

/// Makes an arena.
///
/// # Safety
/// `name` is null or points to a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_create(name: *const c_char, kind: c_uint) -> ArenaPtr {
    // SAFETY: `name` is not null, so the caller guarantees that it points to a string.
    let name = if name.is_null() { c"" } else { unsafe { CStr::from_ptr(name) } };
    let name = name.to_string_lossy().into_owned();
    let Some(kind) = kind.try_into().ok().and_then(ArenaType::from_bits) else {
        fail(EINVAL, format!("unknown arena type bits: {kind:#x}"));
        return ArenaPtr::NULL;
    };
    with(|pmem| pmem.create_arena(name, kind)).map_or(ArenaPtr::NULL, ArenaPtr::from)
}

/// Removes an arena.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_remove(arena: ArenaPtr) -> c_int {
    status(with(|pmem| pmem.remove_arena(arena.id())))
}

/// Primes an arena with addresses.
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

/// Removes a range from an arena.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_unprime(arena: ArenaPtr, start: Paddr, end: Paddr) -> c_int {
    status(with(|pmem| pmem.unprime(arena.id(), range(start, end)?)))
}

/// Seals a range: nothing more is allocated in it.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_seal(arena: ArenaPtr, start: Paddr, end: Paddr) -> c_int {
    status(with(|pmem| pmem.seal(arena.id(), range(start, end)?)))
}

/// Unseals a range, so that it can be allocated again.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_unseal(arena: ArenaPtr, start: Paddr, end: Paddr) -> c_int {
    status(with(|pmem| pmem.unseal(arena.id(), range(start, end)?)))
}

/// Resolves an address as an arena sees it.
///
/// # Safety
/// `place` and `there` are null or valid for writes.
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
        Ok(None) => fail(ENOENT, format!("no arena claims {addr:#x}, or more than one does")),
        Ok(Some((arena, addr))) => {
            // SAFETY: the caller guarantees that both are null or valid for writes.
            unsafe {
                store(place, arena.into());
                store(there, addr as Paddr);
            }
            0
        }
    }
}
