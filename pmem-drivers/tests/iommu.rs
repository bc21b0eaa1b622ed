//! Units that are not there beside the model: devices try, between any two writes, what they may have been let do before or after a change.

use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Constraints, DriverId, Error, Manager, Mapping, Metric,
    OwnedResolution, Plan, Prot, RegionId, Request, Scope, State, Subscription,
};
use pmem_drivers::iommu::{
    Amd, AmdChip, Binding, Chip, Domain, DomainKind, Fake, Found, Iommu, Limits, Peers, Port, Requests, Unit,
    Vtd, VtdChip, add_device, add_domain, join, leave, map_identity, pass,
};
use pmem_iommu::RequesterId;
use pmem_iommu::table::{Access, Format, PageTable, TableMemory};
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

/// Where the model says that a device's access goes; what shares a page with a region goes with it, as hardware has no less than pages.
fn outcome(state: &State, ram: ArenaId, device: ArenaId, at: u64, write: bool) -> Option<u64> {
    let joined = state.links().find(|(_, link)| link.left == device).map(|(_, link)| link.right)?;
    if state.info(joined)?.kind == ArenaType::BUS {
        return Some(at);
    }
    let page = AddrRange::sized(at & !0xfff, 0x1000).unwrap();
    let (range, record) = state.arena(joined)?.regions_in(page).next()?;
    let needed = if write { Prot::WRITE } else { Prot::READ };
    if record.alias().is_none() || !state.effective(&record).prot().contains(needed) {
        return None;
    }
    let near = range.intersect(page)?.start();
    let OwnedResolution::Accept { place, .. } = state.resolve(device, near) else { return None };
    let to = if place.arena == ram { RAM_AT + place.addr } else { place.addr };
    Some(to.wrapping_add(at.wrapping_sub(near)))
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
    change_of(machine, unit, false, verbs)
}

/// The same; `another` says that a region may come where another goes, so that nothing is there between them.
fn change_of<C: Chip>(
    machine: &mut Machine,
    unit: &Fake<C>,
    another: bool,
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
            let may_be_absent = probe.before != probe.after || another;
            assert!(is_right || may_be_absent && seen.is_none(), "{probe:x?}: {seen:x?}");
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

/// A machine with a domain and the first device in it.
fn small<U: Unit + 'static>(unit: U, limits: &Limits, peers: Peers) -> (Machine, DriverId, Domain) {
    let mut machine = Machine::new();
    let driver = machine.register(unit).unwrap();
    let domain = machine.domain(limits, peers).unwrap();
    let device = machine.devices[0];
    machine.pmem.transaction(|plan| join(plan, device, domain)).unwrap();
    (machine, driver, domain)
}

const ID: RequesterId = RequesterId(DEVICES[0]);

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
