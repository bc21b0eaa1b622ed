//! The `resource` file of a PCI function: what Linux assigned to it (`include/linux/ioport.h`, `include/linux/pci.h`).

use crate::error::Warning;
use crate::number::hex;
use pmem_core::AddrRange;
use std::fmt;

const IO: u64 = 0x100;
const MEM: u64 = 0x200;
/// Of a window: prefetchable, by kernels from 2.6.39 on and by older ones.
const PREFETCH: u64 = 0x2000 | 0x1000;
/// Of a base address register, its own bit (PCI Local Bus 3.0, 6.2.5.1), the same in all kernels.
const BAR_PREFETCH: u64 = 0x8;
const DISABLED: u64 = 0x1000_0000;
const UNSET: u64 = 0x2000_0000;

/// What of a function a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// Base address register 0 to 5.
    Bar(u8),
    /// The expansion ROM.
    Rom,
    /// A base address register of virtual functions, 0 to 5.
    VfBar(u8),
    /// A bridge's window.
    Window,
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bar(n) => write!(f, "BAR {n}"),
            Self::Rom => write!(f, "ROM"),
            Self::VfBar(n) => write!(f, "VF BAR {n}"),
            Self::Window => write!(f, "window"),
        }
    }
}

/// One assigned resource, in addresses as the CPU sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciResource {
    /// What it is.
    pub kind: ResourceKind,
    /// Its addresses.
    pub range: AddrRange,
    /// I/O ports rather than memory.
    pub io: bool,
    /// Reads have no side effects.
    pub prefetchable: bool,
    /// The line in the file, from 1.
    pub line: usize,
}

/// Reads a `resource` file; empty, unset and disabled entries are left out, broken lines named.
pub(super) fn parse(
    text: &str,
    source: &str,
    is_bridge: bool,
    warnings: &mut Vec<Warning>,
) -> Vec<PciResource> {
    let mut out = Vec::new();
    for (line, raw) in (1..).zip(text.lines()).filter(|(_, raw)| !raw.trim().is_empty()) {
        let numbers: Option<Vec<u64>> = raw.split_whitespace().map(hex).collect();
        let Some([start, last, flags]) = numbers.as_deref() else {
            warnings.push(Warning::line(source, line, "not three hexadecimal numbers"));
            continue;
        };
        if flags & (IO | MEM) == 0 || flags & (UNSET | DISABLED) != 0 {
            continue;
        }
        match AddrRange::inclusive(*start, *last) {
            Ok(range) => {
                let (kind, io) = (kind(line - 1, is_bridge), flags & IO != 0);
                let prefetchable = match kind {
                    ResourceKind::Bar(_) | ResourceKind::VfBar(_) => !io && flags & BAR_PREFETCH != 0,
                    ResourceKind::Window => !io && flags & PREFETCH != 0,
                    // Reading a ROM has no side effects.
                    ResourceKind::Rom => true,
                };
                out.push(PciResource { kind, range, io, prefetchable, line });
            }
            Err(error) => warnings.push(Warning::line(source, line, error.to_string())),
        }
    }
    out
}

/// Kernels without SR-IOV leave its six entries out: a bridge's windows then follow the ROM at once.
fn kind(index: usize, is_bridge: bool) -> ResourceKind {
    match u8::try_from(index).unwrap_or(u8::MAX) {
        bar @ 0..=5 => ResourceKind::Bar(bar),
        6 => ResourceKind::Rom,
        vf @ 7..=12 if !is_bridge => ResourceKind::VfBar(vf - 7),
        _ => ResourceKind::Window,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_are_read_by_their_place() {
        let text = "0xc2700000 0xc2703fff 0x0000000000140204\n0x0 0x0 0x0\n0xe000 0xe01f 0x40101\n0x9 0x1 0x200\nwhat\n";
        let mut warnings = Vec::new();
        let all = parse(text, "resource", false, &mut warnings);
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].kind, all[0].io, all[0].prefetchable), (ResourceKind::Bar(0), false, false));
        assert_eq!((all[1].kind, all[1].io), (ResourceKind::Bar(2), true));
        let warnings: Vec<String> = warnings.iter().map(Warning::to_string).collect();
        assert_eq!(
            warnings,
            [
                "resource:4: range [0x9, 0x2) is empty or reversed",
                "resource:5: not three hexadecimal numbers"
            ]
        );
    }

    #[test]
    fn prefetchable_is_read_alike_of_old_and_new_kernels() {
        for flags in ["0x12120c", "0x14220c"] {
            let all = parse(&format!("0x1000 0x1fff {flags}\n"), "resource", false, &mut Vec::new());
            assert!(all[0].prefetchable, "{flags}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_lines_never_panic(lines in prop::collection::vec("(0x)?[0-9a-f]{0,18} [0-9a-f]{0,17} [0-9a-f]{0,9}", 0..20)) {
            parse(&lines.join("\n"), "resource", true, &mut Vec::new());
        }
    }
}
