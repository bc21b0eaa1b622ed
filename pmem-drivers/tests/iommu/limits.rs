//! What a domain can have at which addresses, and what is refused before anything is written.

use super::machine::{DEVICES, ID, Machine, RAM_AT, amd, small, vtd};
use pmem_core::{AddrRange, Constraints, Error, Request};
use pmem_drivers::iommu::{AmdChip, Limits, Peers, Unit, VtdChip, add_device, join, map_identity, pass};
use pmem_iommu::RequesterId;
use pmem_iommu::table::Format;
use std::sync::Arc;

#[test]
fn addresses_are_within_the_limits_and_the_holes_are_named() {
    let (unit, fake) = vtd(VtdChip::new(3, true, true), 100);
    let window = AddrRange::new(0x10_0000, 0x20_0000).unwrap();
    let limits = Limits::x86(39).within(AddrRange::new(0, 0x40_0000).unwrap()).reserve(window, "peers");
    let (mut machine, _, domain) = small(unit, &limits, Peers::Refused);
    let (pmem, ram) = (&mut machine.pmem, machine.ram);
    let mut given = Vec::new();
    while let Ok(region) = pmem.alloc(ram, &Request::new(0x4_0000).align(0x1000)) {
        let Ok(alias) = pmem.map(domain.arena, region) else { break };
        given.push((region, alias, pmem.range(alias).unwrap()));
    }
    // 4 MiB without the first page and the window.
    assert_eq!(given.len(), 3 + 8);
    assert!(given.iter().all(|(.., range)| range.start() >= 0x1000 && !range.overlaps(window)));
    assert!(given.iter().all(|(.., range)| fake.access(ID, range.last(), true).is_some()));
    let names: Vec<&str> = pmem
        .state()
        .arena(domain.arena)
        .unwrap()
        .regions()
        .filter_map(|(_, record)| pmem.state().region_name(record.id))
        .collect();
    assert_eq!(names, ["address 0", "peers"]);
    assert_eq!(fake.access(ID, 0x10_0000, false), None);
    // What goes back is given again.
    let (region, alias, range) = given[4];
    pmem.unmap(alias).unwrap();
    assert_eq!(fake.access(ID, range.start(), false), None);
    let again = pmem.map(domain.arena, region).unwrap();
    assert_eq!(pmem.range(again).unwrap(), range);
}

#[test]
fn interrupts_are_given_to_nobody() {
    let (unit, _) = amd(AmdChip::new(false, true), 100);
    let (mut machine, _, domain) = small(unit, &Limits::amd(48), Peers::Refused);
    let (pmem, ram) = (&mut machine.pmem, machine.ram);
    let region = pmem.alloc(ram, &Request::new(0x1000)).unwrap();
    for at in [0xfee0_0000, 0xfeef_f000, 0xfd_0000_0000, 0xff_ffff_f000] {
        assert!(
            matches!(pmem.map_at(domain.arena, region, Constraints::at(at)), Err(Error::NoRoute { .. })),
            "{at:#x}"
        );
    }
    for at in [0xfedf_f000, 0xfef0_0000, 0xfc_ffff_f000, 0x100_0000_0000] {
        pmem.map_at(domain.arena, region, Constraints::at(at)).unwrap();
    }
    // A domain whose limits forget them is refused by the unit.
    let domain = machine.domain(&Limits::new(40), Peers::Refused).unwrap();
    let done = machine.pmem.map_at(domain.arena, region, Constraints::at(0xfee0_0000));
    assert!(done.unwrap_err().to_string().contains("writes to this range are interrupts"));
}

#[test]
fn registers_of_peers_are_mapped_only_where_that_is_permitted() {
    for (peers, is_mapped) in [(Peers::Refused, false), (Peers::Permitted, true)] {
        let (unit, fake) = vtd(VtdChip::new(4, false, true), 100);
        let (mut machine, driver, domain) = small(unit, &Limits::x86(40), peers);
        let (pmem, system) = (&mut machine.pmem, machine.system);
        let bar = pmem.alloc(system, &Request::new(0x10_0000).align(0x10_0000)).unwrap();
        let done = pmem.map(domain.arena, bar);
        match &done {
            Err(error) => assert!(error.to_string().contains("Peers::Permitted"), "{error}"),
            Ok(alias) => {
                // The register moves, and its entries with it.
                let (at, old) = (pmem.range(*alias).unwrap().start(), pmem.range(bar).unwrap().start());
                assert_eq!(fake.access(ID, at + 4, true), Some(old + 4));
                pmem.relocate(bar, old + 0x100_0000).unwrap();
                assert_eq!(fake.access(ID, at + 4, true), Some(old + 0x100_0004));
                pmem.verify(driver).unwrap();
            }
        }
        assert_eq!(done.is_ok(), is_mapped);
    }
}

#[test]
fn what_firmware_reserved_is_mapped_where_it_is() {
    let (unit, fake) = vtd(VtdChip::new(4, true, false), 100);
    let (mut machine, _, domain) = small(unit, &Limits::x86(40), Peers::Refused);
    let ram = machine.ram;
    let region = machine.pmem.alloc(ram, &Request::new(0x20_0000).at(0x80_0000)).unwrap();
    // Where the system's bus has it.
    machine.pmem.map(machine.system, region).unwrap();
    let seen = machine.pmem.aliases(region)[0];
    let alias = machine.pmem.transaction(|plan| map_identity(plan, domain, seen)).unwrap();
    assert_eq!(machine.pmem.range(alias).unwrap().start(), RAM_AT + 0x80_0000);
    assert_eq!(fake.access(ID, RAM_AT + 0x80_1234, true), Some(RAM_AT + 0x80_1234));
    assert_eq!(fake.access(ID, RAM_AT, false), None);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let (unit, fake) = vtd(VtdChip::new(3, false, true), 12);
    let (mut machine, _, domain) = small(unit, &Limits::x86(39), Peers::Refused);
    let ram = machine.ram;
    let _ = fake.written();
    // Addresses of more bits than the unit has.
    let wide = machine.domain(&Limits::x86(48), Peers::Refused);
    assert!(wide.unwrap_err().to_string().contains("wider than the unit translates"));
    // More tables than there is memory for: numbers are told.
    let region = machine.pmem.alloc(ram, &Request::new(0x1000_0000).align(0x1000).at(0x2000)).unwrap();
    let short = machine.pmem.map(domain.arena, region).unwrap_err().to_string();
    assert!(short.contains("there is no memory for tables") && short.contains("needs"), "{short}");
    // Two devices that ask by one id are in one domain.
    let binding = Arc::clone(&machine.binding);
    let twin = machine
        .pmem
        .transaction(|plan| add_device(plan, &mut binding.lock().unwrap(), "twin", [ID]))
        .unwrap();
    let other = machine.domain(&Limits::x86(39), Peers::Refused).unwrap();
    let _ = fake.written();
    let apart = machine.pmem.transaction(|plan| join(plan, twin, other)).unwrap_err().to_string();
    assert!(apart.contains("share a requester id"), "{apart}");
    assert_eq!(fake.written(), (0, 0));
    machine.pmem.transaction(|plan| join(plan, twin, domain)).unwrap();
}

/// Regions need not be whole pages: each has pages of its own.
#[test]
fn parts_of_pages_are_mapped_by_their_pages() {
    let (unit, fake) = vtd(VtdChip::new(4, false, true), 100);
    let (mut machine, driver, domain) = small(unit, &Limits::x86(40), Peers::Refused);
    let seen = [(0x1080u64, 0x100u64), (0x1200, 0x80), (0x2ff0, 0x20)].map(|(at, len)| {
        let region = machine.pmem.alloc(machine.ram, &Request::new(len).at(at)).unwrap();
        let alias = machine.pmem.map(domain.arena, region).unwrap();
        let start = machine.pmem.range(alias).unwrap().start();
        assert_eq!(fake.access(ID, start + len - 1, true), Some(RAM_AT + at + len - 1));
        start
    });
    assert!(seen[0] >> 12 != seen[1] >> 12 && seen.map(|at| at & 0xfff) == [0x80, 0x200, 0xff0]);
    machine.pmem.verify(driver).unwrap();
}

/// Addresses have no more bits than the unit takes, though its tables have more; what passes has the most levels that there are.
#[test]
fn a_unit_takes_as_many_bits_as_it_says() {
    let (unit, fake) = vtd(VtdChip::new(4, true, true).width(39), 60);
    assert_eq!((unit.width(), unit.format().levels()), (39, 3));
    let (mut machine, _, _) = small(unit, &Limits::x86(39), Peers::Refused);
    let (system, device) = (machine.system, machine.devices[1]);
    machine.pmem.transaction(|plan| pass(plan, device, system)).unwrap();
    assert_eq!(fake.access(RequesterId(DEVICES[1]), 0x5000, true), Some(0x5000));
    let (unit, _) = vtd(VtdChip::new(4, true, true).width(42), 60);
    assert_eq!((unit.width(), unit.format().levels()), (42, 4));
    let mut machine = Machine::new();
    machine.register(unit).unwrap();
    let wide = machine.domain(&Limits::x86(43), Peers::Refused).unwrap_err().to_string();
    assert!(wide.contains("wider than the unit translates"), "{wide}");
    machine.domain(&Limits::x86(42), Peers::Refused).unwrap();
}
