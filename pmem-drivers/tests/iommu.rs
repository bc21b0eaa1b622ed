//! Units that are not there beside the model: devices try, between any two writes, what they may have been let do before or after a change.

use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, DriverId, Error, Manager, Mapping, Metric, OwnedResolution, Plan,
    Prot, RegionId, Request, Scope, Spot, State, Subscription,
};
use pmem_drivers::iommu::{
    Amd, AmdChip, Binding, Chip, Domain, Fake, Found, Iommu, Limits, Peers, Requests, Unit, Vtd, VtdChip,
    add_device, add_domain, join, leave, map_identity, pass,
};
use pmem_iommu::RequesterId;
use pmem_iommu::table::{Format, Memory};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};

const GIB: u64 = 1 << 30;
/// Where RAM begins on the system's bus.
const RAM_AT: u64 = 4 * GIB;
const DEVICES: [u16; 3] = [0x0010, 0x0018, 0x0300];

type Shared = Arc<Mutex<Binding>>;

/// A machine: RAM behind the system's bus, and a device with registers on it.
struct Machine {
    pmem: Manager,
    system: ArenaId,
    ram: ArenaId,
    devices: Vec<ArenaId>,
    binding: Shared,
}

impl Machine {
    fn new() -> Self {
        let mut pmem = Manager::new();
        let system = pmem.create_arena("system", ArenaType::BUS).unwrap();
        let ram = pmem.create_arena("ram", ArenaType::RAM).unwrap();
        pmem.prime(ram, AddrRange::new(0, GIB).unwrap(), Attrs::ram()).unwrap();
        pmem.prime(system, AddrRange::new(0xc000_0000, 0xd000_0000).unwrap(), Attrs::device()).unwrap();
        let window = AddrRange::new(RAM_AT, RAM_AT + GIB).unwrap();
        pmem.connect(system, ram, Mapping::window(window, 0).unwrap(), Metric::new(1)).unwrap();
        let binding = Shared::default();
        let devices = pmem
            .transaction(|plan| {
                let mut binding = binding.lock().unwrap();
                let add = |id: &u16| add_device(plan, &mut binding, "device", [RequesterId(*id)]);
                DEVICES.iter().map(add).collect::<Result<Vec<_>, _>>()
            })
            .unwrap();
        Self { pmem, system, ram, devices, binding }
    }

    fn domain(&mut self, limits: &Limits, peers: Peers) -> Result<Domain, Error> {
        let (system, binding) = (self.system, Arc::clone(&self.binding));
        let mut made = None;
        let done = self.pmem.transaction(|plan| {
            // The driver looks at it as well: it is locked no longer than this.
            let domain = add_domain(plan, &mut binding.lock().unwrap(), system, "domain", limits, peers)?;
            made = Some(domain);
            Ok(domain)
        });
        if let (Err(_), Some(domain)) = (&done, made) {
            binding.lock().unwrap().domains.remove(&domain.link);
        }
        done
    }

    fn register<U: Unit + 'static>(&mut self, unit: U) -> Result<DriverId, Error> {
        let driver = Iommu::new(unit, Arc::clone(&self.binding));
        self.pmem.register(Box::new(driver), Subscription::new([Scope::Everything]))
    }
}

/// Where the model says that a device's access goes.
fn outcome(state: &State, ram: ArenaId, device: ArenaId, at: u64, write: bool) -> Option<u64> {
    let joined = state.links().any(|(_, link)| link.left == device);
    match state.resolve(device, at) {
        _ if !joined => None,
        OwnedResolution::Accept { place, hops } => {
            let to = if place.arena == ram { RAM_AT + place.addr } else { place.addr };
            let Some(entry) = hops.get(1).filter(|hop| hop.addr == at && hop.from != ram) else {
                // Nothing is asked of what is not translated; what is reserved is nobody's.
                return (hops.len() == 1 && state.info(place.arena)?.kind == ArenaType::BUS).then_some(to);
            };
            match state.arena(entry.from)?.region_at(at) {
                Some((_, record)) if record.alias().is_some() => {
                    let needed = if write { Prot::WRITE } else { Prot::READ };
                    state.effective(&record).prot().contains(needed).then_some(to)
                }
                // It came to the system's bus untranslated.
                _ => Some(to),
            }
        }
        // A device that passes goes wherever it asks to.
        OwnedResolution::Fault { hops, .. } if hops.len() == 1 => {
            let to = state.link(hops[0].link)?.right;
            (state.info(to)?.kind == ArenaType::BUS).then_some(at)
        }
        _ => None,
    }
}

/// An access that is tried between any two writes, and where it may go.
#[derive(Clone, Copy, Debug)]
struct Probe {
    id: RequesterId,
    at: u64,
    write: bool,
    before: Option<u64>,
    after: Option<u64>,
}

fn probes(machine: &mut Machine, verbs: &dyn Fn(&mut Plan<'_>) -> Result<(), Error>) -> Vec<Probe> {
    let (ram, devices) = (machine.ram, machine.devices.clone());
    // What a device could know: both ends of what it sees, and beyond, before and after.
    let ends = |state: &State| -> Vec<u64> {
        let arenas = state.arenas().filter(|(id, info, _)| info.name == "domain" && !devices.contains(id));
        let ranges = arenas.flat_map(|(_, _, arena)| arena.regions().map(|(range, _)| range));
        ranges
            .flat_map(|range| {
                let page = range.rounded(0x1000);
                let beyond = page.last().wrapping_add(1);
                [
                    range.start(),
                    range.last(),
                    range.start() + range.len() / 2,
                    beyond,
                    page.start().wrapping_sub(1),
                ]
            })
            .collect()
    };
    let after = machine.pmem.plan(|plan| {
        verbs(plan)?;
        Ok(plan.state().clone())
    });
    let before = machine.pmem.state();
    // What is refused leaves all as it is.
    let after = after.map_or_else(|_| before.clone(), |(after, _)| after);
    let mut places: Vec<u64> =
        ends(before).into_iter().chain(ends(&after)).chain([0, RAM_AT, 0x5000]).collect();
    places.sort_unstable();
    places.dedup();
    let mut out = Vec::new();
    for (id, device) in DEVICES.iter().zip(&devices) {
        for at in
            places.iter().copied().filter(|at| at >> 47 == 0 && !(0xfee0_0000..0xfef0_0000).contains(at))
        {
            for write in [false, true] {
                let look = |state: &State| outcome(state, ram, *device, at, write);
                let (before, after) = (look(before), look(&after));
                out.push(Probe { id: RequesterId(*id), at, write, before, after });
            }
        }
    }
    out
}

/// Makes a change while devices try; whether it was made.
fn change<C: Chip>(
    machine: &mut Machine,
    unit: &Fake<C>,
    verbs: &dyn Fn(&mut Plan<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let probes = probes(machine, verbs);
    let tried = probes.clone();
    let mut turn = 0usize;
    unit.watch(move |access| {
        // A few at a time, others each time; every one is remembered by the unit from when it was tried.
        for probe in tried.iter().skip(turn % 7).step_by(7) {
            let seen = access(probe.id, probe.at, probe.write);
            let is_right = seen == probe.before || seen == probe.after;
            assert!(is_right || (probe.before != probe.after && seen.is_none()), "{probe:x?}: {seen:x?}");
        }
        turn += 1;
    });
    let done = machine.pmem.transaction(verbs);
    unit.unwatch();
    for probe in probes {
        let wanted = if done.is_ok() { probe.after } else { probe.before };
        let seen = unit.access(probe.id, probe.at, probe.write);
        assert_eq!(seen, wanted, "{probe:x?}, done: {done:?}");
    }
    machine.pmem.check().unwrap();
    done
}

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
        2 => (which(), len()).prop_map(|(which, len)| Deed::Resize { which, len }),
        3 => (0..3usize, 0..3usize).prop_map(|(device, domain)| Deed::Join { device, domain }),
        1 => (0..3usize).prop_map(|device| Deed::Pass { device }),
        1 => (0..3usize).prop_map(|device| Deed::Leave { device }),
        1 => (which(), at(), len()).prop_map(|(which, at, len)| Deed::Exchange { which, at, len }),
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
            Deed::Resize { which, len } => {
                let Some((region, _)) = pick(which) else { continue };
                let _ = change(&mut machine, fake, &|plan| plan.resize(region, len));
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
                let done = change(&mut machine, fake, &|plan| {
                    let placement = plan.placement(alias)?;
                    plan.decref(alias)?;
                    plan.decref(region)?;
                    let new = plan.alloc(ram, &Request::new(len).at(at))?;
                    let start = placement.seat.range().map_or(0, AddrRange::start) & !0xfff;
                    let seen = plan.map_at(placement.arena, new, Spot::at(start | at & 0xfff))?;
                    *made.lock().unwrap() = Some((new, seen));
                    Ok(())
                });
                if done.is_ok() {
                    held.retain(|(other, _)| *other != region);
                    held.extend(made.into_inner().unwrap());
                }
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

fn vtd(chip: VtdChip, pages: usize) -> (Vtd<Fake<VtdChip>>, Fake<VtdChip>) {
    let fake = Fake::new(chip, pages);
    (Vtd::new(fake.clone()).unwrap(), fake)
}

fn amd(chip: AmdChip, pages: usize) -> (Amd<Fake<AmdChip>>, Fake<AmdChip>) {
    let fake = Fake::new(chip, pages);
    (Amd::new(fake.clone(), 3).unwrap(), fake)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_unit_of_vtd_follows(
        deeds in prop::collection::vec(deed(), 1..24),
        (levels, absent, queue, large) in (3..=5u8, any::<bool>(), any::<bool>(), any::<bool>()),
        pages in prop_oneof![3 => Just(600usize), 1 => 20..60usize],
    ) {
        let chip = VtdChip::new(levels, absent, queue);
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
