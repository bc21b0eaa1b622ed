//! Random deeds on random units.

use super::machine::{Machine, Shared, amd, change, change_of, vtd};
use pmem_core::{AddrRange, Constraints, Prot, RegionId, Request};
use pmem_drivers::iommu::{
    AmdChip, Chip, Domain, Fake, Iommu, Limits, Peers, Unit, VtdChip, join, leave, pass,
};
use pmem_iommu::table::Format;
use proptest::prelude::*;
use std::sync::Mutex;

#[derive(Clone, Copy, Debug)]
enum Deed {
    Map {
        domain: usize,
        at: u64,
        len: u64,
        prot: u8,
    },
    Unmap {
        which: usize,
    },
    Protect {
        which: usize,
        prot: u8,
    },
    Relocate {
        which: usize,
        at: u64,
    },
    Resize {
        which: usize,
        len: u64,
        prot: Option<u8>,
    },
    Join {
        device: usize,
        domain: usize,
    },
    Pass {
        device: usize,
    },
    Leave {
        device: usize,
    },
    /// Two at once: one goes, another takes its place in the domain.
    Exchange {
        which: usize,
        at: u64,
        len: u64,
    },
    /// Ten at once come, or all go.
    Many {
        domain: usize,
    },
    /// An entry goes elsewhere in its domain, and what may be done there is another.
    Reseat {
        which: usize,
        at: u64,
        prot: u8,
    },
    /// A write of a register fails after so many.
    Fail {
        writes: usize,
    },
    Resync,
}

fn deed() -> impl Strategy<Value = Deed> {
    let at = || prop_oneof![(0..64u64).prop_map(|n| n << 12), (0..8u64).prop_map(|n| n << 21), Just(0x1080)];
    let len = || {
        prop_oneof![
            Just(0x1000u64),
            Just(0x200),
            (1..40u64).prop_map(|n| n << 12),
            Just(2 << 20),
            Just((4 << 20) + 0x3000)
        ]
    };
    let which = || 0..16usize;
    prop_oneof![
        6 => (0..3usize, at(), len(), 0..8u8).prop_map(|(domain, at, len, prot)| Deed::Map { domain, at, len, prot }),
        3 => which().prop_map(|which| Deed::Unmap { which }),
        3 => (which(), 0..8u8).prop_map(|(which, prot)| Deed::Protect { which, prot }),
        2 => (which(), at()).prop_map(|(which, at)| Deed::Relocate { which, at }),
        2 => (which(), len(), prop::option::of(0..8u8)).prop_map(|(which, len, prot)| Deed::Resize { which, len, prot }),
        3 => (0..3usize, 0..3usize).prop_map(|(device, domain)| Deed::Join { device, domain }),
        1 => (0..3usize).prop_map(|device| Deed::Pass { device }),
        1 => (0..3usize).prop_map(|device| Deed::Leave { device }),
        1 => (which(), at(), len()).prop_map(|(which, at, len)| Deed::Exchange { which, at, len }),
        1 => (0..3usize).prop_map(|domain| Deed::Many { domain }),
        1 => (which(), at(), 0..8u8).prop_map(|(which, at, prot)| Deed::Reseat { which, at, prot }),
        2 => (0..12usize).prop_map(|writes| Deed::Fail { writes }),
        1 => Just(Deed::Resync),
    ]
}

/// Plays deeds on a unit, and says how many were done and how many failed.
fn play<C: Chip, U: Unit<Port = Fake<C>> + 'static>(unit: U, fake: &Fake<C>, deeds: &[Deed]) {
    let mut machine = Machine::new();
    let pages = fake.free_pages();
    let width = unit.format().width();
    let driver = machine.register(unit).unwrap();
    let domains: Vec<Domain> =
        (0..3).map(|_| machine.domain(&Limits::x86(width.min(40)), Peers::Refused).unwrap()).collect();
    let (ram, system) = (machine.ram, machine.system);
    let devices = machine.devices.clone();
    // Regions with their mappings.
    let mut held: Vec<(RegionId, RegionId)> = Vec::new();
    for deed in deeds {
        let pick = |which: usize| held.get(which % held.len().max(1)).copied();
        match *deed {
            Deed::Map { domain, at, len, prot } => {
                let made = Mutex::new(None);
                let done = change(&mut machine, fake, &|plan| {
                    let region =
                        plan.alloc(ram, &Request::new(len).at(at).prot(Prot::from_bits_truncate(prot)))?;
                    let alias = plan.map(domains[domain].arena, region)?;
                    *made.lock().unwrap() = Some((region, alias));
                    Ok(())
                });
                held.extend(made.into_inner().unwrap().filter(|_| done.is_ok()));
            }
            Deed::Unmap { which } => {
                let Some((region, alias)) = pick(which) else { continue };
                let done = change(&mut machine, fake, &|plan| {
                    plan.decref(alias)?;
                    plan.decref(region)
                });
                if done.is_ok() {
                    held.retain(|(other, _)| *other != region);
                }
            }
            Deed::Protect { which, prot } => {
                let Some((region, _)) = pick(which) else { continue };
                let _ = change(&mut machine, fake, &|plan| {
                    let attrs = plan.attrs(region)?.with_prot(Prot::from_bits_truncate(prot));
                    plan.set(region, attrs)
                });
            }
            Deed::Relocate { which, at } => {
                let Some((region, _)) = pick(which) else { continue };
                let _ = change(&mut machine, fake, &|plan| plan.relocate(region, at));
            }
            Deed::Resize { which, len, prot } => {
                let Some((region, _)) = pick(which) else { continue };
                let _ = change(&mut machine, fake, &|plan| {
                    let attrs = plan.attrs(region)?;
                    let prot = prot.map_or(attrs.prot(), Prot::from_bits_truncate);
                    plan.set(region, attrs.with_prot(prot))?;
                    plan.resize(region, len)
                });
            }
            Deed::Join { device, domain } => {
                let _ = change(&mut machine, fake, &|plan| {
                    join(plan, devices[device], domains[domain]).map(|_| ())
                });
            }
            Deed::Pass { device } => {
                let _ = change(&mut machine, fake, &|plan| pass(plan, devices[device], system).map(|_| ()));
            }
            Deed::Leave { device } => {
                let _ = change(&mut machine, fake, &|plan| leave(plan, devices[device]));
            }
            Deed::Exchange { which, at, len } => {
                let Some((region, alias)) = pick(which) else { continue };
                let made = Mutex::new(None);
                let done = change_of(&mut machine, fake, true, &|plan| {
                    let placement = plan.placement(alias)?;
                    plan.decref(alias)?;
                    plan.decref(region)?;
                    let new = plan.alloc(ram, &Request::new(len).at(at))?;
                    let start = placement.seat.range().map_or(0, AddrRange::start) & !0xfff;
                    let seen = plan.map_at(placement.arena, new, Constraints::at(start | at & 0xfff))?;
                    *made.lock().unwrap() = Some((new, seen));
                    Ok(())
                });
                if done.is_ok() {
                    held.retain(|(other, _)| *other != region);
                    held.extend(made.into_inner().unwrap());
                }
            }
            Deed::Many { .. } if held.len() > 8 => {
                let done = change(&mut machine, fake, &|plan| {
                    held.iter().try_for_each(|(region, alias)| plan.decref(*alias).and(plan.decref(*region)))
                });
                if done.is_ok() {
                    held.clear();
                }
            }
            Deed::Many { domain } => {
                let made = Mutex::new(Vec::new());
                let done = change(&mut machine, fake, &|plan| {
                    made.lock().unwrap().clear();
                    for _ in 0..10 {
                        let region = plan.alloc(ram, &Request::new(0x2000).align(0x1000))?;
                        made.lock().unwrap().push((region, plan.map(domains[domain].arena, region)?));
                    }
                    Ok(())
                });
                held.extend(made.into_inner().unwrap().into_iter().filter(|_| done.is_ok()));
            }
            Deed::Reseat { which, at, prot } => {
                let Some((region, alias)) = pick(which) else { continue };
                let _ = change_of(&mut machine, fake, true, &|plan| {
                    let attrs = plan.attrs(region)?.with_prot(Prot::from_bits_truncate(prot));
                    plan.set(region, attrs)?;
                    plan.relocate(alias, at & !0xfff | plan.range(alias)?.start() & 0xfff)
                });
            }
            Deed::Fail { writes } => fake.fail_after(Some(writes)),
            Deed::Resync => {
                fake.fail_after(None);
                fake.reset();
                machine.pmem.resync(driver).unwrap();
            }
        }
        if !matches!(deed, Deed::Fail { .. }) {
            fake.fail_after(None);
            machine.pmem.verify(driver).unwrap();
        }
    }
    fake.fail_after(None);
    // All that was taken comes back.
    drop(change(&mut machine, fake, &|plan| {
        held.iter().try_for_each(|(region, alias)| plan.decref(*alias).and_then(|()| plan.decref(*region)))
    }));
    let driver = machine.pmem.deregister(driver).unwrap();
    let driver: Box<dyn std::any::Any> = driver;
    let Ok(driver) = driver.downcast::<Iommu<U, Shared>>() else { panic!("another driver") };
    driver.stop().map_err(|fault| fault.reason).unwrap();
    assert_eq!(fake.free_pages(), pages, "tables are lost");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_unit_of_vtd_follows(
        deeds in prop::collection::vec(deed(), 1..24),
        (levels, absent, queue, large, buffers) in (3..=5u8, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        pages in prop_oneof![3 => Just(600usize), 1 => 20..60usize],
    ) {
        let chip = VtdChip::new(levels, absent, queue);
        let chip = if buffers { chip.buffered() } else { chip };
        let (unit, fake) = vtd(if large { chip } else { chip.small_pages() }, pages);
        play(unit, &fake, &deeds);
    }

    #[test]
    fn a_unit_of_amd_follows(
        deeds in prop::collection::vec(deed(), 1..24),
        (absent, all) in (any::<bool>(), any::<bool>()),
        pages in prop_oneof![3 => Just(600usize), 1 => 30..70usize],
    ) {
        let (unit, fake) = amd(AmdChip::new(absent, all), pages);
        play(unit, &fake, &deeds);
    }
}
