//! Changes registers to another map, with few writes and no more registers than there are.

use super::REGISTERS;
use super::map::Map;
use super::order::{Bits, Rightness, Step, order};
use super::plan::{MEMORY, PORTS, Plan, PlanError, Requirement, Requirements, STATES, plan, search};
use super::register::Register;
use alloc::vec::Vec;
use core::fmt;

/// The search limit for finding out which registers can stay. It counts examined states.
const QUICK: usize = 1_000;

/// The reason why registers cannot be changed to a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// The map needs more registers than there are.
    TooMany(PlanError),
    /// No order of writes was found in which every address that should not change keeps its value.
    NoOrder,
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(error) => error.fmt(f),
            Self::NoOrder => f.write_str(
                "no order of register writes was found that keeps unchanged addresses intact in between",
            ),
        }
    }
}

impl core::error::Error for ChangeError {}

/// Plans the writes, in order, that make registers produce a map. Between any two writes, every address that does
/// not change keeps its value, and every other address has its old or its new value.
///
/// Registers that are in use stay where they are, if there are enough others. Otherwise any register may change.
///
/// # Errors
/// Returns a [`ChangeError`] if there are too few registers, or no safe order of writes was found.
pub fn change(held: &[u32; REGISTERS], map: &Map) -> Result<Vec<Step>, ChangeError> {
    let before = Map::of(map.sdram(), &held.map(Register::decode));
    if before.same_as(map) {
        return Ok(Vec::new());
    }
    if let Some(steps) = over(held, &before, map) {
        return Ok(steps);
    }
    let plan = plan(map).map_err(ChangeError::TooMany)?;
    order(map.sdram(), held, &plan).ok_or(ChangeError::NoOrder)
}

/// Plans new registers that take precedence over those in use, and removes some of those.
fn over(held: &Bits, before: &Map, map: &Map) -> Option<Vec<Step>> {
    let mut kept = held.map(Register::decode);
    let mut new = difference(&kept, map, QUICK);
    for number in 0..REGISTERS {
        let Some(register) = kept.get_mut(number)?.take() else { continue };
        let without = difference(&kept, map, QUICK);
        // Without this register one fewer is in use, and at most one more is needed for it. So drop it.
        if without.registers.len() <= new.registers.len() {
            new = without;
        } else {
            *kept.get_mut(number)? = Some(register);
        }
    }
    let new = if new.is_least { new } else { difference(&kept, map, STATES) };
    let places = seats(&kept, &new.registers)?;
    // Write the new registers in order of precedence. Each shows its final values at once, because only registers
    // written before it can hide it.
    let mut bits = *held;
    let mut steps = Vec::new();
    let mut write = |number: usize, value: u32| {
        let before = *bits.get(number)?;
        *bits.get_mut(number)? = value;
        steps.push(Step { number, before, bits: value });
        Some(())
    };
    for (number, register) in places.iter().zip(&new.registers) {
        write(*number, register.encode()?)?;
    }
    // Remove the dropped registers, the last first. What appears beneath them is final.
    for number in (0..REGISTERS).rev() {
        let is_left =
            held.get(number) != Some(&0) && kept.get(number)?.is_none() && !places.contains(&number);
        if is_left {
            write(number, 0)?;
        }
    }
    let rightness = Rightness::new(before, map, held.iter().copied().chain(new.bits()));
    let mut bits = *held;
    let is_right = steps.iter().all(|step| {
        bits.get_mut(step.number).is_some_and(|bits| {
            *bits = step.bits;
            true
        }) && rightness.holds(&bits)
    });
    is_right.then_some(steps)
}

/// Plans the registers that must take precedence over `kept` to produce the map.
fn difference(kept: &[Option<Register>; REGISTERS], map: &Map, states: usize) -> Plan {
    let now = Map::of(map.sdram(), kept);
    let edges = |map: &Map| map.parts().map(|(range, _)| *range.end()).collect::<Vec<_>>();
    let mut ends: Vec<u32> = edges(&now).into_iter().chain(edges(map)).collect();
    ends.sort_unstable();
    ends.dedup();
    let memory: Requirements = ends
        .into_iter()
        .filter_map(|last| {
            let value = map.at(last)?;
            Some((last, Requirement::Value { value, needed: now.at(last) != Some(value) }))
        })
        .collect();
    let mut ports = Requirements::new();
    let mut ends: Vec<u32> = [&now, map]
        .into_iter()
        .flat_map(Map::port_parts)
        .flat_map(|(range, _)| [range.start().checked_sub(1), Some(*range.end())])
        .flatten()
        .collect();
    ends.sort_unstable();
    ends.dedup();
    for last in ends {
        // A port that must not be covered rules out every kept register that covers it: no other register can undo
        // that.
        let want = map.port(last).map_or(Requirement::Nothing, |value| Requirement::Value {
            value,
            needed: now.port(last) != Some(value),
        });
        ports.push((last, want));
    }
    let (memory, ports) = (search(&memory, &MEMORY, states), search(&ports, &PORTS, states));
    let is_least = memory.is_least && ports.is_least;
    Plan { registers: memory.registers.into_iter().chain(ports.registers).collect(), is_least }
}

/// Chooses numbers for new registers, given in order of precedence. Each gets a lower number than every register
/// that it overlaps and must hide.
fn seats(kept: &[Option<Register>; REGISTERS], new: &[Register]) -> Option<Vec<usize>> {
    let mut taken: Vec<(usize, Register)> =
        kept.iter().enumerate().filter_map(|(number, register)| Some((number, (*register)?))).collect();
    let mut places = Vec::new();
    for register in new.iter().rev() {
        let overlaps = |other: &Register| {
            register.is_memory() == other.is_memory()
                && register.first <= other.last
                && other.first <= register.last
        };
        let limit = taken.iter().filter(|(_, other)| overlaps(other)).map(|(number, _)| *number).min();
        let is_free = |number: &usize| taken.iter().all(|(other, _)| other != number);
        let number = (0..limit.unwrap_or(REGISTERS)).rev().find(is_free)?;
        taken.push((number, *register));
        places.push(number);
    }
    places.reverse();
    Some(places)
}
