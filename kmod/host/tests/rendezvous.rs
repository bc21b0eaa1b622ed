//! `rendezvous.c` on the host: the steps of Intel's manual (SDM vol. 3A, section 13.11.8) on processors that record them.

use pmem_arena_abi::Image;
use pmem_arena_host::{CD, Cpu, DEF, Met, NW, ON, Op, PGE, Shape, on, read, rendezvous, shaped};

const SHAPE: Shape = Shape { variable: 4, width: 40, is_amd: false };

fn image(cpu: &Cpu) -> Image {
    on(cpu.clone(), || read().1).1
}

/// Three processors with one register on, and what they are to have: that one elsewhere, another one on, a fixed range.
fn machine() -> (Vec<Cpu>, Image, Image) {
    let mut cpu = Cpu::new(4);
    cpu.msrs.extend([(0x200, 0xc000_0000), (0x201, 0xff_c000_0800)]);
    let from = image(&cpu);
    let mut to = from;
    (to.base[0], to.mask[0]) = (0xe000_0001, 0xff_f000_0800);
    (to.base[2], to.mask[2]) = (0xf000_0000, 0xff_f800_0800);
    to.fixed[2] = 0;
    (vec![cpu; 3], from, to)
}

fn holds(cpu: &Cpu, wanted: &Image) -> bool {
    let held = image(cpu);
    (held.def, held.fixed, held.base, held.mask) == (wanted.def, wanted.fixed, wanted.base, wanted.mask)
}

/// Nothing was told that must not be told then, and in the end caches and global pages are as they were.
fn sound(met: &Met) {
    for (cpu, _) in &met.cpus {
        assert_eq!(cpu.violations, Vec::<String>::new());
        assert_eq!((cpu.cr0, cpu.cr4), (Cpu::new(0).cr0, Cpu::new(0).cr4));
    }
}

#[test]
fn the_steps_are_the_manuals_in_its_order() {
    let _shape = shaped(SHAPE);
    let (cpus, from, to) = machine();
    let (cr0, cr4) = (cpus[0].cr0, cpus[0].cr4);
    let met = rendezvous(cpus, Some(&from), &to, true);
    assert_eq!(met.result, 0);
    sound(&met);
    for (cpu, place) in &met.cpus {
        assert!(holds(cpu, &to));
        assert_eq!((place.differed.msr, place.refused.msr), (0, 0));
        let written = |msr, value| Op::Write(msr, value, true);
        assert_eq!(
            cpu.told(),
            [
                Op::Cr0((cr0 | CD) & !NW),
                Op::Wbinvd,
                Op::Cr4(cr4 & !PGE),
                Op::Cr3,
                written(DEF, from.def & !ON),
                written(0x259, 0),
                written(0x201, from.mask[0] & !ON),
                written(0x200, to.base[0]),
                written(0x201, to.mask[0]),
                written(0x204, to.base[2]),
                written(0x205, to.mask[2]),
                written(DEF, to.def),
                Op::Wbinvd,
                Op::Cr3,
                Op::Cr0(cr0),
                Op::Cr4(cr4),
            ]
        );
    }
    // None begins before all are there, and none goes on before all are done.
    let began = |cpu: &Cpu| cpu.trace.iter().find(|(_, op)| !matches!(op, Op::Read(_))).unwrap().0;
    let arrived =
        |cpu: &Cpu| cpu.trace.iter().take_while(|(_, op)| matches!(op, Op::Read(_))).last().unwrap().0;
    let ended = |cpu: &Cpu| cpu.trace.last().unwrap().0;
    let first = met.cpus.iter().map(|(cpu, _)| began(cpu)).min();
    assert!(met.cpus.iter().all(|(cpu, _)| Some(arrived(cpu)) < first));
    let last = met.cpus.iter().map(|(cpu, _)| ended(cpu)).max();
    assert!(met.left.iter().all(|left| Some(*left) > last));
}

#[test]
fn caches_that_are_off_stay_off_and_global_pages_that_are_off_too() {
    let _shape = shaped(SHAPE);
    let (mut cpus, from, to) = machine();
    for cpu in &mut cpus {
        cpu.cr0 |= CD | NW;
        cpu.cr4 &= !PGE;
    }
    let (cr0, cr4) = (cpus[0].cr0, cpus[0].cr4);
    let met = rendezvous(cpus, Some(&from), &to, true);
    for (cpu, _) in &met.cpus {
        assert_eq!((cpu.cr0, cpu.cr4), (cr0, cr4));
        assert_eq!(cpu.violations, Vec::<String>::new());
        assert!(cpu.told().iter().all(|op| !matches!(op, Op::Cr4(_))));
        assert!(holds(cpu, &to));
    }
}

#[test]
fn what_is_there_already_is_not_written() {
    let _shape = shaped(SHAPE);
    let (cpus, from, _) = machine();
    let met = rendezvous(cpus, Some(&from), &from, true);
    assert_eq!(met.result, 0);
    for (cpu, _) in &met.cpus {
        assert_eq!(cpu.writes, 2, "the switch alone");
    }
}

#[test]
fn if_the_first_does_not_hold_what_was_planned_from_nothing_is_written() {
    let _shape = shaped(SHAPE);
    let (mut cpus, from, to) = machine();
    cpus[0].msrs.insert(0x207, 0xff_f000_0800);
    let met = rendezvous(cpus, Some(&from), &to, true);
    assert_eq!(met.result, -11);
    for (cpu, place) in &met.cpus {
        assert_eq!(cpu.told(), []);
        assert_eq!(place.differed.msr, if cpu.msrs[&0x207] == 0 { 0 } else { 0x207 });
    }
}

#[test]
fn one_that_cannot_be_read_is_not_written() {
    let _shape = shaped(SHAPE);
    let (mut cpus, from, to) = machine();
    cpus[0].msrs.remove(&0x26f);
    assert_eq!(rendezvous(cpus, Some(&from), &to, true).result, -11);
}

#[test]
fn another_that_differs_is_brought_along_and_said() {
    let _shape = shaped(SHAPE);
    let (mut cpus, from, to) = machine();
    cpus[2].msrs.extend([(0x206, 0x6), (0x207, 0xff_f000_0800), (0x202, 0x4000_0000)]);
    let met = rendezvous(cpus, Some(&from), &to, true);
    assert_eq!(met.result, 0);
    sound(&met);
    for (n, (cpu, place)) in met.cpus.iter().enumerate() {
        assert!(holds(cpu, &to));
        let differed = place.differed;
        let wanted = if n == 2 { (0x207, 2, 0xff_f000_0800, 0) } else { (0, n as u32, 0, 0) };
        assert_eq!((differed.msr, differed.cpu, differed.here, differed.there), wanted);
    }
}

#[test]
fn without_a_first_whatever_they_hold_becomes_what_is_wanted() {
    let _shape = shaped(SHAPE);
    let (mut cpus, from, to) = machine();
    cpus[1].msrs.insert(DEF, 0xc00);
    let met = rendezvous(cpus, None, &to, false);
    assert_eq!(met.result, 0);
    assert!(met.cpus.iter().all(|(cpu, _)| holds(cpu, &to)));
    // And if one does not take it, it is said, and nothing else is tried.
    let (mut cpus, _, _) = machine();
    cpus[1].refuses = vec![3];
    let met = rendezvous(cpus, None, &to, false);
    assert_eq!(met.result, -5);
    assert_ne!(met.cpus[1].1.refused.msr, 0);
    assert!(!holds(&met.cpus[1].0, &from));
    assert_eq!(met.cpus[0].0.writes, 8, "it is not put back");
}

/// Each write of each processor refused, one at a time: all are put back.
#[test]
fn a_write_that_fails_at_any_position_puts_all_back() {
    let _shape = shaped(SHAPE);
    let (cpus, from, to) = machine();
    let writes = rendezvous(cpus.clone(), Some(&from), &to, true).cpus[0].0.writes;
    assert_eq!(writes, 8);
    for which in 0..3 {
        for position in 0..writes {
            let mut cpus = cpus.clone();
            cpus[which].refuses = vec![position];
            let met = rendezvous(cpus, Some(&from), &to, true);
            assert_eq!(met.result, -5, "processor {which}, write {position}");
            for (n, (cpu, place)) in met.cpus.iter().enumerate() {
                assert!(holds(cpu, &from), "processor {n} after {which} refused {position}");
                assert_eq!(place.refused.msr != 0, n == which);
                assert_eq!(place.refused.cpu, n as u32);
                assert_eq!((cpu.cr0, cpu.cr4), (Cpu::new(0).cr0, Cpu::new(0).cr4));
            }
        }
    }
}

/// A register that takes a value, and holds another all the same.
#[test]
fn what_is_written_is_read_back() {
    let _shape = shaped(SHAPE);
    let (cpus, from, to) = machine();
    for position in [1, 3, 4, 6] {
        let mut cpus = cpus.clone();
        cpus[1].ignores = vec![position];
        let met = rendezvous(cpus, Some(&from), &to, true);
        assert_eq!(met.result, -5, "write {position}");
        assert!(met.cpus.iter().all(|(cpu, _)| holds(cpu, &from)));
        assert_ne!(met.cpus[1].1.refused.msr, 0);
    }
}

#[test]
fn a_register_that_is_not_there_cannot_be_put_back() {
    let _shape = shaped(SHAPE);
    let (cpus, from, mut to) = machine();
    // A fixed register that is not there: reading it fails, writing it too.
    to.fixed[9] = 1;
    let mut odd = cpus;
    odd[1].msrs.remove(&0x26e);
    let met = rendezvous(odd, Some(&from), &to, true);
    assert_eq!(met.result, -6, "it cannot be put back either");
    assert_eq!(met.cpus[1].1.refused.msr, 0x26e);
}

#[test]
fn one_that_takes_nothing_back_is_said_to_be_broken() {
    let _shape = shaped(SHAPE);
    let (mut cpus, from, to) = machine();
    cpus[2].refuses = (3..100).collect();
    let met = rendezvous(cpus, Some(&from), &to, true);
    assert_eq!(met.result, -6);
    assert!(holds(&met.cpus[0].0, &from) && holds(&met.cpus[1].0, &from));
}
