//! The configuration header: what a bridge forwards (PCI-to-PCI Bridge Architecture 1.2, section 3.2).

use pmem_core::AddrRange;

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Fewer than the 64 bytes of a header.
    #[error("{0} bytes of configuration space: a header has 64")]
    Short(usize),
    /// All ones: nothing answered.
    #[error("configuration space reads all ones: nothing answered")]
    NoAnswer,
}

/// What of a configuration header is used here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Memory accesses are decoded.
    pub memory: bool,
    /// I/O accesses are decoded.
    pub io: bool,
    /// The base address registers as they are, six of a device and two of a bridge.
    pub bars: Vec<u32>,
    /// What a bridge (header type 1) forwards.
    pub bridge: Option<BridgeHeader>,
}

/// What a PCI-PCI bridge forwards downstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeHeader {
    /// The bus above.
    pub primary: u8,
    /// The bus below.
    pub secondary: u8,
    /// The highest bus below.
    pub subordinate: u8,
    /// The I/O window, in steps of 4 KiB; `None` is closed.
    pub io: Option<AddrRange>,
    /// The I/O window can be above 64 KiB.
    pub io32: bool,
    /// The memory window, in steps of 1 MiB.
    pub memory: Option<AddrRange>,
    /// The prefetchable window, in steps of 1 MiB.
    pub prefetchable: Option<AddrRange>,
    /// The prefetchable window can be above 4 GiB.
    pub prefetchable64: bool,
    /// The frame buffer and ports of VGA are forwarded, whatever the windows.
    pub vga: bool,
}

impl Header {
    /// Reads a header from the beginning of configuration space.
    ///
    /// # Errors
    /// [`HeaderError`] if there is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let Some(header) = bytes.first_chunk::<64>() else { return Err(HeaderError::Short(bytes.len())) };
        if header[..4] == [0xff; 4] {
            return Err(HeaderError::NoAnswer);
        }
        let command = u16_at(header, 0x04);
        let is_bridge = header[0x0e] & 0x7f == 1;
        let bars = if is_bridge { 2 } else { 6 };
        Ok(Self {
            memory: command & 2 != 0,
            io: command & 1 != 0,
            bars: (0..bars).map(|i| u32_at(header, 0x10 + 4 * i)).collect(),
            bridge: is_bridge.then(|| bridge(header, command)),
        })
    }

    /// The address that a memory BAR holds; `None` if it is no memory BAR.
    pub fn memory_bar(&self, index: usize) -> Option<u64> {
        let low = *self.bars.get(index)?;
        if low & 1 != 0 {
            return None;
        }
        let high = if low & 6 == 4 { *self.bars.get(index + 1)? } else { 0 };
        Some(u64::from(high) << 32 | u64::from(low & !0xf))
    }
}

fn bridge(header: &[u8; 64], command: u16) -> BridgeHeader {
    let (memory_on, io_on) = (command & 2 != 0, command & 1 != 0);
    // The low nibble says how wide: 16 or 32 bits of I/O, 32 or 64 bits of prefetchable memory.
    let io32 = header[0x1c] & 0xf == 1;
    let upper = |offset| if io32 { u64::from(u16_at(header, offset)) << 16 } else { 0 };
    let io_base = u64::from(header[0x1c] & 0xf0) << 8 | upper(0x30);
    let io_last = u64::from(header[0x1d] & 0xf0) << 8 | upper(0x32) | 0xfff;
    let megabytes = |offset| u64::from(u16_at(header, offset) & 0xfff0) << 16;
    let prefetchable64 = header[0x24] & 0xf == 1;
    let high = |offset| if prefetchable64 { u64::from(u32_at(header, offset)) << 32 } else { 0 };
    // Base above limit is how a window is closed; base and limit of zero is a window over the lowest megabyte.
    let window = |base: u64, last: u64, on: bool| AddrRange::inclusive(base, last).ok().filter(|_| on);
    BridgeHeader {
        primary: header[0x18],
        secondary: header[0x19],
        subordinate: header[0x1a],
        io: window(io_base, io_last, io_on),
        io32,
        memory: window(megabytes(0x20), megabytes(0x22) | 0xf_ffff, memory_on),
        prefetchable: window(
            megabytes(0x24) | high(0x28),
            megabytes(0x26) | high(0x2c) | 0xf_ffff,
            memory_on,
        ),
        prefetchable64,
        vga: u16_at(header, 0x3e) & 8 != 0,
    }
}

fn u16_at(header: &[u8; 64], offset: usize) -> u16 {
    u16::from_le_bytes([header[offset], header[offset + 1]])
}

fn u32_at(header: &[u8; 64], offset: usize) -> u32 {
    u32::from(u16_at(header, offset)) | u32::from(u16_at(header, offset + 2)) << 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_that_is_too_short_is_refused() {
        assert_eq!(Header::parse(&[0; 63]), Err(HeaderError::Short(63)));
        assert_eq!(Header::parse(&[0xff; 256]), Err(HeaderError::NoAnswer));
    }

    #[test]
    fn windows_are_read() {
        let mut bytes = [0u8; 64];
        bytes[0x04] = 7;
        bytes[0x0e] = 1;
        bytes[0x18..0x1b].copy_from_slice(&[0, 1, 3]);
        bytes[0x1c..0x1e].copy_from_slice(&[0x71, 0x71]);
        bytes[0x20..0x24].copy_from_slice(&[0x10, 0xcf, 0x10, 0xcf]);
        bytes[0x24..0x28].copy_from_slice(&[0xf1, 0xff, 0x01, 0x00]);
        let header = Header::parse(&bytes).unwrap();
        let bridge = header.bridge.unwrap();
        assert_eq!((bridge.primary, bridge.secondary, bridge.subordinate), (0, 1, 3));
        assert_eq!(bridge.io.unwrap().to_string(), "[0x7000, 0x8000)");
        assert_eq!(bridge.memory.unwrap().to_string(), "[0xcf100000, 0xcf200000)");
        assert_eq!(bridge.prefetchable, None, "base above limit is closed");
        assert!(bridge.prefetchable64 && bridge.io32);
        bytes[0x24..0x28].copy_from_slice(&[0x01, 0x00, 0xf1, 0xff]);
        bytes[0x28] = 0x40;
        bytes[0x2c] = 0x40;
        let bridge = Header::parse(&bytes).unwrap().bridge.unwrap();
        assert_eq!(bridge.prefetchable.unwrap().to_string(), "[0x4000000000, 0x4100000000)");
        bytes[0x04] = 0;
        assert_eq!(Header::parse(&bytes).unwrap().bridge.unwrap().memory, None, "not decoding is closed");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert!((6..8).all(|bar| header.memory_bar(bar).is_none()));
            }
        }
    }
}
