//! ACPI tables made of fuzzed bytes: `cargo xtask fuzz`.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use pmem_import::acpi::{Cdat, Cedt, Hmat, Madt, Mcfg, Slit, Srat, tables};
use pmem_iommu::acpi::{Dmar, Ivrs};

const NAMES: [&[u8; 4]; 8] = [b"DMAR", b"IVRS", b"SRAT", b"SLIT", b"HMAT", b"CEDT", b"MCFG", b"APIC"];

fn iommu(bytes: &[u8]) {
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

fn others(bytes: &[u8]) {
    let mut end = 0;
    for mut table in tables(bytes) {
        // Tables follow each other, and none ends beyond the input.
        assert_eq!(table.at, end);
        end += table.bytes.len();
        assert!(end <= bytes.len());
        let len = table.bytes.len();
        match &table.signature {
            b"SRAT" => {
                let read = Srat::decode(&mut table);
                assert!(read.memory.iter().all(|found| found.offset + 40 <= len));
            }
            b"SLIT" => {
                let read = Slit::decode(&mut table);
                assert!(read.rows.iter().all(|row| row.len() as u64 == read.count));
            }
            b"HMAT" => {
                let read = Hmat::decode(&mut table);
                let is_whole = |matrix: &pmem_import::acpi::Locality| {
                    matrix.values.len() == matrix.initiators.len() * matrix.targets.len()
                };
                assert!(read.localities.iter().all(is_whole));
            }
            b"CEDT" => {
                let read = Cedt::decode(&mut table);
                assert!(read.windows.iter().all(|window| window.targets.len() <= 16));
            }
            b"MCFG" => {
                let read = Mcfg::decode(&mut table);
                let _ = read.entries.iter().filter_map(|entry| entry.addresses()).count();
            }
            _ => drop(Madt::decode(&mut table)),
        }
        assert!(table.faults.iter().all(|fault| fault.offset <= len.max(44)), "{:?}", table.faults);
    }
    let _ = Cdat::decode(bytes);
}

fuzz_target!(|data: &[u8]| {
    // Random bytes are rarely a table, so each kind starts from a valid header with the right length.
    let Some((kind, rest)) = data.split_first() else { return };
    let mut named = rest.to_vec();
    let length = u32::try_from(rest.len()).unwrap_or(0);
    if let Some(head) = named.get_mut(..8) {
        head[..4].copy_from_slice(NAMES[usize::from(kind & 7)]);
        if kind & 8 == 0 {
            head[4..].copy_from_slice(&length.to_le_bytes());
        }
    }
    for bytes in [data, &named] {
        iommu(bytes);
        others(bytes);
    }
});
