//! A machine with a unit that is not there, and devices that try accesses between any two writes.

use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, DriverId, Error, Manager, Mapping, Metric, OwnedResolution, Plan,
    Prot, Scope, State, Subscription,
};
use pmem_drivers::iommu::{
    Amd, AmdChip, Binding, Chip, Domain, Fake, Iommu, Limits, Peers, Unit, Vtd, VtdChip, add_device,
    add_domain, join,
};
use pmem_iommu::RequesterId;
use std::sync::{Arc, Mutex};

pub const GIB: u64 = 1 << 30;
/// Where RAM begins on the system's bus.
pub const RAM_AT: u64 = 4 * GIB;
pub const DEVICES: [u16; 3] = [0x0010, 0x0018, 0x0300];

pub type Shared = Arc<Mutex<Binding>>;

/// A machine: RAM behind the system's bus, and a device with registers on it.
pub struct Machine {
    pub pmem: Manager,
    pub system: ArenaId,
    pub ram: ArenaId,
    pub devices: Vec<ArenaId>,
    pub binding: Shared,
}

impl Machine {
    pub fn new() -> Self {
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

    pub fn domain(&mut self, limits: &Limits, peers: Peers) -> Result<Domain, Error> {
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

    pub fn register<U: Unit + 'static>(&mut self, unit: U) -> Result<DriverId, Error> {
        let driver = Iommu::new(unit, Arc::clone(&self.binding));
        self.pmem.register(Box::new(driver), Subscription::new([Scope::Everything]))
    }
}

/// Where the model says that a device's access goes; what shares a page with a region goes with it, as hardware has no less than pages.
pub fn outcome(state: &State, ram: ArenaId, device: ArenaId, at: u64, write: bool) -> Option<u64> {
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
pub struct Probe {
    pub id: RequesterId,
    pub at: u64,
    pub write: bool,
    pub before: Option<u64>,
    pub after: Option<u64>,
}

pub fn probes(machine: &mut Machine, verbs: &dyn Fn(&mut Plan<'_>) -> Result<(), Error>) -> Vec<Probe> {
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
pub fn change<C: Chip>(
    machine: &mut Machine,
    unit: &Fake<C>,
    verbs: &dyn Fn(&mut Plan<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    change_of(machine, unit, false, verbs)
}

/// The same; `another` says that a region may come where another goes, so that nothing is there between them.
pub fn change_of<C: Chip>(
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

pub fn vtd(chip: VtdChip, pages: usize) -> (Vtd<Fake<VtdChip>>, Fake<VtdChip>) {
    let fake = Fake::new(chip, pages);
    (Vtd::new(fake.clone()).unwrap(), fake)
}

pub fn amd(chip: AmdChip, pages: usize) -> (Amd<Fake<AmdChip>>, Fake<AmdChip>) {
    let fake = Fake::new(chip, pages);
    (Amd::new(fake.clone(), 3).unwrap(), fake)
}

/// A machine with a domain and the first device in it.
pub fn small<U: Unit + 'static>(unit: U, limits: &Limits, peers: Peers) -> (Machine, DriverId, Domain) {
    let mut machine = Machine::new();
    let driver = machine.register(unit).unwrap();
    let domain = machine.domain(limits, peers).unwrap();
    let device = machine.devices[0];
    machine.pmem.transaction(|plan| join(plan, device, domain)).unwrap();
    (machine, driver, domain)
}

pub const ID: RequesterId = RequesterId(DEVICES[0]);
