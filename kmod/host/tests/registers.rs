//! `registers.c` on the host.

use pmem_arena_abi::Image;
use pmem_arena_host::{Cpu, DEF, FIXED, ON, Op, Shape, Written, on, read, shaped, sizes, write};
use proptest::prelude::*;

const INTEL: Shape = Shape { variable: 4, width: 40, is_amd: false };

fn image(cpu: &Cpu) -> Image {
    on(cpu.clone(), || read().1).1
}

#[test]
fn structures_are_the_same_in_both_languages() {
    for (ours, theirs) in sizes() {
        assert_eq!(ours as u64, theirs);
    }
}

#[test]
fn every_register_is_read_where_it_belongs() {
    let _shape = shaped(INTEL);
    let mut cpu = Cpu::new(4);
    for (n, value) in cpu.msrs.values_mut().enumerate() {
        *value ^= (n as u64) << 32;
    }
    let (_, (bad, image)) = on(cpu.clone(), read);
    assert_eq!(bad, 0);
    assert_eq!((image.cap, image.def), (cpu.msrs[&0xfe], cpu.msrs[&DEF]));
    assert_eq!(image.fixed.to_vec(), FIXED.map(|msr| cpu.msrs[&msr]));
    for n in 0..4 {
        let pair = (image.base[n as usize], image.mask[n as usize]);
        assert_eq!(pair, (cpu.msrs[&(0x200 + 2 * n)], cpu.msrs[&(0x201 + 2 * n)]));
    }
    assert_eq!((image.base[4], image.syscfg, image.top_mem2), (0, 0, 0), "what is not there is zero");
}

#[test]
fn fixed_ranges_are_read_where_there_are_any_and_amds_on_its_processors() {
    let amd = Shape { is_amd: true, ..INTEL };
    let _shape = shaped(amd);
    let mut cpu = Cpu::new(4);
    cpu.msrs.insert(0xfe, 0x404);
    cpu.msrs.extend([(0xc001_0010, 1 << 21), (0xc001_001a, 2), (0xc001_001d, 3)]);
    let (cpu, (bad, image)) = on(cpu, read);
    assert_eq!((bad, image.syscfg, image.top_mem, image.top_mem2), (0, 1 << 21, 2, 3));
    assert!(cpu.trace.iter().all(|(_, op)| *op != Op::Read(0x250)));
}

#[test]
fn a_register_that_is_not_there_is_named() {
    let _shape = shaped(INTEL);
    for msr in [0xfe, DEF, 0x26f, 0x207] {
        let mut cpu = Cpu::new(4);
        cpu.msrs.remove(&msr);
        let (_, (bad, _)) = on(cpu, read);
        // Without the capabilities nobody knows of fixed ranges.
        assert_eq!(bad, msr);
    }
}

#[test]
fn the_first_that_is_refused_is_named() {
    let _shape = shaped(INTEL);
    let cpu = Cpu::new(4);
    let now = image(&cpu);
    let mut to = now;
    (to.base[1], to.mask[1]) = (0x8000_0006, 0xff_8000_0800);
    to.fixed[3] = 0;
    for (refuses, msr) in [(0, DEF), (1, FIXED[3]), (2, 0x202), (3, 0x203), (4, DEF)] {
        let mut one = cpu.clone();
        one.refuses = vec![refuses];
        let (_, bad) = on(one, || write(&now, &to));
        assert_eq!(bad, msr);
    }
    let mut two = cpu.clone();
    two.refuses = vec![1, 3];
    assert_eq!(on(two, || write(&now, &to)).1, FIXED[3]);
    let (after, bad) = on(cpu, || write(&now, &to));
    assert_eq!((bad, after.writes), (0, 5));
    assert_eq!(image(&after).mask[1], to.mask[1]);
}

#[test]
fn what_the_firmware_had_stays_where_it_was_driven_to() {
    let _shape = shaped(INTEL);
    let hole = (0xc000_0000, 0xff_c000_0800);
    let mut load = Image::BLANK;
    (load.base[0], load.mask[0]) = hole;
    let mut written = Written::BLANK;
    written.load = load;
    // Somebody takes the firmware's place, and we put what it had elsewhere, beside something of our own.
    let mut now = load;
    (now.base[0], now.mask[0]) = (0x4000_0000, 0xff_f000_0800);
    let mut to = now;
    (to.base[1], to.mask[1]) = hole;
    (to.base[2], to.mask[2]) = (0xe000_0001, 0xff_f000_0800);
    written.note(&now, &to);
    let back = written.back(&to).unwrap();
    assert_eq!((back.base[1], back.mask[1]), hole);
    assert_eq!(back.mask[2], 0, "our own goes");
    assert_eq!(back.base[0], 0x4000_0000, "theirs stays");
    // If the firmware's place is its own again, the other one goes.
    let mut again = to;
    (again.base[0], again.mask[0]) = hole;
    assert_eq!(written.back(&again).unwrap().mask[1], 0);
}

/// Registers, few values each, so that they meet.
fn registers() -> impl Strategy<Value = Vec<(usize, u64)>> {
    prop::collection::vec((0usize..16, 1u64..4), 0..6)
}

/// Whether it was ours, from what, to what.
type Change = (bool, (u64, u64), (u64, u64));

fn set(image: &mut Image, n: usize, value: u64) {
    match n {
        0..11 => image.fixed[n] = value,
        11 => image.def = 0xc00 | value,
        // Two of the values have one mask.
        _ => (image.base[n - 12], image.mask[n - 12]) = (value << 12, (value / 2) << 12 | ON),
    }
}

fn get(image: &Image, n: usize) -> (u64, u64) {
    match n {
        0..11 => (image.fixed[n], 0),
        11 => (image.def, 0),
        _ => (image.base[n - 12], image.mask[n - 12]),
    }
}

proptest! {
    /// What we wrote goes back to what it was before, and what others wrote stays: against a list of who wrote what.
    #[test]
    fn what_was_written_goes_back_and_nothing_else(
        steps in prop::collection::vec((any::<bool>(), registers()), 0..8),
    ) {
        let _shape = shaped(INTEL);
        let mut now = Image::BLANK;
        (0..16).for_each(|n| set(&mut now, n, 0));
        let mut written = Written::BLANK;
        // Every change of each register, whose it was, and from what to what.
        let mut history: Vec<Vec<Change>> = vec![Vec::new(); 16];
        for (ours, changes) in steps {
            let mut to = now;
            for (n, value) in changes {
                set(&mut to, n, value);
            }
            for (n, history) in history.iter_mut().enumerate() {
                if get(&now, n) != get(&to, n) {
                    history.push((ours, get(&now, n), get(&to, n)));
                }
            }
            if ours {
                written.note(&now, &to);
            }
            now = to;
        }
        // A register that holds what we wrote last goes back to what it held before we wrote to it first, since somebody else last did.
        let mut wanted = now;
        for (n, history) in history.iter().enumerate() {
            let Some(last) = history.iter().rposition(|(ours, ..)| *ours) else { continue };
            if history[last].2 != get(&now, n) {
                continue;
            }
            let mut first = last;
            // What others did in between that led to the same value again is nobody's.
            while let Some(earlier) = history[..first].iter().rposition(|(ours, ..)| *ours)
                && history[earlier].2 == history[first].1
            {
                first = earlier;
            }
            let (base, mask) = history[first].1;
            match n {
                0..11 => wanted.fixed[n] = base,
                11 => wanted.def = base,
                _ => (wanted.base[n - 12], wanted.mask[n - 12]) = (base, mask),
            }
        }
        let back = written.back(&now);
        prop_assert_eq!(back.is_some(), (0..16).any(|n| get(&wanted, n) != get(&now, n)));
        let back = back.unwrap_or(now);
        for n in 0..16 {
            prop_assert_eq!(get(&back, n), get(&wanted, n), "register {}", n);
        }
    }
}
