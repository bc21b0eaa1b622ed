//! Configuration headers of type 0 (devices), 1 (PCI bridges) and 2 (CardBus bridges).

use crate::bar::{Bar, bars};
use crate::bytes::{put, u16_at, u32_at};
use crate::class::Class;
use crate::window::{IoWindow, MemoryWindow, PrefetchableWindow};
use core::fmt;

/// The reason why bytes are not a configuration header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// Fewer than the 64 bytes of a header. Holds the number of bytes there were.
    Short(usize),
    /// The vendor and device id read all ones: no function responded.
    NoAnswer,
    /// A header type other than 0, 1 and 2. Holds the type, without the multifunction bit.
    Type(u8),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short(bytes) => write!(f, "only {bytes} bytes of configuration space: a header needs 64"),
            Self::NoAnswer => f.write_str("configuration space reads all ones: no function responded"),
            Self::Type(kind) => write!(f, "unknown header type {kind:#x}: expected 0, 1 or 2"),
        }
    }
}

impl core::error::Error for HeaderError {}

/// The command register (PCI Local Bus 3.0, section 6.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Command(pub u16);

impl Command {
    /// Returns `true` if the function decodes I/O accesses.
    #[must_use]
    pub const fn io(self) -> bool {
        self.0 & 1 != 0
    }

    /// Returns `true` if the function decodes memory accesses.
    #[must_use]
    pub const fn memory(self) -> bool {
        self.0 & 2 != 0
    }

    /// Returns `true` if the function may issue accesses itself (DMA, interrupts).
    #[must_use]
    pub const fn bus_master(self) -> bool {
        self.0 & 4 != 0
    }
}

/// The fields that all header types share (PCI Local Bus 3.0, section 6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Common {
    /// The vendor id.
    pub vendor: u16,
    /// The device id, assigned by the vendor.
    pub device: u16,
    /// The command register.
    pub command: Command,
    /// The status register.
    pub status: u16,
    /// The revision id.
    pub revision: u8,
    /// The class code.
    pub class: Class,
    /// The cache line size, in words of four bytes.
    pub cache_line: u8,
    /// The latency timer, in bus clocks.
    pub latency: u8,
    /// Whether the device has more than one function.
    pub multifunction: bool,
    /// The built-in self-test (BIST) register.
    pub self_test: u8,
    /// The interrupt line, as set by firmware.
    pub interrupt_line: u8,
    /// The interrupt pin: 1 to 4 for INTA to INTD, 0 if it uses none.
    pub interrupt_pin: u8,
}

impl Common {
    /// Returns `true` if the function has a capability list.
    #[must_use]
    pub const fn has_capabilities(self) -> bool {
        self.status & 0x10 != 0
    }
}

/// A configuration header: the common fields, and those of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The fields that all header types share.
    pub common: Common,
    /// The fields of its type.
    pub layout: Layout,
}

/// The type-specific part of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Type 0: a device.
    Device(Device),
    /// Type 1: a PCI bridge.
    Bridge(Bridge),
    /// Type 2: a CardBus bridge.
    CardBus(CardBus),
}

/// The type-specific part of a type 0 header (PCI Local Bus 3.0, section 6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Device {
    /// The six BAR slots, undecoded; see [`Header::bars`].
    pub bars: [u32; 6],
    /// The pointer to the CardBus information structure (CIS).
    pub cis: u32,
    /// The vendor id and the device id of the subsystem.
    pub subsystem: (u16, u16),
    /// The expansion ROM's base address register; bit 0 enables it.
    pub rom: u32,
    /// The offset of the first capability in configuration space.
    pub capabilities: u8,
    /// Reserved bytes, kept so that [`Header::encode`] returns them.
    pub reserved: [u8; 7],
    /// The minimum grant and the maximum latency, in quarters of a microsecond.
    pub grant_latency: [u8; 2],
}

/// The type-specific part of a type 1 header (PCI-to-PCI Bridge Architecture 1.2, section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bridge {
    /// The two BAR slots, undecoded; see [`Header::bars`].
    pub bars: [u32; 2],
    /// The number of the bus that the bridge is on.
    pub primary: u8,
    /// The number of the bus directly below.
    pub secondary: u8,
    /// The highest bus number below, inclusive.
    pub subordinate: u8,
    /// The latency timer of the secondary bus, in bus clocks.
    pub secondary_latency: u8,
    /// The status register of the secondary bus.
    pub secondary_status: u16,
    /// The I/O window.
    pub io: IoWindow,
    /// The memory window.
    pub memory: MemoryWindow,
    /// The prefetchable window.
    pub prefetchable: PrefetchableWindow,
    /// The expansion ROM's base address register; bit 0 enables it.
    pub rom: u32,
    /// The offset of the first capability in configuration space.
    pub capabilities: u8,
    /// Reserved bytes, kept so that [`Header::encode`] returns them.
    pub reserved: [u8; 3],
    /// The bridge control register.
    pub control: u16,
}

impl Bridge {
    /// Returns `true` if the bridge forwards the VGA frame buffer and ports, whatever its windows say.
    #[must_use]
    pub const fn forwards_vga(&self) -> bool {
        self.control & 8 != 0
    }
}

/// The type-specific part of a type 2 header (PC Card Standard, volume 1, CardBus bridges).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CardBus {
    /// The base address register of the socket registers.
    pub socket: u32,
    /// The offset of the first capability in configuration space.
    pub capabilities: u8,
    /// A reserved byte, kept so that [`Header::encode`] returns it.
    pub reserved: u8,
    /// The status register of the secondary bus.
    pub secondary_status: u16,
    /// The PCI bus above, the CardBus bus directly below, and the highest bus below, inclusive.
    pub buses: [u8; 3],
    /// The CardBus latency timer.
    pub latency: u8,
    /// Two memory windows: base and limit, in granules of 4 KiB.
    pub memory: [(u32, u32); 2],
    /// Two I/O windows: base and limit, in granules of four ports.
    pub io: [(u32, u32); 2],
    /// The bridge control register.
    pub control: u16,
}

impl CardBus {
    /// The granule of the memory windows, in bytes.
    pub const MEMORY_GRANULE: u64 = 0x1000;

    /// Iterates over the open memory windows: first and last address, both inclusive. A window is closed if its
    /// base is above its limit, or if both are zero.
    pub fn memory_ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let open = |(base, limit): &(u32, u32)| {
            let (first, last) = (u64::from(base & !0xfff), u64::from(limit | 0xfff));
            (first <= last && (*base | *limit) != 0).then_some((first, last))
        };
        self.memory.iter().filter_map(open)
    }
}

impl Header {
    /// Decodes the header at the beginning of configuration space.
    ///
    /// # Errors
    /// Returns [`HeaderError`] if there are fewer than 64 bytes, if the ids read all ones, or for an unknown header type.
    pub fn decode(config: &[u8]) -> Result<Self, HeaderError> {
        let Some(bytes) = config.first_chunk::<64>() else { return Err(HeaderError::Short(config.len())) };
        if bytes[..4] == [0xff; 4] {
            return Err(HeaderError::NoAnswer);
        }
        let layout = match bytes[0x0e] & 0x7f {
            0 => Layout::Device(decode_device(bytes)),
            1 => Layout::Bridge(decode_bridge(bytes)),
            2 => Layout::CardBus(decode_cardbus(bytes)),
            other => return Err(HeaderError::Type(other)),
        };
        let common = Common {
            vendor: word(bytes, 0x00),
            device: word(bytes, 0x02),
            command: Command(word(bytes, 0x04)),
            status: word(bytes, 0x06),
            revision: bytes[0x08],
            class: Class(dword(bytes, 0x08) >> 8),
            cache_line: bytes[0x0c],
            latency: bytes[0x0d],
            multifunction: bytes[0x0e] & 0x80 != 0,
            self_test: bytes[0x0f],
            interrupt_line: bytes[0x3c],
            interrupt_pin: bytes[0x3d],
        };
        Ok(Self { common, layout })
    }

    /// Encodes the header as the 64 bytes that it was decoded from.
    #[must_use]
    pub fn encode(&self) -> [u8; 64] {
        let mut out = [0u8; 64];
        let common = &self.common;
        put(&mut out, 0x00, &common.vendor.to_le_bytes());
        put(&mut out, 0x02, &common.device.to_le_bytes());
        put(&mut out, 0x04, &common.command.0.to_le_bytes());
        put(&mut out, 0x06, &common.status.to_le_bytes());
        put(&mut out, 0x08, &(common.class.0 << 8 | u32::from(common.revision)).to_le_bytes());
        let kind = match self.layout {
            Layout::Device(_) => 0,
            Layout::Bridge(_) => 1,
            Layout::CardBus(_) => 2,
        };
        let kind = kind | if common.multifunction { 0x80 } else { 0 };
        put(&mut out, 0x0c, &[common.cache_line, common.latency, kind, common.self_test]);
        match &self.layout {
            Layout::Device(device) => encode_device(device, &mut out),
            Layout::Bridge(bridge) => encode_bridge(bridge, &mut out),
            Layout::CardBus(cardbus) => encode_cardbus(cardbus, &mut out),
        }
        put(&mut out, 0x3c, &[common.interrupt_line, common.interrupt_pin]);
        out
    }

    /// Returns the BAR slots: six for a device, two for a bridge, one for a CardBus bridge.
    #[must_use]
    pub fn slots(&self) -> &[u32] {
        match &self.layout {
            Layout::Device(device) => &device.bars,
            Layout::Bridge(bridge) => &bridge.bars,
            Layout::CardBus(cardbus) => core::slice::from_ref(&cardbus.socket),
        }
    }

    /// Iterates over the base address registers, each with the index of the slot that it begins in.
    pub fn bars(&self) -> impl Iterator<Item = (usize, Bar)> + '_ {
        bars(self.slots())
    }

    /// Returns the type 1 part; `None` for any other header type.
    #[must_use]
    pub const fn bridge(&self) -> Option<&Bridge> {
        match &self.layout {
            Layout::Bridge(bridge) => Some(bridge),
            _ => None,
        }
    }
}

fn word(bytes: &[u8; 64], offset: usize) -> u16 {
    u16_at(bytes, offset).unwrap_or(0)
}

fn dword(bytes: &[u8; 64], offset: usize) -> u32 {
    u32_at(bytes, offset).unwrap_or(0)
}

fn copy<const N: usize>(bytes: &[u8; 64], offset: usize) -> [u8; N] {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn decode_device(bytes: &[u8; 64]) -> Device {
    Device {
        bars: core::array::from_fn(|i| dword(bytes, 0x10 + 4 * i)),
        cis: dword(bytes, 0x28),
        subsystem: (word(bytes, 0x2c), word(bytes, 0x2e)),
        rom: dword(bytes, 0x30),
        capabilities: bytes[0x34],
        reserved: copy(bytes, 0x35),
        grant_latency: copy(bytes, 0x3e),
    }
}

fn encode_device(device: &Device, out: &mut [u8; 64]) {
    for (i, slot) in device.bars.iter().enumerate() {
        put(out, 0x10 + 4 * i, &slot.to_le_bytes());
    }
    put(out, 0x28, &device.cis.to_le_bytes());
    put(out, 0x2c, &device.subsystem.0.to_le_bytes());
    put(out, 0x2e, &device.subsystem.1.to_le_bytes());
    put(out, 0x30, &device.rom.to_le_bytes());
    put(out, 0x34, &[device.capabilities]);
    put(out, 0x35, &device.reserved);
    put(out, 0x3e, &device.grant_latency);
}

fn decode_bridge(bytes: &[u8; 64]) -> Bridge {
    Bridge {
        bars: core::array::from_fn(|i| dword(bytes, 0x10 + 4 * i)),
        primary: bytes[0x18],
        secondary: bytes[0x19],
        subordinate: bytes[0x1a],
        secondary_latency: bytes[0x1b],
        secondary_status: word(bytes, 0x1e),
        io: IoWindow {
            base: bytes[0x1c],
            limit: bytes[0x1d],
            base_upper: word(bytes, 0x30),
            limit_upper: word(bytes, 0x32),
        },
        memory: MemoryWindow { base: word(bytes, 0x20), limit: word(bytes, 0x22) },
        prefetchable: PrefetchableWindow {
            base: word(bytes, 0x24),
            limit: word(bytes, 0x26),
            base_upper: dword(bytes, 0x28),
            limit_upper: dword(bytes, 0x2c),
        },
        rom: dword(bytes, 0x38),
        capabilities: bytes[0x34],
        reserved: copy(bytes, 0x35),
        control: word(bytes, 0x3e),
    }
}

fn encode_bridge(bridge: &Bridge, out: &mut [u8; 64]) {
    for (i, slot) in bridge.bars.iter().enumerate() {
        put(out, 0x10 + 4 * i, &slot.to_le_bytes());
    }
    let Bridge { io, memory, prefetchable, .. } = bridge;
    put(out, 0x18, &[bridge.primary, bridge.secondary, bridge.subordinate, bridge.secondary_latency]);
    put(out, 0x1c, &[io.base, io.limit]);
    put(out, 0x1e, &bridge.secondary_status.to_le_bytes());
    put(out, 0x20, &memory.base.to_le_bytes());
    put(out, 0x22, &memory.limit.to_le_bytes());
    put(out, 0x24, &prefetchable.base.to_le_bytes());
    put(out, 0x26, &prefetchable.limit.to_le_bytes());
    put(out, 0x28, &prefetchable.base_upper.to_le_bytes());
    put(out, 0x2c, &prefetchable.limit_upper.to_le_bytes());
    put(out, 0x30, &io.base_upper.to_le_bytes());
    put(out, 0x32, &io.limit_upper.to_le_bytes());
    put(out, 0x34, &[bridge.capabilities]);
    put(out, 0x35, &bridge.reserved);
    put(out, 0x38, &bridge.rom.to_le_bytes());
    put(out, 0x3e, &bridge.control.to_le_bytes());
}

fn decode_cardbus(bytes: &[u8; 64]) -> CardBus {
    let pair = |offset| (dword(bytes, offset), dword(bytes, offset + 4));
    CardBus {
        socket: dword(bytes, 0x10),
        capabilities: bytes[0x14],
        reserved: bytes[0x15],
        secondary_status: word(bytes, 0x16),
        buses: copy(bytes, 0x18),
        latency: bytes[0x1b],
        memory: [pair(0x1c), pair(0x24)],
        io: [pair(0x2c), pair(0x34)],
        control: word(bytes, 0x3e),
    }
}

fn encode_cardbus(cardbus: &CardBus, out: &mut [u8; 64]) {
    put(out, 0x10, &cardbus.socket.to_le_bytes());
    put(out, 0x14, &[cardbus.capabilities, cardbus.reserved]);
    put(out, 0x16, &cardbus.secondary_status.to_le_bytes());
    put(out, 0x18, &cardbus.buses);
    put(out, 0x1b, &[cardbus.latency]);
    for (i, (base, limit)) in cardbus.memory.iter().chain(&cardbus.io).enumerate() {
        put(out, 0x1c + 8 * i, &base.to_le_bytes());
        put(out, 0x20 + 8 * i, &limit.to_le_bytes());
    }
    put(out, 0x3e, &cardbus.control.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    #[test]
    fn what_is_no_header_is_refused() {
        assert_eq!(Header::decode(&[0; 63]), Err(HeaderError::Short(63)));
        assert_eq!(Header::decode(&[0xff; 256]), Err(HeaderError::NoAnswer));
        let mut odd = [0; 64];
        odd[0x0e] = 3;
        assert_eq!(Header::decode(&odd), Err(HeaderError::Type(3)));
    }

    #[test]
    fn a_bridges_windows_are_read() {
        let mut bytes = [0u8; 64];
        bytes[0x0e] = 0x81;
        bytes[0x18..0x1b].copy_from_slice(&[0, 1, 3]);
        bytes[0x1c..0x1e].copy_from_slice(&[0x71, 0x71]);
        bytes[0x20..0x28].copy_from_slice(&[0x10, 0xcf, 0x10, 0xcf, 0x01, 0x00, 0xf1, 0xff]);
        bytes[0x28] = 0x40;
        bytes[0x2c] = 0x40;
        let header = Header::decode(&bytes).unwrap();
        let bridge = header.bridge().unwrap();
        assert!(header.common.multifunction);
        assert_eq!((bridge.primary, bridge.secondary, bridge.subordinate), (0, 1, 3));
        assert_eq!(bridge.io.range(), Some((0x7000, 0x7fff)));
        assert_eq!(bridge.memory.range(), Some((0xcf10_0000, 0xcf1f_ffff)));
        assert_eq!(bridge.prefetchable.range(), Some((0x40_0000_0000, 0x40_ffff_ffff)));
    }

    #[test]
    fn a_cardbus_bridges_windows_are_read() {
        let mut bytes = [0u8; 64];
        bytes[0x0e] = 2;
        bytes[0x1c..0x24].copy_from_slice(&[0x00, 0x00, 0x00, 0xf0, 0x00, 0xf0, 0xff, 0xf3]);
        let header = Header::decode(&bytes).unwrap();
        let Layout::CardBus(cardbus) = header.layout else { panic!("{header:?}") };
        assert_eq!(cardbus.memory_ranges().collect::<vec::Vec<_>>(), [(0xf000_0000, 0xf3ff_ffff)]);
    }

    proptest! {
        /// Each byte of every type is kept: one that is lost, or put elsewhere, shows.
        #[test]
        fn what_is_decoded_encodes_to_the_same_bytes(mut bytes: [u8; 32], more: [u8; 32], kind in 0u8..3) {
            bytes[0x0e] = bytes[0x0e] & 0x80 | kind;
            let all: vec::Vec<u8> = bytes.into_iter().chain(more).collect();
            if all[..4] != [0xff; 4] {
                let header = Header::decode(&all).unwrap();
                prop_assert_eq!(&header.encode()[..], &all[..]);
                prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(header) = Header::decode(&bytes) {
                header.bars().count();
            }
        }
    }
}
