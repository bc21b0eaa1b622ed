//! A VMM's guest address space, with the hypervisor's memory slots as a driver. A slot that overlaps another
//! fails with "exists", so when two BARs swap places, both must be withdrawn before either is installed. A slot
//! that fails leaves no trace. Then everything is saved, loaded, and continues.

use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Fault, Hardware, Manager, Mirror, Request, Saved, Scope, State,
    Subscription, Veto,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}

/// A fake hypervisor: slots of guest addresses that never overlap.
#[derive(Default)]
struct Hypervisor {
    slots: BTreeMap<u64, u64>,
    /// Whether the next slot fails.
    broken: bool,
}

impl Hypervisor {
    fn set(&mut self, range: AddrRange) -> Result<(), &'static str> {
        let overlaps = |(start, last): (&u64, &u64)| range.start() <= *last && *start <= range.last();
        match core::mem::take(&mut self.broken) {
            true => Err("the hypervisor is out of memory"),
            false if self.slots.iter().any(overlaps) => Err("the slot exists"),
            false => {
                self.slots.insert(range.start(), range.last());
                Ok(())
            }
        }
    }

    fn clear(&mut self, start: u64) -> Result<(), &'static str> {
        self.slots.remove(&start).map(drop).ok_or("no such slot")
    }
}

/// A driver that keeps a slot in the hypervisor for each region of the guest.
struct Slots {
    hypervisor: Arc<Mutex<Hypervisor>>,
    guest: ArenaId,
}

impl Hardware for Slots {
    type Key = u64;
    type Value = AddrRange;

    fn name(&self) -> &str {
        "memory slots"
    }

    fn wanted(&self, state: &State) -> Result<BTreeMap<u64, AddrRange>, Veto> {
        let regions = state.arena(self.guest).into_iter().flat_map(|arena| arena.regions());
        Ok(regions.map(|(range, _)| (range.start(), range)).collect())
    }

    fn set(&mut self, start: &u64, slot: Option<&AddrRange>) -> Result<(), Fault> {
        let mut hypervisor = self.hypervisor.lock().unwrap_or_else(PoisonError::into_inner);
        match slot {
            Some(slot) => hypervisor.set(*slot).map_err(|reason| Fault::new(reason).at(*slot)),
            None => hypervisor.clear(*start).map_err(Fault::new),
        }
    }

    fn get(&mut self, start: &u64) -> Result<Option<AddrRange>, Fault> {
        let hypervisor = self.hypervisor.lock().unwrap_or_else(PoisonError::into_inner);
        let last = hypervisor.slots.get(start);
        Ok(last.and_then(|last| AddrRange::inclusive(*start, *last).ok()))
    }
}

/// Builds the guest, swaps its BARs, fails, saves, loads and continues; returns what happened.
pub fn run() -> Result<String, Box<dyn Error>> {
    let hypervisor = Arc::new(Mutex::new(Hypervisor::default()));
    let slots = |guest| Mirror::new(Slots { hypervisor: Arc::clone(&hypervisor), guest });
    let listed = || -> Vec<String> {
        let hypervisor = hypervisor.lock().unwrap_or_else(PoisonError::into_inner);
        hypervisor.slots.iter().map(|(start, last)| format!("{start:#x}-{last:#x}")).collect()
    };
    let mut out = String::new();

    let mut pmem = Manager::new();
    let guest = pmem.create_arena("guest MMIO", ArenaType::PCI)?;
    pmem.prime(guest, AddrRange::new(0xc000_0000, 0xd000_0000)?, Attrs::device())?;
    pmem.register(Box::new(slots(guest)), Subscription::new([Scope::Arena(guest)]))?;
    let gpu = pmem.alloc(guest, &Request::new(0x10_0000).align(0x10_0000))?;
    let nic = pmem.alloc(guest, &Request::new(0x10_0000).align(0x10_0000))?;
    writeln!(out, "slots {}", listed().join(", "))?;

    // One after the other would hit the slot that exists. Together, both are withdrawn, then both installed.
    let (a, b) = (pmem.range(gpu)?.start(), pmem.range(nic)?.start());
    if let Err(error) = pmem.relocate(gpu, b) {
        writeln!(out, "alone: {error}")?;
    }
    pmem.transaction(|plan| plan.relocate_all(&[(gpu, b), (nic, a)]))?;
    writeln!(out, "swapped: GPU at {}, NIC at {}", pmem.range(gpu)?, pmem.range(nic)?)?;

    // A slot fails: the model and the slots are as before.
    hypervisor.lock().unwrap_or_else(PoisonError::into_inner).broken = true;
    if let Err(error) = pmem.relocate(gpu, 0xc800_0000) {
        writeln!(out, "failed: {error}")?;
    }
    writeln!(out, "GPU still at {}, slots {}", pmem.range(gpu)?, listed().join(", "))?;

    // Saved by one VMM, loaded by the next: ids keep their meaning, and the driver programs its slots from
    // scratch.
    let saved = serde_json::to_string(&pmem.save())?;
    let mut pmem = Manager::load(serde_json::from_str::<Saved>(&saved)?)?;
    hypervisor.lock().unwrap_or_else(PoisonError::into_inner).slots.clear();
    let driver = pmem.register(Box::new(slots(guest)), Subscription::new([Scope::Arena(guest)]))?;
    pmem.relocate(gpu, 0xc800_0000)?;
    writeln!(out, "gone on: GPU at {}, slots {}", pmem.range(gpu)?, listed().join(", "))?;
    pmem.verify(driver)?;
    Ok(out)
}
