//! IVRS: the units of AMD-Vi, and what they must let through (AMD I/O Virtualization Technology 48882, chapter 5).

use super::header::{AcpiError, Header};
use crate::RequesterId;
use crate::bytes::{u16_at, u32_at, u64_at};
use alloc::vec::Vec;

/// The table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ivrs {
    /// Its header.
    pub header: Header,
    /// What all units have in common, as it is written: see the methods.
    pub info: u32,
    /// What it holds, in order. A unit may be described up to three times.
    pub blocks: Vec<Block>,
}

/// What the table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A unit (IVHD).
    Unit(Unit),
    /// Memory that devices must be able to reach, or must not have translated (IVMD).
    Memory(MemoryBlock),
    /// What this does not know.
    Unknown {
        /// Its type.
        kind: u8,
        /// Its length in bytes.
        length: u16,
    },
}

/// A unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The block's type: 0x10, 0x11 or 0x40, each of which says more than the one before.
    pub kind: u8,
    /// What the unit's control register is to be set to.
    pub flags: u8,
    /// The function that the unit is.
    pub id: RequesterId,
    /// Where in its configuration space the capability is.
    pub capability: u16,
    /// Where its registers are.
    pub base: u64,
    /// Its segment.
    pub segment: u16,
    /// Interrupt numbers and unit id.
    pub info: u16,
    /// Feature bits of type 0x10, attributes of the others.
    pub attributes: u32,
    /// The image of the extended feature register; `None` of type 0x10.
    pub features: Option<u64>,
    /// Which devices it has.
    pub devices: Vec<Device>,
}

/// An entry of a unit's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// Nothing.
    Padding,
    /// Every device.
    All {
        /// Interrupts that are let through, as in the device table.
        set: u8,
    },
    /// One.
    Select {
        /// Which.
        id: RequesterId,
        /// As above.
        set: u8,
    },
    /// The first of several.
    Start {
        /// Which.
        id: RequesterId,
        /// As above.
        set: u8,
    },
    /// The last of several.
    End {
        /// Which.
        id: RequesterId,
        /// What this entry has there.
        set: u8,
    },
    /// One whose requests come as those of another.
    Alias {
        /// Which.
        id: RequesterId,
        /// As above.
        set: u8,
        /// Whose.
        source: RequesterId,
    },
    /// The first of several whose requests come as those of another.
    AliasStart {
        /// Which.
        id: RequesterId,
        /// As above.
        set: u8,
        /// Whose.
        source: RequesterId,
    },
    /// One, or the first of several, with more settings.
    Extended {
        /// Which.
        id: RequesterId,
        /// As above.
        set: u8,
        /// Settings.
        extended: u32,
        /// It is the first of several.
        start: bool,
    },
    /// An interrupt controller (1) or a timer block (2).
    Special {
        /// Its id: of an interrupt controller that of its APIC.
        handle: u8,
        /// Whose requests it makes.
        source: RequesterId,
        /// As above.
        set: u8,
        /// What it is.
        variety: u8,
    },
    /// A device that only ACPI names.
    Acpi {
        /// Whose requests it makes.
        id: RequesterId,
        /// As above.
        set: u8,
        /// Its hardware id.
        hid: [u8; 8],
        /// What it is compatible with.
        cid: [u8; 8],
        /// What the unique id is: 0 nothing, 1 a number, 2 text.
        format: u8,
        /// The unique id.
        uid: Vec<u8>,
    },
    /// What this does not know.
    Unknown {
        /// Its type.
        kind: u8,
    },
}

/// Memory of which something is said for devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBlock {
    /// The block's type: 0x20 for all devices, 0x21 for one, 0x22 for several.
    pub kind: u8,
    /// Bit 0: addresses come out as they are; 1: reads, 2: writes are let through; 3: nothing is translated.
    pub flags: u8,
    /// The device, or the first.
    pub id: RequesterId,
    /// The last of several.
    pub last: RequesterId,
    /// The first address.
    pub start: u64,
    /// How many bytes.
    pub length: u64,
}

impl MemoryBlock {
    /// Whether it is about a device.
    #[must_use]
    pub const fn is_about(&self, id: RequesterId) -> bool {
        match self.kind {
            0x20 => true,
            0x21 => self.id.0 == id.0,
            _ => self.id.0 <= id.0 && id.0 <= self.last.0,
        }
    }

    /// The first and the last address, of whole pages, as Linux maps them; `None` if it has none.
    #[must_use]
    pub const fn pages(&self) -> Option<(u64, u64)> {
        if self.length == 0 {
            return None;
        }
        Some((self.start & !0xfff, self.start.saturating_add(self.length - 1) | 0xfff))
    }
}

impl Ivrs {
    /// Reads it.
    ///
    /// # Errors
    /// [`AcpiError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, AcpiError> {
        let (header, table) = Header::decode(bytes, b"IVRS", 48)?;
        let mut blocks = Vec::new();
        let mut offset = 48;
        while offset < table.len() {
            let rest = table.get(offset..).unwrap_or(&[]);
            let length = u16_at(rest, 2).unwrap_or(0);
            let wrong = AcpiError::Structure { offset, length: usize::from(length) };
            let own = rest.get(..usize::from(length)).filter(|own| own.len() >= 4).ok_or(wrong)?;
            let kind = own.first().copied().unwrap_or(0);
            blocks.push(match kind {
                0x10 | 0x11 | 0x40 => Block::Unit(unit(kind, own, offset)?.ok_or(wrong)?),
                0x20..=0x22 => Block::Memory(memory(kind, own).ok_or(wrong)?),
                _ => Block::Unknown { kind, length },
            });
            offset += own.len();
        }
        Ok(Self { header, info: u32_at(table, 36).unwrap_or(0), blocks })
    }

    /// The width of addresses that devices can name, in bits.
    #[must_use]
    pub const fn virtual_width(&self) -> u8 {
        (self.info >> 15) as u8 & 0x7f
    }

    /// The width of addresses that come out, in bits.
    #[must_use]
    pub const fn physical_width(&self) -> u8 {
        (self.info >> 8) as u8 & 0x7f
    }

    /// The width of a guest's addresses: 2 means 48 bits.
    #[must_use]
    pub const fn guest_width(&self) -> u8 {
        (self.info >> 5) as u8 & 7
    }

    /// Addresses of HyperTransport's are kept for translations of devices.
    #[must_use]
    pub const fn reserves_ats(&self) -> bool {
        self.info >> 22 & 1 != 0
    }

    /// Feature images of the table are those of the registers.
    #[must_use]
    pub const fn has_features(&self) -> bool {
        self.info & 1 != 0
    }

    /// The platform asks for protection from DMA.
    #[must_use]
    pub const fn asks_for_protection(&self) -> bool {
        self.info >> 1 & 1 != 0
    }

    /// Its units, each by the block that says most: types are never added up.
    #[must_use]
    pub fn units(&self) -> Vec<&Unit> {
        let mut out: Vec<&Unit> = Vec::new();
        for block in &self.blocks {
            let Block::Unit(unit) = block else { continue };
            match out.iter_mut().find(|had| (had.segment, had.id) == (unit.segment, unit.id)) {
                Some(had) if had.kind <= unit.kind => *had = unit,
                Some(_) => {}
                None => out.push(unit),
            }
        }
        out
    }

    /// Memory of which something is said.
    pub fn memory(&self) -> impl Iterator<Item = &MemoryBlock> {
        self.blocks
            .iter()
            .filter_map(|block| if let Block::Memory(memory) = block { Some(memory) } else { None })
    }
}

/// Requesters of a unit: from one to another, and as whose their requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requesters {
    /// The first.
    pub first: RequesterId,
    /// The last.
    pub last: RequesterId,
    /// As whose requests theirs come, if not as their own.
    pub alias: Option<RequesterId>,
}

impl Unit {
    /// Which requesters it has. What no end closes is one alone.
    #[must_use]
    pub fn requesters(&self) -> Vec<Requesters> {
        let mut out: Vec<Requesters> = Vec::new();
        let one = |id: RequesterId, alias| Requesters { first: id, last: id, alias };
        for device in &self.devices {
            match *device {
                Device::All { .. } => {
                    out.push(Requesters { first: RequesterId(0), last: RequesterId(u16::MAX), alias: None });
                }
                Device::Select { id, .. } | Device::Start { id, .. } | Device::Extended { id, .. } => {
                    out.push(one(id, None));
                }
                Device::Alias { id, source, .. } | Device::AliasStart { id, source, .. } => {
                    out.push(one(id, Some(source)));
                }
                Device::End { id, .. } => {
                    if let Some(last) = out.last_mut().filter(|last| last.first <= id) {
                        last.last = id;
                    }
                }
                Device::Special { source, .. } => out.push(one(source, None)),
                Device::Acpi { id, .. } => out.push(one(id, None)),
                Device::Padding | Device::Unknown { .. } => {}
            }
        }
        out
    }
}

fn unit(kind: u8, own: &[u8], offset: usize) -> Result<Option<Unit>, AcpiError> {
    let begin = if kind == 0x10 { 24 } else { 40 };
    let parts = || {
        Some(Unit {
            kind,
            flags: own.get(1).copied()?,
            id: RequesterId(u16_at(own, 4)?),
            capability: u16_at(own, 6)?,
            base: u64_at(own, 8)?,
            segment: u16_at(own, 16)?,
            info: u16_at(own, 18)?,
            attributes: u32_at(own, 20)?,
            features: if kind == 0x10 { None } else { Some(u64_at(own, 24)?) },
            devices: Vec::new(),
        })
    };
    let Some(mut unit) = parts().filter(|_| own.len() >= begin) else { return Ok(None) };
    let mut at = begin;
    while at < own.len() {
        let rest = own.get(at..).unwrap_or(&[]);
        let kind = rest.first().copied().unwrap_or(0);
        let length = match kind {
            0..=0x3f => 4,
            0x40..=0x7f => 8,
            0x80..=0xbf => 16,
            0xf0 => 22 + usize::from(rest.get(21).copied().unwrap_or(0)),
            _ => 32,
        };
        let wrong = AcpiError::Structure { offset: offset + at, length };
        let entry = rest.get(..length).ok_or(wrong)?;
        unit.devices.push(device(kind, entry).ok_or(wrong)?);
        at += length;
    }
    Ok(Some(unit))
}

fn device(kind: u8, entry: &[u8]) -> Option<Device> {
    let id = RequesterId(u16_at(entry, 1)?);
    let set = entry.get(3).copied()?;
    Some(match kind {
        0 => Device::Padding,
        1 => Device::All { set },
        2 => Device::Select { id, set },
        3 => Device::Start { id, set },
        4 => Device::End { id, set },
        0x42 => Device::Alias { id, set, source: RequesterId(u16_at(entry, 5)?) },
        0x43 => Device::AliasStart { id, set, source: RequesterId(u16_at(entry, 5)?) },
        0x46 | 0x47 => Device::Extended { id, set, extended: u32_at(entry, 4)?, start: kind == 0x47 },
        0x48 => Device::Special {
            handle: entry.get(4).copied()?,
            source: RequesterId(u16_at(entry, 5)?),
            set,
            variety: entry.get(7).copied()?,
        },
        0xf0 => Device::Acpi {
            id,
            set,
            hid: entry.get(4..12)?.try_into().ok()?,
            cid: entry.get(12..20)?.try_into().ok()?,
            format: entry.get(20).copied()?,
            uid: entry.get(22..)?.to_vec(),
        },
        _ => Device::Unknown { kind },
    })
}

fn memory(kind: u8, own: &[u8]) -> Option<MemoryBlock> {
    Some(MemoryBlock {
        kind,
        flags: own.get(1).copied()?,
        id: RequesterId(u16_at(own, 4)?),
        last: RequesterId(u16_at(own, 6)?),
        start: u64_at(own, 16)?,
        length: u64_at(own, 24)?,
    })
}
