//! Orders the writes to registers so that addresses that do not change keep their value between any two writes.

use super::REGISTERS;
use super::map::Map;
use super::plan::Plan;
use super::register::{Register, Value};
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

/// A write to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// The number of the register.
    pub number: usize,
    /// What it held before the write.
    pub before: u32,
    /// What it holds after the write.
    pub bits: u32,
}

pub(super) type Bits = [u32; REGISTERS];

/// The number of states that the search examines before it concludes that there is no order.
const STATES: usize = 4_000;

/// Assigns numbers to a plan's registers, and orders the writes that lead there from what registers hold. Between
/// any two writes, every address that does not change keeps its value, and every other address has its old or its
/// new value. Returns `None` if no such order was found. If you then write the registers anyway, no code that runs
/// meanwhile may use the addresses that change.
///
/// Registers that already hold the right value are not written.
#[must_use]
pub fn order(sdram: u32, held: &Bits, plan: &Plan) -> Option<Vec<Step>> {
    let registers: Vec<u32> =
        plan.registers.iter().map(|register| register.encode()).collect::<Option<_>>()?;
    let decode = |bits: &Bits| Map::of(sdram, &bits.map(Register::decode));
    let (old, new) = (decode(held), decode(&plan.bits()));
    let rightness = Rightness::new(&old, &new, held.iter().chain(&registers).copied());
    seats(held, &registers)
        .into_iter()
        .find_map(|wanted| search(held, &wanted, &|bits| rightness.holds(bits)))
}

/// Checks that registers are in a valid state between two maps.
pub(super) struct Rightness {
    /// One address from each range that the registers can form, in whatever state they are, with its value in the
    /// old map, in the new map, and without registers.
    memory: Vec<(u32, [Option<Value>; 3])>,
    ports: Vec<(u32, [Option<Value>; 3])>,
}

impl Rightness {
    /// Prepares the check for all registers that may be written between the two maps.
    pub(super) fn new(old: &Map, new: &Map, bits: impl IntoIterator<Item = u32>) -> Self {
        let (mut memory, mut ports) = (BTreeSet::from([0, new.sdram()]), BTreeSet::new());
        for register in bits.into_iter().filter_map(Register::decode) {
            let edges = if register.is_memory() { &mut memory } else { &mut ports };
            edges.extend([register.first, register.last.saturating_add(1)]);
        }
        // Addresses beyond the registers' reach have no value.
        let of_memory =
            |at: u32| Some((at, [Some(old.at(at)?), Some(new.at(at)?), Some(new.default_at(at))]));
        Self {
            memory: memory.into_iter().filter_map(of_memory).collect(),
            ports: ports.into_iter().map(|at| (at, [old.port(at), new.port(at), None])).collect(),
        }
    }

    /// Returns whether every address has its old or its new value.
    pub(super) fn holds(&self, bits: &Bits) -> bool {
        let registers = bits.map(Register::decode);
        // The first register that covers an address decides its value.
        let at = |at: u32, is_memory: bool| {
            let has = |register: &&Register| {
                register.is_memory() == is_memory && register.first <= at && at <= register.last
            };
            registers.iter().flatten().find(has).map(|register| register.value)
        };
        let is_right = |(place, [old, new, none]): &(u32, [Option<Value>; 3]), is_memory| {
            let is = at(*place, is_memory).or(*none);
            is == *old || is == *new
        };
        self.memory.iter().all(|place| is_right(place, true))
            && self.ports.iter().all(|place| is_right(place, false))
    }
}

/// Returns candidate assignments for the plan's registers, all in their order. In the first two, registers that are
/// in place already stay, with the others before, between and after them. The others fill the numbers from the
/// first on, and up to the last.
fn seats(held: &Bits, registers: &[u32]) -> Vec<Bits> {
    let mut out = Vec::new();
    for from_end in [false, true] {
        let mut bits = [0; REGISTERS];
        let mut at = 0;
        let mut fits = true;
        for (n, register) in registers.iter().enumerate() {
            // Leave room for the registers that follow.
            let last = REGISTERS - (registers.len() - n);
            let own = (at..=last).find(|place| held.get(*place) == Some(register));
            let free = (at..=last).filter(|place| {
                let is_kept = registers.get(n + 1..).unwrap_or(&[]).contains(held.get(*place).unwrap_or(&0));
                !is_kept
            });
            let mut free = free;
            let place = own.or_else(|| if from_end { free.next_back() } else { free.next() }).unwrap_or(at);
            match bits.get_mut(place).filter(|_| place >= at && place <= last) {
                Some(bits) => *bits = *register,
                None => fits = false,
            }
            at = place + 1;
        }
        if fits {
            out.push(bits);
        }
    }
    let mut plain = [0; REGISTERS];
    plain.iter_mut().zip(registers).for_each(|(bits, register)| *bits = *register);
    out.push(plain);
    let mut last = [0; REGISTERS];
    last.iter_mut().rev().zip(registers.iter().rev()).for_each(|(bits, register)| *bits = *register);
    out.push(last);
    out
}

/// Searches for the fewest valid writes. A write gives a register its final value, disables it, or parks another
/// register's final value in a disabled one.
fn search(held: &Bits, wanted: &Bits, is_right: &dyn Fn(&Bits) -> bool) -> Option<Vec<Step>> {
    let mut seen: BTreeSet<Bits> = BTreeSet::from([*held]);
    let mut all: Vec<(Bits, Option<(usize, Step)>)> = Vec::from([(*held, None)]);
    let mut open = VecDeque::from([0]);
    while let Some(from) = open.pop_front() {
        let (bits, _) = *all.get(from)?;
        if bits == *wanted {
            let (mut way, mut at) = (Vec::new(), from);
            while let Some((_, Some((before, step)))) = all.get(at) {
                way.push(*step);
                at = *before;
            }
            way.reverse();
            return Some(way);
        }
        for number in 0..REGISTERS {
            let (has, will) = (*bits.get(number)?, *wanted.get(number)?);
            let mut nexts = Vec::from([will, 0]);
            if has == 0 {
                // Park a value here for a while. It is removed once its own register holds it.
                nexts.extend(wanted.iter().copied().filter(|other| *other != 0));
            }
            for next in nexts.into_iter().filter(|next| *next != has) {
                let mut to = bits;
                *to.get_mut(number)? = next;
                if seen.len() < STATES && !seen.contains(&to) && is_right(&to) {
                    seen.insert(to);
                    open.push_back(all.len());
                    all.push((to, Some((from, Step { number, before: has, bits: next }))));
                }
            }
        }
    }
    None
}
