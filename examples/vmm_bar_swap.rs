//! A VMM's guest address space. The hypervisor's memory slots are a driver: a slot that overlaps another "exists"
//! already, so two BARs that swap places must be withdrawn before either is installed. A slot that fails leaves no
//! trace; the whole is saved, loaded, and goes on.

use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Change, Concern, Driver, Edit, Fault, Manager, Mismatch, Placement,
    Request, Saved, Scope, State, Step, Subscription, Veto,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}

/// What a hypervisor offers: slots of guest addresses, which never overlap.
#[derive(Default)]
struct Hypervisor {
    slots: BTreeMap<u64, u64>,
    /// The next slots to be set fail.
    broken: bool,
}

impl Hypervisor {
    fn set(&mut self, range: AddrRange) -> Result<(), &'static str> {
        let overlaps = |(start, last): (&u64, &u64)| range.start() <= *last && *start <= range.last();
        match self.broken {
            true => Err("the hypervisor is out of memory"),
            false if self.slots.iter().any(overlaps) => Err("the slot exists"),
            false => {
                self.slots.insert(range.start(), range.last());
                Ok(())
            }
        }
    }

    fn clear(&mut self, range: AddrRange) -> Result<(), &'static str> {
        self.slots.remove(&range.start()).map(drop).ok_or("no such slot")
    }
}

/// Keeps the slots as the model has the regions.
struct Slots {
    hypervisor: Arc<Mutex<Hypervisor>>,
    guest: ArenaId,
    out: Vec<AddrRange>,
    come: Vec<AddrRange>,
}

impl Slots {
    fn each(&self, ranges: &[AddrRange], set: bool) -> Result<(), Fault> {
        let mut hypervisor = self.hypervisor.lock().unwrap_or_else(PoisonError::into_inner);
        for range in ranges {
            let done = if set { hypervisor.set(*range) } else { hypervisor.clear(*range) };
            done.map_err(|reason| Fault::new(reason).at(*range))?;
        }
        Ok(())
    }
}

impl Driver for Slots {
    fn name(&self) -> &str {
        "memory slots"
    }

    fn attach(&mut self, state: &State) -> Result<(), Veto> {
        self.resync(state).map_err(|fault| Veto::new(fault.reason))
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto> {
        self.abort();
        let range = |placement: &Option<Placement>| placement.and_then(|p| p.seat.range());
        for edit in change.edits() {
            if let Edit::Region { old, new, .. } = edit
                && range(old) != range(new)
            {
                self.out.extend(range(old));
                self.come.extend(range(new));
            }
        }
        Ok(if self.out.is_empty() && self.come.is_empty() {
            Concern::Indifferent
        } else {
            Concern::Concerned
        })
    }

    fn withdraw(&mut self) -> Result<(), Fault> {
        self.each(&self.out, false)
    }

    fn install(&mut self) -> Result<(), Fault> {
        self.each(&self.come, true)
    }

    fn revert(&mut self, step: Step) -> Result<(), Fault> {
        match step {
            // Of a step that failed half-way, what was done is undone.
            Step::Install => {
                let mut hypervisor = self.hypervisor.lock().unwrap_or_else(PoisonError::into_inner);
                hypervisor.broken = false;
                for range in &self.come {
                    // Those that were never set are not there to be cleared.
                    let _ = hypervisor.clear(*range);
                }
                Ok(())
            }
            Step::Withdraw => self.each(&self.out, true),
        }
    }

    fn abort(&mut self) {
        self.out.clear();
        self.come.clear();
    }

    fn resync(&mut self, state: &State) -> Result<(), Fault> {
        self.abort();
        let regions = state.arena(self.guest).into_iter().flat_map(|arena| arena.regions());
        let ranges: Vec<AddrRange> = regions.map(|(range, _)| range).collect();
        self.hypervisor.lock().unwrap_or_else(PoisonError::into_inner).slots.clear();
        self.each(&ranges, true)
    }

    fn verify(&mut self, state: &State) -> Result<(), Mismatch> {
        let hypervisor = self.hypervisor.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = state.arena(self.guest).map_or(0, |arena| arena.regions().count());
        let found = hypervisor.slots.len();
        let differ =
            Mismatch { reason: "slots", range: None, wanted_found: Some((wanted as u64, found as u64)) };
        if wanted == found { Ok(()) } else { Err(differ) }
    }
}

/// Builds the guest, swaps its BARs, fails, saves, loads and goes on; says what happened.
pub fn run() -> Result<String, Box<dyn Error>> {
    let hypervisor = Arc::new(Mutex::new(Hypervisor::default()));
    let slots =
        |guest| Slots { hypervisor: Arc::clone(&hypervisor), guest, out: Vec::new(), come: Vec::new() };
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

    // One after the other would meet the slot that exists; together they are withdrawn, then installed.
    let (a, b) = (pmem.range_of(gpu)?.start(), pmem.range_of(nic)?.start());
    if let Err(error) = pmem.relocate(gpu, b) {
        writeln!(out, "alone: {error}")?;
    }
    pmem.transaction(|plan| plan.relocate_all(&[(gpu, b), (nic, a)]))?;
    writeln!(out, "swapped: GPU at {}, NIC at {}", pmem.range_of(gpu)?, pmem.range_of(nic)?)?;

    // A slot that fails: model and slots are as they were.
    hypervisor.lock().unwrap_or_else(PoisonError::into_inner).broken = true;
    if let Err(error) = pmem.relocate(gpu, 0xc800_0000) {
        writeln!(out, "failed: {error}")?;
    }
    writeln!(out, "GPU still at {}, slots {}", pmem.range_of(gpu)?, listed().join(", "))?;

    // Saved with one VMM, loaded by the next; ids mean the same, the driver programs its slots anew.
    let saved = serde_json::to_string(&pmem.save())?;
    let mut pmem = Manager::load(serde_json::from_str::<Saved>(&saved)?)?;
    hypervisor.lock().unwrap_or_else(PoisonError::into_inner).slots.clear();
    let driver = pmem.register(Box::new(slots(guest)), Subscription::new([Scope::Arena(guest)]))?;
    pmem.relocate(gpu, 0xc800_0000)?;
    writeln!(out, "gone on: GPU at {}, slots {}", pmem.range_of(gpu)?, listed().join(", "))?;
    pmem.verify(driver)?.map_err(|mismatch| mismatch.to_string())?;
    Ok(out)
}
