//! A unit through its life: taken, programmed again, followed, stopped.

use super::machine::{DEVICES, ID, Machine, RAM_AT, amd, small, vtd};
use pmem_core::{Constraints, Request, Scope, State, Subscription};
use pmem_drivers::iommu::{
    Amd, AmdChip, Chip, DomainKind, Fake, Found, Limits, Peers, Port, Requests, Unit, Vtd, VtdChip,
    add_domain, join, leave, pass,
};
use pmem_iommu::RequesterId;
use pmem_iommu::table::{Access, PageTable, TableMemory};
use std::sync::Arc;

#[test]
fn a_unit_that_does_not_answer_is_waited_for_no_longer_than_the_port_says() {
    for queue in [false, true] {
        let (unit, fake) = vtd(VtdChip::new(4, false, queue), 100);
        let (mut machine, driver, domain) = small(unit, &Limits::x86(40), Peers::Refused);
        let (pmem, ram) = (&mut machine.pmem, machine.ram);
        let region = pmem.alloc(ram, &Request::new(0x1000)).unwrap();
        let alias = pmem.map(domain.arena, region).unwrap();
        let at = pmem.range(alias).unwrap().start();
        assert!(fake.access(ID, at, false).is_some());
        fake.stall(true);
        let error = pmem.transaction(|plan| plan.decref(alias)).unwrap_err();
        assert!(error.to_string().contains("in time"), "{error}");
        // What may still be used is still mapped, and still somebody's.
        assert!(pmem.range(alias).is_ok());
        assert!(pmem.drivers().any(|(_, _, degraded)| degraded));
        fake.stall(false);
        fake.reset();
        pmem.resync(driver).unwrap();
        pmem.verify(driver).unwrap();
        assert!(fake.access(ID, at, false).is_some());
        pmem.unmap(alias).unwrap();
        assert_eq!(fake.access(ID, at, false), None);
    }
    let (unit, fake) = amd(AmdChip::new(false, true), 100);
    let (mut machine, _, domain) = small(unit, &Limits::x86(40), Peers::Refused);
    let region = machine.pmem.alloc(machine.ram, &Request::new(0x1000)).unwrap();
    let alias = machine.pmem.map(domain.arena, region).unwrap();
    fake.stall(true);
    let error = machine.pmem.transaction(|plan| plan.decref(alias)).unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
}

#[test]
fn a_unit_that_is_somebody_s_is_read_and_not_taken() {
    let (unit, fake) = vtd(VtdChip::new(4, false, true), 100);
    let (mut machine, _, domain) = small(unit, &Limits::x86(40), Peers::Refused);
    let region = machine.pmem.alloc(machine.ram, &Request::new(0x3000).align(0x1000)).unwrap();
    let alias = machine.pmem.map(domain.arena, region).unwrap();
    let (system, device) = (machine.system, machine.devices[1]);
    machine.pmem.transaction(|plan| pass(plan, device, system)).unwrap();

    let _ = fake.written();
    let mut second = Machine::new();
    let (_, idle) = vtd(VtdChip::new(4, false, true), 10);
    assert_eq!(Found::vtd(&mut idle.clone()).unwrap(), None);
    let refused = second.register(Vtd::new(fake.clone()).unwrap());
    assert!(refused.unwrap_err().to_string().contains("the unit is in use"));
    let mut port = fake.clone();
    let found = Found::vtd(&mut port).unwrap().unwrap();
    assert_eq!(fake.written(), (0, 0));
    let [(id, Requests::Translated { domain: 2, levels: 4, .. }), (passed, Requests::Passed)] =
        found.requesters[..]
    else {
        panic!("{found:?}")
    };
    assert_eq!((id.0, passed.0), (DEVICES[0], DEVICES[1]));
    let mut mapped = Vec::new();
    found.each(fake.memory(), id, &mut |one| mapped.push((one.first, one.leaf.target))).unwrap();
    let at = machine.pmem.range(alias).unwrap().start();
    let to = RAM_AT + machine.pmem.range(region).unwrap().start();
    assert_eq!(mapped, [0, 0x1000, 0x2000].map(|more| (at + more, to + more)));

    let (unit, fake) = amd(AmdChip::new(false, true), 100);
    let (mut machine, _, domain) = small(unit, &Limits::x86(40), Peers::Refused);
    let region = machine.pmem.alloc(machine.ram, &Request::new(0x20_0000).align(0x20_0000)).unwrap();
    machine.pmem.map_at(domain.arena, region, Constraints::at(0x4000_0000)).unwrap();
    let refused = second.register(Amd::new(fake.clone(), 3).unwrap());
    assert!(refused.unwrap_err().to_string().contains("the unit is in use"));
    let found = Found::amd(&mut fake.clone()).unwrap().unwrap();
    let has = found.requesters.iter().find(|(id, _)| *id == ID).unwrap().1;
    assert!(matches!(has, Requests::Translated { domain: 2, levels: 4, .. }), "{has:?}");
    let mut mapped = Vec::new();
    found.each(fake.memory(), ID, &mut |one| mapped.push((one.first, one.leaf.shift))).unwrap();
    assert_eq!(mapped, [(0x4000_0000, 21)]);
    assert!(found.requesters.iter().filter(|(_, requests)| *requests != Requests::Refused).count() == 1);
}

#[test]
fn what_is_refused_is_told_by_the_unit() {
    let (unit, fake) = vtd(VtdChip::new(4, false, true), 100);
    let mut unit = unit;
    unit.start().unwrap();
    let _ = fake.access(ID, 0x1234_5678, true);
    let [fault] = unit.events().unwrap()[..] else { panic!("one fault") };
    assert_eq!((fault.source, fault.address, fault.read, fault.reason.0), (ID, 0x1234_5000, false, 1));
    // It is told once; of many, as many as there are records.
    (0..5).for_each(|n| assert_eq!(fake.access(ID, n << 12, false), None));
    assert_eq!(unit.events().unwrap().len(), 2);
    assert_eq!(unit.events().unwrap().len(), 0);

    let (mut unit, fake) = amd(AmdChip::new(false, false), 100);
    unit.start().unwrap();
    let _ = fake.access(ID, 0x1234_5678, true);
    let [event] = unit.events().unwrap()[..] else { panic!("one event") };
    assert_eq!((event.source, event.address, event.code.name()), (ID, 0x1234_5678, "IO_PAGE_FAULT"));
    // More than the log has room for.
    (0..400).for_each(|n| assert_eq!(fake.access(ID, n << 12, false), None));
    assert_eq!(unit.events().unwrap().len(), 255);
    let _ = fake.access(ID, 0x5000, false);
    assert_eq!(unit.events().unwrap().len(), 1);
}

#[test]
fn a_unit_that_is_programmed_again_refuses_everybody() {
    fn check<C: Chip, U: Unit<Port = Fake<C>>>(mut unit: U, fake: &Fake<C>) {
        unit.start().unwrap();
        assert_eq!(fake.access(ID, 0x5000, false), None);
        unit.seat(ID, DomainKind::Passed).unwrap();
        assert_eq!((unit.seated(ID), fake.access(ID, 0x5000, false)), (DomainKind::Passed, Some(0x5000)));
        fake.reset();
        unit.restart().unwrap();
        assert_eq!((unit.seated(ID), fake.access(ID, 0x5000, false)), (DomainKind::Refused, None));
        unit.stop().unwrap();
        assert_eq!(fake.access(ID, 0x5000, false), Some(0x5000));
    }
    let (unit, fake) = vtd(VtdChip::new(4, false, true), 10);
    check(unit, &fake);
    let (unit, fake) = amd(AmdChip::new(false, true), 20);
    check(unit, &fake);
}

/// A device that goes to another domain at once, as the unit may read its entry between any two of the words that are written.
#[test]
fn no_domain_sees_another_s_pages_while_a_device_moves() {
    fn check<C: Chip, U: Unit<Port = Fake<C>>>(mut unit: U, fake: &Fake<C>) {
        unit.start().unwrap();
        // One address, two places.
        let seats = [1u16, 2].map(|number| {
            let format = unit.format().clone();
            let memory = unit.port_mut().memory_mut();
            let mut table = PageTable::new(format, memory).unwrap();
            table.on(memory).map(0x5000, 0x5fff, u64::from(number) << 32, Access::BOTH).unwrap();
            DomainKind::Domain { number, root: table.root() }
        });
        let stayer = RequesterId(DEVICES[1]);
        unit.seat(stayer, seats[1]).unwrap();
        fake.watch(move |access| {
            let seen = access(ID, 0x5000, true);
            assert!(matches!(seen, None | Some(0x1_0000_0000 | 0x2_0000_0000)), "{seen:x?}");
            assert_eq!(access(stayer, 0x5000, true), Some(0x2_0000_0000));
        });
        for _ in 0..100 {
            for (seat, to) in seats.into_iter().zip([0x1_0000_0000, 0x2_0000_0000]) {
                unit.seat(ID, seat).unwrap();
                assert_eq!((unit.seated(ID), fake.access(ID, 0x5000, false)), (seat, Some(to)));
            }
        }
    }
    let (unit, fake) = vtd(VtdChip::new(4, false, true), 20);
    check(unit, &fake);
    let (unit, fake) = amd(AmdChip::new(false, true), 40);
    check(unit, &fake);
}

#[test]
fn a_domain_that_does_not_come_leaves_no_tables() {
    let (unit, fake) = vtd(VtdChip::new(4, false, true), 40);
    let (mut machine, _, _) = small(unit, &Limits::x86(40), Peers::Refused);
    let region = machine.pmem.alloc(machine.ram, &Request::new(0x1000)).unwrap();
    let (free, system, binding) = (fake.free_pages(), machine.system, Arc::clone(&machine.binding));
    let done = machine.pmem.transaction(|plan| {
        let limits = Limits::new(40);
        let domain =
            add_domain(plan, &mut binding.lock().unwrap(), system, "domain", &limits, Peers::Refused)?;
        plan.map_at(domain.arena, region, Constraints::at(0xfee0_0000))
    });
    assert!(done.is_err());
    assert_eq!(fake.free_pages(), free);
}

#[test]
fn domains_come_and_go() {
    let (unit, fake) = vtd(VtdChip::new(4, false, true), 40);
    let (mut machine, driver, first) = small(unit, &Limits::x86(40), Peers::Refused);
    let free = fake.free_pages();
    for _ in 0..100 {
        let domain = machine.domain(&Limits::x86(40), Peers::Refused).unwrap();
        let region = machine.pmem.alloc(machine.ram, &Request::new(0x1000)).unwrap();
        let alias = machine.pmem.map(domain.arena, region).unwrap();
        let at = machine.pmem.range(alias).unwrap().start();
        let device = machine.devices[0];
        machine.pmem.transaction(|plan| join(plan, device, domain)).unwrap();
        assert!(fake.access(ID, at, true).is_some());
        machine
            .pmem
            .transaction(|plan| {
                join(plan, device, first)?;
                plan.decref(alias)?;
                plan.decref(region)?;
                plan.disconnect(domain.link)
            })
            .unwrap();
        assert_eq!(fake.access(ID, at, true), None);
        machine.pmem.verify(driver).unwrap();
        assert_eq!(fake.free_pages(), free);
    }
}

#[test]
fn what_somebody_writes_into_tables_is_found() {
    let (unit, fake) = amd(AmdChip::new(false, true), 100);
    let (mut machine, driver, domain) = small(unit, &Limits::x86(40), Peers::Refused);
    let region = machine.pmem.alloc(machine.ram, &Request::new(0x2000).align(0x1000)).unwrap();
    let alias = machine.pmem.map(domain.arena, region).unwrap();
    let at = machine.pmem.range(alias).unwrap().start();
    let Requests::Translated { root, .. } = Found::amd(&mut fake.clone())
        .unwrap()
        .unwrap()
        .requesters
        .iter()
        .find(|(id, _)| *id == ID)
        .unwrap()
        .1
    else {
        panic!("no table")
    };
    // Down to the table of pages.
    let memory = fake.memory();
    let table = (2..=4).rev().fold(root, |table, level: u32| {
        memory.read(table, at >> (12 + 9 * (level - 1)) & 511).unwrap() & 0xf_ffff_ffff_f000
    });
    let (entry, index) = (table + 8 * (at >> 12 & 511), at >> 12 & 511);
    let good = memory.read(table, index).unwrap();
    for bad in [good ^ 0x1000, good & !(1 << 62), 0] {
        fake.meddle(entry, bad);
        let error = machine.pmem.verify(driver).unwrap_err().to_string();
        assert!(error.contains("mapping"), "{error}");
    }
    fake.meddle(entry, good);
    machine.pmem.verify(driver).unwrap();
    fake.meddle(entry + 64, good);
    assert!(
        machine
            .pmem
            .verify(driver)
            .unwrap_err()
            .to_string()
            .contains("something is mapped that the model does not have")
    );
}

/// A domain whose way to the system is cut still has devices: they would go nowhere, and must not pass.
#[test]
fn devices_of_a_domain_that_goes_do_not_pass() {
    let (unit, fake) = vtd(VtdChip::new(4, false, true), 40);
    let (mut machine, driver, domain) = small(unit, &Limits::x86(40), Peers::Refused);
    let error = machine.pmem.disconnect(domain.link).unwrap_err().to_string();
    assert!(error.contains("neither a domain nor the system bus"), "{error}");
    assert_eq!(fake.access(ID, 0x5000, false), None);
    machine.pmem.verify(driver).unwrap();
    let device = machine.devices[0];
    machine
        .pmem
        .transaction(|plan| {
            leave(plan, device)?;
            plan.disconnect(domain.link)
        })
        .unwrap();
    assert_eq!(fake.access(ID, 0x5000, false), None);
}

/// Of a unit that was not reset nobody's requests pass while it is programmed again.
#[test]
fn a_unit_that_runs_translates_while_it_is_programmed_again() {
    fn check<C: Chip, U: Unit<Port = Fake<C>>>(mut unit: U, fake: &Fake<C>) {
        unit.start().unwrap();
        let format = unit.format().clone();
        let memory = unit.port_mut().memory_mut();
        let mut table = PageTable::new(format, memory).unwrap();
        table.on(memory).map(0x5000, 0x5fff, 0x1_0000_0000, Access::BOTH).unwrap();
        unit.seat(ID, DomainKind::Domain { number: 2, root: table.root() }).unwrap();
        fake.watch(|access| {
            assert_eq!(access(RequesterId(DEVICES[1]), 0x5000, true), None);
            let seen = access(ID, 0x5000, true);
            assert!(matches!(seen, None | Some(0x1_0000_0000)), "{seen:x?}");
        });
        unit.restart().unwrap();
        assert!(unit.is_running().unwrap());
        assert_eq!(fake.access(ID, 0x5000, true), None);
        fake.unwatch();
        // What it remembers, and nobody else looks at meanwhile.
        for _ in 0..20 {
            unit.seat(ID, DomainKind::Passed).unwrap();
            assert_eq!(fake.access(ID, 0x5000, true), Some(0x5000));
            unit.restart().unwrap();
            assert_eq!(fake.access(ID, 0x5000, true), None);
        }
    }
    for queue in [false, true] {
        let (unit, fake) = vtd(VtdChip::new(4, false, queue), 20);
        check(unit, &fake);
    }
    for all in [false, true] {
        let (unit, fake) = amd(AmdChip::new(false, all), 40);
        check(unit, &fake);
    }
}

/// What could not be taken back at first the unit may go by, even if the rest of it could.
#[test]
fn tables_that_the_unit_may_still_use_are_nobody_else_s() {
    let (unit, fake) = vtd(VtdChip::new(4, false, true), 40);
    let mut machine = Machine::new();
    let driver = machine.register(unit).unwrap();
    let first = machine.domain(&Limits::x86(40), Peers::Refused).unwrap();
    let region = machine.pmem.alloc(machine.ram, &Request::new(0x1000)).unwrap();
    let port = fake.clone();
    let fails = move || {
        assert!(port.access(ID, 0x5000, false).is_some());
        port.fail_after(Some(0));
    };
    // It installs last, and fails; then the unit's driver is to take back what it did.
    machine
        .pmem
        .register(Box::new(Last(Box::new(fails))), Subscription::new([Scope::Everything]).priority(-1))
        .unwrap();
    let (free, system, device, binding) =
        (fake.free_pages(), machine.system, machine.devices[0], Arc::clone(&machine.binding));
    let done = machine.pmem.transaction(|plan| {
        let limits = Limits::x86(40);
        let domain =
            add_domain(plan, &mut binding.lock().unwrap(), system, "domain", &limits, Peers::Refused)?;
        join(plan, device, domain)?;
        plan.map_at(domain.arena, region, Constraints::at(0x5000))
    });
    assert!(done.is_err());
    let seen = fake.access(ID, 0x5000, false);
    assert!(matches!(seen, None | Some(RAM_AT)), "{seen:x?}");
    machine.binding.lock().unwrap().domains.retain(|link, _| *link == first.link);
    machine.pmem.resync(driver).unwrap();
    assert_eq!((fake.access(ID, 0x5000, false), machine.pmem.verify(driver)), (None, Ok(())));
    assert!(fake.free_pages() + 1 >= free, "tables are lost");
}

/// Of translations that somebody before left under a domain's number none is used.
#[test]
fn what_somebody_before_left_is_not_gone_by() {
    let (mut unit, fake) = amd(AmdChip::new(false, false), 300);
    let seat = |unit: &mut Amd<Fake<AmdChip>>, to: u64| {
        let format = *unit.format();
        let memory = unit.port_mut().memory_mut();
        let mut table = PageTable::new(format, memory).unwrap();
        table.on(memory).map(0x5000, 0x5fff, to, Access::BOTH).unwrap();
        unit.seat(ID, DomainKind::Domain { number: 2, root: table.root() }).unwrap();
    };
    for _ in 0..20 {
        unit.start().unwrap();
        seat(&mut unit, 0x1_0000_0000);
        assert_eq!(fake.access(ID, 0x5000, true), Some(0x1_0000_0000));
        unit.stop().unwrap();
        unit.start().unwrap();
        fake.watch(|access| {
            let seen = access(ID, 0x5000, true);
            assert!(matches!(seen, None | Some(0x2_0000_0000)), "{seen:x?}");
        });
        seat(&mut unit, 0x2_0000_0000);
        fake.unwatch();
        unit.stop().unwrap();
    }
}

/// A unit that does not stop may still read its tables: their memory is nobody else's, and another try takes the same.
#[test]
fn memory_of_a_unit_that_does_not_stop_is_kept() {
    fn check<C: Chip, U: Unit<Port = Fake<C>>>(mut unit: U, fake: &Fake<C>) {
        let free = fake.free_pages();
        unit.start().unwrap();
        let used = free - fake.free_pages();
        fake.stall(true);
        assert!(unit.stop().is_err());
        assert_eq!(fake.free_pages(), free - used);
        fake.stall(false);
        fake.reset();
        unit.start().unwrap();
        assert_eq!(fake.free_pages(), free - used);
        unit.stop().unwrap();
        assert_eq!(fake.free_pages(), free);
    }
    let (unit, fake) = vtd(VtdChip::new(4, false, true), 20);
    check(unit, &fake);
    let (unit, fake) = amd(AmdChip::new(false, true), 40);
    check(unit, &fake);
}

/// Fails after all others have installed.
struct Last(Box<dyn FnMut() + Send>);

impl pmem_core::Driver for Last {
    fn name(&self) -> &str {
        "last"
    }
    fn attach(&mut self, _: &State) -> Result<(), pmem_core::Veto> {
        Ok(())
    }
    fn prepare(&mut self, _: &pmem_core::Change<'_>) -> Result<pmem_core::Concern, pmem_core::Veto> {
        Ok(pmem_core::Concern::Concerned)
    }
    fn withdraw(&mut self) -> Result<(), pmem_core::Fault> {
        Ok(())
    }
    fn install(&mut self) -> Result<(), pmem_core::Fault> {
        (self.0)();
        Err(pmem_core::Fault::new("it fails"))
    }
    fn revert(&mut self, _: pmem_core::Step) -> Result<(), pmem_core::Fault> {
        Ok(())
    }
    fn abort(&mut self) {}
    fn resync(&mut self, _: &State) -> Result<(), pmem_core::Fault> {
        Ok(())
    }
    fn verify(&mut self, _: &State) -> Result<(), pmem_core::Mismatch> {
        Ok(())
    }
}
