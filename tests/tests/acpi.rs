//! ACPI's tables: what another writer writes is read, what firmware of real machines says, and what is broken is said with its offset.

use acpi_tables::Aml;
use acpi_tables::cedt::{
    CEDT, CxlFixedMemory, InterleaveArithmetic, InterleaveGranularity, InterleaveWays, XorInterleaveMath,
};
use acpi_tables::hmat::{
    DataType, HMAT, LocalityType, MemoryProximityDomain, MinTransferSize, SystemLocality,
};
use acpi_tables::madt::{IoApic, LocalInterruptController, MADT};
use acpi_tables::mcfg::MCFG;
use acpi_tables::slit::SLIT;
use acpi_tables::srat::{MemoryAffinity, SRAT};
use pmem_import::acpi::{
    self, AcpiTable, Affinity, Cedt, Hmat, InitiatorKind, Madt, Mcfg, Quantity, Slit, Srat,
};
use pmem_import::{Machine, Sources};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const OEM: ([u8; 6], [u8; 8], u32) = (*b"PMEM  ", *b"PMEMTEST", 1);

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut out = Vec::new();
    table.to_aml_bytes(&mut out);
    out
}

/// The same table of another revision.
fn revised(mut table: Vec<u8>, revision: u8) -> Vec<u8> {
    table[9] = table[9].wrapping_add(table[8]).wrapping_sub(revision);
    table[8] = revision;
    table
}

/// Reads a table in which nothing may be wrong.
fn read<T>(bytes: &[u8], decode: impl Fn(&mut AcpiTable<'_>) -> T) -> T {
    let mut table = AcpiTable::open(bytes).unwrap();
    let read = decode(&mut table);
    assert_eq!(table.faults, []);
    read
}

proptest! {
    #[test]
    fn srat_is_read_as_it_was_written(
        entries in prop::collection::vec((any::<u32>(), any::<u64>(), any::<u64>(), any::<[bool; 3]>()), 0..20)
    ) {
        let mut table = SRAT::new(OEM.0, OEM.1, OEM.2);
        for (domain, base, length, [enabled, hot_plug, persistent]) in &entries {
            let mut entry = MemoryAffinity::new(*domain, *base, *length);
            entry = if *enabled { entry.enabled() } else { entry };
            entry = if *hot_plug { entry.hotpluggable() } else { entry };
            table.add_memory_affinity(if *persistent { entry.nonvolatile() } else { entry });
        }
        // The writer says that it is the first revision, whose domains have one byte.
        let first = bytes(&table);
        let narrow = read(&first, Srat::decode);
        prop_assert!(narrow.memory.iter().zip(&entries).all(|(one, (domain, ..))| one.domain == domain & 0xff));
        let read = read(&revised(first, 3), Srat::decode);
        let found: Vec<_> = read
            .memory
            .iter()
            .map(|one| (one.domain, one.base, one.length, [one.enabled, one.hot_plug, one.is_persistent]))
            .collect();
        prop_assert_eq!(found, entries);
    }

    #[test]
    fn slit_is_read_as_it_was_written(n in 1..12usize, cells in prop::collection::vec(11u8..=255, 144)) {
        let mut table = SLIT::new(OEM.0, OEM.1, OEM.2, n as u32);
        let mut expected = vec![vec![10u8; n]; n];
        for from in 0..n {
            for to in 0..from {
                let distance = cells[from * 12 + to];
                table.set_distance(from, to, distance);
                (expected[from][to], expected[to][from]) = (distance, distance);
            }
        }
        let read = read(&bytes(&table), Slit::decode);
        // What the writer has on the diagonal is its own.
        for (from, (row, expected)) in read.rows.iter().zip(&expected).enumerate() {
            let others = |row: &[u8]| [&row[..from], &row[from + 1..]].concat();
            prop_assert_eq!(others(row), others(expected));
        }
        prop_assert_eq!((read.rows.len(), read.extra), (n, 0));
    }

    #[test]
    fn hmat_is_read_as_it_was_written(
        base in 1..1000u64,
        cells in prop::collection::vec(any::<u16>(), 9),
        (latency, revision) in (any::<bool>(), 1..=2u8),
    ) {
        let mut table = HMAT::new(OEM.0, OEM.1, OEM.2);
        table.add_memory_proximity(MemoryProximityDomain::new(7, 9));
        let kind = if latency { DataType::ReadLatency } else { DataType::WriteBandwidth };
        let mut matrix =
            SystemLocality::new(LocalityType::Memory, kind, MinTransferSize::SizeByteAligned, base, 3, 3);
        (0..3).for_each(|from| matrix.set_initiator_value(from, 10 + from as u32));
        (0..3).for_each(|to| matrix.set_target_value(to, 20 + to as u32));
        (0..9).for_each(|n| matrix.set_entry_value(n / 3, n % 3, cells[n]));
        table.add_system_locality(matrix);
        // Latencies of the first revision are in tenths of nanoseconds.
        let scale = if latency && revision == 1 { 100 } else { 1 };
        let read = read(&revised(bytes(&table), revision), Hmat::decode);
        prop_assert_eq!((read.attached[0].initiator, read.attached[0].memory), (Some(7), 9));
        let found = &read.localities[0];
        prop_assert_eq!(found.quantity, if latency { Quantity::ReadLatency } else { Quantity::WriteBandwidth });
        for (n, cell) in cells.iter().enumerate() {
            // Neither 0 nor 0xffff is a value.
            let expected = (*cell != 0 && *cell != 0xffff).then(|| u64::from(*cell) * base * scale);
            prop_assert_eq!(found.get(10 + n as u32 / 3, 20 + n as u32 % 3), expected);
        }
    }

    /// Whatever is done to a table's bytes, what is read lies inside it, and nothing panics.
    #[test]
    fn broken_tables_are_said_to_be_broken(at in 0..400usize, value in any::<u8>(), cut in 0..400usize) {
        let mut table = SRAT::new(OEM.0, OEM.1, OEM.2);
        (0..8).for_each(|n| table.add_memory_affinity(MemoryAffinity::new(n, u64::from(n) << 30, 1 << 30).enabled()));
        let whole = bytes(&table);
        let mut broken = whole.clone();
        let at = 4 + at % (broken.len() - 4);
        let changed = broken[at] != value;
        broken[at] = value;
        if let Some(mut table) = AcpiTable::open(&broken) {
            let read = Srat::decode(&mut table);
            prop_assert!(read.memory.len() <= 8);
            // Bytes that add up no more are noticed.
            prop_assert!(!changed || !table.faults.is_empty());
        }
        let cut = cut % whole.len();
        if let Some(mut table) = AcpiTable::open(&whole[..cut]) {
            let read = Srat::decode(&mut table);
            let expected = cut.saturating_sub(48) / 40;
            prop_assert_eq!(read.memory.len(), expected);
            prop_assert!(table.faults[0].what.contains("truncated"));
        }
    }
}

/// Host bridges are in QEMU's table below: this writer leaves out five bytes of them.
#[test]
fn cxl_s_table_is_read_as_it_was_written() {
    let ways = [
        (InterleaveWays::Ways1, 1u8),
        (InterleaveWays::Ways2, 2),
        (InterleaveWays::Ways3, 3),
        (InterleaveWays::Ways4, 4),
        (InterleaveWays::Ways6, 6),
        (InterleaveWays::Ways8, 8),
        (InterleaveWays::Ways12, 12),
        (InterleaveWays::Ways16, 16),
    ];
    let granularities = [
        (InterleaveGranularity::Granularity256b, 256u32),
        (InterleaveGranularity::Granularity512b, 512),
        (InterleaveGranularity::Granularity1kb, 1024),
        (InterleaveGranularity::Granularity2kb, 2048),
        (InterleaveGranularity::Granularity4kb, 4096),
        (InterleaveGranularity::Granularity8kb, 8192),
        (InterleaveGranularity::Granularity16kb, 16384),
    ];
    for (code, count) in ways {
        for (granularity, size) in granularities {
            for (arithmetic, is_xor) in
                [(InterleaveArithmetic::Modulo, false), (InterleaveArithmetic::ModuloXor, true)]
            {
                let mut table = CEDT::new(OEM.0, OEM.1, OEM.2);
                let mut window = CxlFixedMemory::new(1 << 36, 3 << 30, arithmetic, granularity, code, 9);
                (0..count).for_each(|n| window.add_target(u32::from(n).to_le_bytes()));
                table.add_fixed_memory(window);
                let mut maps = XorInterleaveMath::new(granularity);
                maps.add_xormap(0x2010_0100);
                table.add_xor_interleave_math(maps);
                let read = read(&bytes(&table), Cedt::decode);
                let found = &read.windows[0];
                assert_eq!((found.base, found.size, found.qos), (1 << 36, 3 << 30, 9));
                assert_eq!((found.ways, found.granularity, found.is_xor), (Some(count), Some(size), is_xor));
                assert_eq!(found.targets, (0..u32::from(count)).collect::<Vec<_>>());
                assert_eq!(
                    (read.maps[0].granularity, &read.maps[0].maps[..]),
                    (Some(size), &[0x2010_0100][..])
                );
            }
        }
    }
}

#[test]
fn other_tables_are_read_as_they_were_written() {
    let mut table = MCFG::new(OEM.0, OEM.1, OEM.2);
    table.add_ecam(0xe000_0000, 0, 0, 255);
    table.add_ecam(0x10_0000_0000, 3, 16, 31);
    let spaces = read(&bytes(&table), Mcfg::decode).entries;
    // The base is bus 0's, whatever the first bus.
    assert_eq!(spaces[0].addresses(), Some((0xe000_0000, 0xefff_ffff)));
    assert_eq!((spaces[1].segment, spaces[1].addresses()), (3, Some((0x10_0100_0000, 0x10_01ff_ffff))));
    let mut table = MADT::new(OEM.0, OEM.1, OEM.2, LocalInterruptController::Address(0xfee0_0000));
    table.add_structure(IoApic::new(8, 0xfec0_0000, 0));
    table.add_structure(IoApic::new(9, 0xfec0_1000, 24));
    let found = read(&bytes(&table), Madt::decode).io_apics;
    assert_eq!(
        found.iter().map(|one| (one.id, one.address, one.first)).collect::<Vec<_>>(),
        [(8, 0xfec0_0000, 0), (9, 0xfec0_1000, 24)]
    );
}

fn tables(dir: &Path, name: &str) -> Vec<u8> {
    std::fs::read(dir.join(name)).unwrap_or_else(|error| panic!("{}: {error}", dir.join(name).display()))
}

fn machine(dir: &Path) -> Machine {
    Machine::read(&mut Sources::open(&[dir.to_owned()]).unwrap()).unwrap()
}

/// What real firmware says (notes of the machines: linuxhw/ACPI, QEMU's own tests).
#[test]
fn tables_of_real_machines_say_what_is_known_of_them() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    let dir = |name: &str| corpus.join("acpi").join(name);

    // Domains 1 to 4, and five localities; six of ten entries are not enabled.
    let r820 = dir("Dell_PowerEdge_PowerEdge_R820_E5985CCBA349");
    let srat = read(&tables(&r820, "srat.dat"), Srat::decode);
    let (used, unused): (Vec<Affinity>, Vec<Affinity>) = srat.memory.iter().partition(|one| one.enabled);
    assert_eq!((used.len(), unused.len()), (4, 6));
    assert_eq!(used.iter().map(|one| one.domain).collect::<BTreeSet<_>>(), BTreeSet::from([1, 2, 3, 4]));
    assert_eq!(read(&tables(&r820, "slit.dat"), Slit::decode).rows.len(), 5);
    let found = machine(&r820);
    assert_eq!(found.distances().columns, [0, 1, 2, 3]);

    // Node 1 lies on both sides of the PCI hole.
    let dl165 = read(
        &tables(&dir("Hewlett-Packard_ProLiant_ProLiant_DL165_G7_1979FBF2D488"), "srat.dat"),
        Srat::decode,
    );
    let mut sides: BTreeMap<u32, [bool; 2]> = BTreeMap::new();
    for one in dl165.memory.iter().filter(|one| one.enabled && one.length > 0) {
        let sides = sides.entry(one.domain).or_default();
        sides[usize::from(one.base >= 1 << 32)] = true;
    }
    assert_eq!(sides.get(&1), Some(&[true, true]), "{sides:?}");

    // CPUs in four domains, memory in two.
    let h8dgu = read(&tables(&dir("Supermicro_H8_H8DGU_57ED146F2C3C"), "srat.dat"), Srat::decode);
    let cpus: BTreeSet<u32> = h8dgu
        .initiators
        .iter()
        .filter(|one| one.enabled && matches!(one.what, InitiatorKind::Processor(_)))
        .map(|one| one.domain)
        .collect();
    let with: BTreeSet<u32> =
        h8dgu.memory.iter().filter(|one| one.enabled && one.length > 0).map(|one| one.domain).collect();
    assert_eq!((cpus, with), (BTreeSet::from([0, 1, 2, 3]), BTreeSet::from([0, 3])));

    // SLIT is what Linux shows of the same machine.
    let h8qg6 = read(&tables(&dir("Supermicro_H8_H8QG6_58E82626C3C5"), "slit.dat"), Slit::decode);
    let live = machine(&corpus.join("machines/supermicro-h8qg6-4xOpteron-8node"));
    for (from, row) in h8qg6.rows.iter().enumerate() {
        for (to, distance) in row.iter().enumerate() {
            assert_eq!(
                live.distances().get(from as u32, to as u32),
                Some(u32::from(*distance)),
                "{from} to {to}"
            );
        }
    }

    // Two host bridges, and windows of one and of two ways.
    let cxl = read(&tables(&dir("qemu-x86/q35"), "CEDT.cxl"), Cedt::decode);
    let bridges: Vec<_> = cxl.bridges.iter().map(|one| (one.uid, one.base, one.length)).collect();
    assert_eq!(bridges, [(222, 0x1_0000_0000, 0x1_0000), (12, 0x1_0001_0000, 0x1_0000)]);
    let windows: Vec<_> =
        cxl.windows.iter().map(|one| (one.base, one.size, one.ways, one.targets.clone())).collect();
    assert_eq!(
        windows,
        [(0x1_1000_0000, 4 << 30, Some(1), vec![12]), (0x2_1000_0000, 4 << 30, Some(2), vec![12, 222])]
    );
    assert_eq!(cxl.windows[1].granularity, Some(8192));
}

/// Every table that there is decodes, without a fault but those that it has.
#[test]
fn every_table_of_the_corpus_is_read() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    let mut stack = vec![corpus.join("acpi")];
    let mut count = 0;
    while let Some(dir) = stack.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                stack.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let found = acpi::tables(&bytes);
            assert_eq!(
                found.iter().map(|table| table.bytes.len()).sum::<usize>(),
                bytes.len(),
                "{}",
                path.display()
            );
            for mut table in found {
                let records = match &table.signature {
                    b"SRAT" => Srat::decode(&mut table).memory.len(),
                    b"SLIT" => Slit::decode(&mut table).rows.len(),
                    b"HMAT" => Hmat::decode(&mut table).localities.len(),
                    b"CEDT" => Cedt::decode(&mut table).bridges.len() + 1,
                    b"MCFG" => Mcfg::decode(&mut table).entries.len(),
                    b"APIC" => Madt::decode(&mut table).io_apics.len(),
                    _ => 1,
                };
                assert!(records > 0, "{}", path.display());
                assert_eq!(table.faults, [], "{}", path.display());
                count += 1;
            }
        }
    }
    assert!(count >= 30, "{count}");
}
