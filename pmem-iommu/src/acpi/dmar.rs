//! DMAR: VT-d's units, and the memory that must stay accessible to devices (Intel VT-d Architecture 4.1, chapter
//! 8).

use super::header::{AcpiError, Header};
use crate::bytes::{u16_at, u32_at, u64_at};
use alloc::vec::Vec;

/// A DMAR table.
///
/// # Examples
///
/// On Linux you find the table in `/sys/firmware/acpi/tables/DMAR`. This one has one unit, for all of segment 0:
///
/// ```
/// use pmem_iommu::acpi::Dmar;
///
/// let mut bytes = vec![0; 64];
/// bytes[..4].copy_from_slice(b"DMAR");
/// bytes[4] = 64; // the length
/// bytes[36] = 38; // the host address width less one
/// bytes[50] = 16; // a DRHD structure: type 0, 16 bytes
/// bytes[52] = 1; // for all functions that no other unit has
/// bytes[56..].copy_from_slice(&0xfed9_0000_u64.to_le_bytes());
///
/// let dmar = Dmar::decode(&bytes)?;
/// let unit = dmar.units().next().ok_or("no unit")?;
/// assert_eq!((dmar.width, unit.base, unit.last()), (39, 0xfed9_0000, 0xfed9_0fff));
/// assert!(unit.has_the_rest());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dmar {
    /// The header of the table.
    pub header: Header,
    /// The host address width: the number of bits in the addresses that units emit.
    pub width: u8,
    /// Flags. Bit 0: interrupts can be remapped. Bit 1: x2APIC is opted out of. Bit 2: the platform asks for DMA
    /// protection.
    pub flags: u8,
    /// The structures of the table, in its order.
    pub structures: Vec<Structure>,
}

/// A structure of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Structure {
    /// A unit (DRHD).
    Unit(Unit),
    /// Memory that devices must be able to reach at identical addresses (RMRR).
    Reserved(Reserved),
    /// Root ports whose devices can request translations (ATSR).
    Ats(Scoped),
    /// The NUMA node of a unit (RHSA).
    Affinity {
        /// The address of the unit's registers.
        base: u64,
        /// The node's proximity domain.
        domain: u32,
    },
    /// A device that only the ACPI namespace describes (ANDD).
    Named {
        /// The number by which scopes refer to the device.
        number: u8,
        /// The path of the device in the ACPI namespace, without the final 0 byte.
        name: Vec<u8>,
    },
    /// Integrated devices that request translations (SATC).
    Cache(Scoped),
    /// Integrated devices with special properties (SIDP).
    Integrated(Scoped),
    /// A structure of an unknown type.
    Unknown {
        /// The type of the structure.
        kind: u16,
        /// The length of the structure in bytes.
        length: u16,
    },
}

/// A unit (DRHD).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Flags. Bit 0: the unit covers all functions of its segment that no other unit covers.
    pub flags: u8,
    /// The size of the register space, as a power of two of 4 KiB pages.
    pub size: u8,
    /// The PCI segment.
    pub segment: u16,
    /// The address of the registers. If it is 0, skip this unit.
    pub base: u64,
    /// The devices that the unit covers.
    pub scopes: Vec<Scope>,
}

impl Unit {
    /// Returns whether the unit covers all functions of its segment that no other unit covers.
    #[must_use]
    pub const fn has_the_rest(&self) -> bool {
        self.flags & 1 != 0
    }

    /// Returns the last address of the registers, inclusive.
    #[must_use]
    pub const fn last(&self) -> u64 {
        let size = 0x1000u64 << if self.size < 32 { self.size } else { 32 };
        self.base.saturating_add(size - 1)
    }
}

/// Memory that devices must be able to reach at identical addresses (RMRR).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The PCI segment of the devices.
    pub segment: u16,
    /// The first address.
    pub first: u64,
    /// The last address, inclusive.
    pub last: u64,
    /// The devices that use the memory.
    pub scopes: Vec<Scope>,
}

/// A list of devices or root ports, with flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scoped {
    /// Flags, whose meaning depends on the structure.
    pub flags: u8,
    /// The PCI segment of the devices.
    pub segment: u16,
    /// The devices.
    pub scopes: Vec<Scope>,
}

/// The kind of a [`Scope`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScopeKind {
    /// A PCI function.
    Endpoint,
    /// A PCI bridge, with everything behind it now or later.
    Bridge,
    /// An I/O APIC.
    IoApic,
    /// An HPET, which can send interrupts.
    Hpet,
    /// A device in the ACPI namespace.
    Acpi,
    /// An unknown kind, with its number.
    Other(u8),
}

/// A device, identified by its path: a bus, and the hops across bridges from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The kind of device.
    pub kind: ScopeKind,
    /// The id of an I/O APIC or HPET, or the number of an ACPI device.
    pub id: u8,
    /// The bus at which the path begins.
    pub bus: u8,
    /// The device and function number of each hop. A hop's bus is the secondary bus of the hop before it. The table
    /// does not contain those bus numbers, so read them from the running PCI hierarchy.
    pub path: Vec<(u8, u8)>,
}

impl Dmar {
    /// Decodes a DMAR table.
    ///
    /// # Errors
    /// Returns an [`AcpiError`] if the bytes are not a whole DMAR table, or a structure in it is truncated.
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

    /// Returns the units.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.structures.iter().filter_map(|s| if let Structure::Unit(unit) = s { Some(unit) } else { None })
    }

    /// Returns the memory that devices must be able to reach.
    pub fn reserved(&self) -> impl Iterator<Item = &Reserved> {
        self.structures
            .iter()
            .filter_map(|s| if let Structure::Reserved(found) = s { Some(found) } else { None })
    }
}

/// Decodes one structure. Returns `None` if it is too short for its type.
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
                // The upper four bits are reserved.
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
