//! The capability lists of configuration space.

use crate::address::Address;
use crate::bytes::{u16_at, u32_at};

/// Capability ids. The extended list has its own numbering, so that an id may appear in both.
pub mod id {
    /// Power management.
    pub const POWER: u16 = 0x01;
    /// Message signalled interrupts.
    pub const MSI: u16 = 0x05;
    /// PCI Express.
    pub const EXPRESS: u16 = 0x10;
    /// MSI-X.
    pub const MSI_X: u16 = 0x11;
    /// Enhanced allocation: BARs that cannot be moved.
    pub const ENHANCED_ALLOCATION: u16 = 0x14;
    /// Extended: device serial number (PCI Express Base 6.0, 7.9.3).
    pub const SERIAL_NUMBER: u16 = 0x03;
    /// Extended: single root I/O virtualization, SR-IOV (7.9.4).
    pub const SRIOV: u16 = 0x10;
    /// Extended: resizable BARs (7.8.6).
    pub const RESIZABLE_BAR: u16 = 0x15;
}

/// An entry of a capability list: its id, and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Capability {
    /// The id, in the numbering of its list.
    pub id: u16,
    /// The version; 0 for capabilities in the first 256 bytes, which have none.
    pub version: u8,
    /// The offset of its first byte in configuration space.
    pub offset: usize,
}

/// Iterates over the capabilities in the first 256 bytes (PCI Local Bus 3.0, section 6.7). Ends at an entry
/// outside of `config`, and ends even if the list loops.
pub fn capabilities(config: &[u8]) -> impl Iterator<Item = Capability> + '_ {
    let listed = u16_at(config, 0x06).is_some_and(|status| status & 0x10 != 0);
    let pointer = if config.get(0x0e).is_some_and(|kind| kind & 0x7f == 2) { 0x14 } else { 0x34 };
    let mut next = config.get(pointer).copied().filter(|_| listed).unwrap_or(0);
    // Behind the header there is room for 48 capabilities of four bytes, so a longer list must loop.
    let mut left = 48;
    core::iter::from_fn(move || {
        let offset = usize::from(next & !3);
        if offset < 0x40 || left == 0 {
            return None;
        }
        left -= 1;
        let number = *config.get(offset)?;
        next = *config.get(offset + 1)?;
        (number != 0xff).then_some(Capability { id: u16::from(number), version: 0, offset })
    })
}

/// Iterates over the capabilities from byte 256 on (PCI Express Base 6.0, section 7.6). Ends at an entry
/// outside of `config`, and ends even if the list loops.
pub fn extended_capabilities(config: &[u8]) -> impl Iterator<Item = Capability> + '_ {
    let mut offset = 0x100;
    // 3840 bytes hold at most 960 headers of four bytes, so a longer list must loop.
    let mut left = 960;
    core::iter::from_fn(move || {
        let here = offset;
        if here < 0x100 || left == 0 {
            return None;
        }
        left -= 1;
        let header = u32_at(config, here).filter(|header| *header != 0 && *header != u32::MAX)?;
        offset = (header >> 20) as usize & !3;
        Some(Capability { id: header as u16, version: (header >> 16 & 0xf) as u8, offset: here })
    })
}

/// Returns `true` if the function is a port with a slot that supports hot-plug (PCI Express Base 6.0, sections
/// 7.5.3.2 and 7.5.3.9). Returns `None` if it has no PCI Express capability, or if `config` is too short to
/// tell.
#[must_use]
pub fn has_hot_plug_slot(config: &[u8]) -> Option<bool> {
    let at = capabilities(config).find(|capability| capability.id == id::EXPRESS)?.offset;
    let (flags, slot) = (u16_at(config, at + 2)?, u32_at(config, at + 0x14)?);
    // Only root ports and downstream ports implement the slot registers; elsewhere they read as zero.
    let is_port = matches!(flags >> 4 & 0xf, 4 | 6);
    Some(is_port && flags & 0x100 != 0 && slot & 0x40 != 0)
}

/// The SR-IOV capability of a physical function (PCI Express Base 6.0, section 9.3.3).
///
/// # Examples
/// First offset and stride give the address of each virtual function of a NIC:
/// ```
/// use pmem_pci::{Address, Sriov};
///
/// let sriov = Sriov {
///     at: 0x160, control: 9, enabled: true, total: 64, count: 8,
///     first_offset: 0x80, stride: 2, device: 0x10ed, bars: [0; 6],
/// };
/// let nic: Address = "01:00.0".parse()?;
/// assert_eq!(sriov.virtual_function(nic, 1), Some("01:10.0".parse()?));
/// assert_eq!(sriov.virtual_function(nic, 2), Some("01:10.2".parse()?));
/// assert_eq!(sriov.virtual_function(nic, 0), None, "they count from 1");
/// # Ok::<(), pmem_pci::BadAddress>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sriov {
    /// The offset of the capability in configuration space.
    pub at: u16,
    /// The SR-IOV control register.
    pub control: u16,
    /// Whether virtual functions exist and decode memory (VF Enable and VF Memory Space Enable are both set).
    pub enabled: bool,
    /// The number of virtual functions that the device supports (TotalVFs).
    pub total: u16,
    /// The number of virtual functions that are configured (NumVFs).
    pub count: u16,
    /// The distance from the physical function's routing id to that of the first virtual function.
    pub first_offset: u16,
    /// The distance from the routing id of a virtual function to that of the next.
    pub stride: u16,
    /// The device id of the virtual functions.
    pub device: u16,
    /// The BAR slots of the virtual functions. Each holds the address of the first virtual function's space;
    /// those of the others follow without a gap.
    pub bars: [u32; 6],
}

impl Sriov {
    /// Decodes the SR-IOV capability; `None` if there is none, or if `config` ends before it does.
    #[must_use]
    pub fn find(config: &[u8]) -> Option<Self> {
        let at = extended_capabilities(config).find(|capability| capability.id == id::SRIOV)?.offset;
        let word = |offset| u16_at(config, at + offset);
        let mut bars = [0; 6];
        for (i, slot) in bars.iter_mut().enumerate() {
            *slot = u32_at(config, at + 0x24 + 4 * i)?;
        }
        Some(Self {
            at: u16::try_from(at).ok()?,
            control: word(0x08)?,
            enabled: word(0x08)? & 9 == 9,
            total: word(0x0e)?,
            count: word(0x10)?,
            first_offset: word(0x14)?,
            stride: word(0x16)?,
            device: word(0x1a)?,
            bars,
        })
    }

    /// Returns the address of virtual function `n`, counted from 1. Returns `None` if `n` is 0, or if the
    /// routing id would exceed 16 bits.
    #[must_use]
    pub fn virtual_function(&self, physical: Address, n: u16) -> Option<Address> {
        let step = u32::from(self.stride) * u32::from(n.checked_sub(1)?);
        let id = u32::from(physical.routing_id()) + u32::from(self.first_offset) + step;
        Some(Address::from_routing_id(physical.segment, u16::try_from(id).ok()?))
    }
}

/// A BAR whose size can be changed (PCI Express Base 6.0, section 7.8.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResizableBar {
    /// The index of the BAR, 0 to 5.
    pub bar: u8,
    /// The supported sizes: bit n stands for 2^(20 + n) bytes.
    pub sizes: u64,
    /// The current size, as n of 2^(20 + n) bytes.
    pub current: u8,
    /// The offset of its control register in configuration space.
    pub control: u16,
    /// The other bits of the control register, which a write must preserve.
    pub rest: u32,
}

impl ResizableBar {
    /// Iterates over the resizable BARs of a function. Empty if it has no such capability; entries beyond the
    /// end of `config` are left out.
    pub fn find_all(config: &[u8]) -> impl Iterator<Item = Self> + '_ {
        let at = extended_capabilities(config).find(|capability| capability.id == id::RESIZABLE_BAR);
        let at = at.map(|capability| capability.offset);
        // Only the first control register holds the number of entries.
        let count = at.and_then(|at| u32_at(config, at + 8)).map_or(0, |control| (control >> 5 & 7) as usize);
        (0..count.min(6)).filter_map(move |n| {
            let at = at? + 8 * n;
            let (can, control) = (u32_at(config, at + 4)?, u32_at(config, at + 8)?);
            // Sizes of 1 MiB to 128 TiB are in the capability register, those from 256 TiB in the upper half of
            // control.
            let sizes = u64::from(can >> 4) | u64::from(control >> 16) << 28;
            let (bar, current) = ((control & 7) as u8, (control >> 8 & 0x3f) as u8);
            let control_at = u16::try_from(at + 8).ok()?;
            (bar < 6).then_some(Self { bar, sizes, current, control: control_at, rest: control & !0x3f00 })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn sizes_of_registers_are_read() {
        let mut config = vec![0u8; 4096];
        let mut put = |at: usize, value: u32| config[at..at + 4].copy_from_slice(&value.to_le_bytes());
        put(0x100, 0x0001_0015);
        // 64 MiB to 512 MiB, now 256 MiB, the first of two.
        put(0x104, 0b11_1100_0000 << 4);
        put(0x108, 1 | 2 << 5 | 8 << 8);
        put(0x10c, 1 << 4);
        put(0x110, 3);
        let all: Vec<_> = ResizableBar::find_all(&config).collect();
        let shown: Vec<_> = all.iter().map(|r| (r.bar, r.sizes, r.current, r.control, r.rest)).collect();
        assert_eq!(shown, [(1, 0b11_1100_0000, 8, 0x108, 0x41), (3, 1, 0, 0x110, 3)]);
        assert_eq!(ResizableBar::find_all(&config[..0x110]).count(), 1, "the second is cut off");
        assert_eq!(ResizableBar::find_all(&[]).count(), 0);
    }

    #[test]
    fn a_slot_says_whether_it_is_for_hot_plug() {
        let mut config = vec![0u8; 256];
        (config[0x06], config[0x34], config[0x40]) = (0x10, 0x40, 0x10);
        let with = |flags: u16, slot: u8| {
            let mut config = config.clone();
            config[0x42..0x44].copy_from_slice(&flags.to_le_bytes());
            config[0x54] = slot;
            has_hot_plug_slot(&config)
        };
        assert_eq!(with(0x142, 0x40), Some(true), "a root port");
        assert_eq!(with(0x162, 0x60), Some(true), "a downstream port");
        assert_eq!(with(0x152, 0x40), Some(false), "an upstream port has no slot");
        assert_eq!((with(0x042, 0x40), with(0x142, 0)), (Some(false), Some(false)));
        assert_eq!(has_hot_plug_slot(&config[..0x50]), None, "cut off");
    }

    #[test]
    fn lists_are_walked_to_their_end() {
        let mut config = vec![0u8; 4096];
        config[0x06] = 0x10;
        config[0x34] = 0x40;
        config[0x40..0x42].copy_from_slice(&[0x01, 0x50]);
        config[0x50..0x52].copy_from_slice(&[0x10, 0x00]);
        let all: Vec<_> = capabilities(&config).map(|c| (c.id, c.offset)).collect();
        assert_eq!(all, [(id::POWER, 0x40), (id::EXPRESS, 0x50)]);
        config[0x51] = 0x40;
        assert_eq!(capabilities(&config).count(), 48, "a circle ends");
        config[0x06] = 0;
        assert_eq!(capabilities(&config).count(), 0, "no list, no capabilities");
        config[0x100..0x104].copy_from_slice(&0x1401_0001u32.to_le_bytes());
        config[0x140..0x144].copy_from_slice(&0x0002_0010u32.to_le_bytes());
        let all: Vec<_> = extended_capabilities(&config).map(|c| (c.id, c.version, c.offset)).collect();
        assert_eq!(all, [(1, 1, 0x100), (id::SRIOV, 2, 0x140)]);
    }

    #[test]
    fn virtual_functions_are_where_offset_and_stride_say() {
        let mut config = vec![0u8; 0x200];
        config[0x100..0x104].copy_from_slice(&0x0001_0010u32.to_le_bytes());
        config[0x108] = 9;
        config[0x10e] = 8;
        config[0x110] = 2;
        config[0x114] = 0x80;
        config[0x116] = 2;
        config[0x124..0x128].copy_from_slice(&0xe010_0000u32.to_le_bytes());
        let sriov = Sriov::find(&config).unwrap();
        assert!(sriov.enabled);
        assert_eq!((sriov.total, sriov.count, sriov.bars[0]), (8, 2, 0xe010_0000));
        let physical: Address = "0000:01:00.0".parse().unwrap();
        let at = |n| sriov.virtual_function(physical, n).map(|address| address.to_string());
        assert_eq!(at(1).as_deref(), Some("0000:01:10.0"));
        assert_eq!(at(2).as_deref(), Some("0000:01:10.2"));
        assert_eq!((at(0), at(0xffff)), (None, None));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_end(config in prop::collection::vec(any::<u8>(), 0..0x400)) {
            prop_assert!(capabilities(&config).count() <= 48);
            prop_assert!(extended_capabilities(&config).count() <= 960);
            let _ = Sriov::find(&config);
        }
    }
}
