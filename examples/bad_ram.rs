//! If you keep a machine running on failing memory: a free page goes bad, then a page that the page allocator
//! has handed out, then one in the middle of a buffer. None of them is ever handed out again, and whoever holds
//! it hears of it first.

use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Change, Concern, Driver, Edit, Fault, Manager, Mapping, Metric,
    Mismatch, Owner, Request, Scope, State, Step, Subscription, Usage, Veto,
};
use pmem_uvm::{Feed, Hotplug, Layout, PageRequest, PageState, Uvm};
use std::error::Error;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

const PAGE: u64 = 4096;
type Memory = Arc<Mutex<(Uvm, Hotplug)>>;

/// A driver that hears which parts of an arena go bad, and who holds them.
struct Watcher {
    arena: ArenaId,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Driver for Watcher {
    fn name(&self) -> &str {
        "watcher"
    }

    fn attach(&mut self, _: &State) -> Result<(), Veto> {
        Ok(())
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto> {
        for edit in change.own_edits() {
            let Edit::Span { range, new: Some(new), .. } = edit else { continue };
            if !new.attrs.usage().contains(Usage::BROKEN) {
                continue;
            }
            let arena = change.after().arena(self.arena);
            let holders = arena.into_iter().flat_map(|arena| arena.regions_in(*range));
            let holders: Vec<String> =
                holders.map(|(at, record)| format!("owner {} of {at}", record.owner.0)).collect();
            let whose = if holders.is_empty() { "nobody".to_owned() } else { holders.join(", ") };
            self.heard.lock().expect("no panic").push(format!("{range} is bad, held by {whose}"));
        }
        Ok(Concern::Indifferent)
    }

    fn withdraw(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn install(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn revert(&mut self, _: Step) -> Result<(), Fault> {
        Ok(())
    }

    fn abort(&mut self) {}

    fn resync(&mut self, _: &State) -> Result<(), Fault> {
        Ok(())
    }

    fn verify(&mut self, _: &State) -> Result<(), Mismatch> {
        Ok(())
    }
}

/// Runs the example, and returns its output.
pub fn run() -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    let mut pmem = Manager::new();
    let (bus, dimm) =
        (pmem.create_arena("bus", ArenaType::BUS)?, pmem.create_arena("dimm 0", ArenaType::RAM)?);
    pmem.connect(bus, dimm, Mapping::Identity, Metric::new(1))?;
    pmem.prime(dimm, AddrRange::sized(0, 256 * PAGE)?, Attrs::ram())?;

    // Pages come from the model. The allocator migrates pages that are in use when it must.
    let moves = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&moves);
    let uvm = Uvm::default();
    let hotplug = Hotplug::new(1 << 15, &uvm)?;
    let memory: Memory = Arc::new(Mutex::new((uvm, hotplug)));
    let feed = Feed::new(memory.clone(), Layout::new(bus)).mover(Box::new(move |from, to| {
        log.lock().expect("no panic").push((from, to));
        Ok(())
    }));
    pmem.register(Box::new(feed), Feed::<Memory>::subscription())?;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let watcher = Watcher { arena: dimm, heard: Arc::clone(&heard) };
    pmem.register(Box::new(watcher), Subscription::new([Scope::Arena(dimm)]).priority(1))?;
    let buffer = Request::new(8 * PAGE).align(PAGE).usage(Usage::DMABUF).owner(Owner(7));
    let buffer = pmem.alloc(dimm, &buffer)?;
    let page = memory.lock().expect("no panic").0.pagealloc(&PageRequest::new())? * PAGE;
    let counters = |memory: &Memory| {
        let (uvm, _) = &*memory.lock().expect("no panic");
        let counters = uvm.uvmexp();
        format!("{} pages, {} retired, {} free", counters.physmem, counters.retired, counters.free)
    };
    writeln!(out, "{}", counters(&memory))?;

    // A free page.
    pmem.retire(dimm, AddrRange::sized(200 * PAGE, PAGE)?)?;
    // A page that the allocator has handed out: its content migrates.
    pmem.retire(dimm, AddrRange::sized(page, PAGE)?)?;
    for (from, to) in moves.lock().expect("no panic").drain(..) {
        writeln!(out, "what was in page {from:#x} is in page {to:#x}")?;
    }
    // The middle of a buffer, whose holder must move it.
    let holders = pmem.retire(dimm, AddrRange::sized(3 * PAGE, PAGE)?)?;
    for line in heard.lock().expect("no panic").drain(..) {
        writeln!(out, "{line}")?;
    }
    assert_eq!(holders, [buffer]);
    pmem.relocate(buffer, 100 * PAGE)?;
    writeln!(out, "the buffer is at {}", pmem.range(buffer)?)?;
    writeln!(out, "{}", counters(&memory))?;

    // None of them is handed out again.
    let mut given = Vec::new();
    while let Ok(page) = memory.lock().expect("no panic").0.pagealloc(&PageRequest::new()) {
        given.push(page);
    }
    let bad = [3, page / PAGE, 200];
    let again = bad.iter().filter(|bad| given.contains(bad)).count();
    let (uvm, _) = &*memory.lock().expect("no panic");
    let retired = bad.iter().filter(|page| {
        let state = uvm.page(**page).map(|page| page.info().state);
        state == Some(PageState::Retired)
    });
    writeln!(
        out,
        "{} pages are handed out, {again} of them bad; {} are retired",
        given.len(),
        retired.count()
    )?;
    Ok(out)
}

fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}
