//! Records of IOMMU faults, and how their parts are written.

use crate::number;
use crate::text::Line;
use pmem_iommu::{amd as amd_vi, smmu as arm, vtd as intel};
use pmem_pci::Address;

/// A fault, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its first line in the text, counted from 1.
    pub line: u32,
    /// Its last line, inclusive.
    pub last_line: u32,
    /// A hypervisor's log reports it.
    pub xen: bool,
    /// What the record says.
    pub record: FaultRecord,
}

/// The requester that a record names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requester {
    /// The function, or the function that the requester id would name: the id may belong to no function.
    pub address: Address,
    /// The kernel knows the function, and printed its name in front of the record.
    pub is_known: bool,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultRecord {
    /// VT-d: a memory request that was refused.
    Vtd {
        /// The requester.
        who: Option<Requester>,
        /// Whether it was a read; `None` if the record does not say.
        read: Option<bool>,
        /// The faulting address, as the record gives it; `None` if it gives none.
        address: Option<u64>,
        /// The fault reason's number, as written. A record can have it wrong: see
        /// [`reason_of_text`](super::reason_of_text).
        reason: Option<intel::Reason>,
        /// The fault reason in words, as written.
        says: String,
    },
    /// VT-d: an interrupt request that was refused.
    Interrupt {
        /// The requester.
        who: Option<Requester>,
        /// Index of the interrupt remapping table entry.
        index: Option<u64>,
        /// The fault reason's number, as written.
        reason: Option<intel::Reason>,
        /// The fault reason in words, as written.
        says: String,
    },
    /// VT-d: the fault status register.
    Status(intel::Status),
    /// VT-d: a hypervisor's walk of the page table.
    Walk {
        /// The page frame number that it looked up.
        frame: u64,
        /// The entries from the top level down: level, index, entry. The last one is where the walk ended.
        entries: Vec<(u8, u64, u64)>,
    },
    /// VT-d: a device did not answer an invalidation of its translations in time. The id in the message
    /// is unreliable.
    InvalidationTimeout,
    /// AMD-Vi: an event.
    Amd {
        /// The event code.
        code: amd_vi::Code,
        /// The requester, or the device that the event is about.
        who: Option<Requester>,
        /// The domain id or PASID.
        domain: Option<u32>,
        /// The address, as written.
        address: Option<u64>,
        /// The event's flags.
        flags: Option<amd_vi::Flags>,
    },
    /// AMD-Vi: the device table entry that an event is about.
    DeviceEntry(amd_vi::DeviceEntry),
    /// AMD-Vi: the unit did not complete a command in time.
    CompletionTimeout,
    /// SMMUv3: an event.
    SmmuV3 {
        /// The event's words.
        event: arm::v3::Event,
        /// The device that the kernel names, if the stream has only one.
        client: Option<Address>,
    },
    /// SMMUv1 or SMMUv2: a context fault.
    SmmuV2 {
        /// Its fault registers.
        fault: arm::v2::Fault,
        /// The faulting address.
        address: u64,
        /// Whether the record names the stream; otherwise the stream in `fault` is meaningless.
        has_stream: bool,
    },
    /// The kernel refused a DMA transfer to an address beyond the device's reach.
    TooFar {
        /// The device's name.
        device: String,
        /// First address of the transfer.
        address: u64,
        /// Length in bytes.
        size: u64,
        /// The device's DMA mask.
        mask: u64,
        /// The highest address that its bus reaches; 0 if there is no limit.
        limit: u64,
        /// The address is a bounce buffer's.
        bounced: bool,
    },
    /// Number of records that the kernel suppressed.
    Suppressed(u64),
}

/// The most lines that one record spans.
const LONGEST: usize = 4;

/// Joins lines, starting with the first, until the record is complete; also returns how many lines were joined. A
/// record that never becomes complete is its first line alone.
pub(super) fn joined(
    lines: &[Line<'_>],
    begins: impl Fn(&str) -> bool,
    is_whole: impl Fn(&str) -> bool,
) -> (String, usize) {
    let mut text = lines.first().map_or(String::new(), |line| line.words().to_owned());
    let mut taken = 1;
    while !is_whole(&text) && taken < LONGEST {
        let Some(next) = lines.get(taken).filter(|line| !begins(line.words())) else { break };
        text.push(' ');
        text.push_str(next.words());
        taken += 1;
    }
    if is_whole(&text) {
        return (text, taken);
    }
    // It never becomes complete, so what follows is something else.
    (lines.first().map_or(String::new(), |line| line.words().to_owned()), 1)
}

/// Parses a function as people write it: `0000:05:00.0`, `05:00.0`, `0x64:0x00.5`, `07.00.1`.
pub(super) fn function(text: &str) -> Option<Address> {
    let parts: Option<Vec<u64>> = text.trim().split([':', '.']).map(number::hex).collect();
    number::function(&parts?)
}

/// The text after a word, up to a blank, comma, semicolon or bracket.
pub(super) fn after<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let rest = text.split_once(word)?.1.trim_start();
    rest.split([' ', ',', ']', ')', ';']).next().filter(|rest| !rest.is_empty())
}
