//! The fewest registers that make a map.
//!
//! A register of a lower number goes before one of a higher: what a register covers that registers before it have shown does not matter
//! any more. So registers are chosen from the first on: one can be wherever all that still matters wants the same, and afterwards less
//! matters. What is looked for is the shortest way to where nothing matters; a register that covers more is never worse, so that in each
//! stretch of one wish only those need be tried that reach as far as they can from either end.

use super::REGISTERS;
use super::map::Map;
use super::register::{LARGE, Register, SMALL, Target, Value};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

/// What one register can cover: so many units at most, of 2^`shift` bytes, aligned to themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granules {
    /// Shift, and how many at most.
    pub small: (u32, u32),
    /// The same of large ones, if there are any.
    pub large: Option<(u32, u32)>,
}

/// Memory's: 128 pages of 4 KiB, or 2048 of 64 KiB.
pub(super) const MEMORY: Granules = Granules { small: (12, SMALL), large: Some((16, LARGE)) };
/// Ports': 512.
pub(super) const PORTS: Granules = Granules { small: (0, 512), large: None };
/// Maps that are looked at before what was found so far is taken for good enough.
pub(super) const STATES: usize = 30_000;

/// Registers, the first the one that goes before the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The registers.
    pub registers: Vec<Register>,
    /// Fewer do not do: all ways were looked at. Else the search was ended, and fewer may do.
    pub is_least: bool,
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// Registers that it takes.
    pub needed: usize,
    /// Registers that there are.
    pub available: usize,
    /// Fewer do not do; else fewer were not found.
    pub is_least: bool,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, available, .. } = self;
        let found = if self.is_least { "needs" } else { "found no way with fewer than" };
        write!(f, "{found} {needed} registers of {available}")
    }
}

impl core::error::Error for PlanError {}

/// What a stretch of addresses wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    /// It does not matter any more.
    Anything,
    /// No register may be there.
    Nothing,
    /// A value; without a register it has it as well, or does not.
    Value {
        /// Which.
        value: Value,
        /// It is to have a register.
        needed: bool,
    },
}

/// Stretches in order, each by its last address.
pub type Requirements = Vec<(u32, Requirement)>;

/// Finds the fewest registers for a map.
///
/// # Errors
/// [`PlanError`] if there are not so many.
pub fn plan(map: &Map) -> Result<Plan, PlanError> {
    let memory: Requirements = map
        .parts()
        .map(|(range, value)| {
            (*range.end(), Requirement::Value { value, needed: value != map.default_at(*range.start()) })
        })
        .collect();
    let memory = plan_with(&split_default(map, memory), &MEMORY);
    let mut ports: Requirements = Vec::new();
    for (range, value) in map.port_parts() {
        let before = ports.last().map_or(0, |(last, _)| last + 1);
        if before < *range.start() {
            ports.push((range.start() - 1, Requirement::Nothing));
        }
        ports.push((*range.end(), Requirement::Value { value, needed: true }));
    }
    let ports = plan_with(&ports, &PORTS);
    let is_least = memory.is_least && ports.is_least;
    let registers: Vec<Register> = memory.registers.into_iter().chain(ports.registers).collect();
    if registers.len() > REGISTERS {
        return Err(PlanError { needed: registers.len(), available: REGISTERS, is_least });
    }
    Ok(Plan { registers, is_least })
}

/// A part that is a default on one side of the end of SDRAM alone is two.
fn split_default(map: &Map, wants: Requirements) -> Requirements {
    let mut out = Requirements::new();
    let mut first = 0;
    for (last, want) in wants {
        let end = map.sdram();
        if first < end && end <= last {
            out.push((end - 1, needed(map, want, first)));
            out.push((last, needed(map, want, end)));
        } else {
            out.push((last, want));
        }
        first = last.saturating_add(1);
    }
    out
}

fn needed(map: &Map, want: Requirement, at: u32) -> Requirement {
    match want {
        Requirement::Value { value, .. } => Requirement::Value { value, needed: value != map.default_at(at) },
        other => other,
    }
}

/// Finds the fewest registers, of whatever granules, for what stretches want.
#[must_use]
pub fn plan_with(wants: &[(u32, Requirement)], granules: &Granules) -> Plan {
    search(wants, granules, STATES)
}

/// The same, for so many maps that are looked at.
pub(super) fn search(wants: &[(u32, Requirement)], granules: &Granules, states: usize) -> Plan {
    let start = joined(wants);
    let mut best = greedy(&start, granules);
    // Ways to each map, the shortest first: by which register, from which map.
    let mut came: BTreeMap<Requirements, Option<(Register, usize)>> = BTreeMap::new();
    let mut all: Vec<Requirements> = Vec::from([start.clone()]);
    came.insert(start, None);
    let (mut level, mut depth, mut is_least) = (0..1, 0, true);
    'search: while !level.is_empty() {
        if all[level.clone()].iter().any(is_done) {
            break;
        }
        let next = all.len();
        depth += 1;
        for from in level {
            if best.as_ref().is_some_and(|best| depth + least(&all[from]).saturating_sub(1) >= best.len()) {
                continue;
            }
            for register in tries(&all[from], granules) {
                let to = covered(&all[from], register.first, register.last);
                if came.contains_key(&to) {
                    continue;
                }
                came.insert(to.clone(), Some((register, from)));
                all.push(to);
                if all.len() > states {
                    is_least = false;
                    break 'search;
                }
            }
        }
        level = next..all.len();
    }
    if let Some(found) = all.iter().find(|wants| is_done(wants)) {
        let (mut way, mut at) = (Vec::new(), found);
        while let Some(Some((register, from))) = came.get(at) {
            way.push(*register);
            at = &all[*from];
        }
        way.reverse();
        if best.as_ref().is_none_or(|best| way.len() < best.len()) {
            best = Some(way);
        }
    }
    Plan { registers: best.unwrap_or_default(), is_least }
}

/// No fewer than this many registers do. Neighbours that want the same value are one stretch, and what does not matter parts nothing; a
/// register ends at most two stretches, its own, and one of its neighbours as those become one. What is left in the end are stretches that
/// need none.
fn least(wants: &Requirements) -> usize {
    let mut stretches: Vec<(Option<Value>, bool)> = Vec::new();
    for (_, want) in wants {
        let (value, needed) = match want {
            Requirement::Anything => continue,
            Requirement::Nothing => (None, false),
            Requirement::Value { value, needed } => (Some(*value), *needed),
        };
        match stretches.last_mut() {
            Some((same, is_needed)) if *same == value => *is_needed |= needed,
            _ => stretches.push((value, needed)),
        }
    }
    let count = stretches.len();
    stretches.retain(|(_, needed)| !needed);
    stretches.dedup_by_key(|(value, _)| *value);
    (count - stretches.len()).div_ceil(2)
}

const fn is_needed(want: &Requirement) -> bool {
    matches!(want, Requirement::Value { needed: true, .. })
}

fn is_done(wants: &Requirements) -> bool {
    !wants.iter().any(|(_, want)| is_needed(want))
}

/// Neighbours that want the same are one.
fn joined(wants: &[(u32, Requirement)]) -> Requirements {
    let mut out = Requirements::new();
    for (last, want) in wants {
        match out.last_mut() {
            Some((end, same)) if same == want => *end = *last,
            _ => out.push((*last, *want)),
        }
    }
    out
}

/// The same once a register has shown a range.
fn covered(wants: &Requirements, from: u32, to: u32) -> Requirements {
    let mut out = Requirements::new();
    let mut first = 0;
    let mut push = |last: u32, want: Requirement| match out.last_mut() {
        Some((end, same)) if *same == want => *end = last,
        _ => out.push((last, want)),
    };
    for (last, want) in wants {
        let (last, start) = (*last, first);
        first = last.saturating_add(1);
        if last < from || start > to {
            push(last, *want);
            continue;
        }
        if start < from {
            push(from - 1, *want);
        }
        push(last.min(to), Requirement::Anything);
        if last > to {
            push(last, *want);
        }
    }
    out
}

/// Registers that may come next.
fn tries(wants: &Requirements, granules: &Granules) -> Vec<Register> {
    let mut tries: Vec<Register> = Vec::new();
    let first_of = |n: usize| n.checked_sub(1).and_then(|n| wants.get(n)).map_or(0, |(last, _)| last + 1);
    let mut at = 0;
    while let Some((_, want)) = wants.get(at) {
        let Requirement::Value { value, .. } = *want else {
            at += 1;
            continue;
        };
        // As far as nothing wants anything else, on both sides.
        let is_free = |want: &Requirement| match want {
            Requirement::Anything => true,
            Requirement::Nothing => false,
            Requirement::Value { value: other, .. } => *other == value,
        };
        let begin = (0..at).rev().find(|n| !is_free(&wants[*n].1)).map_or(0, |n| n + 1);
        let end = (at..wants.len()).find(|n| !is_free(&wants[*n].1)).unwrap_or(wants.len());
        let own = |n: &usize| matches!(wants[*n].1, Requirement::Value { .. });
        let needed = |n: &usize| is_needed(&wants[*n].1);
        let Some(highest) = (at..end).rev().find(own) else { break };
        // What needs one, and what only may have one: both ends of either.
        let ends = [(at..end).find(needed).zip((at..end).rev().find(needed)), Some((at, highest))];
        for (lowest, highest) in ends.into_iter().flatten() {
            let run = Run {
                low: first_of(begin),
                high: wants[end - 1].0,
                first: first_of(lowest),
                last: wants[highest].0,
            };
            for (first, last) in run.covers(granules) {
                let register = Register { first, last, value };
                if !tries.contains(&register) {
                    tries.push(register);
                }
            }
        }
        at = (highest + 1..wants.len()).find(own).unwrap_or(wants.len());
    }
    tries
}

/// A stretch where one value can be: from `low` to `high`, of which `first` and `last` are the first and the last that want it.
struct Run {
    low: u32,
    high: u32,
    first: u32,
    last: u32,
}

impl Run {
    fn covers(&self, granules: &Granules) -> Vec<(u32, u32)> {
        let kinds = [Some(granules.small), granules.large];
        kinds.into_iter().flatten().flat_map(|(shift, most)| self.by(shift, most)).flatten().collect()
    }

    /// What one register of a kind covers: as far as it can from the first on, and from the last back.
    fn by(&self, shift: u32, most: u32) -> [Option<(u32, u32)>; 2] {
        let (low, high) = (u64::from(self.low), u64::from(self.high) + 1);
        // Whole units within the stretch, as unit numbers.
        let (begin, end) = (low.div_ceil(1 << shift), high >> shift);
        let first = (u64::from(self.first) >> shift).max(begin);
        let last = ((u64::from(self.last) >> shift) + 1).min(end);
        let most = u64::from(most);
        let range = |from: u64, to: u64| {
            let (from, to) = (from.max(begin), to.min(end));
            let within =
                from < to && (from << shift) <= u64::from(self.last) && (to << shift) > u64::from(self.first);
            within.then(|| ((from << shift) as u32, ((to << shift) - 1) as u32))
        };
        [range(first, first + most), range(last.saturating_sub(most), last)]
    }
}

/// A way that is short, if not the shortest: the register next that settles the most of what needs one.
fn greedy(wants: &Requirements, granules: &Granules) -> Option<Vec<Register>> {
    let (mut wants, mut way) = (wants.clone(), Vec::new());
    while !is_done(&wants) {
        let settles = |register: &Register| {
            let mut first = 0u32;
            let mut bytes = 0u64;
            for (last, want) in &wants {
                let (from, to) = (first.max(register.first), (*last).min(register.last));
                if is_needed(want) && from <= to {
                    bytes += u64::from(to - from) + 1;
                }
                first = last.saturating_add(1);
            }
            bytes
        };
        let next =
            tries(&wants, granules).into_iter().max_by_key(settles).filter(|next| settles(next) > 0)?;
        wants = covered(&wants, next.first, next.last);
        way.push(next);
        if way.len() > 4096 {
            return None;
        }
    }
    Some(way)
}

impl Plan {
    /// The registers' bits, the first register the first; the others are off.
    #[must_use]
    pub fn bits(&self) -> [u32; REGISTERS] {
        let mut bits = [0; REGISTERS];
        for (bits, register) in bits.iter_mut().zip(&self.registers) {
            *bits = register.encode().unwrap_or_default();
        }
        bits
    }

    /// How many are of memory.
    #[must_use]
    pub fn of_memory(&self) -> usize {
        self.registers.iter().filter(|one| !matches!(one.value.target, Target::GpIo(_))).count()
    }
}
