//! What is saved is loaded alike; what was tampered with is refused or sound, and never a panic.

use pmem_core::test_util::{Call, Faults, Faulty, Quiet};
use pmem_core::{
    AddrRange, ArenaType, Attrs, Broken, Direction, Error, LoadError, Manager, Mapping, Metric, Owner, Props,
    RegionId, Released, Request, SAVED_VERSION, Saved, Scope, Subscription, Table, Usage, Window, Windows,
};
use proptest::prelude::*;
use serde_json::Value;

fn range(start: u64, end: u64) -> AddrRange {
    AddrRange::new(start, end).unwrap()
}

/// A machine with everything in it: windows open and closed, aliases, a table, parked and pinned regions, gone ids.
fn machine() -> (Manager, RegionId) {
    let mut pmem = Manager::new();
    let [cpu, bus0, bus1, dev] = [ArenaType::VIEW, ArenaType::PCI, ArenaType::PCI, ArenaType::VIEW]
        .map(|t| pmem.create_arena("a", t).unwrap());
    pmem.prime(bus0, range(0x8000_0000, 0xf000_0000), Attrs::device()).unwrap();
    pmem.prime(bus1, range(0x8000_0000, 0xf000_0000), Attrs::device()).unwrap();
    let one = Metric::new(1);
    let host = Mapping::window(range(0x8000_0000, 0xf000_0000), 0x8000_0000).unwrap();
    pmem.connect(cpu, bus0, host, one).unwrap();
    let floating = || Window::floating(range(0, 0x1_0000_0000), 0x10_0000).unwrap();
    let windows = Windows::new([floating(), floating().prefetchable()]).unwrap();
    let up = Direction::new(Mapping::Identity, one);
    pmem.connect_asymmetric(bus0, bus1, Direction::new(Mapping::Windows(windows), one), up).unwrap();
    let table = Direction::new(Mapping::Table(Table::new(range(0, 0x10_0000), 0x1000).unwrap()), one);
    pmem.connect_asymmetric(dev, bus1, table, Direction::closed()).unwrap();
    let gone = pmem.alloc(bus1, &Request::new(0x1000)).unwrap();
    let a = pmem.alloc(bus1, &Request::new(0x1000).owner(Owner(7)).pinned()).unwrap();
    let b = pmem.alloc(bus1, &Request::new(0x1000).props(Props::PREFETCH).usage(Usage::FRAMEBUF)).unwrap();
    pmem.decref(gone).unwrap();
    pmem.map(cpu, a).unwrap();
    pmem.map(dev, a).unwrap();
    pmem.park(b).unwrap();
    pmem.seal(bus1, range(0xe000_0000, 0xf000_0000)).unwrap();
    (pmem, gone)
}

fn saved(pmem: &Manager) -> Value {
    serde_json::to_value(pmem.save()).unwrap()
}

#[test]
fn a_manager_is_loaded_from_what_never_was_in_a_file() {
    let (pmem, _) = machine();
    let loaded = Manager::load(pmem.save()).unwrap();
    assert_eq!(saved(&loaded), saved(&pmem));
    assert_eq!(loaded.check(), Ok(()));
}

#[test]
fn condemned_regions_wait_to_be_reclaimed_after_loading() {
    let mut pmem = Manager::new();
    let arena = pmem.create_arena("bus", ArenaType::PCI).unwrap();
    pmem.prime(arena, range(0, 0x1000), Attrs::device()).unwrap();
    let region = pmem.alloc(arena, &Request::new(0x100)).unwrap();
    let faults = Faults::default();
    let driver = Faulty::around(Quiet::new("keeps"), &faults);
    pmem.register(Box::new(driver), Subscription::new([Scope::Everything])).unwrap();
    faults.arm(Call::Prepare, 1);
    assert!(matches!(pmem.decref(region), Ok(Released::Condemned { .. })));
    let mut loaded = Manager::load(pmem.save()).unwrap();
    assert_eq!(loaded.condemned(), [(region, None)]);
    assert_eq!(loaded.reclaim(), []);
    assert_eq!(loaded.range(region), Err(Error::NoRegion(region)));
}

#[test]
fn parked_aliases_in_a_circle_are_refused() {
    let mut pmem = Manager::new();
    let [a, b, c] = [(); 3].map(|()| pmem.create_arena("a", ArenaType::VIEW).unwrap());
    let link = pmem.connect(a, b, Mapping::Identity, Metric::new(1)).unwrap();
    pmem.connect(b, c, Mapping::Identity, Metric::new(1)).unwrap();
    pmem.prime(c, range(0, 0x1000), Attrs::ram()).unwrap();
    let region = pmem.alloc(c, &Request::new(0x100)).unwrap();
    let alias = pmem.map(a, region).unwrap();
    pmem.park(region).unwrap();
    let between_arena = serde_json::to_value(b).unwrap();
    let mut value = saved(&pmem);
    let between =
        value["regions"].as_array_mut().unwrap().iter_mut().find(|r| r["arena"] == between_arena).unwrap();
    between["alias"]["target"] = serde_json::to_value(alias).unwrap();
    between["alias"]["link"] = serde_json::to_value(link).unwrap();
    between["alias"]["way"] = "ToLeft".into();
    let loaded = Manager::load(serde_json::from_value(value).unwrap());
    assert!(matches!(loaded.err(), Some(LoadError::Broken(Broken::Alias { .. }))));
}

#[test]
fn windows_that_yield_cannot_be_saved_anywhere_else() {
    let mut pmem = Manager::new();
    let [a, b] = [(); 2].map(|()| pmem.create_arena("a", ArenaType::VIEW).unwrap());
    pmem.connect(a, b, Mapping::window(range(0, 0x1000), 0x8000).unwrap(), Metric::new(1)).unwrap();
    let mut value = saved(&pmem);
    value["links"][0]["to_left"]["windows"][0] = serde_json::json!([0, 0xfff]);
    let loaded = Manager::load(serde_json::from_value(value).unwrap());
    assert!(matches!(loaded.err(), Some(LoadError::Broken(Broken::Window { .. }))));
}

/// A count has 31 bits, and what is saved is the way to so many references.
#[test]
fn a_count_that_is_full_takes_no_more() {
    const MOST: u32 = (1 << 31) - 1;
    let mut pmem = Manager::new();
    let ram = pmem.create_arena("ram", ArenaType::RAM).unwrap();
    pmem.prime(ram, range(0, 0x1000), Attrs::ram()).unwrap();
    let region = pmem.alloc(ram, &Request::new(0x100)).unwrap();
    let with = |count: u32| {
        let mut value = saved(&pmem);
        value["ids"]["regions"]["places"][0][1] = count.into();
        Manager::load(serde_json::from_value(value).unwrap())
    };
    let mut full = with(MOST - 1).unwrap();
    full.incref(region).unwrap();
    assert_eq!(full.refs(region), Ok(MOST));
    assert_eq!(full.incref(region), Err(Error::TooManyRefs(region)));
    assert_eq!(with(MOST).unwrap().refs(region), Ok(MOST));
}

#[test]
fn ids_mean_the_same_and_what_was_gone_stays_gone() {
    let (pmem, gone) = machine();
    let mut loaded = Manager::load(serde_json::from_value(saved(&pmem)).unwrap()).unwrap();
    assert_eq!(saved(&loaded), saved(&pmem));
    assert_eq!(loaded.range(gone), Err(Error::NoRegion(gone)));
    for (id, placement) in pmem.regions() {
        assert_eq!(loaded.placement(id), Ok(placement));
        assert_eq!(loaded.refs(id), pmem.refs(id));
    }
    let bus1 = loaded.state().arenas().nth(2).unwrap().0;
    let new = loaded.alloc(bus1, &Request::new(1)).unwrap();
    assert_ne!(new, gone);
    assert_eq!(loaded.check(), Ok(()));
}

#[test]
fn another_version_is_refused() {
    let mut value = saved(&machine().0);
    let other = SAVED_VERSION - 1;
    value["version"] = other.into();
    let error = Manager::load(serde_json::from_value(value).unwrap()).err();
    assert_eq!(error, Some(LoadError::Version(other)));
}

#[test]
fn an_alias_that_lies_is_found_out() {
    let mut value = saved(&machine().0);
    let regions = value["regions"].as_array_mut().unwrap();
    let alias = regions.iter_mut().find(|r| !r["alias"].is_null()).unwrap();
    alias["alias"]["to"] = 0x1234.into();
    let error = Manager::load(serde_json::from_value(value).unwrap()).err().unwrap();
    assert!(error.to_string().contains("does not match its target"), "{error}");
}

#[test]
fn aliases_that_stand_for_one_another_are_found_out() {
    let mut pmem = Manager::new();
    let [left, right] = [0, 1].map(|_| pmem.create_arena("a", ArenaType::VIEW).unwrap());
    let through = || Direction::new(Mapping::window(range(0, 0x1000), 0).unwrap(), Metric::new(1));
    pmem.connect_asymmetric(left, right, through(), through()).unwrap();
    let third = pmem.create_arena("b", ArenaType::RAM).unwrap();
    pmem.prime(third, range(0x1000, 0x2000), Attrs::ram()).unwrap();
    let target = Mapping::window(range(0x1000, 0x2000), 0x1000).unwrap();
    pmem.connect_asymmetric(right, third, Direction::new(target, Metric::new(1)), Direction::closed())
        .unwrap();
    let region = pmem.alloc(third, &Request::new(0x1000)).unwrap();
    pmem.map(right, region).unwrap();
    let mut value = saved(&pmem);
    // The region and its alias made to stand for each other.
    let regions = value["regions"].as_array_mut().unwrap();
    let link = serde_json::to_value(pmem.state().links().next().unwrap().0).unwrap();
    let [first, second] = [regions[0]["id"].clone(), regions[1]["id"].clone()];
    for (region, arena, target, way) in [(0, left, second, "ToRight"), (1, right, first, "ToLeft")] {
        regions[region]["arena"] = serde_json::to_value(arena).unwrap();
        regions[region]["seat"] = serde_json::json!({ "At": [0, 0xfff] });
        regions[region]["alias"] =
            serde_json::json!({ "target": target, "link": link, "way": way, "piece": 0, "to": 0 });
    }
    let error = Manager::load(serde_json::from_value(value).unwrap()).err().unwrap();
    assert!(error.to_string().contains("does not match its target"), "{error}");
}

/// Changes the `nth` number, text or list in a value, counted depth first; says whether there is one.
fn tamper(value: &mut Value, nth: &mut usize, with: &Value, cut: bool) -> bool {
    let is_leaf = !value.is_object();
    if is_leaf && *nth == 0 {
        match value {
            Value::Array(all) if cut => drop(all.pop()),
            Value::Array(all) => all.extend(all.first().cloned()),
            other => *other = with.clone(),
        }
        return true;
    }
    *nth -= usize::from(is_leaf);
    match value {
        Value::Array(all) => all.iter_mut().any(|v| tamper(v, nth, with, cut)),
        Value::Object(all) => all.values_mut().any(|v| tamper(v, nth, with, cut)),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn a_state_that_was_tampered_with_is_refused_or_sound(
        places in prop::collection::vec((0usize..400, any::<bool>()), 1..3),
        with in prop_oneof![
            any::<u64>().prop_map(Value::from),
            (0u64..16).prop_map(Value::from),
            (0u64..16).prop_map(|n| Value::from(n << 28)),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
            Just(Value::from("Identity")),
        ],
    ) {
        let mut value = saved(&machine().0);
        for (nth, cut) in places {
            tamper(&mut value, &mut { nth }, &with, cut);
        }
        if let Ok(saved) = serde_json::from_value::<Saved>(value)
            && let Ok(mut loaded) = Manager::load(saved)
        {
            prop_assert_eq!(loaded.check(), Ok(()));
            // It can be worked with.
            let arenas: Vec<_> = loaded.state().arenas().map(|(id, ..)| id).collect();
            for arena in arenas {
                let _ = loaded.state().view(arena);
                let _ = loaded.alloc(arena, &Request::new(0x1000).max_metric(Metric::FARTHEST));
            }
            let regions: Vec<_> = loaded.regions().map(|(id, _)| id).collect();
            regions.into_iter().for_each(|id| while matches!(loaded.decref(id), Ok(Released::Held { refs }) if refs < 16) {});
            prop_assert_eq!(loaded.check(), Ok(()));
        }
    }
}
