//! Mappings for interconnects.

use super::{Paddr, null, range};
use crate::failure::{EINVAL, fail, failed};
use pmem_core::{Error, Mapping, Table, Window, Windows};

/// `pmem_mapping_t`; null is the identity mapping.
pub type MappingPtr = *mut Mapping;

fn made(mapping: Result<Mapping, Error>) -> MappingPtr {
    match mapping {
        Ok(mapping) => Box::into_raw(Box::new(mapping)),
        Err(error) => {
            failed(&error);
            null()
        }
    }
}

/// Makes a fixed window: `start..end` leads to `to` and what follows.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_mapping_window(start: Paddr, end: Paddr, to: Paddr) -> MappingPtr {
    made(range(start, end).and_then(|input| Ok(Mapping::window(input, to as u64)?)))
}

/// Makes a bridge's window, which opens as regions are mapped through it.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_mapping_bridge(start: Paddr, end: Paddr, granule: usize) -> MappingPtr {
    let window = |limit| Ok(Windows::new([Window::floating(limit, granule as u64)?])?);
    made(range(start, end).and_then(window).map(Mapping::Windows))
}

/// Makes a translation table.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_mapping_table(start: Paddr, end: Paddr, page: usize) -> MappingPtr {
    made(range(start, end).and_then(|input| Ok(Table::new(input, page as u64)?)).map(Mapping::Table))
}

/// Frees a mapping.
///
/// # Safety
/// `mapping` is null, or came from this interface and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_mapping_free(mapping: MappingPtr) {
    if mapping.is_null() {
        fail(EINVAL, "pmem_mapping_identity is NULL and must not be freed");
        return;
    }
    // SAFETY: `mapping` is not null, so the caller guarantees that it came from `made` and was not freed.
    drop(unsafe { Box::from_raw(mapping) });
}
