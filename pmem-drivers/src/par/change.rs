//! From what registers hold to another map: by as few writes as may be, and no more registers than there are.

use super::REGISTERS;
use super::map::Map;
use super::order::{Bits, Rightness, Step, order};
use super::plan::{MEMORY, PORTS, Plan, PlanError, Requirement, Requirements, STATES, plan, search};
use super::register::Register;
use alloc::vec::Vec;
use core::fmt;

/// Maps that are looked at to find which registers that are held may stay.
const QUICK: usize = 1_000;

/// Why registers cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// There are not so many.
    TooMany(PlanError),
    /// Whatever the order of writes, something that does not change would be another in between.
    NoOrder,
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(error) => error.fmt(f),
            Self::NoOrder => {
                f.write_str("there is no order of writes that leaves alone what does not change")
            }
        }
    }
}

impl core::error::Error for ChangeError {}

/// The writes, in order, that have registers make a map: between any two every address that does not change is what it was, and every other as
/// before or as after.
///
/// Registers that are held stay where that takes no more of them than there are; else all may be others.
///
/// # Errors
/// [`ChangeError`].
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

/// Registers over those that are held, of which some go.
fn over(held: &Bits, before: &Map, map: &Map) -> Option<Vec<Step>> {
    let mut kept = held.map(Register::decode);
    let mut new = difference(&kept, map, QUICK);
    for number in 0..REGISTERS {
        let Some(register) = kept.get_mut(number)?.take() else { continue };
        let without = difference(&kept, map, QUICK);
        // One less is held, and no more than one comes for it.
        if without.registers.len() <= new.registers.len() {
            new = without;
        } else {
            *kept.get_mut(number)? = Some(register);
        }
    }
    let new = if new.is_least { new } else { difference(&kept, map, STATES) };
    let places = seats(&kept, &new.registers)?;
    // The first of them first: where it is, it is at once as it is to be.
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
    // What is not kept goes, the last first: what shows then is what is to be.
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

/// What has to be over registers so that they make a map.
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
        // What is to have no register must not have one that is kept: nothing over it can undo that.
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

/// Numbers for new registers, the first of which go before the others: each before all that it overlaps of those that go after it.
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
