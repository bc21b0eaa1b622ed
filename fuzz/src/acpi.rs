//! DMAR and IVRS of bytes that libFuzzer makes up: `cargo xtask fuzz`.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use pmem_iommu::acpi::{Dmar, Ivrs};

fuzz_target!(|data: &[u8]| {
    // Most bytes are no table: those of either kind begin as one.
    let mut named = data.to_vec();
    if let Some(name) = named.get_mut(..4) {
        name.copy_from_slice(if data[0] & 1 == 0 { b"DMAR" } else { b"IVRS" });
    }
    for bytes in [data, &named] {
        if let Ok(table) = Dmar::decode(bytes) {
            assert!(table.units().chain(table.units()).all(|unit| unit.last() >= unit.base));
            let _ = table.reserved().count();
        }
        if let Ok(table) = Ivrs::decode(bytes) {
            for unit in table.units() {
                let _ = unit.requesters();
            }
            let _ = (table.virtual_width(), table.physical_width(), table.guest_width());
            let _ = table.memory().filter_map(|block| block.pages()).count();
        }
    }
});
