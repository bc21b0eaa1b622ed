//! Host bridges whose bus addresses are not the CPU's.

use pmem_pci::BusRange;
use pmem_pci::tree::{Aperture, Root, Space};

fn sized(first: u64, len: u64) -> BusRange {
    BusRange::sized(first, len).unwrap()
}

/// 1 GiB at 0x4000_0000 for the CPU at 0x60_0000_0000; 1 GiB at 0x8000_0000 for the CPU at the same address.
fn root() -> Root {
    let memory = |first, cpu| Aperture { space: Space::Memory, span: sized(first, 1 << 30), cpu };
    let apertures = vec![memory(0x4000_0000, 0x60_0000_0000), memory(0x8000_0000, 0x8000_0000)];
    Root { segment: 0, buses: (0, 255), apertures }
}

#[test]
fn addresses_in_an_aperture_go_by_its_offset_both_ways() {
    let root = root();
    for (bus, cpu) in
        [(0x4000_0000, 0x60_0000_0000), (0x7fff_f000, 0x60_3fff_f000), (0x9000_0000, 0x9000_0000)]
    {
        assert_eq!(root.to_cpu(Space::Memory, sized(bus, 0x1000)), Some(sized(cpu, 0x1000)));
        assert_eq!(root.to_bus(Space::Memory, sized(cpu, 0x1000)), Some(sized(bus, 0x1000)));
    }
}

#[test]
fn addresses_outside_all_apertures_go_by_the_common_offset_if_there_is_one() {
    let mut root = root();
    let outside = sized(0x1000, 0x1000);
    assert_eq!(root.to_bus(Space::Memory, outside), Some(outside));
    assert_eq!(root.to_cpu(Space::Memory, outside), Some(outside));
    root.apertures.pop();
    let beyond = sized(0x61_0000_0000, 0x1000);
    assert_eq!(root.to_bus(Space::Memory, beyond), Some(sized(0x1_4000_0000, 0x1000)));
    assert_eq!(root.to_cpu(Space::Memory, sized(0x1_4000_0000, 0x1000)), Some(beyond));
}
