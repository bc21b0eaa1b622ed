//! DMAR: the units of VT-d, and what they must let through (Intel VT-d Architecture 4.1, chapter 8).

use super::header::{AcpiError, Header};
use crate::bytes::{u16_at, u32_at, u64_at};
use alloc::vec::Vec;

/// The table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dmar {
    /// Its header.
    pub header: Header,
    /// The width of the addresses that units can put out, in bits.
    pub width: u8,
    /// Bit 0: interrupts can be remapped; 1: x2APIC is opted out of; 2: the platform asks for protection from DMA.
    pub flags: u8,
    /// What it holds, in order.
    pub structures: Vec<Structure>,
}

/// What the table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Structure {
    /// A unit (DRHD).
    Unit(Unit),
    /// Memory that devices must be able to reach at the same addresses (RMRR).
    Reserved(Reserved),
    /// Root ports below which devices may ask for translations (ATSR).
    Ats(Scoped),
    /// Which node a unit is of (RHSA).
    Affinity {
        /// The unit's registers.
        base: u64,
        /// The proximity domain.
        domain: u32,
    },
    /// A device that only ACPI names (ANDD).
    Named {
        /// The number by which scopes name it.
        number: u8,
        /// Its path in ACPI's name space.
        name: Vec<u8>,
    },
    /// Devices of the chip itself that ask for translations (SATC).
    Cache(Scoped),
    /// Devices of the chip itself that have properties of their own (SIDP).
    Integrated(Scoped),
    /// What this does not know.
    Unknown {
        /// Its type.
        kind: u16,
        /// Its length in bytes.
        length: u16,
    },
}

/// A unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Bit 0: it has all functions of the segment that no other has.
    pub flags: u8,
    /// Its registers take 2^this pages.
    pub size: u8,
    /// Its segment.
    pub segment: u16,
    /// Where its registers are. 0 is none: the entry is to be passed over.
    pub base: u64,
    /// What it has.
    pub scopes: Vec<Scope>,
}

impl Unit {
    /// Whether it has all functions of its segment that no other unit has.
    #[must_use]
    pub const fn has_the_rest(&self) -> bool {
        self.flags & 1 != 0
    }

    /// The last address of its registers.
    #[must_use]
    pub const fn last(&self) -> u64 {
        let size = 0x1000u64 << if self.size < 32 { self.size } else { 32 };
        self.base.saturating_add(size - 1)
    }
}

/// Memory that devices must be able to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The segment.
    pub segment: u16,
    /// The first address.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Which devices.
    pub scopes: Vec<Scope>,
}

/// Devices of which something is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scoped {
    /// What.
    pub flags: u8,
    /// The segment.
    pub segment: u16,
    /// The devices.
    pub scopes: Vec<Scope>,
}

/// What a scope names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScopeKind {
    /// A function.
    Endpoint,
    /// A bridge, and all that is or comes to be behind it.
    Bridge,
    /// An interrupt controller.
    IoApic,
    /// A timer block, which can interrupt.
    Hpet,
    /// A device that only ACPI names.
    Acpi,
    /// Another.
    Other(u8),
}

/// A device, as a way to it: from a bus over bridges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// What it is.
    pub kind: ScopeKind,
    /// The id of an interrupt controller or timer, or the number of a device of ACPI.
    pub id: u8,
    /// The bus where the way begins.
    pub bus: u8,
    /// Device and function of each hop. The bus of every hop but the first is the secondary bus of the hop before, which the table does not
    /// say: the live hierarchy does.
    pub path: Vec<(u8, u8)>,
}

impl Dmar {
    /// Reads it.
    ///
    /// # Errors
    /// [`AcpiError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, AcpiError> {
        let (header, table) = Header::decode(bytes, b"DMAR", 48)?;
        let byte = |at: usize| table.get(at).copied().unwrap_or(0);
        let mut structures = Vec::new();
        let mut offset = 48;
        while offset < table.len() {
            let rest = table.get(offset..).unwrap_or(&[]);
            let (kind, length) = u16_at(rest, 0).zip(u16_at(rest, 2)).unwrap_or((0, 0));
            let wrong = AcpiError::Structure { offset, length: usize::from(length) };
            let own = rest.get(..usize::from(length)).filter(|own| own.len() >= 4).ok_or(wrong)?;
            structures.push(structure(kind, own, offset)?.ok_or(wrong)?);
            offset += own.len();
        }
        Ok(Self { header, width: byte(36).wrapping_add(1), flags: byte(37), structures })
    }

    /// Its units.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.structures.iter().filter_map(|s| if let Structure::Unit(unit) = s { Some(unit) } else { None })
    }

    /// Memory that devices must be able to reach.
    pub fn reserved(&self) -> impl Iterator<Item = &Reserved> {
        self.structures
            .iter()
            .filter_map(|s| if let Structure::Reserved(found) = s { Some(found) } else { None })
    }
}

/// `None` if it is too short for what it is.
fn structure(kind: u16, own: &[u8], offset: usize) -> Result<Option<Structure>, AcpiError> {
    let byte = |at: usize| own.get(at).copied();
    let scoped = |from: usize| scopes(own, from, offset);
    let unit = || Some((byte(4)?, byte(5)?, u16_at(own, 6)?, u64_at(own, 8)?));
    let reserved = || Some((u16_at(own, 6)?, u64_at(own, 8)?, u64_at(own, 16)?));
    let flags = || Some((byte(4)?, u16_at(own, 6)?));
    Ok(match kind {
        0 => match unit() {
            Some((flags, size, segment, base)) => {
                let scopes = scoped(16)?;
                // What lies above is reserved.
                Some(Structure::Unit(Unit { flags, size: size & 0xf, segment, base, scopes }))
            }
            None => None,
        },
        1 => match reserved() {
            Some((segment, first, last)) => {
                Some(Structure::Reserved(Reserved { segment, first, last, scopes: scoped(24)? }))
            }
            None => None,
        },
        2 | 5 | 6 => match flags() {
            Some((flags, segment)) => {
                let found = Scoped { flags, segment, scopes: scoped(8)? };
                Some(match kind {
                    2 => Structure::Ats(found),
                    5 => Structure::Cache(found),
                    _ => Structure::Integrated(found),
                })
            }
            None => None,
        },
        3 => u64_at(own, 8).zip(u32_at(own, 16)).map(|(base, domain)| Structure::Affinity { base, domain }),
        4 => byte(7).map(|number| {
            let name = own.get(8..).unwrap_or(&[]);
            let name = name.iter().copied().take_while(|byte| *byte != 0).collect();
            Structure::Named { number, name }
        }),
        _ => Some(Structure::Unknown { kind, length: own.len() as u16 }),
    })
}

fn scopes(own: &[u8], from: usize, offset: usize) -> Result<Vec<Scope>, AcpiError> {
    let (mut out, mut at) = (Vec::new(), from);
    while at < own.len() {
        let rest = own.get(at..).unwrap_or(&[]);
        let length = usize::from(rest.get(1).copied().unwrap_or(0));
        let wrong = AcpiError::Structure { offset: offset + at, length };
        let [kind, _, _, _, id, bus, path @ ..] = rest.get(..length).ok_or(wrong)? else { return Err(wrong) };
        let kind = match kind {
            1 => ScopeKind::Endpoint,
            2 => ScopeKind::Bridge,
            3 => ScopeKind::IoApic,
            4 => ScopeKind::Hpet,
            5 => ScopeKind::Acpi,
            other => ScopeKind::Other(*other),
        };
        let path = path.chunks_exact(2).filter_map(|hop| Some((*hop.first()?, *hop.get(1)?))).collect();
        out.push(Scope { kind, id: *id, bus: *bus, path });
        at += length;
    }
    Ok(out)
}
