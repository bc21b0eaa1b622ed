//! Hardware that is kept as the model is, by `Mirror`: what goes before what comes, and back again from every fault.

use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, DriverId, Edit, Error, Fault, Hardware, LinkId, Manager, Mapping,
    Metric, Mirror, Mismatch, Placement, Prot, RegionId, Request, Scope, State, Subscription, Table, Veto,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A page table of an IOMMU, by input page: where it leads, and what it lets through.
type Pages = BTreeMap<u64, (u64, u8)>;

#[derive(Default)]
struct Shared {
    pages: Pages,
    written: Vec<String>,
    /// Which write from now on fails, half done or not.
    fails: Option<(usize, bool)>,
}

#[derive(Clone)]
struct Iommu {
    link: LinkId,
    device: ArenaId,
    /// Says changes from edits, and does not work out everything anew.
    by_edits: bool,
    /// Overwrites entries in place.
    in_place: bool,
    shared: Arc<Mutex<Shared>>,
}

const PAGE: u64 = 0x1000;

impl Iommu {
    fn entries(&self, state: &State, placement: &Placement) -> Vec<(u64, (u64, u8))> {
        let Some(alias) = placement.record.alias().filter(|alias| alias.link == self.link) else {
            return vec![];
        };
        let Some(range) = placement.seat.range() else { return vec![] };
        let prot = state.effective(&placement.record).prot().bits();
        (0..range.len() / PAGE).map(|i| (range.start() + i * PAGE, (alias.to + i * PAGE, prot))).collect()
    }
}

impl Hardware for Iommu {
    type Key = u64;
    type Value = (u64, u8);

    fn name(&self) -> &str {
        "iommu"
    }

    fn wanted(&self, state: &State) -> Result<Pages, Veto> {
        let here = state.arena(self.device).ok_or(Veto::new("no such arena"))?;
        let seated = here.regions().map(|(range, record)| Placement {
            arena: self.device,
            seat: pmem_core::Location::At(range),
            record,
        });
        let pages: Pages = seated.flat_map(|placement| self.entries(state, &placement)).collect();
        if pages.len() > 6 {
            return Err(Veto::new("too few pages").needs(pages.len() as u64, 6));
        }
        Ok(pages)
    }

    fn set(&mut self, key: &u64, value: Option<&(u64, u8)>) -> Result<(), Fault> {
        let mut shared = self.shared.lock().unwrap();
        let fault = shared.fails.take_if(|(left, _)| *left == 0);
        if let Some((left, _)) = &mut shared.fails {
            *left -= 1;
        }
        if fault.is_none_or(|(_, half_done)| half_done) {
            match value {
                Some(value) if !self.in_place && shared.pages.contains_key(key) => {
                    panic!("{key:#x} set to {value:x?} over another")
                }
                Some(value) => drop(shared.pages.insert(*key, *value)),
                None => drop(shared.pages.remove(key)),
            }
            shared.written.push(match value {
                Some((to, prot)) => format!("{key:#x}->{to:#x}:{prot}"),
                None => format!("{key:#x} clear"),
            });
        }
        fault.map_or(Ok(()), |_| Err(Fault::new("stuck").at(AddrRange::sized(*key, PAGE).unwrap())))
    }

    fn get(&mut self, key: &u64) -> Result<Option<(u64, u8)>, Fault> {
        Ok(self.shared.lock().unwrap().pages.get(key).copied())
    }

    fn changed(
        &self,
        change: &pmem_core::Change<'_>,
        held: &Pages,
    ) -> Result<Vec<(u64, Option<(u64, u8)>)>, Veto> {
        let wanted = self.wanted(change.after())?;
        let mut out: BTreeMap<u64, Option<(u64, u8)>> = BTreeMap::new();
        if !self.by_edits {
            out.extend(held.keys().map(|key| (*key, None)));
            out.extend(wanted.into_iter().map(|(key, value)| (key, Some(value))));
            return Ok(out.into_iter().collect());
        }
        for edit in change.own_edits() {
            let (old, new) = match edit {
                Edit::Region { old, new, .. } => (*old, *new),
                Edit::Effective { placement, .. } => (None, Some(*placement)),
                other => panic!("{other:?} is not in the scope"),
            };
            let entries = |p: Option<Placement>| p.map_or(vec![], |p| self.entries(change.after(), &p));
            for (key, _) in entries(old) {
                out.entry(key).or_insert(None);
            }
            out.extend(entries(new).into_iter().map(|(key, value)| (key, Some(value))));
        }
        Ok(out.into_iter().collect())
    }

    fn replaces(&self, _: &u64, _: &(u64, u8), _: &(u64, u8)) -> bool {
        self.in_place
    }

    fn range(&self, key: &u64) -> Option<AddrRange> {
        AddrRange::sized(*key, PAGE).ok()
    }
}

struct Bench {
    pmem: Manager,
    ram: ArenaId,
    device: ArenaId,
    driver: DriverId,
    iommu: Iommu,
}

fn bench(by_edits: bool, in_place: bool) -> Bench {
    let mut pmem = Manager::new();
    let [ram, device] = ["ram", "device"].map(|name| pmem.create_arena(name, ArenaType::RAM).unwrap());
    pmem.prime(ram, AddrRange::new(0, 0x10_0000).unwrap(), Attrs::ram()).unwrap();
    let table = Table::new(AddrRange::new(0x10_0000, 0x20_0000).unwrap(), PAGE).unwrap();
    let link = pmem.connect(device, ram, Mapping::Table(table), Metric::new(1)).unwrap();
    let iommu = Iommu { link, device, by_edits, in_place, shared: Arc::default() };
    let subscription = Subscription::new([Scope::Link(link)]);
    let driver = pmem.register(Box::new(Mirror::new(iommu.clone())), subscription).unwrap();
    Bench { pmem, ram, device, driver, iommu }
}

impl Bench {
    fn pages(&self) -> Pages {
        self.iommu.shared.lock().unwrap().pages.clone()
    }

    fn written(&self) -> Vec<String> {
        core::mem::take(&mut self.iommu.shared.lock().unwrap().written)
    }

    fn buffer(&mut self, pages: u64) -> (RegionId, RegionId) {
        let buffer = self.pmem.alloc(self.ram, &Request::new(pages * PAGE).align(PAGE)).unwrap();
        (buffer, self.pmem.map(self.device, buffer).unwrap())
    }

    fn check(&mut self) {
        assert_eq!(self.pmem.verify(self.driver), Ok(()));
        assert_eq!(self.pages(), self.iommu.wanted(self.pmem.state()).unwrap());
    }
}

#[test]
fn entries_follow_what_buffers_are_and_where() {
    for (by_edits, in_place) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut bench = bench(by_edits, in_place);
        let (buffer, _) = bench.buffer(2);
        bench.check();
        assert_eq!(bench.written(), ["0x100000->0x0:7", "0x101000->0x1000:7"]);
        // What the buffer lets through changes: the device is to be told.
        bench.pmem.set(buffer, Attrs::ram().with_prot(Prot::READ)).unwrap();
        bench.check();
        let cleared = ["0x101000 clear", "0x100000 clear"].map(String::from);
        let set = ["0x100000->0x0:1", "0x101000->0x1000:1"].map(String::from);
        let expected = if in_place { set.to_vec() } else { [cleared, set].concat() };
        assert_eq!(bench.written(), expected);
        bench.pmem.relocate(buffer, 0x8_0000).unwrap();
        bench.check();
        let seen = bench.pmem.aliases(buffer)[0];
        bench.pmem.unmap(seen).unwrap();
        bench.check();
        assert!(bench.pages().is_empty());
    }
}

#[test]
fn a_fault_at_every_write_leaves_everything_as_it_was() {
    for half_done in [false, true] {
        for at in 0..6 {
            let mut bench = bench(true, false);
            let (a, _) = bench.buffer(2);
            let (b, seen) = bench.buffer(1);
            let before = bench.pages();
            bench.iommu.shared.lock().unwrap().fails = Some((at, half_done));
            let result = bench.pmem.transaction(|plan| {
                plan.relocate(a, 0x8_0000)?;
                plan.decref(seen)?;
                plan.map(bench.device, b).map(drop)
            });
            match result {
                // The second buffer is seen where it was.
                Ok(()) => assert!(at >= 4, "{at}"),
                Err(Error::Failed { degraded, .. }) => {
                    assert!(degraded.is_empty());
                    assert_eq!(bench.pages(), before, "{at}");
                }
                Err(other) => panic!("{other}"),
            }
            bench.iommu.shared.lock().unwrap().fails = None;
            bench.check();
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_and_what_others_write_is_found() {
    let mut bench = bench(false, false);
    bench.buffer(4);
    let buffer = bench.pmem.alloc(bench.ram, &Request::new(4 * PAGE)).unwrap();
    let refused = bench.pmem.map(bench.device, buffer).unwrap_err();
    assert_eq!(refused.to_string(), "iommu refused: too few pages: needs 8, has 6");
    bench.check();
    // The hardware forgets a page, and makes up what another is.
    bench.iommu.shared.lock().unwrap().pages.insert(0x10_1000, (0xbad000, 7));
    let range = AddrRange::sized(0x10_1000, PAGE).ok();
    let mismatch = Mismatch {
        reason: "the hardware holds a different value than the model asks for",
        range,
        wanted_found: None,
    };
    let differs = Error::Differs { driver: bench.driver, name: "iommu".to_owned(), mismatch };
    assert_eq!(bench.pmem.verify(bench.driver), Err(differs));
    bench.iommu.shared.lock().unwrap().pages.remove(&0x10_0000);
    bench.written();
    bench.pmem.resync(bench.driver).unwrap();
    // Only what differs is written.
    assert_eq!(bench.written(), ["0x101000 clear", "0x100000->0x0:7", "0x101000->0x1000:7"]);
    bench.check();
}

#[test]
fn taking_over_what_is_there_writes_nothing() {
    let mut bench = bench(false, false);
    bench.buffer(3);
    let driver: Box<dyn std::any::Any> = bench.pmem.deregister(bench.driver).unwrap();
    let iommu = driver.downcast::<Mirror<Iommu>>().expect("it is what was registered");
    assert_eq!(iommu.hardware().link, bench.iommu.link);
    bench.written();
    let subscription = Subscription::new([Scope::Link(bench.iommu.link)]);
    bench.driver = bench.pmem.register(Box::new(Mirror::new(bench.iommu.clone())), subscription).unwrap();
    assert!(bench.written().is_empty());
    bench.check();
}
