//! The driver protocol: vetoes and faults at every position of a chain of five leave the model, and the hardware, as
//! they were, and the calls are those that the contract says.

use pmem_core::test_util::{Call, Faults, Faulty, Hooked, Log, Quiet, Tracer};
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Change, Concern, Driver, Edit, Error, Fault, Interest, Kinds,
    Manager, Mapping, Metric, Mismatch, Phase, Props, RegionId, Released, Request, Scope, State, Step,
    Subscription, Usage, Veto,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const N: usize = 5;

/// Hardware with one register per region of an arena; claims of the same address at once are a fault.
#[derive(Clone, Default, Debug, PartialEq)]
struct Registers(BTreeMap<u64, u64>);

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Registers>>);

struct Slots {
    name: String,
    hardware: Shared,
    out: Vec<AddrRange>,
    come: Vec<AddrRange>,
}

impl Slots {
    fn write(&self, set: &[AddrRange], clear: &[AddrRange]) -> Result<(), Fault> {
        let mut hardware = self.hardware.0.lock().unwrap();
        for range in clear {
            hardware.0.remove(&range.start()).ok_or(Fault::new("no such slot").at(*range))?;
        }
        for range in set {
            let taken = hardware.0.iter().any(|(s, l)| range.overlaps(AddrRange::inclusive(*s, *l).unwrap()));
            if taken {
                return Err(Fault::new("slot exists").at(*range));
            }
            hardware.0.insert(range.start(), range.last());
        }
        Ok(())
    }
}

impl Driver for Slots {
    fn name(&self) -> &str {
        &self.name
    }
    fn attach(&mut self, _: &State) -> Result<(), Veto> {
        Ok(())
    }
    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto> {
        self.abort();
        for edit in change.edits() {
            if let Edit::Region { old, new, .. } = edit {
                let range = |p: &Option<pmem_core::Placement>| p.and_then(|p| p.seat.range());
                if range(old) != range(new) {
                    self.out.extend(range(old));
                    self.come.extend(range(new));
                }
            }
        }
        Ok(Concern::Concerned)
    }
    fn withdraw(&mut self) -> Result<(), Fault> {
        self.write(&[], &self.out)
    }
    fn install(&mut self) -> Result<(), Fault> {
        self.write(&self.come, &[])
    }
    fn revert(&mut self, step: Step) -> Result<(), Fault> {
        match step {
            Step::Install => self.write(&[], &self.come),
            Step::Withdraw => self.write(&self.out, &[]),
        }
    }
    fn abort(&mut self) {
        self.out.clear();
        self.come.clear();
    }
    fn resync(&mut self, state: &State) -> Result<(), Fault> {
        self.abort();
        let all: Vec<AddrRange> = state
            .arenas()
            .flat_map(|(_, _, a)| a.regions().map(|(range, _)| range).collect::<Vec<_>>())
            .collect();
        self.hardware.0.lock().unwrap().0.clear();
        self.write(&all, &[])
    }
    fn verify(&mut self, _: &State) -> Result<(), Mismatch> {
        Ok(())
    }
}

struct Bench {
    pmem: Manager,
    arena: ArenaId,
    log: Log,
    faults: Vec<Faults>,
    regions: Vec<RegionId>,
}

fn r(start: u64, end: u64) -> AddrRange {
    AddrRange::new(start, end).unwrap()
}

/// Five drivers, d0 first, and three regions: the mixed change moves one, grows one, releases one.
fn bench() -> Bench {
    let mut pmem = Manager::new();
    let arena = pmem.create_arena("bus", ArenaType::PCI).unwrap();
    pmem.prime(arena, r(0, 0x10000), Attrs::device()).unwrap();
    let log = Log::default();
    let faults: Vec<Faults> = (0..N).map(|_| Faults::default()).collect();
    for (i, faults) in faults.iter().enumerate() {
        let driver = Tracer::around(Faulty::around(Quiet::new(format!("d{i}")), faults), &log);
        pmem.register(Box::new(driver), Subscription::new([Scope::Arena(arena)])).unwrap();
    }
    let regions =
        (0..3).map(|i| pmem.alloc(arena, &Request::exactly(r(i * 0x1000, i * 0x1000 + 0x800))).unwrap());
    let regions = regions.collect();
    log.take();
    Bench { pmem, arena, log, faults, regions }
}

fn mixed(bench: &mut Bench) -> Result<(), Error> {
    let regions = bench.regions.clone();
    bench.pmem.transaction(|plan| {
        plan.relocate(regions[0], 0x8000)?;
        plan.resize(regions[1], 0x1000)?;
        plan.decref(regions[2])
    })
}

fn lines(calls: impl IntoIterator<Item = (usize, &'static str)>) -> Vec<String> {
    calls.into_iter().map(|(i, call)| format!("d{i}: {call}")).collect()
}

fn fingerprint(pmem: &Manager) -> String {
    serde_json::to_string(&pmem.save()).unwrap()
}

#[test]
fn a_change_prepares_in_order_withdraws_backward_and_installs_in_order() {
    let mut bench = bench();
    mixed(&mut bench).unwrap();
    let mut wanted = lines((0..N).map(|i| (i, "prepare")));
    wanted.extend(lines((0..N).rev().map(|i| (i, "withdraw"))));
    wanted.extend(lines((0..N).map(|i| (i, "install"))));
    assert_eq!(bench.log.take(), wanted);
}

#[test]
fn a_veto_at_any_position_aborts_those_that_prepared_and_leaves_no_trace() {
    for k in 0..N {
        let mut bench = bench();
        let before = fingerprint(&bench.pmem);
        bench.faults[k].arm(Call::Prepare, 1);
        let error = mixed(&mut bench).unwrap_err();
        assert!(matches!(&error, Error::Refused { name, .. } if *name == format!("d{k}")), "{error}");
        let mut wanted = lines((0..k).map(|i| (i, "prepare")));
        wanted.extend(lines([(k, "prepare failed: injected veto")]));
        wanted.extend(lines((0..k).rev().map(|i| (i, "abort"))));
        assert_eq!(bench.log.take(), wanted);
        assert_eq!(fingerprint(&bench.pmem), before);
        mixed(&mut bench).expect("nothing is left over of the refused change");
    }
}

#[test]
fn a_fault_at_any_position_takes_back_every_step_in_exact_reverse() {
    for k in 0..N {
        // In withdraw: N-1 … k were begun.
        let mut bench = bench();
        let before = fingerprint(&bench.pmem);
        bench.faults[k].arm(Call::Withdraw, 1);
        let error = mixed(&mut bench).unwrap_err();
        let Error::Failed { name, phase, degraded, .. } = error else { panic!("{error}") };
        assert_eq!((name, phase, degraded.len()), (format!("d{k}"), Phase::Withdraw, 0));
        let mut wanted = lines((0..N).map(|i| (i, "prepare")));
        wanted.extend(lines((k + 1..N).rev().map(|i| (i, "withdraw"))));
        wanted.extend(lines([(k, "withdraw failed: injected fault")]));
        wanted.extend(lines((k..N).map(|i| (i, "revert withdraw"))));
        wanted.extend(lines((0..k).rev().map(|i| (i, "abort"))));
        assert_eq!(bench.log.take(), wanted);
        assert_eq!(fingerprint(&bench.pmem), before);

        // In install: all withdraws and installs 0 … k were begun.
        bench.faults[k].arm(Call::Install, 1);
        let error = mixed(&mut bench).unwrap_err();
        let Error::Failed { name, phase, degraded, .. } = error else { panic!("{error}") };
        assert_eq!((name, phase, degraded.len()), (format!("d{k}"), Phase::Install, 0));
        let mut wanted = lines((0..N).map(|i| (i, "prepare")));
        wanted.extend(lines((0..N).rev().map(|i| (i, "withdraw"))));
        wanted.extend(lines((0..k).map(|i| (i, "install"))));
        wanted.extend(lines([(k, "install failed: injected fault")]));
        wanted.extend(lines((0..=k).rev().map(|i| (i, "revert install"))));
        wanted.extend(lines((0..N).map(|i| (i, "revert withdraw"))));
        assert_eq!(bench.log.take(), wanted);
        assert_eq!(fingerprint(&bench.pmem), before);
        mixed(&mut bench).expect("nothing is left over of the failed change");
    }
}

#[test]
fn a_fault_in_a_revert_degrades_its_driver_which_resyncs_before_the_next_change() {
    for k in 0..N {
        for (call, phase) in
            [(Call::RevertWithdraw, "revert withdraw"), (Call::RevertInstall, "revert install")]
        {
            let mut bench = bench();
            let before = fingerprint(&bench.pmem);
            bench.faults[N - 1].arm(Call::Install, 1);
            bench.faults[k].arm(call, 1);
            let error = mixed(&mut bench).unwrap_err();
            let Error::Failed { name, degraded, .. } = &error else { panic!("{error}") };
            let ids: Vec<_> = bench.pmem.drivers().map(|(id, ..)| id).collect();
            assert_eq!((name.as_str(), &degraded[..]), ("d4", &[ids[k]][..]));
            assert!(error.to_string().ends_with(&format!("degraded: {}", ids[k])), "{error}");
            assert_eq!(fingerprint(&bench.pmem), before, "the model stays at the old state");
            let log = bench.log.take();
            assert!(log.contains(&format!("d{k}: {phase} failed: injected fault")));
            let reverts = log.iter().filter(|line| line.contains("revert")).count();
            assert_eq!(reverts, 2 * N, "a fault in one revert does not stop the others");
            let flags: Vec<bool> = bench.pmem.drivers().map(|(.., degraded)| degraded).collect();
            assert_eq!(flags, (0..N).map(|i| i == k).collect::<Vec<_>>());

            mixed(&mut bench).unwrap();
            let log = bench.log.take();
            assert_eq!(log[0], format!("d{k}: resync"));
            assert_eq!(log[1..N + 1], lines((0..N).map(|i| (i, "prepare"))));
            assert!(bench.pmem.drivers().all(|(.., degraded)| !degraded));
        }
    }
}

#[test]
fn a_failed_resync_refuses_the_change_and_keeps_the_driver_degraded() {
    let mut bench = bench();
    let id = bench.pmem.drivers().next().unwrap().0;
    bench.pmem.degrade(id).unwrap();
    bench.faults[0].arm(Call::Resync, 1);
    let before = fingerprint(&bench.pmem);
    let error = mixed(&mut bench).unwrap_err();
    assert!(matches!(error, Error::Failed { phase: Phase::Resync, .. }), "{error}");
    assert_eq!(fingerprint(&bench.pmem), before);
    assert!(bench.pmem.drivers().next().unwrap().2);
    mixed(&mut bench).unwrap();
}

/// Real slots that refuse to overlap, beside a driver that fails: whatever the order and the step, the slots end as they began.
#[test]
fn hardware_is_as_it_was_after_any_failure() {
    for position in 0..2 {
        for call in [Call::Prepare, Call::Withdraw, Call::Install] {
            let mut pmem = Manager::new();
            let arena = pmem.create_arena("bus", ArenaType::PCI).unwrap();
            pmem.prime(arena, r(0, 0x10000), Attrs::device()).unwrap();
            let (hardware, faults) = (Shared::default(), Faults::default());
            let slots = Slots { name: "slots".into(), hardware: hardware.clone(), out: vec![], come: vec![] };
            let other = Faulty::around(Quiet::new("other"), &faults);
            let of = |priority| Subscription::new([Scope::Arena(arena)]).priority(priority);
            pmem.register(Box::new(slots), of(0)).unwrap();
            pmem.register(Box::new(other), of(if position == 0 { 1 } else { -1 })).unwrap();
            let a = pmem.alloc(arena, &Request::exactly(r(0, 0x1000))).unwrap();
            let b = pmem.alloc(arena, &Request::exactly(r(0x1000, 0x2000))).unwrap();
            let before = hardware.0.lock().unwrap().clone();
            faults.arm(call, 1);
            pmem.relocate_all(&[(a, 0x1000), (b, 0)]).unwrap_err();
            let after = hardware.0.lock().unwrap().clone();
            assert_eq!(after, before, "{call:?} at {position}");
            pmem.relocate_all(&[(a, 0x1000), (b, 0)]).unwrap();
        }
    }
}

#[test]
fn what_is_withdrawn_is_handed_out_again_only_after_its_withdraw() {
    let mut pmem = Manager::new();
    let arena = pmem.create_arena("bus", ArenaType::PCI).unwrap();
    pmem.prime(arena, r(0, 0x1000), Attrs::device()).unwrap();
    let hardware = Shared::default();
    let slots = Slots { name: "slots".into(), hardware: hardware.clone(), out: vec![], come: vec![] };
    pmem.register(Box::new(slots), Subscription::new([Scope::Everything])).unwrap();
    let old = pmem.alloc(arena, &Request::new(0x1000)).unwrap();
    // The slots fault on any overlap: that this goes through shows the order.
    let new = pmem
        .transaction(|plan| {
            plan.decref(old)?;
            plan.alloc(arena, &Request::new(0x1000))
        })
        .unwrap();
    assert_ne!(old, new);
    assert_eq!(pmem.range(old), Err(Error::NoRegion(old)));
    assert_eq!(hardware.0.lock().unwrap().0.len(), 1);
}

#[test]
fn priority_goes_before_order_of_registration() {
    let mut pmem = Manager::new();
    let arena = pmem.create_arena("bus", ArenaType::PCI).unwrap();
    let log = Log::default();
    for (name, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
        let subscription = Subscription::new([Scope::Arena(arena)]).priority(priority);
        pmem.register(Box::new(Tracer::around(Quiet::new(name), &log)), subscription).unwrap();
    }
    log.take();
    pmem.prime(arena, r(0, 0x1000), Attrs::device()).unwrap();
    assert_eq!(log.take()[..4], ["b: prepare", "d: prepare", "a: prepare", "c: prepare"]);
}

#[test]
fn a_driver_that_will_not_let_go_keeps_the_region_condemned() {
    let mut bench = bench();
    let region = bench.regions[2];
    bench.faults[1].arm(Call::Prepare, 1);
    let Released::Condemned { by } = bench.pmem.decref(region).unwrap() else { panic!("not condemned") };
    assert_eq!(bench.pmem.drivers().nth(1).unwrap().0, by);
    assert_eq!(bench.pmem.refs(region), Ok(0));
    assert!(bench.pmem.range(region).is_ok(), "it keeps its addresses");
    assert_eq!(bench.pmem.incref(region), Err(Error::Condemned(region)), "zero is final");
    assert_eq!(bench.pmem.decref(region), Err(Error::Condemned(region)));
    let arena = bench.arena;
    assert_eq!(bench.pmem.map(arena, region), Err(Error::Condemned(region)));

    // A change that involves the driver tries once more; here it refuses again.
    bench.faults[1].arm(Call::Prepare, 2);
    bench.pmem.alloc(arena, &Request::new(0x10)).unwrap();
    assert_eq!(bench.pmem.condemned(), [(region, Some(by))]);
    assert_eq!(bench.pmem.reclaim(), []);
    assert_eq!(bench.pmem.range(region), Err(Error::NoRegion(region)));
}

#[test]
fn a_driver_that_watches_counts_cannot_keep_a_release_from_happening() {
    let mut bench = bench();
    let (arena, faults) = (bench.arena, Faults::default());
    let all = Subscription::new([Scope::Everything])
        .interest(Interest { kinds: Kinds::all(), ..Interest::default() });
    bench.pmem.register(Box::new(Faulty::around(Quiet::new("counts"), &faults)), all).unwrap();
    let region = bench.pmem.alloc(arena, &Request::new(0x10)).unwrap();
    faults.arm(Call::Prepare, 1);
    faults.arm(Call::Prepare, 2);
    assert!(matches!(bench.pmem.decref(region), Ok(Released::Condemned { .. })));
    assert_eq!(bench.pmem.refs(region), Ok(0));
}

#[test]
fn zero_is_final_for_an_alias_too() {
    let mut bench = bench();
    let arena = bench.arena;
    let cpu = bench.pmem.create_arena("cpu", ArenaType::VIEW).unwrap();
    let window = Mapping::window(r(0x10_0000, 0x20_0000), 0).unwrap();
    bench.pmem.connect(cpu, arena, window, Metric::new(1)).unwrap();
    let region = bench.regions[0];
    let alias = bench.pmem.map(cpu, region).unwrap();
    let (keeps, faults) = (Quiet::new("keeps"), Faults::default());
    bench
        .pmem
        .register(Box::new(Faulty::around(keeps, &faults)), Subscription::new([Scope::Arena(cpu)]))
        .unwrap();
    faults.arm(Call::Prepare, 1);
    assert!(matches!(bench.pmem.decref(alias), Ok(Released::Condemned { .. })));
    let again = bench.pmem.map(cpu, region);
    let condemned = |why: &Error| *why == Error::Condemned(alias);
    assert!(matches!(&again, Err(Error::NoRoute { why, .. }) if condemned(why)), "{again:?}");
    assert_eq!(bench.pmem.reclaim(), []);
    assert_ne!(bench.pmem.map(cpu, region), Ok(alias));
}

#[test]
fn a_view_is_told_of_effective_changes_only() {
    let mut pmem = Manager::new();
    let cpu = pmem.create_arena("cpu", ArenaType::VIEW).unwrap();
    let bus = pmem.create_arena("bus", ArenaType::PCI).unwrap();
    let far = pmem.create_arena("unseen", ArenaType::PCI).unwrap();
    pmem.prime(bus, r(0, 0x4000), Attrs::device()).unwrap();
    pmem.prime(far, r(0, 0x4000), Attrs::device()).unwrap();
    let window = Mapping::window(r(0x10000, 0x14000), 0).unwrap();
    pmem.connect(cpu, bus, window, Metric::new(1)).unwrap();
    let log = Log::default();
    let subscription = Subscription::new([Scope::View(cpu)]);
    pmem.register(Box::new(Tracer::around(Quiet::new("mtrr"), &log)), subscription).unwrap();
    log.take();
    pmem.alloc(far, &Request::new(0x1000)).unwrap();
    pmem.name_arena(bus, "PCI").unwrap();
    assert_eq!(log.take(), Vec::<String>::new(), "no delta, no call");

    let props = Props::WCOMB | Props::PREFETCH;
    let fb = Request::exactly(r(0x1000, 0x2000)).usage(Usage::FRAMEBUF).props(props);
    pmem.alloc(bus, &fb).unwrap();
    let log = log.take();
    assert_eq!(log[0], "mtrr: prepare");
    assert_eq!(
        log[1],
        "mtrr:   0x11000..0x12000 devregs read+write uncached -> framebuf read+write wcomb+prefetch"
    );
    assert_eq!(log.len(), 4);
}

#[test]
fn a_panic_in_a_driver_is_a_fault() {
    let mut pmem = Manager::new();
    let arena = pmem.create_arena("bus", ArenaType::PCI).unwrap();
    let driver = Hooked::new("panics", |call| {
        assert!(!matches!(call, Call::Install | Call::RevertInstall | Call::RevertWithdraw), "on purpose");
    });
    let id = pmem.register(Box::new(driver), Subscription::new([Scope::Everything])).unwrap();
    let error = pmem.prime(arena, r(0, 0x1000), Attrs::device()).unwrap_err();
    assert!(matches!(&error, Error::Failed { degraded, .. } if degraded[..] == [id]), "{error}");
    assert_eq!(pmem.state().arena(arena).unwrap().spans().count(), 0);
}

#[test]
fn a_panic_in_a_transaction_leaves_no_trace() {
    let mut bench = bench();
    let before = fingerprint(&bench.pmem);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let arena = bench.arena;
        let _ = bench.pmem.transaction(|plan| -> Result<(), Error> {
            plan.prime(arena, r(0x20000, 0x30000), Attrs::ram())?;
            panic!("on purpose")
        });
    }));
    assert!(result.is_err());
    assert_eq!(fingerprint(&bench.pmem), before);
}

#[test]
fn the_journal_is_bounded_and_numbered() {
    let mut bench = bench();
    bench.pmem.set_journal_limit(4);
    let newest = bench.pmem.state().sequence();
    let arena = bench.arena;
    for _ in 0..6 {
        bench.pmem.alloc(arena, &Request::new(1)).unwrap();
    }
    let kept: Vec<u64> = bench.pmem.journal().iter().map(|c| c.sequence).collect();
    assert_eq!(kept, (newest + 3..=newest + 6).collect::<Vec<_>>());
    assert!(bench.pmem.journal().since(newest).is_none(), "what is lost is said to be lost");
    assert_eq!(bench.pmem.journal().since(newest + 4).unwrap().count(), 2);
}
