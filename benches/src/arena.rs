//! One arena: fill, churn, windows, look-ups, neighbours, bytes.

use crate::measure::{Figure, ROUNDS, each, percentile, run_for};
use crate::report::Line;
use crate::subject::{Eytzinger, KINDS, Kind, Live, Subject, Want};
use crate::workload::{Layout, Rng, space};
use pmem_space::AddrRange;
use std::hint::black_box;
use std::time::{Duration, Instant};

const SUITE: &str = "arena";

/// Time limits.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The limit for building one subject's layout, and again for bringing it to a steady state.
    pub build: Duration,
    /// The length of one subject's turn in a round.
    pub turn: Duration,
}

/// A subject with a layout in it.
struct Runner {
    kind: Kind,
    subject: Box<dyn Subject>,
    live: Vec<Live>,
    rng: Rng,
    /// Whether the time ran out before it reached a steady state.
    early: bool,
    failed: u64,
    tried: u64,
}

impl Runner {
    fn new(kind: Kind, n: usize, layout: &Layout, budget: Budget) -> Option<Self> {
        let mut subject = (kind.make)(space(n));
        let live = layout.build(&mut *subject, budget.build)?;
        Some(Self { kind, subject, live, rng: Rng::new(n as u64), early: false, failed: 0, tried: 0 })
    }

    /// Frees a random region and allocates another.
    fn churn(&mut self) {
        let i = self.rng.below(self.live.len() as u64) as usize;
        self.subject.free(&self.live[i]);
        let want = self.rng.want();
        let got = self.subject.alloc(&want).or_else(|| {
            self.failed += 1;
            self.subject.alloc(&Want { len: 4096, align: 4096, window: None })
        });
        match got {
            Some(live) => self.live[i] = live,
            None => drop(self.live.swap_remove(i)),
        }
    }

    /// Churns until most regions have been replaced twice.
    fn settle(&mut self, budget: Duration) {
        let begun = Instant::now();
        for i in 0..2 * self.live.len() {
            self.churn();
            if i % 16 == 0 && begun.elapsed() > budget {
                self.early = true;
                return;
            }
        }
    }

    /// Allocates in a random window of 64 MiB to 1 GiB, and frees it again.
    fn in_window(&mut self, all: AddrRange) {
        let size = (64 << 20) << self.rng.below(5);
        let top = self.live.len() as u64;
        let around = self.live[self.rng.below(top) as usize].start;
        let start = around.saturating_sub(self.rng.below(size)).max(all.start());
        let window = AddrRange::sized(start, size).ok();
        let want = Want { window, ..self.rng.want() };
        self.tried += 1;
        match self.subject.alloc(&want) {
            Some(live) => self.subject.free(&live),
            None => self.failed += 1,
        }
    }

    /// Looks up a random taken address.
    fn look_up(&mut self) {
        let live = self.live[self.rng.below(self.live.len() as u64) as usize];
        black_box(self.subject.find(live.start + self.rng.below(live.len)));
    }

    fn note(&self) -> String {
        let early = if self.early { "; not steady: stopped by the time budget" } else { "" };
        format!("{}{early}", self.kind.note)
    }
}

/// Lets the subjects take turns at `op`; returns one line each.
fn rounds(
    case: &str,
    n: usize,
    runners: &mut [Runner],
    turn: Duration,
    mut op: impl FnMut(&mut Runner),
) -> Vec<Line> {
    let mut figures = vec![Figure::default(); runners.len()];
    for _ in 0..ROUNDS {
        for (runner, figure) in runners.iter_mut().zip(&mut figures) {
            let (elapsed, ops) = run_for(turn, || op(runner));
            figure.add((elapsed, ops));
        }
    }
    let lines = runners.iter().zip(figures).map(|(runner, figure)| Line {
        ns: Some(figure.median()),
        spread: Some(figure.spread()),
        note: runner.note(),
        ..Line::new(SUITE, case, n, runner.kind.name)
    });
    lines.collect()
}

/// Runs the cases of these names, or all if there are none.
pub fn run(n: usize, kinds: &[Kind], cases: &[String], budget: Budget, show: &mut dyn FnMut(Vec<Line>)) {
    let layout = Layout::new(n, 42);
    let asked = |case: &str| cases.is_empty() || cases.iter().any(|name| name == case);
    if asked("fill") {
        show(fill(n, kinds, &layout, budget));
    }
    if asked("bytes") {
        show(bytes(n, kinds, &layout, budget));
    }
    if !["churn", "window", "lookup", "neighbours"].into_iter().any(asked) {
        return;
    }
    let mut runners: Vec<Runner> =
        kinds.iter().filter_map(|kind| Runner::new(*kind, n, &layout, budget)).collect();
    runners.iter_mut().for_each(|runner| runner.settle(budget.build));
    if asked("churn") {
        show(churn(n, &mut runners, budget));
    }
    runners.retain(|runner| runner.kind.can.window);
    if asked("window") {
        show(window(n, &mut runners, budget));
    }
    runners.retain(|runner| runner.kind.can.find);
    if asked("lookup") {
        show(look_up(n, &mut runners, budget));
    }
    runners.retain(|runner| runner.kind.can.neighbours);
    if asked("neighbours") {
        show(rounds("neighbours", n, &mut runners, budget.turn, |runner| {
            let around = runner.live[runner.rng.below(runner.live.len() as u64) as usize].start;
            black_box(runner.subject.neighbours(around));
        }));
    }
}

/// Brings one subject to its steady state, and then calls [`counted`].
pub fn steps(n: usize, subject: &str, case: &str, ops: u64) -> Result<(), Box<dyn std::error::Error>> {
    let kind = KINDS.iter().find(|kind| kind.name == subject);
    let kind = kind.ok_or_else(|| format!("{subject} is no subject"))?;
    let budget = Budget { build: Duration::MAX, turn: Duration::ZERO };
    let mut runner = Runner::new(*kind, n, &Layout::new(n, 42), budget).ok_or("there is no space")?;
    runner.settle(budget.build);
    let all = space(n);
    match case {
        "churn" => counted(ops, || runner.churn()),
        "window" => counted(ops, || runner.in_window(all)),
        "lookup" => counted(ops, || runner.look_up()),
        other => return Err(format!("{other} is no case").into()),
    }
    Ok(())
}

/// The only function that an instruction counter should watch.
#[inline(never)]
fn counted(ops: u64, mut op: impl FnMut()) {
    (0..ops).for_each(|_| op());
}

/// Steady state: frees one region and allocates another.
fn churn(n: usize, runners: &mut [Runner], budget: Budget) -> Vec<Line> {
    let mut lines = rounds("churn", n, runners, budget.turn, Runner::churn);
    for (line, runner) in lines.iter_mut().zip(runners) {
        let samples = each(budget.turn * 4, 1 << 17, || runner.churn());
        line.p999 = Some(percentile(&samples, 99.9));
        line.max = Some(percentile(&samples, 100.0));
    }
    lines
}

/// Allocates in a random window.
fn window(n: usize, runners: &mut [Runner], budget: Budget) -> Vec<Line> {
    let all = space(n);
    runners.iter_mut().for_each(|runner| (runner.failed, runner.tried) = (0, 0));
    let mut lines = rounds("window", n, runners, budget.turn, |runner| runner.in_window(all));
    for (line, runner) in lines.iter_mut().zip(runners) {
        let rate = 100.0 * (1.0 - runner.failed as f64 / runner.tried.max(1) as f64);
        line.note += &format!("; {rate:.1} % found a place");
    }
    lines
}

/// Takes the layout's regions from nothing, in order of address.
fn fill(n: usize, kinds: &[Kind], layout: &Layout, budget: Budget) -> Vec<Line> {
    let mut figures = vec![Figure::default(); kinds.len()];
    for _ in 0..3 {
        for (kind, figure) in kinds.iter().zip(&mut figures) {
            let mut subject = (kind.make)(space(n));
            let (begun, mut done) = (Instant::now(), 0);
            for range in layout.all.iter().take(n) {
                if begun.elapsed() > budget.build || subject.adopt(*range).is_none() {
                    break;
                }
                done += 1;
            }
            figure.add((begun.elapsed(), done));
        }
    }
    let lines = kinds.iter().zip(figures).map(|(kind, figure)| Line {
        ns: Some(figure.median()),
        spread: Some(figure.spread()),
        note: kind.note.to_owned(),
        ..Line::new(SUITE, "fill", n, kind.name)
    });
    lines.collect()
}

/// Bytes per region that are still held, after a fill and after churn.
fn bytes(n: usize, kinds: &[Kind], layout: &Layout, budget: Budget) -> Vec<Line> {
    let listed = |subject: &dyn Subject, live: &Vec<Live>| {
        (live.capacity() * size_of::<Live>() + subject.listed()) as i64
    };
    let mut lines = Vec::new();
    for kind in kinds {
        let mut held = None;
        let info = allocation_counter::measure(|| {
            let mut subject = (kind.make)(space(n));
            let (begun, mut live) = (Instant::now(), Vec::with_capacity(n));
            for range in layout.all.iter().take(n) {
                live.extend(subject.adopt(*range).filter(|_| begun.elapsed() < budget.build));
            }
            held = Some((subject, live));
        });
        let Some((subject, live)) = held.filter(|(_, live)| live.len() == n) else { continue };
        lines.push(Line {
            bytes: Some((info.bytes_current - listed(&*subject, &live)) as f64 / n as f64),
            note: kind.note.to_owned(),
            ..Line::new(SUITE, "bytes filled", n, kind.name)
        });
        let mut runner = None;
        let info = allocation_counter::measure(|| {
            runner = Runner::new(*kind, n, layout, budget);
            runner.iter_mut().for_each(|runner| runner.settle(budget.build));
        });
        let Some(runner) = runner else { continue };
        lines.push(Line {
            bytes: Some((info.bytes_current - listed(&*runner.subject, &runner.live)) as f64 / n as f64),
            note: runner.note(),
            ..Line::new(SUITE, "bytes churned", n, kind.name)
        });
    }
    lines
}

/// Looks up random addresses in taken ranges: once many at a time, and once each after the one before.
fn look_up(n: usize, runners: &mut [Runner], budget: Budget) -> Vec<Line> {
    let addresses: Vec<Vec<u64>> = runners
        .iter()
        .map(|runner| {
            let mut rng = Rng::new(3);
            let inside = |live: &Live, rng: &mut Rng| live.start + rng.below(live.len);
            let any = |rng: &mut Rng| {
                let live = &runner.live[rng.below(runner.live.len() as u64) as usize];
                inside(live, rng)
            };
            (0..1 << 16).map(|_| any(&mut rng)).collect()
        })
        .collect();
    let mut ranges: Vec<AddrRange> =
        runners[0].live.iter().filter_map(|live| AddrRange::sized(live.start, live.len).ok()).collect();
    ranges.sort_unstable_by_key(|range| range.start());
    let limit = Eytzinger::of(&ranges);
    let mut lines = Vec::new();
    for (case, dependent) in [("lookup", false), ("lookup dependent", true)] {
        let mut figures = vec![Figure::default(); runners.len() + 1];
        for _ in 0..ROUNDS {
            for (i, figure) in figures.iter_mut().enumerate() {
                let runner = runners.get(i);
                let all = addresses.get(i).unwrap_or(&addresses[0]);
                let find = |addr| match runner {
                    Some(runner) => runner.subject.find(addr),
                    None => limit.find(addr),
                };
                let (mut at, mut seen) = (0usize, 0u64);
                let (elapsed, ops) = run_for(budget.turn, || {
                    let hit = find(all[at & 0xffff]).unwrap_or_default();
                    let told = hit.start ^ hit.last ^ hit.id ^ u64::from(hit.attrs);
                    seen ^= told;
                    // The next address depends on this answer, though the value is the same either way.
                    at = at.wrapping_add(1 + if dependent { usize::from(told == 0x5eed) } else { 0 });
                });
                black_box(seen);
                figure.add((elapsed, ops));
            }
        }
        for (i, figure) in figures.iter().enumerate() {
            let (name, note) = match runners.get(i) {
                Some(runner) => (runner.kind.name, runner.note()),
                None => ("eytzinger", String::from("static: the limit")),
            };
            lines.push(Line {
                ns: Some(figure.median()),
                spread: Some(figure.spread()),
                note,
                ..Line::new(SUITE, case, n, name)
            });
        }
    }
    lines
}

/// Returns the subjects of these names, or all if there are none.
pub fn kinds(names: &[String]) -> Vec<Kind> {
    KINDS
        .iter()
        .filter(|kind| names.is_empty() || names.iter().any(|name| name == kind.name))
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is measured must be right: ranges are aligned, disjoint, found again, and gone once freed.
    #[test]
    fn every_subject_does_what_it_is_asked() {
        const N: usize = 200;
        let budget = Budget { build: Duration::from_secs(60), turn: Duration::ZERO };
        for kind in KINDS {
            let mut runner = Runner::new(*kind, N, &Layout::new(N, 42), budget).expect("there is space");
            for _ in 0..4 * N {
                runner.churn();
            }
            assert_eq!((runner.live.len(), runner.failed), (N, 0), "{}", kind.name);
            let mut live = runner.live.clone();
            live.sort_unstable_by_key(|live| live.start);
            assert!(live.windows(2).all(|two| two[0].start + two[0].len <= two[1].start), "{}", kind.name);
            if !kind.can.find {
                continue;
            }
            for live in &live {
                let hit = runner.subject.find(live.start + live.len / 2).expect(kind.name);
                assert_eq!((hit.start, hit.last), (live.start, live.start + live.len - 1), "{}", kind.name);
            }
            let gone = runner.live.swap_remove(7);
            runner.subject.free(&gone);
            assert_eq!(runner.subject.find(gone.start), None, "{}", kind.name);
        }
    }
}
