//! What a record of a fault says, and how its parts are written.

use crate::number;
use crate::text::Line;
use pmem_iommu::{amd as amd_vi, smmu as arm, vtd as intel};
use pmem_pci::Address;

/// A record of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its first line in the text, from 1.
    pub line: u32,
    /// Its last.
    pub last_line: u32,
    /// A hypervisor's log says it.
    pub xen: bool,
    /// What it says.
    pub record: FaultRecord,
}

/// Who asked, as a record names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requester {
    /// The function, or what the requester id would name if it were one.
    pub address: Address,
    /// The kernel found a function of that name and printed it before the record.
    pub is_known: bool,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultRecord {
    /// VT-d: a request.
    Vtd {
        /// Who asked.
        who: Option<Requester>,
        /// It was a read; `None` if it is not said.
        read: Option<bool>,
        /// The page; `None` if it is not said.
        address: Option<u64>,
        /// The reason's number as it is written, which may be a slip.
        reason: Option<intel::Reason>,
        /// The reason's words, as they are written.
        says: String,
    },
    /// VT-d: an interrupt.
    Interrupt {
        /// Who asked.
        who: Option<Requester>,
        /// The entry of the table of interrupts.
        index: Option<u64>,
        /// The reason's number.
        reason: Option<intel::Reason>,
        /// The reason's words.
        says: String,
    },
    /// VT-d: the fault status register.
    Status(intel::Status),
    /// VT-d: what a hypervisor found on the way: where it ended, and what the last entry holds.
    Walk {
        /// The page.
        frame: u64,
        /// The levels' entries, from the top: level, index, entry.
        entries: Vec<(u8, u64, u64)>,
    },
    /// VT-d: a device did not answer in time when it was to forget translations; the id is not to be relied on.
    InvalidationTimeout,
    /// AMD-Vi: an event.
    Amd {
        /// What it is.
        code: amd_vi::Code,
        /// Who asked, or whom it is about.
        who: Option<Requester>,
        /// The domain.
        domain: Option<u32>,
        /// The address as it is written.
        address: Option<u64>,
        /// More of it.
        flags: Option<amd_vi::Flags>,
    },
    /// AMD-Vi: the entry of the device table that an event is about.
    DeviceEntry(amd_vi::DeviceEntry),
    /// AMD-Vi: the unit did not finish a command.
    CompletionTimeout,
    /// SMMU, version 3: an event.
    SmmuV3 {
        /// Its words.
        event: arm::v3::Event,
        /// The one device of the stream that the kernel names.
        client: Option<Address>,
    },
    /// SMMU, version 1 or 2.
    SmmuV2 {
        /// Its registers.
        fault: arm::v2::Fault,
        /// The address.
        address: u64,
        /// It says which stream.
        has_stream: bool,
    },
    /// The kernel refused a transfer that the device has no bits for.
    TooFar {
        /// The device.
        device: String,
        /// The address.
        address: u64,
        /// Bytes.
        size: u64,
        /// What the device can name.
        mask: u64,
        /// What its bus can reach; 0 if there is no limit.
        limit: u64,
        /// The address is of a bounce buffer.
        bounced: bool,
    },
    /// So many lines were not printed.
    Suppressed(u64),
}

/// Lines that a record may go over.
const LONGEST: usize = 4;

/// The lines from the first on, joined, as long as the record is not whole; and how many that are.
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
    // It never is: what follows is something else.
    (lines.first().map_or(String::new(), |line| line.words().to_owned()), 1)
}

/// A function as people write it: `0000:05:00.0`, `05:00.0`, `0x64:0x00.5`, `07.00.1`.
pub(super) fn function(text: &str) -> Option<Address> {
    let parts: Option<Vec<u64>> = text.trim().split([':', '.']).map(number::hex).collect();
    number::function(&parts?)
}

/// What follows a word, up to a blank, a comma or a bracket.
pub(super) fn after<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let rest = text.split_once(word)?.1.trim_start();
    rest.split([' ', ',', ']', ')', ';']).next().filter(|rest| !rest.is_empty())
}
