//! A guest moves its devices' BARs. Each of these cases has crashed a VMM: the hypervisor refuses the new slot
//! after configuration space has changed; the refused place is never freed; two BARs swap places with decoding
//! off; a device reaches another's BAR through the IOMMU at its old address. Here each is one transaction over
//! slots, configuration space and IOMMU.

use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Fault, Hardware, Manager, Mapping, Metric, Mirror, RegionId,
    Request, Scope, State, Subscription, Veto,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}

/// Hardware that holds one range for each key, and fails on request.
#[derive(Default)]
struct Table {
    held: BTreeMap<u64, (u64, u64)>,
    broken: bool,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Table>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> String {
        let show = |(key, (start, last)): (&u64, &(u64, u64))| format!("{key:#x}: {start:#x}-{last:#x}");
        self.lock().held.iter().map(show).collect::<Vec<_>>().join(", ")
    }
}

/// A driver that follows the regions of an arena. The hypervisor's slots and configuration space follow the
/// guest's bus, the IOMMU follows the domain.
struct Follows {
    name: &'static str,
    arena: ArenaId,
    table: Shared,
    /// Whether ranges must not overlap: true for slots, false for registers.
    is_exclusive: bool,
    /// Whether keys are regions, because a BAR is one register wherever it is. Otherwise keys are addresses.
    by_region: bool,
}

impl Hardware for Follows {
    type Key = u64;
    type Value = AddrRange;

    fn name(&self) -> &str {
        self.name
    }

    fn wanted(&self, state: &State) -> Result<BTreeMap<u64, AddrRange>, Veto> {
        let regions = state.arena(self.arena).into_iter().flat_map(|arena| arena.regions());
        let key = |range: AddrRange, id: RegionId| {
            if self.by_region { id.to_raw() & 0xffff } else { range.start() }
        };
        Ok(regions.map(|(range, record)| (key(range, record.id), range)).collect())
    }

    fn set(&mut self, key: &u64, range: Option<&AddrRange>) -> Result<(), Fault> {
        let mut table = self.table.lock();
        if core::mem::take(&mut table.broken) {
            return Err(Fault::new("the hypervisor is out of memory"));
        }
        let Some(range) = range else {
            table.held.remove(key);
            return Ok(());
        };
        let (start, last) = (range.start(), range.last());
        if self.is_exclusive && table.held.values().any(|(a, b)| *a <= last && start <= *b) {
            return Err(Fault::new("the slot exists").at(*range));
        }
        table.held.insert(*key, (start, last));
        Ok(())
    }

    fn get(&mut self, key: &u64) -> Result<Option<AddrRange>, Fault> {
        let held = self.table.lock().held.get(key).copied();
        Ok(held.and_then(|(start, last)| AddrRange::inclusive(start, last).ok()))
    }
}

/// Builds the guest, moves its BARs, and returns what became of each.
pub fn run() -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    let mut pmem = Manager::new();
    let bus = pmem.create_arena("guest bus", ArenaType::PCI)?;
    pmem.prime(bus, AddrRange::new(0xc000_0000, 0xd000_0000)?, Attrs::device())?;
    // What the network card sees through the IOMMU: the bus, but only where something is mapped.
    let domain = pmem.create_arena("domain of the NIC", ArenaType::VIEW)?;
    pmem.connect(domain, bus, Mapping::Identity, Metric::new(1))?;

    let (slots, config, iommu) = (Shared::default(), Shared::default(), Shared::default());
    let follows = |name, arena, table: &Shared, is_exclusive, by_region| {
        Mirror::new(Follows { name, arena, table: table.clone(), is_exclusive, by_region })
    };
    let register = |pmem: &mut Manager, driver, arena| {
        pmem.register(Box::new(driver), Subscription::new([Scope::Arena(arena)]))
    };
    let drivers = [
        register(&mut pmem, follows("configuration space", bus, &config, false, true), bus)?,
        register(&mut pmem, follows("memory slots", bus, &slots, true, false), bus)?,
        register(&mut pmem, follows("IOMMU", domain, &iommu, false, true), domain)?,
    ];
    let bar = Request::new(0x10_0000).align(0x10_0000);
    let (gpu, nic) = (pmem.alloc(bus, &bar)?, pmem.alloc(bus, &bar)?);
    let peer = pmem.map(domain, gpu)?;
    writeln!(out, "GPU at {}, NIC at {}; slots {}", pmem.range(gpu)?, pmem.range(nic)?, slots.list())?;

    // The hypervisor refuses the new slot: configuration space is rolled back, the GPU keeps its old place, and
    // the new one is free.
    slots.lock().broken = true;
    if let Err(error) = pmem.relocate(gpu, 0xc800_0000) {
        writeln!(out, "refused: {error}")?;
    }
    writeln!(out, "the GPU is still at {}; slots {}", pmem.range(gpu)?, slots.list())?;
    let place = pmem.alloc(bus, &bar.at(0xc800_0000))?;
    writeln!(out, "what was refused can be had: {}", pmem.range(place)?)?;
    pmem.decref(place)?;

    // Swapped, as a guest does with decoding off: one transaction, so that the two never share a place.
    let (a, b) = (pmem.range(gpu)?.start(), pmem.range(nic)?.start());
    pmem.transaction(|plan| plan.relocate_all(&[(gpu, b), (nic, a)]))?;
    writeln!(out, "swapped: GPU at {}, NIC at {}", pmem.range(gpu)?, pmem.range(nic)?)?;

    // The NIC's window onto the GPU has moved along, in the model and in the IOMMU.
    writeln!(out, "the NIC sees the GPU at {}; IOMMU {}", pmem.range(peer)?, iommu.list())?;
    for driver in drivers {
        pmem.verify(driver)?;
    }
    pmem.check()?;
    writeln!(out, "slots {}; all drivers agree with the model", slots.list())?;
    Ok(out)
}
