//! AMD Élan SC520 programmable address regions (PARs): the fewest registers for a map, and the writes that program
//! them.

use crate::units::Addr;
use pmem_drivers::par::{ChangeError, Map, Register, change, plan};
use serde::Serialize;

/// The fewest PAR registers for a map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ParPlan {
    /// `fits` or `too-many`.
    pub verdict: String,
    /// The number of registers that the map needs.
    pub needed: usize,
    /// The number of registers that the chip has.
    pub available: usize,
    /// True if the number is proven minimal: the search was exhaustive.
    pub is_least: bool,
    /// The parts of the map that differ from the default, in order of address; then the I/O ports.
    pub map: Vec<ParPart>,
    /// The planned registers, in order of priority: the first one wins where they overlap.
    pub registers: Vec<ParRegister>,
    /// What the registers hold now, according to the file.
    pub held: Vec<ParRegister>,
    /// The writes that lead from the current registers to the planned ones, in order. Null if no order keeps unchanged
    /// parts of the map intact at every step, or if the chip has too few registers.
    pub writes: Option<Vec<ParWrite>>,
}

/// A range of the map with a target of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ParPart {
    /// The first address or port.
    pub first: Addr,
    /// The last address or port, inclusive.
    pub last: Addr,
    /// The device or bus that decodes the range.
    pub target: String,
    /// The accesses that are forbidden there.
    pub attributes: String,
}

/// A PAR register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ParRegister {
    /// The register's number.
    pub number: usize,
    /// The range that the register maps.
    pub part: ParPart,
    /// The register's 32 bits in hexadecimal.
    pub bits: String,
}

/// A register write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ParWrite {
    /// The register's number.
    pub number: usize,
    /// The register's offset in the memory-mapped configuration region (MMCR), in hexadecimal.
    pub offset: String,
    /// The value before the write, in hexadecimal.
    pub before: String,
    /// The value to write, in hexadecimal.
    pub bits: String,
}

fn part(register: Register) -> ParPart {
    ParPart {
        first: Addr(register.first.into()),
        last: Addr(register.last.into()),
        target: register.value.target.to_string(),
        attributes: register.value.attributes.to_string(),
    }
}

fn registers(bits: impl IntoIterator<Item = u32>) -> Vec<ParRegister> {
    let all = bits.into_iter().enumerate();
    all.filter_map(|(number, bits)| {
        Some(ParRegister { number, part: part(Register::decode(bits)?), bits: format!("{bits:#010x}") })
    })
    .collect()
}

impl ParPlan {
    /// Plans the registers for a map, and the writes that lead there from what the registers hold now.
    #[must_use]
    pub fn of(map: &Map, held: &[u32; pmem_drivers::par::REGISTERS]) -> Self {
        let default = Map::new(map.sdram());
        let memory = map.parts().filter(|(range, value)| default.at(*range.start()) != Some(*value));
        let parts = memory.chain(map.port_parts());
        let parts =
            parts.map(|(range, value)| part(Register { first: *range.start(), last: *range.end(), value }));
        let available = pmem_drivers::par::REGISTERS;
        let (needed, is_least, planned) = match plan(map) {
            Ok(plan) => (
                plan.registers.len(),
                plan.is_least,
                registers(plan.bits().into_iter().take(plan.registers.len())),
            ),
            Err(error) => (error.needed, error.is_least, Vec::new()),
        };
        let writes = match change(held, map) {
            Ok(steps) => Some(
                steps
                    .into_iter()
                    .map(|step| ParWrite {
                        number: step.number,
                        offset: format!("{:#x}", 0x88 + 4 * step.number),
                        before: format!("{:#010x}", step.before),
                        bits: format!("{:#010x}", step.bits),
                    })
                    .collect(),
            ),
            Err(ChangeError::TooMany(_) | ChangeError::NoOrder) => None,
        };
        let verdict = if needed > available { "too-many" } else { "fits" };
        Self {
            verdict: verdict.to_owned(),
            needed,
            available,
            is_least,
            map: parts.collect(),
            registers: planned,
            held: registers(*held),
            writes,
        }
    }
}
