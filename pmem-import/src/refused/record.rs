//! Refusals, and how they are read.

use crate::number::hex;
use crate::read::member;
use pmem_iommu::RequesterId;
use pmem_pci::Address;

/// One statement, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its line in the text, counted from 1.
    pub line: u32,
    /// The statement.
    pub what: Refusal,
}

/// A refusal, or context that explains one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A mapping of device addresses was refused.
    Map {
        /// First device address.
        at: u64,
        /// Length in bytes.
        size: u64,
        /// The kernel's error number.
        errno: i32,
        /// The monitor's name for the memory region; `None` for main memory, or if it gives none.
        region: Option<String>,
    },
    /// An address does not fit in the IOMMU's address width.
    Width {
        /// The width in bits.
        width: u32,
        /// The address.
        address: u64,
    },
    /// KVM refused a memory slot: the processor's own mapping of the addresses.
    Slot {
        /// First guest address.
        start: u64,
        /// Length in bytes.
        size: u64,
    },
    /// A device cannot be assigned, because firmware makes it share memory (RMRR).
    Ineligible {
        /// The device.
        device: Address,
    },
    /// A device could not be added to its group.
    NoGroup {
        /// The device.
        device: Address,
        /// The group.
        group: u32,
    },
    /// A range that firmware makes devices share (RMRR) lies in no memory that firmware reserves.
    Unreserved {
        /// First address.
        first: u64,
        /// Last address, inclusive.
        last: u64,
    },
    /// DMAR lists a unit whose registers are at address 0.
    UnitAtZero,
    /// Id of an I/O APIC that the IVRS table lacks.
    IoApicMissing(u32),
    /// Id of an I/O APIC that exists.
    IoApic(u32),
    /// `ivrs_ioapic[id]=` on the command line: an I/O APIC's id, and the requester id of its requests.
    IoApicSet(u32, RequesterId),
    /// Xen: an I/O APIC's id is out of bounds.
    IoApicBeyond(u32),
    /// A group is not viable: some of its devices are bound to other drivers.
    NotViable {
        /// The device that was asked for.
        device: Address,
        /// Its group; `None` if the message does not name it.
        group: Option<u32>,
    },
    /// A member of a group.
    Member {
        /// The group.
        group: u32,
        /// The member.
        device: Address,
    },
    /// The driver that is bound to a device.
    Driver {
        /// The device.
        device: Address,
        /// The driver's name.
        driver: String,
    },
    /// Memory, or a BAR, that is to be mapped.
    Wanted {
        /// Its name: `RAM`, or the BAR's number.
        name: String,
        /// First address.
        start: u64,
        /// Length in bytes.
        size: u64,
    },
}

/// Reads line by line, and collects what it finds.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) found: Vec<Refused>,
}

/// The hexadecimal number after a word.
fn after(words: &str, word: &str) -> Option<u64> {
    let rest = words.split_once(word)?.1.trim_start();
    hex(rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?)
}

fn first_function(words: &str) -> Option<Address> {
    words.split([' ', ',', '\'', '(', ')', '/', '=']).find_map(|word| word.trim_end_matches(':').parse().ok())
}

fn decimal(words: &str, word: &str) -> Option<u32> {
    let rest = words.split_once(word)?.1.trim_start();
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Parses `2 GiB`, `128 GiB` or `0x1000`.
fn size(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    let number = words.next()?;
    if number.starts_with("0x") {
        return hex(number);
    }
    let shift = match words.next()?.trim_end_matches([',', '.', ')']) {
        "KiB" | "kB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl Reader {
    pub(super) fn take(&mut self, line: u32, words: &str, next: &str) {
        if self.section(line, words) {
            return;
        }
        let both = format!("{words} {next}");
        let found = map(words)
            .or_else(|| unit(words, &both))
            .or_else(|| io_apic(words))
            .map(|what| vec![what])
            .or_else(|| group(words))
            .or_else(|| wanted(words).map(|what| vec![what]))
            .unwrap_or_default();
        self.found.extend(found.into_iter().map(|what| Refused { line, what }));
        for (id, source) in overrides(words) {
            self.found.push(Refused { line, what: Refusal::IoApicSet(id, source) });
        }
    }

    /// Reads details that a monitor prints after a refused mapping: which part of which region it was.
    fn section(&mut self, line: u32, words: &str) -> bool {
        let last = self.found.last_mut().filter(|last| line.saturating_sub(last.line) <= 6);
        let Some(Refused { what: Refusal::Map { at, size, region, .. }, .. }) = last else { return false };
        if let Some(offset) = after(words, "offset_within_address_space:") {
            *at = offset;
        } else if let Some((_, name)) = words.split_once("Memory region name:") {
            *region = Some(name.trim().to_owned());
        } else if let Some(bytes) = after(words, "Memory region size:") {
            *size = bytes;
        } else {
            return false;
        }
        true
    }
}

fn map(words: &str) -> Option<Refusal> {
    let call = words.split_once("dma_map(").filter(|_| words.contains("vfio"));
    if let Some((before, rest)) = call {
        let (arguments, answer) = rest.split_once(')')?;
        let arguments: Vec<Option<u64>> = arguments.split(',').map(|word| hex(word.trim())).collect();
        let [_, Some(at), Some(size), ..] = arguments[..] else { return None };
        let errno = answer.trim_start().strip_prefix('=')?.split_whitespace().next()?.parse().ok()?;
        let region = before.split_once("Region ").and_then(|(_, rest)| rest.split(':').next());
        // The name of main memory tells nothing; other names tell which device is affected.
        let region = region.filter(|name| *name != "pc.ram").map(str::to_owned);
        return (errno != 0).then_some(Refusal::Map { at, size, errno, region });
    }
    if words.contains("is not sufficient for the mapped address") {
        let (width, address) = (decimal(words, "iommu width (")?, after(words, "mapped address (")?);
        return Some(Refusal::Width { width, address });
    }
    if words.contains("KVM_SET_USER_MEMORY_REGION failed") {
        return Some(Refusal::Slot { start: after(words, "start=")?, size: after(words, "size=")? });
    }
    None
}

fn unit(words: &str, both: &str) -> Option<Refusal> {
    if words.contains("Device is ineligible for IOMMU") {
        return Some(Refusal::Ineligible { device: first_function(words)? });
    }
    if words.contains("Failed to add to iommu group ") {
        return Some(Refusal::NoGroup {
            device: first_function(words)?,
            group: decimal(words, "Failed to add to iommu group ")?,
        });
    }
    if words.contains("No firmware reserved region can cover this RMRR") {
        let range = both.split_once("this RMRR")?.1.split_once('[')?.1.split(']').next()?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (hex(first.trim())?, hex(last.trim())?);
        return (first <= last).then_some(Refusal::Unreserved { first, last });
    }
    words.contains("DMAR reported at address 0").then_some(Refusal::UnitAtZero)
}

fn io_apic(words: &str) -> Option<Refusal> {
    if words.contains("not in IVRS table") {
        return Some(Refusal::IoApicMissing(decimal(words, "IOAPIC[")?));
    }
    if words.contains("IOAPIC[") && words.contains("apic_id ") {
        return Some(Refusal::IoApic(decimal(words, "apic_id ")?));
    }
    if words.contains("IO-APIC") && words.contains("entry beyond bounds") {
        return Some(Refusal::IoApicBeyond(u32::try_from(after(words, "IO-APIC ")?).ok()?));
    }
    None
}

/// Parses every `ivrs_ioapic[4]=00:14.0` of a line.
fn overrides(words: &str) -> Vec<(u32, RequesterId)> {
    let mut out = Vec::new();
    for part in words.split("ivrs_ioapic[").skip(1) {
        let Some((id, rest)) = part.split_once(']') else { continue };
        let source = rest.trim_start_matches('=').split_whitespace().next();
        let source: Option<Address> = source.and_then(|source| source.parse().ok());
        if let Some((id, source)) = id.trim().parse().ok().zip(source) {
            out.push((id, RequesterId(source.routing_id())));
        }
    }
    out
}

fn group(words: &str) -> Option<Vec<Refusal>> {
    if words.contains("is not viable") {
        let device = first_function(words)?;
        return Some(vec![Refusal::NotViable { device, group: decimal(words, "group ") }]);
    }
    if let Some((group, device)) = member(words) {
        return Some(device.map(|device| vec![Refusal::Member { group, device }]).unwrap_or_default());
    }
    // A record about a group that names no member tells nothing about drivers.
    if words.starts_with("IOMMU ") || words.contains("iommu_groups/") {
        return None;
    }
    let driver =
        words.split_once(" driver ").map(|(_, rest)| rest).or_else(|| Some(words.split_once(" drv=")?.1))?;
    let device = words.split_whitespace().next()?.parse().ok()?;
    let driver = driver.split_whitespace().next()?.to_owned();
    Some(vec![Refusal::Driver { device, driver }])
}

fn wanted(words: &str) -> Option<Refusal> {
    if let Some(rest) = words.strip_prefix("BAR ") {
        let (name, rest) = rest.split_once(" base ")?;
        let (base, rest) = rest.split_once(" size ")?;
        return Some(Refusal::Wanted { name: name.to_owned(), start: hex(base.trim())?, size: size(rest)? });
    }
    let rest = words.strip_prefix("guest RAM ")?;
    let (start, rest) = rest.split_once(" + ")?;
    Some(Refusal::Wanted { name: "RAM".to_owned(), start: hex(start.trim())?, size: size(rest)? })
}
