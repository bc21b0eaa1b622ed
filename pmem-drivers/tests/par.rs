//! Élan SC520: the planner beside enumeration, the order of writes beside every address, the driver beside the model.

use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Manager, Mapping, Metric, Props, Prot, RegionId, Request, Scope,
    Subscription,
};
use pmem_drivers::par::{
    Attributes, FakeMmcr, Granules, Map, Par, PlanError, REGISTERS, Register, Requirement, Target, Targets,
    Value, change, order, plan, plan_with,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

const MIB: u32 = 1 << 20;

fn sdram(attributes: Attributes) -> Value {
    Value::memory(Target::Sdram, attributes)
}

/// U-Boot's own registers for 128 MiB at 0 and at 128 MiB, bit by bit as its header draws them; and what NetBSD's header calls each field.
#[test]
fn bits_are_as_others_write_them() {
    let all = |first: u32, last: u32| Register { first, last, value: sdram(Attributes::empty()) };
    assert_eq!(all(0, 128 * MIB - 1).encode(), Some(0xe3ff_c000));
    assert_eq!(all(128 * MIB, 256 * MIB - 1).encode(), Some(0xe3ff_c800));
    assert_eq!(Register::decode(0xe3ff_c800), Some(all(128 * MIB, 256 * MIB - 1)));
    let dis = Register { value: sdram(Attributes::all()), ..all(0, 128 * MIB - 1) };
    assert_eq!(dis.encode(), Some(0xe3ff_c000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000));
    let io =
        Register { first: 0x3f8, last: 0x3ff, value: Value::memory(Target::GpIo(5), Attributes::empty()) };
    assert_eq!(io.encode(), Some(1 << 29 | 5 << 26 | 7 << 16 | 0x3f8));
    assert_eq!(Register::decode(0x1fff_ffff), None);
    for (first, last) in [(0x800, 0x17ff), (0, 0x8_0fff), (0x1000, 0x8_2fff), (1 << 30, (1 << 30) + 0xfff)] {
        assert_eq!(all(first, last).encode(), None, "{first:#x}");
    }
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        Just(Target::Sdram),
        Just(Target::BootCs),
        Just(Target::RomCs1),
        Just(Target::RomCs2),
        Just(Target::Pci),
        (0..8u8).prop_map(Target::GpMemory)
    ]
}

/// The fewest registers, by trying every sequence of every register there can be, the last first: what a later one covers stays.
fn enumerated(wants: &[Requirement], granules: &Granules) -> Option<usize> {
    let cells = wants.len() as u32;
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for (shift, most) in [Some(granules.small), granules.large].into_iter().flatten() {
        for from in 0..cells >> shift {
            for to in from + 1..=(from + most).min(cells >> shift) {
                ranges.push((from << shift, to << shift));
            }
        }
    }
    let mut values: Vec<Value> = Vec::new();
    for want in wants {
        if let Requirement::Value { value, .. } = want
            && !values.contains(value)
        {
            values.push(*value);
        }
    }
    let is_made = |shown: &Vec<Option<Value>>| {
        shown.iter().zip(wants).all(|(shown, want)| match (shown, want) {
            (_, Requirement::Anything) => true,
            (shown, Requirement::Nothing) => shown.is_none(),
            (None, Requirement::Value { needed, .. }) => !needed,
            (Some(shown), Requirement::Value { value, .. }) => shown == value,
        })
    };
    let start: Vec<Option<Value>> = vec![None; wants.len()];
    let mut seen: BTreeSet<Vec<Option<Value>>> = BTreeSet::from([start.clone()]);
    let mut level = vec![start];
    for depth in 0..8 {
        if level.iter().any(is_made) {
            return Some(depth);
        }
        let mut next = Vec::new();
        for shown in level {
            for (from, to) in &ranges {
                for value in &values {
                    let mut to_show = shown.clone();
                    to_show[*from as usize..*to as usize].fill(Some(*value));
                    if seen.insert(to_show.clone()) {
                        next.push(to_show);
                    }
                }
            }
        }
        level = next;
    }
    None
}

/// A quarter of what is asked for: each takes long.
fn few() -> ProptestConfig {
    let all = ProptestConfig::default();
    ProptestConfig { failure_persistence: None, cases: all.cases.div_ceil(4), ..all }
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn what_is_encoded_is_decoded(target in target(), attributes in 0..8u8, first in 0..1u32 << 18, pages in 1..3000u32) {
        let value = Value::memory(target, Attributes::from_bits_truncate(attributes));
        let register = Register { first: first << 12, last: ((first + pages) << 12) - 1, value };
        if let Some(bits) = register.encode() {
            prop_assert_eq!(Register::decode(bits), Some(register));
        } else {
            prop_assert!(first + pages > 1 << 18 || pages > 128 && (first % 16 != 0 || pages % 16 != 0 || pages > 2048 * 16));
        }
    }

    /// Small worlds, with small and large granules: never more registers than the least, and what they show is what is wanted.
    #[test]
    fn plans_are_the_least(
        cells in prop::collection::vec((0..3u8, any::<bool>()), 1..9),
        (small, large) in (1..4u32, prop::option::of((1..3u32, 1..4u32))),
        nothing in prop::option::of(0..9usize),
    ) {
        let granules = Granules { small: (0, small), large };
        let value = |n: u8| sdram(Attributes::from_bits_truncate(n));
        let mut wants: Vec<Requirement> = cells
            .iter()
            .map(|(n, needed)| Requirement::Value { value: value(*n), needed: *needed || *n != 0 })
            .collect();
        if let Some(want) = nothing.and_then(|n| wants.get_mut(n)) {
            *want = Requirement::Nothing;
        }
        let stretches: Vec<(u32, Requirement)> = (0..).zip(wants.iter().copied()).collect();
        let found = plan_with(&stretches, &granules);
        let mut shown: Vec<Option<Value>> = vec![None; wants.len()];
        for register in found.registers.iter().rev() {
            shown[register.first as usize..=register.last as usize].fill(Some(register.value));
        }
        for (shown, want) in shown.iter().zip(&wants) {
            match want {
                Requirement::Value { value, needed } => prop_assert!(*shown == Some(*value) || shown.is_none() && !needed),
                Requirement::Nothing => prop_assert_eq!(*shown, None),
                Requirement::Anything => {}
            }
        }
        prop_assert!(found.is_least);
        if let Some(least) = enumerated(&wants, &granules) {
            prop_assert_eq!(found.registers.len(), least);
        }
    }

    /// Real granules: registers make the map, whatever it is, or are too many.
    #[test]
    fn registers_make_the_map(parts in prop::collection::vec((part(), target(), 0..8u8), 0..7)) {
        let map = map_of(&parts);
        match plan(&map) {
            Ok(found) => {
                let bits = found.bits().map(Register::decode);
                prop_assert!(Map::of(map.sdram(), &bits).same_as(&map), "{found:?}");
            }
            Err(PlanError { needed, available, .. }) => prop_assert!(needed > available),
        }
    }

    /// From one map to another, many times: between any two writes what does not change is right, and all else as before or as after.
    #[test]
    fn writes_are_in_an_order_that_is_right(
        maps in prop::collection::vec(prop::collection::vec((part(), target(), 0..8u8), 0..5), 1..6),
        scratch in any::<bool>(),
    ) {
        let mut bits = [0; REGISTERS];
        let mut old = map_of(&[]);
        for parts in maps {
            let new = map_of(&parts);
            let steps = if scratch {
                plan(&new).ok().and_then(|plan| order(old.sdram(), &bits, &plan))
            } else {
                change(&bits, &new).ok()
            };
            let Some(steps) = steps else { continue };
            for step in steps {
                prop_assert_eq!(bits[step.number], step.before);
                bits[step.number] = step.bits;
                let now = Map::of(old.sdram(), &bits.map(Register::decode));
                for map in [&old, &new, &now] {
                    for (range, _) in map.parts() {
                        for at in [*range.start(), *range.end()] {
                            let is = now.at(at);
                            prop_assert!(is == old.at(at) || is == new.at(at), "{at:#x}");
                        }
                    }
                }
            }
            prop_assert!(Map::of(old.sdram(), &bits.map(Register::decode)).same_as(&new));
            old = new;
        }
    }
}

/// Places near one another, of pages of both sizes.
fn part() -> impl Strategy<Value = (u32, u32)> {
    let start = prop_oneof![0..64u32, (0..64u32).prop_map(|n| n * 16), (0..16u32).prop_map(|n| n * 256)];
    let len = prop_oneof![1..20u32, (1..64u32).prop_map(|n| n * 16), Just(127), Just(129), Just(0x8000)];
    (start, len)
}

fn map_of(parts: &[((u32, u32), Target, u8)]) -> Map {
    let mut map = Map::new(16 * MIB);
    for ((start, len), target, attributes) in parts {
        let value = Value::memory(*target, Attributes::from_bits_truncate(*attributes));
        map.set(start << 12, ((start + len) << 12) - 1, value).unwrap();
    }
    map
}

#[test]
fn numbers_are_told_where_there_are_not_so_many() {
    let mut map = Map::new(16 * MIB);
    for n in 0..20 {
        map.set(n * 0x20_0000, n * 0x20_0000 + 0xfff, sdram(Attributes::NO_WRITE)).unwrap();
    }
    let error = plan(&map).unwrap_err();
    assert_eq!((error.needed, error.available), (20, 16));
    assert!(error.to_string().contains("20 registers, but only 16 exist"));
}

#[test]
fn a_register_that_nothing_needs_is_cleared() {
    let device = |parts: &[u32]| {
        let mut map = Map::new(16 * MIB);
        for start in parts {
            let rom = Value::memory(Target::BootCs, Attributes::empty());
            map.set(*start, start + 0xffff, rom).unwrap();
        }
        map
    };
    let mut bits = plan(&device(&[0x10_0000, 0x30_0000, 0x50_0000])).unwrap().bits();
    for (parts, used) in [(&[0x10_0000, 0x50_0000][..], 2), (&[0x50_0000], 1), (&[], 0)] {
        for step in change(&bits, &device(parts)).unwrap() {
            bits[step.number] = step.bits;
        }
        assert_eq!(bits.iter().filter(|bits| **bits != 0).count(), used, "{parts:x?}");
    }
}

#[test]
fn ports_have_registers_of_their_own() {
    let mut map = Map::new(16 * MIB);
    let value = |select| Value::memory(Target::GpIo(select), Attributes::empty());
    map.set(0x100, 0x4ff, value(1)).unwrap();
    map.set(0x200, 0x20f, value(2)).unwrap();
    let found = plan(&map).unwrap();
    // 1024 ports are two of 512, with 16 over one of them.
    assert_eq!((found.registers.len(), found.of_memory()), (3, 0));
    let made = Map::of(16 * MIB, &found.bits().map(Register::decode));
    for port in [0xff, 0x100, 0x1ff, 0x200, 0x20f, 0x210, 0x4ff, 0x500] {
        assert_eq!(made.port(port), map.port(port), "{port:#x}");
    }
}

struct Board {
    pmem: Manager,
    ram: ArenaId,
    driver: pmem_core::DriverId,
    mmcr: FakeMmcr,
    kernel: RegionId,
}

/// A board as NetBSD has it: SDRAM with a kernel, flash at the top of what registers reach.
fn board() -> Board {
    let mut pmem = Manager::new();
    let cpu = pmem.create_arena("cpu", ArenaType::VIEW).unwrap();
    let ram = pmem.create_arena("sdram", ArenaType::RAM).unwrap();
    let flash = pmem.create_arena("flash", ArenaType::ROM).unwrap();
    pmem.prime(ram, AddrRange::new(0, 16 << 20).unwrap(), Attrs::ram()).unwrap();
    let rom = Attrs::ram().with_prot(Prot::READ | Prot::EXEC);
    pmem.prime(flash, AddrRange::new(0, 2 << 20).unwrap(), rom).unwrap();
    let low = AddrRange::new(0, 16 << 20).unwrap();
    pmem.connect(cpu, ram, Mapping::window(low, 0).unwrap(), Metric::new(1)).unwrap();
    let high = AddrRange::new(0x3fe0_0000, 0x4000_0000).unwrap();
    pmem.connect(cpu, flash, Mapping::window(high, 0).unwrap(), Metric::new(1)).unwrap();
    let kernel = pmem.alloc(ram, &Request::new(0x24_6000).at(0x10_0000)).unwrap();
    // What the boot loader left: flash, which nobody writes.
    let boot = Register {
        first: 0x3fe0_0000,
        last: 0x3fff_ffff,
        value: Value::memory(Target::BootCs, Attributes::NO_WRITE),
    };
    let mut bits = [0; REGISTERS];
    bits[3] = boot.encode().unwrap();
    let mmcr = FakeMmcr::new(bits);
    let targets = Targets {
        memory: cpu,
        ports: None,
        arenas: BTreeMap::from([(ram, Target::Sdram), (flash, Target::BootCs)]),
        sdram: 16 * MIB,
    };
    let par = Par::new(mmcr.clone(), targets);
    let driver = pmem.register(Box::new(par), Subscription::new([Scope::View(cpu)])).unwrap();
    Board { pmem, ram, driver, mmcr, kernel }
}

impl Board {
    fn at(&self, at: u32) -> Option<Value> {
        Map::of(16 * MIB, &self.mmcr.bits().map(Register::decode)).at(at)
    }
}

#[test]
fn registers_follow_what_may_be_done() {
    let mut board = board();
    assert_eq!(board.mmcr.writes(), 0);
    let text = Attrs::ram().with_prot(Prot::READ | Prot::EXEC);
    board.pmem.set(board.kernel, text).unwrap();
    assert_eq!(board.at(0x10_0000), Some(sdram(Attributes::NO_WRITE)));
    assert_eq!(board.at(0x34_5fff), Some(sdram(Attributes::NO_WRITE)));
    assert_eq!(board.at(0x34_6000), Some(sdram(Attributes::empty())));
    assert_eq!(board.at(0x3fe0_0000), Some(Value::memory(Target::BootCs, Attributes::NO_WRITE)));
    board.pmem.verify(board.driver).unwrap();
    // A buffer that is not cached, and holds no code.
    let buffer = board.pmem.alloc(board.ram, &Request::new(0x4000).align(0x1000)).unwrap();
    let uncached = Attrs::new(Attrs::ram().usage(), Prot::READ | Prot::WRITE, Props::UNCACHED).unwrap();
    board.pmem.set(buffer, uncached).unwrap();
    let at = board.pmem.range(buffer).unwrap().start() as u32;
    assert_eq!(board.at(at), Some(sdram(Attributes::NO_CACHE | Attributes::NO_EXECUTE)));
    board.pmem.decref(buffer).unwrap();
    assert_eq!(board.at(at), Some(sdram(Attributes::empty())));
    board.pmem.verify(board.driver).unwrap();
}

#[test]
fn between_writes_the_kernel_never_becomes_anything_else() {
    let mut board = board();
    let text = Attrs::ram().with_prot(Prot::READ | Prot::EXEC);
    board.pmem.set(board.kernel, text).unwrap();
    let looked = Arc::new(Mutex::new(0));
    let looks = Arc::clone(&looked);
    board.mmcr.watch(move |bits| {
        let map = Map::of(16 * MIB, &bits.map(Register::decode));
        assert_eq!(map.at(0x20_0000), Some(sdram(Attributes::NO_WRITE)));
        assert_eq!(map.at(0x3ff0_0000), Some(Value::memory(Target::BootCs, Attributes::NO_WRITE)));
        *looks.lock().unwrap() += 1;
    });
    let mut held = Vec::new();
    // One region after another, until there are no registers left: numbers are told, and nothing is changed.
    let error = loop {
        let data = board.pmem.alloc(board.ram, &Request::new(0x1000).align(0x2000)).unwrap();
        let before = board.mmcr.bits();
        match board.pmem.set(data, Attrs::ram().with_prot(Prot::READ | Prot::WRITE)) {
            Ok(()) => held.push(data),
            Err(error) => {
                assert_eq!(board.mmcr.bits(), before);
                break error.to_string();
            }
        }
    };
    assert!(error.contains("needs 17, has 16") || error.contains("one by one"), "{error}");
    assert!(held.len() >= 10, "{}: {error}", held.len());
    held.into_iter().for_each(|data| assert!(board.pmem.decref(data).is_ok()));
    board.pmem.verify(board.driver).unwrap();
    assert!(*looked.lock().unwrap() > 20);
}

#[test]
fn what_fails_is_put_back() {
    for writes in 0..3 {
        let mut board = board();
        let before = board.mmcr.bits();
        board.mmcr.fail_after(Some(writes));
        let text = Attrs::ram().with_prot(Prot::READ | Prot::EXEC);
        if board.pmem.set(board.kernel, text).is_err() {
            assert_eq!(board.mmcr.bits(), before);
        }
        board.pmem.verify(board.driver).unwrap();
    }
}

#[test]
fn what_is_no_page_is_refused() {
    let mut map = Map::new(16 * MIB);
    let pci = Value { target: Target::Pci, attributes: Attributes::NO_WRITE };
    for (first, last, value, text) in [
        (0x800, 0xfff, sdram(Attributes::NO_WRITE), "0x800..0x1000 does not consist of whole 4 KiB pages"),
        (0x2000, 0xfff, sdram(Attributes::NO_WRITE), "0x2000..0x1000 is outside the addresses"),
        (0x0, 0xfff, pci, "pci cannot have attributes"),
    ] {
        let said = map.set(first, last, value).unwrap_err().to_string();
        assert!(said.starts_with(text), "{said}");
    }
    let mut board = board();
    let part = board.pmem.alloc(board.ram, &Request::new(0x800)).unwrap();
    let error = board.pmem.set(part, Attrs::ram().with_prot(Prot::READ)).unwrap_err().to_string();
    assert!(error.contains("whole 4 KiB pages"), "{error}");
}

/// Beyond 1 GiB all is the PCI bus, whatever registers say: what is there needs none, and nothing else may be there.
#[test]
fn beyond_what_registers_reach_is_the_pci_bus() {
    let mut pmem = Manager::new();
    let cpu = pmem.create_arena("cpu", ArenaType::VIEW).unwrap();
    let pci = pmem.create_arena("pci", ArenaType::PCI).unwrap();
    let flash = pmem.create_arena("flash", ArenaType::ROM).unwrap();
    pmem.prime(flash, AddrRange::new(0, 2 << 20).unwrap(), Attrs::ram()).unwrap();
    pmem.prime(pci, AddrRange::new(0x3800_0000, 0xf000_0000).unwrap(), Attrs::ram()).unwrap();
    let window = AddrRange::new(0x3800_0000, 0xf000_0000).unwrap();
    pmem.connect(cpu, pci, Mapping::window(window, 0x3800_0000).unwrap(), Metric::new(1)).unwrap();
    let mmcr = FakeMmcr::new([0; REGISTERS]);
    let arenas = BTreeMap::from([(pci, Target::Pci), (flash, Target::BootCs)]);
    let targets = Targets { memory: cpu, ports: None, arenas, sdram: 16 * MIB };
    let par = Par::new(mmcr.clone(), targets);
    pmem.register(Box::new(par), Subscription::new([Scope::View(cpu)])).unwrap();
    let bar = |at: u64| Request::new(0x1000).at(at);
    for at in [0x3900_0000, 0x3fff_f000, 0x4000_0000, 0xe000_0000] {
        pmem.alloc(pci, &bar(at)).unwrap();
    }
    assert_eq!(mmcr.writes(), 0);
    let high = AddrRange::new(0xf000_0000, 0xf020_0000).unwrap();
    let error = pmem.connect(cpu, flash, Mapping::window(high, 0).unwrap(), Metric::new(1)).unwrap_err();
    assert!(error.to_string().contains("reach no more than 1 GiB"), "{error}");
}
