//! The Élan SC520's address regions: the fewest registers for a map, and the writes that lead to it.

use crate::units::Addr;
use pmem_drivers::par::{ChangeError, Map, Register, change, plan};
use schemars::JsonSchema;
use serde::Serialize;

/// Registers for a map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ParPlan {
    /// `fits`, or `too-many`.
    pub verdict: String,
    /// Registers that it takes.
    pub needed: usize,
    /// Registers that there are.
    pub available: usize,
    /// Fewer do not do: all ways were looked at.
    pub is_least: bool,
    /// What the map says, in order.
    pub map: Vec<ParPart>,
    /// The registers, the first the one that goes before the others.
    pub registers: Vec<ParRegister>,
    /// What registers hold already, as the file says.
    pub held: Vec<ParRegister>,
    /// The writes from what they hold, in order; null if there is none in which what does not change stays as it is.
    pub writes: Option<Vec<ParWrite>>,
}

/// A part of a map that is not the default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ParPart {
    /// The first address or port.
    pub first: Addr,
    /// The last.
    pub last: Addr,
    /// Where it goes.
    pub target: String,
    /// What may not be done there.
    pub attributes: String,
}

/// A register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ParRegister {
    /// Its number.
    pub number: usize,
    /// What it is for.
    pub part: ParPart,
    /// Its 32 bits.
    pub bits: String,
}

/// A write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ParWrite {
    /// The register.
    pub number: usize,
    /// Where it is in the configuration region.
    pub offset: String,
    /// What it held.
    pub before: String,
    /// What it is to hold.
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
    /// For a map, from what registers hold.
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
