//! The MTRR driver on a manager, with processors that are not there.

use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, DriverId, Error, Manager, Mapping, Metric, Props, Prot, RegionId,
    Released, Request, Scope, Subscription, Usage,
};
use pmem_drivers::mtrr::{
    Block, Cap, DefType, FakeCpus, MemType, Mtrr, Policy, Register, Setting, Unmapped, Variable, Width,
    Written, regs,
};
use proptest::prelude::*;

const GIB: u64 = 1 << 30;

fn register(start: u64, order: u8, kind: MemType) -> Register {
    Register { block: Block::new(start, order).unwrap(), kind }
}

fn setting(vcnt: u8, registers: &[Register]) -> Setting {
    let mut setting = Setting::new(Width::new(36).unwrap(), Cap::new(vcnt, true, true));
    setting.def = DefType::new(MemType::Uc, true, true);
    for (slot, register) in setting.variable_mut().iter_mut().zip(registers) {
        *slot = Variable::new(*register, Width::new(36).unwrap());
    }
    for i in 0..88 {
        setting.fixed.set_byte(i, if i < 24 { 6 } else { 0 });
    }
    setting
}

fn with_default(mut setting: Setting, kind: MemType) -> Setting {
    setting.def = DefType::new(kind, true, true);
    setting
}

/// A PC: 3 GiB of memory, a PCI bus from there to 4 GiB, and the CPU's view of both.
struct Pc {
    pmem: Manager,
    cpus: FakeCpus,
    pci: ArenaId,
    ram: ArenaId,
    driver: DriverId,
}

fn r(start: u64, end: u64) -> AddrRange {
    AddrRange::new(start, end).unwrap()
}

fn framebuffer(range: AddrRange) -> Request {
    Request::exactly(range).usage(Usage::FRAMEBUF).prot(Prot::RW).props(Props::WCOMB | Props::PREFETCH)
}

fn pc(firmware: Setting, policy: Policy) -> Pc {
    pc_with(r(3 * GIB, 4 * GIB), firmware, policy)
}

fn pc_with(bus: AddrRange, firmware: Setting, policy: Policy) -> Pc {
    let mut pmem = Manager::new();
    let view = pmem.create_arena("system", ArenaType::VIEW).unwrap();
    let ram = pmem.create_arena("ram", ArenaType::RAM).unwrap();
    let pci = pmem.create_arena("pci", ArenaType::PCI).unwrap();
    pmem.prime(ram, r(0, 3 * GIB), Attrs::ram()).unwrap();
    let device = Attrs::new(Usage::DEVREGS, Prot::RW, Props::UNCACHED | Props::PREFETCH).unwrap();
    pmem.prime(pci, bus, device).unwrap();
    for (arena, range) in [(ram, r(0, 3 * GIB)), (pci, bus)] {
        let mapping = Mapping::window(range, range.start()).unwrap();
        pmem.connect(view, arena, mapping, Metric::new(1)).unwrap();
    }
    let cpus = FakeCpus::new(4, firmware);
    let driver = Mtrr::new(cpus.clone(), view, policy);
    let driver = pmem.register(Box::new(driver), Subscription::new([Scope::View(view)])).unwrap();
    Pc { pmem, cpus, pci, ram, driver }
}

impl Pc {
    fn alloc(&mut self, range: AddrRange) -> Result<RegionId, Error> {
        self.pmem.alloc(self.pci, &framebuffer(range))
    }

    fn at(&self, addr: u64) -> Option<MemType> {
        let all = self.cpus.settings();
        assert!(all.iter().all(|cpu| cpu == &all[0]), "processors differ");
        all[0].at(addr).kind()
    }
}

fn plain() -> Setting {
    setting(8, &[register(0, 31, MemType::Wb), register(2 * GIB, 30, MemType::Wb)])
}

#[test]
fn taking_over_writes_nothing() {
    let mut pc = pc(plain(), Policy::default());
    assert_eq!(pc.cpus.trace(), []);
    assert_eq!(pc.cpus.settings(), [plain(); 4]);
    assert_eq!(pc.pmem.verify(pc.driver), Ok(()));
}

#[test]
fn write_combining_is_programmed_and_taken_back() {
    let mut pc = pc(plain(), Policy::default());
    let bar = r(0xe000_0000, 0xe100_0000);
    let region = pc.alloc(bar).unwrap();
    assert_eq!(pc.at(0xe000_0000), Some(MemType::Wc));
    assert_eq!(pc.at(0xe0ff_ffff), Some(MemType::Wc));
    assert_eq!((pc.at(0xe100_0000), pc.at(0xdfff_ffff)), (Some(MemType::Uc), Some(MemType::Uc)));
    assert_eq!((pc.at(0), pc.at(3 * GIB - 1)), (Some(MemType::Wb), Some(MemType::Wb)));
    // One register, on each of four processors, with the switch off before and on after.
    let trace = pc.cpus.trace();
    let first: Vec<_> = trace.iter().filter(|w| w.cpu == 0).map(|w| w.write.msr).collect();
    assert_eq!(first, [regs::DEF_TYPE, 0x204, 0x205, regs::DEF_TYPE]);
    assert_eq!(trace.len(), 16);
    assert_eq!(pc.pmem.verify(pc.driver), Ok(()));
    pc.pmem.decref(region).unwrap();
    assert_eq!(pc.cpus.settings(), [plain(); 4]);
}

#[test]
fn a_rehearsal_asks_and_changes_nothing() {
    let mut pc = pc(
        setting(3, &[register(0, 31, MemType::Wb), register(2 * GIB, 30, MemType::Wb)]),
        Policy::default(),
    );
    let (before, sequence) = (pc.cpus.settings(), pc.pmem.state().sequence());
    let pci = pc.pci;
    let (fits, too_much) = (r(0xe000_0000, 0xe100_0000), r(0xe040_0000, 0xe100_0000));
    assert!(pc.pmem.rehearse(|plan| plan.alloc(pci, &framebuffer(fits))).is_ok());
    let refused = pc.pmem.rehearse(|plan| plan.alloc(pci, &framebuffer(too_much))).unwrap_err();
    assert!(refused.to_string().contains("needs 4, has 3"), "{refused}");
    assert_eq!((pc.cpus.settings(), pc.cpus.trace().len()), (before, 0));
    assert_eq!((pc.pmem.regions().count(), pc.pmem.state().sequence()), (0, sequence));
    pc.alloc(fits).unwrap();
}

#[test]
fn a_batch_is_one_reprogramming() {
    let mut pc = pc(plain(), Policy::default());
    let (first, second) = (r(0xe000_0000, 0xe100_0000), r(0xf000_0000, 0xf100_0000));
    let pci = pc.pci;
    let regions = pc
        .pmem
        .transaction(|plan| {
            Ok([plan.alloc(pci, &framebuffer(first))?, plan.alloc(pci, &framebuffer(second))?])
        })
        .unwrap();
    let trace = pc.cpus.trace();
    let switched = trace.iter().filter(|w| w.cpu == 0 && w.write.msr == regs::DEF_TYPE).count();
    assert_eq!(switched, 2, "off once, on once");
    assert_eq!((pc.at(0xe000_0000), pc.at(0xf000_0000)), (Some(MemType::Wc), Some(MemType::Wc)));
    for region in regions {
        pc.pmem.decref(region).unwrap();
    }
    assert_eq!(pc.cpus.settings(), [plain(); 4]);
}

#[test]
fn attributes_are_followed() {
    let mut pc = pc(plain(), Policy::default());
    let region = pc.alloc(r(0xe000_0000, 0xe100_0000)).unwrap();
    let with = |props, prot| Attrs::new(Usage::FRAMEBUF, prot, props | Props::PREFETCH).unwrap();
    for (attrs, kind) in [
        (with(Props::UNCACHED, Prot::RW), MemType::Uc),
        (with(Props::WTHRU, Prot::RW), MemType::Wt),
        (with(Props::WBACK, Prot::READ), MemType::Wp),
        (with(Props::WBACK, Prot::RW), MemType::Wb),
        (with(Props::WCOMB, Prot::RW), MemType::Wc),
    ] {
        pc.pmem.set(region, attrs).unwrap();
        assert_eq!(pc.at(0xe080_0000), Some(kind), "{attrs}");
    }
    // No mode at all: as the firmware had it.
    pc.pmem.set(region, with(Props::empty(), Prot::RW)).unwrap();
    assert_eq!(pc.cpus.settings(), [plain(); 4]);
}

#[test]
fn what_does_not_fit_is_refused_with_numbers() {
    let policy = Policy { keep_free: 1, ..Policy::default() };
    let mut pc = pc(setting(4, &[register(0, 31, MemType::Wb), register(2 * GIB, 30, MemType::Wb)]), policy);
    let before = pc.cpus.settings();
    // Twelve mebibytes not aligned to themselves take two registers: four in all, and one is to stay free.
    let refused = pc.alloc(r(0xe040_0000, 0xe100_0000)).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("too few variable MTRRs at 0xe0400000..0xe1000000: needs 4, has 4"), "{text}");
    assert!(text.contains("keeps free 1, at best with default UC 4, WC"), "{text}");
    assert_eq!(pc.cpus.settings(), before);
    assert_eq!(pc.cpus.trace(), []);
    assert!(pc.alloc(r(0xe040_0000, 0xe080_0000)).is_ok());
}

#[test]
fn a_fault_at_every_write_leaves_everything_as_it_was() {
    let mut at = 0;
    loop {
        let mut pc = pc(plain(), Policy::default());
        let before = pc.pmem.regions().count();
        pc.cpus.fail_after(at);
        let done = pc.alloc(r(0xe040_0000, 0xe100_0000));
        if done.is_ok() {
            assert_eq!(at, 4 * 6, "a write was not tried");
            break;
        }
        assert_eq!(pc.cpus.settings(), [plain(); 4], "write {at}");
        assert_eq!(pc.pmem.regions().count(), before);
        assert!(pc.alloc(r(0xe040_0000, 0xe100_0000)).is_ok());
        at += 1;
    }
}

#[test]
fn what_others_write_survives() {
    let mut pc = pc(plain(), Policy::default());
    let region = pc.alloc(r(0xe000_0000, 0xe100_0000)).unwrap();
    let theirs = Variable::new(register(0xf000_0000, 24, MemType::Wc), Width::new(36).unwrap());
    pc.cpus.meddle(|_, cpu| cpu.variable_mut()[5] = theirs);
    let second = pc.alloc(r(0xe400_0000, 0xe500_0000)).unwrap();
    assert_eq!(pc.at(0xf000_0000), Some(MemType::Wc));
    pc.pmem.decref(region).unwrap();
    pc.pmem.decref(second).unwrap();
    let mut expected = plain();
    expected.variable_mut()[5] = theirs;
    assert_eq!(pc.cpus.settings(), [expected; 4]);
}

#[test]
fn what_others_drive_out_is_not_forgotten() {
    // Seven registers for 3 GiB: write combining packs them into fewer, and somebody takes what that frees.
    let block = |start: u64, order| register(start, order, MemType::Wb);
    let firmware = setting(
        8,
        &[
            block(0, 30),
            block(GIB, 29),
            block(GIB + (1 << 29), 29),
            block(2 * GIB, 29),
            block(2 * GIB + (1 << 29), 28),
            block(2 * GIB + (3 << 28), 27),
            block(2 * GIB + (7 << 27), 27),
        ],
    );
    let mut pc = pc(firmware, Policy::default());
    let region = pc.alloc(r(0xe040_0000, 0xe100_0000)).unwrap();
    let theirs =
        |n: u64| Variable::new(register(0xf000_0000 + (n << 24), 24, MemType::Wc), Width::new(36).unwrap());
    let mut added = 0;
    pc.cpus.meddle(|cpu, setting| {
        let mut n = 0;
        for slot in setting.variable_mut().iter_mut().filter(|slot| !slot.valid()) {
            *slot = theirs(n);
            n += 1;
        }
        added = if cpu == 0 { n } else { added };
    });
    assert!(added >= 2, "nothing was freed");
    pc.pmem.decref(region).unwrap();
    // The firmware's seven no longer fit beside them, but their types do.
    assert_eq!((pc.at(0xe040_0000), pc.at(0xe0ff_ffff)), (Some(MemType::Uc), Some(MemType::Uc)));
    assert_eq!((pc.at(0x10_0000), pc.at(3 * GIB - 1)), (Some(MemType::Wb), Some(MemType::Wb)));
    for n in 0..added {
        assert_eq!(pc.at(0xf000_0000 + (n << 24)), Some(MemType::Wc));
        let slot = pc.cpus.settings()[0].variable().iter().position(|slot| *slot == theirs(n));
        assert!(slot.is_some(), "their register {n} is another");
    }
    // They go; what the firmware left comes back with the next change.
    pc.cpus.meddle(|_, setting| {
        setting
            .variable_mut()
            .iter_mut()
            .filter(|slot| slot.raw_kind() == 1)
            .for_each(|slot| *slot = Variable::OFF);
    });
    let again = pc.alloc(r(0xe000_0000, 0xe100_0000)).unwrap();
    pc.pmem.decref(again).unwrap();
    let all = |setting: &Setting| setting.map().collect::<Vec<_>>();
    assert_eq!(all(&pc.cpus.settings()[0]), all(&firmware));
}

#[test]
fn a_processor_that_differs_is_brought_to_the_boot_processors_and_resync_mends_all() {
    let mut pc = pc(plain(), Policy::default());
    pc.cpus.meddle(|cpu, setting| {
        if cpu == 2 {
            setting.variable_mut()[6] = Variable { base: 0x4000_0006, mask: 0 };
            setting.variable_mut()[7] = Variable::new(register(0xe000_0000, 28, MemType::Wb), setting.width);
        }
    });
    let region = pc.alloc(r(0xe000_0000, 0xe100_0000)).unwrap();
    let all = pc.cpus.settings();
    assert_eq!(all, [all[0]; 4]);
    // As after a resume: everything as the firmware had it.
    pc.cpus.meddle(|_, setting| *setting = plain());
    assert!(pc.pmem.verify(pc.driver).is_err());
    pc.pmem.resync(pc.driver).unwrap();
    assert_eq!(pc.pmem.verify(pc.driver), Ok(()));
    assert_eq!(pc.at(0xe000_0000), Some(MemType::Wc));
    pc.pmem.decref(region).unwrap();
    assert_eq!(pc.cpus.settings(), [plain(); 4]);
}

#[test]
fn the_first_mebibyte_goes_into_the_fixed_ranges() {
    let mut pc = pc(plain(), Policy::default());
    let region = pc
        .pmem
        .alloc(
            pc.ram,
            &Request::exactly(r(0xa_0000, 0xc_0000))
                .usage(Usage::FRAMEBUF)
                .prot(Prot::RW)
                .props(Props::WCOMB),
        )
        .unwrap();
    assert_eq!((pc.at(0xa_0000), pc.at(0xb_ffff)), (Some(MemType::Wc), Some(MemType::Wc)));
    assert_eq!((pc.at(0x9_ffff), pc.at(0xc_0000)), (Some(MemType::Wb), Some(MemType::Uc)));
    assert!(pc.cpus.trace().iter().all(|Written { write, .. }| !(0x200..0x210).contains(&write.msr)));
    pc.pmem.decref(region).unwrap();
    assert_eq!(pc.cpus.settings(), [plain(); 4]);
}

#[test]
fn unmapped_space_is_kept_strict_unless_asked() {
    // The bus is a quarter of a GiB; what lies around it, up to 4 GiB, nobody knows.
    let firmware = setting(2, &[register(3 * GIB, 30, MemType::Uc)]);
    let firmware = with_default(firmware, MemType::Wb);
    let bar = r(0xe000_0000, 0xf000_0000);
    let strict = pc_with(bar, firmware, Policy::default()).alloc(bar).unwrap_err();
    assert!(strict.to_string().contains("needs 3, has 2"), "{strict}");
    let policy = Policy { unmapped: Unmapped::Any, ..Policy::default() };
    let mut free = pc_with(bar, firmware, policy);
    free.alloc(bar).unwrap();
    assert_eq!((free.at(0xe000_0000), free.at(0)), (Some(MemType::Wc), Some(MemType::Wb)));
}

#[test]
fn what_is_left_may_take_more_registers_than_what_was() {
    // In blocks of 4 MiB: 29..40 and 40 are four registers; without 35..40, 29..35 and 40 are five.
    let mib4 = |start: u64, end: u64| r(0xe000_0000 + start * 0x40_0000, 0xe000_0000 + end * 0x40_0000);
    let firmware = setting(6, &[register(0, 32, MemType::Wb), register(3 * GIB, 30, MemType::Uc)]);
    let mut pc = pc(firmware, Policy::default());
    let [last, next, first] =
        [mib4(35, 40), mib4(40, 41), mib4(29, 35)].map(|range| pc.alloc(range).unwrap());
    let held = pc.cpus.settings();
    assert_eq!(pc.pmem.decref(last), Ok(Released::Condemned { by: pc.driver }));
    assert_eq!(pc.pmem.condemned(), [(last, Some(pc.driver))]);
    assert_eq!((pc.cpus.settings(), pc.at(0xe000_0000 + 35 * 0x40_0000)), (held, Some(MemType::Wc)));
    // The next change that leaves room takes it along.
    assert_eq!(pc.pmem.decref(next), Ok(Released::Gone));
    assert_eq!(pc.pmem.condemned(), []);
    assert_eq!(pc.at(0xe000_0000 + 35 * 0x40_0000), Some(MemType::Uc));
    assert_eq!(pc.at(0xe000_0000 + 34 * 0x40_0000), Some(MemType::Wc));
    assert_eq!(pc.pmem.decref(first), Ok(Released::Gone));
    assert_eq!(pc.cpus.settings(), [firmware; 4]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is asked for, in whatever order it goes: every byte is what it is to be, and the end is the beginning.
    #[test]
    fn every_byte_is_as_asked_and_the_end_is_the_beginning(
        spans in prop::collection::vec((0u64..64, 1u64..9, any::<bool>()), 1..12), vcnt in 4u8..10,
    ) {
        let firmware = setting(vcnt, &[register(0, 32, MemType::Wb), register(3 * GIB, 30, MemType::Uc)]);
        let mut pc = pc(firmware, Policy::default());
        let mut held: Vec<(RegionId, AddrRange)> = vec![];
        let mut released: Vec<(RegionId, AddrRange)> = vec![];
        for (start, len, drop) in spans {
            let range = r(0xe000_0000 + start * 0x40_0000, 0xe000_0000 + (start + len) * 0x40_0000);
            if drop && !held.is_empty() {
                let (region, range) = held.swap_remove(start as usize % held.len());
                pc.pmem.decref(region).unwrap();
                released.push((region, range));
            } else if let Ok(region) = pc.alloc(range) {
                held.push((region, range));
            }
            // What is left may take more registers than what was: then what was let go stays as it is.
            released.retain(|(region, _)| pc.pmem.condemned().iter().any(|(condemned, _)| condemned == region));
            for page in (0..72).map(|i| 0xe000_0000u64 + i * 0x40_0000) {
                let wanted = held.iter().chain(&released).any(|(_, range)| range.contains(page));
                prop_assert_eq!(pc.at(page), Some(if wanted { MemType::Wc } else { MemType::Uc }));
            }
            prop_assert_eq!((pc.at(0x10_0000), pc.at(3 * GIB - 1)), (Some(MemType::Wb), Some(MemType::Wb)));
            prop_assert_eq!(pc.at(4 * GIB), Some(MemType::Uc));
        }
        for (region, _) in held {
            pc.pmem.decref(region).unwrap();
        }
        // Each is tried once a round, in its turn: one more goes with every round at least.
        for _ in 0..pc.pmem.condemned().len() {
            pc.pmem.reclaim();
        }
        prop_assert_eq!(pc.pmem.condemned(), []);
        prop_assert_eq!(pc.cpus.settings(), vec![firmware; 4]);
    }
}
