//! Finds the fewest registers that make a map.
//!
//! A register with a lower number takes precedence over a higher one, so addresses that one register covers do not
//! matter to the registers after it. The search chooses registers in order of precedence. A register may cover any
//! range in which everything that still matters wants the same value; afterwards that range does not matter any
//! more. The search looks for the shortest sequence after which no address needs a register. A register that covers
//! more is never worse. So for each stretch of one value, it only tries the registers that reach as far as they can
//! from either end.

use super::REGISTERS;
use super::map::Map;
use super::register::{LARGE, Register, SMALL, Target, Value};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

/// What one register can cover: aligned units of 2^`shift` bytes, up to a largest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granules {
    /// The shift of the small unit, and the largest number of such units.
    pub small: (u32, u32),
    /// The shift of the large unit, and the largest number of such units; `None` if there is only one unit.
    pub large: Option<(u32, u32)>,
}

/// Memory: 128 pages of 4 KiB, or 2048 pages of 64 KiB.
pub(super) const MEMORY: Granules = Granules { small: (12, SMALL), large: Some((16, LARGE)) };
/// I/O ports: 512.
pub(super) const PORTS: Granules = Granules { small: (0, 512), large: None };
/// The number of states that the search examines before it settles for the best result so far.
pub(super) const STATES: usize = 30_000;

/// The registers that make a map, in order of precedence.
///
/// # Examples
///
/// ```
/// use pmem_drivers::par::{Attributes, Map, Target, Value, plan};
///
/// // A kernel's text and a ring buffer in 16 MiB of SDRAM.
/// let mut map = Map::new(16 << 20);
/// map.set(0x10_0000, 0x2f_ffff, Value::memory(Target::Sdram, Attributes::NO_WRITE))?;
/// map.set(0x80_0000, 0x80_3fff, Value::memory(Target::Sdram, Attributes::NO_CACHE))?;
/// let plan = plan(&map)?;
/// assert_eq!((plan.registers.len(), plan.is_least), (2, true));
/// let registers: Vec<_> = plan.registers.iter().copied().map(Some).collect();
/// assert!(Map::of(16 << 20, &registers).same_as(&map));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The registers, of which the first takes precedence.
    pub registers: Vec<Register>,
    /// Whether this is proven minimal: the search was exhaustive. Otherwise the search stopped early, and fewer
    /// registers may suffice.
    pub is_least: bool,
}

/// The error of a map that needs more registers than there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// The number of registers that the best result needs.
    pub needed: usize,
    /// The number of registers that exist.
    pub available: usize,
    /// Whether `needed` is proven minimal. Otherwise the search found nothing better before it stopped.
    pub is_least: bool,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, available, .. } = self;
        let found = if self.is_least { "needs" } else { "the search found nothing with fewer than" };
        write!(f, "{found} {needed} registers, but only {available} exist")
    }
}

impl core::error::Error for PlanError {}

/// What a stretch of addresses requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    /// It does not matter any more.
    Anything,
    /// No register may cover it.
    Nothing,
    /// It must have a value, from a register or without one.
    Value {
        /// The value.
        value: Value,
        /// Whether only a register can give it the value. Otherwise it has the value without one too.
        needed: bool,
    },
}

/// Stretches in ascending order, each with its last address.
pub type Requirements = Vec<(u32, Requirement)>;

/// Finds the fewest registers for a map.
///
/// # Errors
/// Returns a [`PlanError`] if the map needs more than [`REGISTERS`].
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

/// Splits the stretch that contains the end of SDRAM, since its value is the default on only one side.
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

/// Finds the fewest registers for what stretches require, with registers that cover the given units.
#[must_use]
pub fn plan_with(wants: &[(u32, Requirement)], granules: &Granules) -> Plan {
    search(wants, granules, STATES)
}

/// Does the same, but examines at most `states` states.
pub(super) fn search(wants: &[(u32, Requirement)], granules: &Granules, states: usize) -> Plan {
    let start = joined(wants);
    let mut best = greedy(&start, granules);
    // Breadth first, so the first path to each state is the shortest. Remember the register that led to it, and the
    // state before.
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
            // Cut branches that cannot beat the best result, by a lower bound on what they still need.
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

/// Returns a lower bound on the registers needed. Adjacent stretches that want the same value count as one, and
/// stretches that do not matter separate nothing. A register removes at most two stretches: its own, and a
/// neighbour that merges with the one on the other side. At the end only stretches remain that need no register.
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

/// Merges adjacent stretches that require the same.
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

/// Returns what stretches require once a register covers a range.
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

/// Returns the registers worth trying next.
fn tries(wants: &Requirements, granules: &Granules) -> Vec<Register> {
    let mut tries: Vec<Register> = Vec::new();
    let first_of = |n: usize| n.checked_sub(1).and_then(|n| wants.get(n)).map_or(0, |(last, _)| last + 1);
    let mut at = 0;
    while let Some((_, want)) = wants.get(at) {
        let Requirement::Value { value, .. } = *want else {
            at += 1;
            continue;
        };
        // The register may extend in both directions until a stretch forbids it.
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
        // Try both ends of the stretches that need a register, and of those that only allow one.
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

/// Where a register for one value may lie: between `low` and `high`. The first and last address that want the value
/// are `first` and `last`.
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

    /// Returns what one register of a unit can cover: as much as possible from the first address up, and from the
    /// last address down.
    fn by(&self, shift: u32, most: u32) -> [Option<(u32, u32)>; 2] {
        let (low, high) = (u64::from(self.low), u64::from(self.high) + 1);
        // The whole units within the run, as unit numbers.
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

/// Finds a short sequence, but not always the shortest: each step takes the register that satisfies the most bytes
/// that need one.
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
    /// Encodes the registers, in order of precedence from register 0 on. The rest are disabled.
    #[must_use]
    pub fn bits(&self) -> [u32; REGISTERS] {
        let mut bits = [0; REGISTERS];
        for (bits, register) in bits.iter_mut().zip(&self.registers) {
            *bits = register.encode().unwrap_or_default();
        }
        bits
    }

    /// Returns how many registers cover memory.
    #[must_use]
    pub fn of_memory(&self) -> usize {
        self.registers.iter().filter(|one| !matches!(one.value.target, Target::GpIo(_))).count()
    }
}
