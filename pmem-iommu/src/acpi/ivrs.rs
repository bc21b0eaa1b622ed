//! IVRS: AMD-Vi's units, and the memory that must stay accessible to devices (AMD I/O Virtualization Technology
//! 48882, chapter 5).

use super::header::{AcpiError, Header};
use crate::RequesterId;
use crate::bytes::{u16_at, u32_at, u64_at};
use alloc::vec::Vec;

/// An IVRS table.
///
/// # Examples
///
/// On Linux you find the table in `/sys/firmware/acpi/tables/IVRS`. This one has one unit, for all devices:
///
/// ```
/// use pmem_iommu::RequesterId;
/// use pmem_iommu::acpi::Ivrs;
///
/// let mut bytes = vec![0; 48 + 28];
/// bytes[..4].copy_from_slice(b"IVRS");
/// bytes[4] = 76; // the length
/// bytes[48] = 0x10; // an IVHD block of 28 bytes
/// bytes[50] = 28;
/// bytes[52] = 2; // the unit is function 00:00.2
/// bytes[56..64].copy_from_slice(&0xfeb8_0000_u64.to_le_bytes());
/// bytes[72] = 1; // for every device
///
/// let ivrs = Ivrs::decode(&bytes)?;
/// let units = ivrs.units();
/// assert_eq!((units[0].id, units[0].base), (RequesterId::new(0, 0, 2), 0xfeb8_0000));
/// assert_eq!(units[0].requesters()[0].last, RequesterId(0xffff));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ivrs {
    /// The header of the table.
    pub header: Header,
    /// The raw IVinfo field, which describes all units. The methods decode it.
    pub info: u32,
    /// The blocks of the table, in its order. Up to three blocks can describe the same unit; [`Self::units`] picks
    /// one.
    pub blocks: Vec<Block>,
}

/// A block of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A unit (IVHD).
    Unit(Unit),
    /// Memory that devices must be able to reach, or that must not be translated (IVMD).
    Memory(MemoryBlock),
    /// A block of an unknown type.
    Unknown {
        /// The type of the block.
        kind: u8,
        /// The length of the block in bytes.
        length: u16,
    },
}

/// A unit (IVHD).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The type of the block: 0x10, 0x11 or 0x40. Each type carries more information than the one before.
    pub kind: u8,
    /// Settings for the unit's control register.
    pub flags: u8,
    /// The PCI function of the unit itself.
    pub id: RequesterId,
    /// The offset of the unit's capability in its configuration space.
    pub capability: u16,
    /// The address of the registers.
    pub base: u64,
    /// The PCI segment.
    pub segment: u16,
    /// The interrupt (MSI) number and the unit id.
    pub info: u16,
    /// Feature bits in a block of type 0x10, attributes in the other types.
    pub attributes: u32,
    /// An image of the extended feature register; `None` in a block of type 0x10.
    pub features: Option<u64>,
    /// The devices that the unit covers.
    pub devices: Vec<Device>,
}

/// An entry of a unit's device list. A range is a start entry followed by [`Device::End`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// Padding, without meaning.
    Padding,
    /// Every device.
    All {
        /// The DTE setting: which interrupts pass, encoded as in the device table.
        set: u8,
    },
    /// One device.
    Select {
        /// The device.
        id: RequesterId,
        /// The DTE setting, as in [`Device::All`].
        set: u8,
    },
    /// The first device of a range.
    Start {
        /// The device.
        id: RequesterId,
        /// The DTE setting, as in [`Device::All`].
        set: u8,
    },
    /// The last device of a range.
    End {
        /// The device, inclusive.
        id: RequesterId,
        /// The byte that holds the setting in other entries.
        set: u8,
    },
    /// One device whose requests carry the id of another.
    Alias {
        /// The device.
        id: RequesterId,
        /// The DTE setting, as in [`Device::All`].
        set: u8,
        /// The requester id that its requests carry.
        source: RequesterId,
    },
    /// The first device of a range whose requests carry the id of another.
    AliasStart {
        /// The device.
        id: RequesterId,
        /// The DTE setting, as in [`Device::All`].
        set: u8,
        /// The requester id that their requests carry.
        source: RequesterId,
    },
    /// One device, or the first of a range, with extended settings.
    Extended {
        /// The device.
        id: RequesterId,
        /// The DTE setting, as in [`Device::All`].
        set: u8,
        /// The extended settings.
        extended: u32,
        /// Whether this is the first device of a range.
        start: bool,
    },
    /// An I/O APIC or an HPET.
    Special {
        /// The id of the device; for an I/O APIC, its APIC id.
        handle: u8,
        /// The requester id that its requests carry.
        source: RequesterId,
        /// The DTE setting, as in [`Device::All`].
        set: u8,
        /// The kind of device: 1 for an I/O APIC, 2 for an HPET.
        variety: u8,
    },
    /// A device that only the ACPI namespace describes.
    Acpi {
        /// The requester id that its requests carry.
        id: RequesterId,
        /// The DTE setting, as in [`Device::All`].
        set: u8,
        /// The hardware id (`_HID`).
        hid: [u8; 8],
        /// The compatible id (`_CID`).
        cid: [u8; 8],
        /// The format of the unique id: 0 for none, 1 for a number, 2 for text.
        format: u8,
        /// The unique id (`_UID`).
        uid: Vec<u8>,
    },
    /// An entry of an unknown type.
    Unknown {
        /// The type of the entry.
        kind: u8,
    },
}

/// Memory with special rules for devices (IVMD).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBlock {
    /// The type of the block: 0x20 for all devices, 0x21 for one device, 0x22 for a range.
    pub kind: u8,
    /// Flags. Bit 0: addresses map to themselves. Bit 1: reads are allowed. Bit 2: writes are allowed. Bit 3:
    /// nothing is translated.
    pub flags: u8,
    /// The device, or the first device of a range.
    pub id: RequesterId,
    /// The last device of a range, inclusive.
    pub last: RequesterId,
    /// The first address.
    pub start: u64,
    /// The length in bytes.
    pub length: u64,
}

impl MemoryBlock {
    /// Returns whether the block applies to a device.
    #[must_use]
    pub const fn is_about(&self, id: RequesterId) -> bool {
        match self.kind {
            0x20 => true,
            0x21 => self.id.0 == id.0,
            _ => self.id.0 <= id.0 && id.0 <= self.last.0,
        }
    }

    /// Returns the first and the last address (inclusive), rounded out to whole pages, as Linux maps them. Returns
    /// `None` if the length is 0.
    #[must_use]
    pub const fn pages(&self) -> Option<(u64, u64)> {
        if self.length == 0 {
            return None;
        }
        Some((self.start & !0xfff, self.start.saturating_add(self.length - 1) | 0xfff))
    }
}

impl Ivrs {
    /// Decodes an IVRS table.
    ///
    /// # Errors
    /// Returns an [`AcpiError`] if the bytes are not a whole IVRS table, or a block in it is truncated.
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

    /// Returns the width of the addresses that devices use, in bits.
    #[must_use]
    pub const fn virtual_width(&self) -> u8 {
        (self.info >> 15) as u8 & 0x7f
    }

    /// Returns the width of the addresses that units emit, in bits.
    #[must_use]
    pub const fn physical_width(&self) -> u8 {
        (self.info >> 8) as u8 & 0x7f
    }

    /// Returns the encoded width of guest addresses: 2 means 48 bits.
    #[must_use]
    pub const fn guest_width(&self) -> u8 {
        (self.info >> 5) as u8 & 7
    }

    /// Returns whether the HyperTransport address range is reserved for translations that devices request (ATS).
    #[must_use]
    pub const fn reserves_ats(&self) -> bool {
        self.info >> 22 & 1 != 0
    }

    /// Returns whether the feature images in the table equal the units' feature registers.
    #[must_use]
    pub const fn has_features(&self) -> bool {
        self.info & 1 != 0
    }

    /// Returns whether the platform asks for DMA protection.
    #[must_use]
    pub const fn asks_for_protection(&self) -> bool {
        self.info >> 1 & 1 != 0
    }

    /// Returns each unit once, from its block with the highest type. Blocks of lower types repeat the same unit and
    /// are ignored.
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

    /// Returns the memory that has special rules.
    pub fn memory(&self) -> impl Iterator<Item = &MemoryBlock> {
        self.blocks
            .iter()
            .filter_map(|block| if let Block::Memory(memory) = block { Some(memory) } else { None })
    }
}

/// A range of requesters that a unit covers, and the id that their requests carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requesters {
    /// The first requester.
    pub first: RequesterId,
    /// The last requester, inclusive.
    pub last: RequesterId,
    /// The requester id that their requests carry; `None` if each uses its own.
    pub alias: Option<RequesterId>,
}

impl Unit {
    /// Returns the requesters that the unit covers. A range without an end entry is one device.
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
