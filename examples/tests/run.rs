//! Runs every example, and looks at what it says.

#[path = "../numa_pci.rs"]
#[expect(dead_code, reason = "a program's own main is not called here")]
mod numa_pci;

#[path = "../boot_map.rs"]
#[expect(dead_code, reason = "a program's own main is not called here")]
mod boot_map;

#[path = "../memory_hotplug.rs"]
#[expect(dead_code, reason = "a program's own main is not called here")]
mod memory_hotplug;

#[path = "../mmio_allocator.rs"]
#[expect(dead_code, reason = "a program's own main is not called here")]
mod mmio_allocator;

#[path = "../vmm_bar_swap.rs"]
#[expect(dead_code, reason = "a program's own main is not called here")]
mod vmm_bar_swap;

#[path = "../write_combining.rs"]
#[expect(dead_code, reason = "a program's own main is not called here")]
mod write_combining;

#[path = "../hotplug_card.rs"]
#[expect(dead_code, reason = "a program's own main is not called here")]
mod hotplug_card;

#[path = "../vmm_bar_move.rs"]
#[expect(dead_code, reason = "a program's own main is not called here")]
mod vmm_bar_move;

#[path = "../iommu_dma.rs"]
#[expect(dead_code, reason = "a program's own main is not called here")]
mod iommu_dma;

#[path = "../bad_ram.rs"]
#[expect(dead_code, reason = "a program's own main is not called here")]
mod bad_ram;

#[path = "../elan_sc520.rs"]
#[expect(dead_code, reason = "a program's own main is not called here")]
mod elan_sc520;

#[path = "../cluster.rs"]
#[expect(dead_code, reason = "a program's own main is not called here")]
mod cluster;

#[path = "../cxl_interleave.rs"]
#[expect(dead_code, reason = "a program's own main is not called here")]
mod cxl_interleave;

#[path = "../acpi_topology.rs"]
#[expect(dead_code, reason = "a program's own main is not called here")]
mod acpi_topology;

#[test]
fn cxl_interleave() {
    let out = cxl_interleave::run().unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[2], "0x1000002abc is 0xabc of mem2", "the third piece, at its beginning there");
    assert_eq!(lines[4], "0x1000004000 is 0x1000 of mem0", "the fifth piece is the first device's second");
    assert_eq!(lines[6], "behind the window: nothing");
    // Piece 0x50 of the third of four: 4 * 0x50 + 2 = 0x142.
    assert_eq!(lines[7], "0x50040..0x50080 of mem2 is 0x1000142040..0x1000142080 of the host");
    assert!(lines[8].ends_with("is dealt to 4 devices"), "{out}");
}

#[test]
fn acpi_topology() {
    let stored = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/machines/qemu-cxl.tar.gz");
    let out = acpi_topology::run(&stored).unwrap();
    for line in [
        "node 1: 2 CPUs, memory at 0x20000000..0x3ffe0000",
        "from node 0: 10 21",
        "CXL window 0x310000000..0x510000000: 2 ways, host bridges [52, 222]",
        "node 1 to node 0: 0x1000 costs 21",
    ] {
        assert!(out.lines().any(|said| said == line), "{line}: {out}");
    }
    assert!(!out.contains("odd"), "{out}");
}

#[test]
fn iommu_dma() {
    let out = iommu_dma::run().unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "the ring at 0x0..0x4000 is 0x1000 for the card", "address 0 is given to nobody");
    assert_eq!(lines[3..5], ["writes 0x5000: refused", "reads  0x101000: refused"]);
    assert!(lines[5].starts_with("the unit says: 3b:00.0 0x5000, 0x05"), "{out}");
    assert_eq!(lines[7..9], ["writes 0x1010: memory at 0x100100010", "writes 0x1010: refused"]);
    assert!(lines[9].ends_with("overlaps region interrupts at 0xfee00000..0xfef00000"), "{out}");
    assert!(lines[10].ends_with("overlaps region peers' window at 0xe0000000..0xf0000000"), "{out}");
}

#[test]
fn bad_ram() {
    let out = bad_ram::run().unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[1], "what was in page 0x8 is in page 0x9");
    assert_eq!(lines[4], "0x3000..0x4000 is bad, held by owner 7 of 0x0..0x8000");
    assert_eq!(lines[7], "244 pages are handed out, 0 of them bad; 3 are retired");
}

#[test]
fn elan_sc520() {
    let out = elan_sc520::run().unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "taken over with 0 writes");
    for says in [
        "0x345fff: sdram no-write",
        "0x346000: sdram no-execute",
        "0x400000: sdram",
        "0x800000: sdram no-cache,no-execute",
        "0x3ff00000: bootcs no-write",
        "0x30000000: pci",
    ] {
        assert!(lines.contains(&says), "{says}: {out}");
    }
    assert!(lines.last().unwrap().ends_with("has 16"), "{out}");
}

#[test]
fn cluster() {
    let out = cluster::run().unwrap();
    let lines: Vec<&str> = out.lines().collect();
    let of = |start: &str| *lines.iter().find(|line| line.starts_with(start)).unwrap();
    assert!(of("local, 512").ends_with("memory of one node0"), "{out}");
    assert!(of("near, 1024").ends_with("memory of one node1"), "{out}");
    assert!(of("remote, 1024 MiB for at most 21").contains("no space"), "{out}");
    assert!(of("remote, 1024 MiB for at most 110").ends_with("memory of other node0"), "{out}");
    let refused =
        lines.iter().position(|line| line.starts_with("interconnect fabric is still in use by")).unwrap();
    assert_eq!(
        lines[refused + 1..],
        [
            "1024 MiB copied to 0x40000000..0x80000000",
            "768 MiB are given up: no room in this machine",
            "the link is gone; one sees 3 arenas"
        ]
    );
}

#[test]
fn hotplug_card() {
    let out = hotplug_card::run().unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[..2],
        ["taken over with 0 writes", "8 GiB fit at 0x600000000, and 0 functions are stopped"]
    );
    let refused = lines.iter().position(|line| line.starts_with("refused: ")).unwrap();
    assert!(lines[refused].contains("a register did not accept the value written to it"), "{out}");
    assert_eq!(lines[refused + 1], "all is as it was: 3 functions in the model");
    // What was written is what the dry run said.
    assert_eq!(lines[refused + 2], "plugged in; written was");
    assert_eq!(lines[3..refused], lines[refused + 3..]);
    assert_eq!(lines[3], "  0000:00:05.0 0x2c 0x00000005", "the neighbour's window shrinks first");
}

#[test]
fn vmm_bar_move() {
    let out = vmm_bar_move::run().unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines[1].starts_with("refused: ") && lines[1].ends_with("the hypervisor is out of memory"),
        "{out}"
    );
    assert!(lines[2].starts_with("the GPU is still at 0xc0000000..0xc0100000"), "{out}");
    assert_eq!(lines[3], "what was refused can be had: 0xc8000000..0xc8100000");
    assert_eq!(lines[4], "swapped: GPU at 0xc0100000..0xc0200000, NIC at 0xc0000000..0xc0100000");
    assert!(lines[5].starts_with("the NIC sees the GPU at 0xc0100000..0xc0200000; IOMMU "), "{out}");
    assert!(lines[5].ends_with("0xc0100000-0xc01fffff"), "{out}");
    assert!(lines[6].ends_with("all drivers agree with the model"), "{out}");
}

#[test]
fn write_combining() {
    let out = write_combining::run().unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("3 registers, default UC; the fewest with default UC 3, "), "{out}");
    assert_eq!(lines[1], "taken over with 0 writes");
    assert_eq!(lines[2], "CPU 0: wrmsr 0x2ff 0x400");
    assert_eq!(
        lines[3..6],
        ["CPU 0: wrmsr 0x204 0xe0000001", "CPU 0: wrmsr 0x205 0xfff000800", "CPU 0: wrmsr 0x2ff 0xc00"]
    );
    assert!(lines[6].contains("needs 8, has 8 (keeps free 1, at best with default UC 8"), "{out}");
    assert_eq!(lines[7], "released: Type(Uc) at 0xe0000000");
}

#[test]
fn numa_pci() {
    let out = numa_pci::run().unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "BAR at 0x90000000..0x90004000",
            "DMA buffer at 0x40000000..0x40010000",
            "large block at 0x0..0x40000000",
            "the card reaches the buffer at 0x40000000..0x40010000",
            "as the card sees it:",
        ]
    );
    assert!(lines.contains(&"  0x40000000..0x40010000 RAM 1, taken, cost 11"), "{out}");
    assert!(lines.contains(&"  0x0..0x40000000 RAM 0, taken, cost 22"), "{out}");
    assert!(!out.contains("PCI 0"), "the other root complex is not reached by this one: {out}");
}

#[test]
fn mmio_allocator() {
    let out = mmio_allocator::run().unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "NIC at 0xc0000000..0xc0004000, GPU at 0xcf000000..0xd0000000");
    assert!(lines[1].contains("Taken(\"NIC\") at 0xc0000000..0xc0004000"), "{out}");
    assert_eq!(lines[2], "at 0xc0000010: Some(\"NIC\")");
    assert_eq!(lines[3], "disk at 0xc0002000..0xc0003000 once the NIC is gone");
}

#[test]
fn vmm_bar_swap() {
    let out = vmm_bar_swap::run().unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "slots 0xc0000000-0xc00fffff, 0xc0100000-0xc01fffff");
    assert!(lines[1].starts_with("alone: ") && lines[1].contains("overlaps region"), "{out}");
    assert_eq!(lines[2], "swapped: GPU at 0xc0100000..0xc0200000, NIC at 0xc0000000..0xc0100000");
    assert!(lines[3].contains("memory slots failed in install: the hypervisor is out of memory"), "{out}");
    assert_eq!(
        lines[4],
        "GPU still at 0xc0100000..0xc0200000, slots 0xc0000000-0xc00fffff, 0xc0100000-0xc01fffff"
    );
    assert_eq!(
        lines[5],
        "gone on: GPU at 0xc8000000..0xc8100000, slots 0xc0000000-0xc00fffff, 0xc8000000-0xc80fffff"
    );
}

#[test]
fn boot_map() {
    let out = boot_map::run().unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[1], "page table at frame 0x0, heap 0x600..0x1600, DMA buffer 0x10..0x20");
    assert!(lines[2].starts_with("3 segments, ") && lines[2].ends_with(", 256 bad"), "{out}");
    assert_eq!(lines[3], "page 0x2: Object { key: 7, offset: 12288 }");
    assert!(lines[4].starts_with("a huge page at 0x") && lines[4].contains("00..0x"), "{out}");
}

#[test]
fn memory_hotplug() {
    let out = memory_hotplug::run().unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "plugged 0x20000..0x30000: 131072 pages");
    assert_eq!(lines[1], "  MEM_GOING_ONLINE 0x20000..0x30000 node 1");
    let page = lines[3].strip_prefix("page ").and_then(|l| l.strip_suffix(" is on node 1")).expect("a page");
    assert!(page.starts_with("0x200"), "{out}");
    assert_eq!(lines[4], "refused with error 1");
    assert!(
        lines.iter().any(|l| l.starts_with(&format!("page {page} moved to 0x")) && l.contains("key: 42")),
        "{out}"
    );
    assert_eq!(lines.last(), Some(&"65536 pages are left"));
}
