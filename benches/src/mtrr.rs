//! MTRRs: registers and time for layouts like those of PCs, beside our models of what others do.

use crate::measure::{Figure, ROUNDS};
use crate::report::Line;
use crate::workload::Rng;
use pmem_drivers::mtrr::plan::DEPTH;
use pmem_drivers::mtrr::strategies::{self, Answer, Layout};
use pmem_drivers::mtrr::{
    Cap, DefType, MemType, PathNode, Piece, Planner, Problem, Requirement, Setting, Span, TypeSet, Variable,
    Width, Workspace,
};
use std::hint::black_box;
use std::time::Instant;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const WIDTH: Width = match Width::new(39) {
    Some(width) => width,
    None => Width::DEFAULT,
};

/// A machine's ranges, without what lies between them.
struct Pc {
    ranges: Vec<(Span, MemType)>,
    wants: Vec<Requirement>,
}

/// Makes a PC: memory with a piece taken from the top by firmware, an uncacheable island in it, a frame buffer,
/// flash below 4 GiB, memory above, and a 64-bit BAR to be write-combining. The rest of the hole below 4 GiB is
/// uncacheable.
fn pc(rng: &mut Rng) -> Pc {
    let mut ranges = Vec::new();
    let span = |start: u64, len: u64| Span { start, end: start + len };
    let low = 2 * GIB + rng.below(7) * 256 * MIB;
    // An island of 1 to 32 MiB, near the top.
    let island = MIB << rng.below(6);
    let at = low - island * (1 + rng.below(4));
    ranges.push((span(0, at), MemType::Wb));
    ranges.push((span(at, island), MemType::Uc));
    ranges.push((span(at + island, low - at - island), MemType::Wb));
    let buffer = (16 * MIB) << rng.below(5);
    let first = low.next_multiple_of(buffer);
    let places = (0xf000_0000 - first) / buffer;
    if places > 0 {
        ranges.push((span(first + rng.below(places) * buffer, buffer), MemType::Wc));
    }
    let flash = (4 * MIB) << rng.below(3);
    ranges.push((span(4 * GIB - flash, flash), MemType::Wp));
    let high = rng.below(64) * 512 * MIB;
    if high > 0 {
        ranges.push((span(4 * GIB, high), MemType::Wb));
    }
    let bar = (256 * MIB) << rng.below(6);
    let above = (4 * GIB + high).next_multiple_of(bar) + bar * rng.below(4);
    ranges.push((span(above, bar), MemType::Wc));
    // Devices own what is left of the hole below 4 GiB.
    ranges.sort_by_key(|(span, _)| span.start);
    let mut next = low;
    for (span, _) in ranges.clone().iter().filter(|(span, _)| (low..4 * GIB).contains(&span.start)) {
        ranges.push((Span { start: next, end: span.start }, MemType::Uc));
        next = span.end;
    }
    ranges.retain(|(span, _)| !span.is_empty());
    ranges.sort_by_key(|(span, _)| span.start);
    let wants =
        ranges.iter().map(|(span, kind)| Requirement { span: *span, allowed: (*kind).into() }).collect();
    Pc { ranges, wants }
}

fn problem(wants: &[Requirement]) -> Problem<'_> {
    Problem { elsewhere: TypeSet::ANY, ..Problem::new(WIDTH, wants) }
}

/// Returns whether the registers give every range the memory type it should have.
fn holds(pc: &Pc, answer: &Answer) -> bool {
    let mut setting = Setting::new(WIDTH, Cap::new(40, true, true));
    setting.def = DefType::new(answer.default, true, true);
    for (slot, register) in setting.variable_mut().iter_mut().zip(&answer.registers) {
        *slot = Variable::new(*register, WIDTH);
    }
    let mut all = answer.registers.len() <= 40;
    setting.unmet(&pc.wants, |span, _, _| all &= span.end <= MIB);
    all
}

type Subject = (&'static str, fn(&Pc) -> Option<Answer>);

fn layout(pc: &Pc) -> Layout<'_> {
    Layout { width: WIDTH, ranges: &pc.ranges }
}

fn ours(pc: &Pc) -> Option<Answer> {
    let mut room = [Piece::default(); 24];
    let planner = Planner::new(problem(&pc.wants), &mut room).ok()?;
    let mut choices = [0; 1024];
    let mut room = Workspace { choices: &mut choices, path: &mut [PathNode::default(); DEPTH] };
    let plan = planner.plan(None, None, &mut room).ok()?;
    Some(Answer { default: plan.default, registers: plan.registers.iter().collect() })
}

const SUBJECTS: [Subject; 5] = [
    ("pmem, whole plan", ours),
    ("model of coreboot", |pc| Some(strategies::coreboot(&layout(pc)))),
    ("model of EDK2, best of four", |pc| Some(strategies::edk2_best(&layout(pc)))),
    ("model of EDK2, default UC", |pc| Some(strategies::edk2(&layout(pc), MemType::Uc, MemType::Uc))),
    ("model of Linux mtrr_cleanup", |pc| strategies::linux(&layout(pc), 40)),
];

/// Plans `count` layouts: registers and time per plan.
pub fn plans(count: usize) -> Vec<Line> {
    let mut rng = Rng::new(1);
    let all: Vec<Pc> = (0..count).map(|_| pc(&mut rng)).collect();
    let mut figures: Vec<Figure> = vec![Figure::default(); SUBJECTS.len() + 1];
    for _ in 0..ROUNDS {
        for ((_, solve), figure) in SUBJECTS.iter().zip(&mut figures) {
            let begun = Instant::now();
            // The search over chunks and grains takes a hundred times as long as the others, so it gets fewer
            // layouts.
            let some = if *solve as usize == SUBJECTS[4].1 as usize { count / 50 } else { count };
            all.iter().take(some).for_each(|pc| drop(black_box(solve(black_box(pc)))));
            figure.add((begun.elapsed(), some as u64));
        }
        let begun = Instant::now();
        for pc in &all {
            let mut room = [Piece::default(); 24];
            let planner = Planner::new(problem(black_box(&pc.wants)), &mut room);
            black_box(planner.map(|planner| planner.optimum()).ok());
        }
        figures[SUBJECTS.len()].add((begun.elapsed(), count as u64));
    }
    let best: Vec<usize> = all.iter().filter_map(|pc| Some(ours(pc)?.registers.len())).collect();
    let line = |name: &'static str, figure: &Figure, note: String| Line {
        ns: Some(figure.median()),
        spread: Some(figure.spread()),
        note,
        ..Line::new("mtrr", "plan", count, name)
    };
    let mut lines: Vec<Line> = SUBJECTS
        .iter()
        .zip(&figures)
        .map(|((name, solve), figure)| {
            let answers: Vec<Option<Answer>> = all.iter().map(solve).collect();
            let found: Vec<usize> = answers.iter().flatten().map(|answer| answer.registers.len()).collect();
            let mean = found.iter().sum::<usize>() as f64 / found.len().max(1) as f64;
            let fits = found.iter().filter(|registers| **registers <= 8).count();
            let fewer = answers
                .iter()
                .zip(&best)
                .filter(|(a, b)| a.as_ref().is_some_and(|a| a.registers.len() < **b));
            let wrong = all.iter().zip(&answers).filter(|(pc, a)| a.as_ref().is_some_and(|a| !holds(pc, a)));
            let note = format!(
                "{mean:.3} registers, {fits} fit in 8, {} found, fewer than ours {}, wrong {}",
                found.len(),
                fewer.count(),
                wrong.count()
            );
            line(name, figure, note)
        })
        .collect();
    lines.insert(0, line("pmem, counts with proof", &figures[SUBJECTS.len()], String::new()));
    lines
}
