//! What passes in the middle of a change, when drivers have withdrawn and not yet installed.

use super::machine::{ID, Machine, vtd};
use pmem_core::{ArenaId, Constraints, Error, Plan, Prot, RegionId, Request, Scope, State, Subscription};
use pmem_drivers::iommu::{Limits, Peers, VtdChip, join, leave};
use std::sync::{Arc, Mutex};

/// Looks in the middle of a change: hardware has stopped to honour what goes, and does not yet what comes.
struct Middle(Box<dyn FnMut() + Send>);

impl pmem_core::Driver for Middle {
    fn name(&self) -> &str {
        "middle"
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
        Ok(())
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

/// Which accesses reach memory in the middle of a change: reads, writes, of a page.
fn middle(
    verbs: impl FnOnce(&mut Plan<'_>, RegionId, RegionId, ArenaId) -> Result<(), Error>,
    prot: Prot,
) -> (bool, bool) {
    let (unit, fake) = vtd(VtdChip::new(4, true, true), 100);
    let mut machine = Machine::new();
    let seen = Arc::new(Mutex::new((false, false, false)));
    let (own, looked) = (fake.clone(), Arc::clone(&seen));
    let look = move || {
        let can = |write| own.access(ID, 0x5000, write).is_some();
        *looked.lock().unwrap() = (can(false), can(true), true);
    };
    // It installs first, when all have withdrawn.
    machine
        .pmem
        .register(Box::new(Middle(Box::new(look))), Subscription::new([Scope::Everything]).priority(1))
        .unwrap();
    machine.register(unit).unwrap();
    let domain = machine.domain(&Limits::x86(40), Peers::Refused).unwrap();
    let device = machine.devices[0];
    machine.pmem.transaction(|plan| join(plan, device, domain)).unwrap();
    let region = machine.pmem.alloc(machine.ram, &Request::new(0x1000).prot(prot)).unwrap();
    let alias = machine.pmem.map_at(domain.arena, region, Constraints::at(0x5000)).unwrap();
    *seen.lock().unwrap() = (false, false, false);
    machine.pmem.transaction(|plan| verbs(plan, region, alias, device)).unwrap();
    let seen = *seen.lock().unwrap();
    assert!(seen.2, "nobody looked");
    (seen.0, seen.1)
}

#[test]
fn in_the_middle_only_what_stays_is_let_through() {
    let set =
        |prot| move |plan: &mut Plan<'_>, region, _, _| plan.set(region, plan.attrs(region)?.with_prot(prot));
    let both = Prot::READ | Prot::WRITE;
    assert_eq!(middle(set(both), Prot::READ), (true, false));
    assert_eq!(middle(set(Prot::READ), both), (true, false));
    assert_eq!(middle(set(Prot::WRITE), Prot::READ), (false, false));
    assert_eq!(middle(|plan, region, _, _| plan.relocate(region, 0x20_0000), both), (false, false));
    assert_eq!(middle(|plan, region, _, _| plan.resize(region, 0x2000), both), (true, true));
    assert_eq!(middle(|plan, _, alias, _| plan.decref(alias), both), (false, false));
    assert_eq!(middle(|plan, _, _, device| leave(plan, device), both), (false, false));
}
