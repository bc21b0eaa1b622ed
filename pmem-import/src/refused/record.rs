//! One refusal, and how it is read.

use crate::number::hex;
use crate::read::member;
use pmem_iommu::RequesterId;
use pmem_pci::Address;

/// Something that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its line, from 1.
    pub line: u32,
    /// What it is.
    pub what: Refusal,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A mapping of device addresses.
    Map {
        /// The first address.
        at: u64,
        /// How many bytes.
        size: u64,
        /// What the kernel answered.
        errno: i32,
        /// What the monitor calls what was to be mapped.
        region: Option<String>,
    },
    /// A unit takes so many bits, and an address has more.
    Width {
        /// The bits.
        width: u32,
        /// The address.
        address: u64,
    },
    /// The processor's own mapping: KVM refuses the addresses as well.
    Slot {
        /// The first address.
        start: u64,
        /// How many bytes.
        size: u64,
    },
    /// A device that may not leave the memory that firmware has it share.
    Ineligible {
        /// The device.
        device: Address,
    },
    /// It is in no group then.
    NoGroup {
        /// The device.
        device: Address,
        /// The group.
        group: u32,
    },
    /// A range that firmware has devices share, and does not call reserved.
    Unreserved {
        /// The first address.
        first: u64,
        /// The last.
        last: u64,
    },
    /// A unit whose registers are said to be at 0.
    UnitAtZero,
    /// An interrupt controller that the table lacks.
    IoApicMissing(u32),
    /// Interrupt controllers that there are.
    IoApic(u32),
    /// A setting that says whose requests an interrupt controller makes.
    IoApicSet(u32, RequesterId),
    /// Xen: an id that is too large.
    IoApicBeyond(u32),
    /// A group of which not everybody is given away.
    NotViable {
        /// The device that was asked for.
        device: Address,
        /// Its group, where it is said.
        group: Option<u32>,
    },
    /// Who is in a group.
    Member {
        /// The group.
        group: u32,
        /// Who.
        device: Address,
    },
    /// Which driver has a device.
    Driver {
        /// The device.
        device: Address,
        /// Its driver.
        driver: String,
    },
    /// What is to be mapped: memory, or a base address register.
    Wanted {
        /// What it is called.
        name: String,
        /// The first address.
        start: u64,
        /// How many bytes.
        size: u64,
    },
}

/// Reads line by line.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) found: Vec<Refused>,
}

/// The hexadecimal number behind a word.
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

/// `2 GiB`, `128 GiB`, `0x1000`.
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

    /// What a monitor says more of a mapping: the part of it that was refused.
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
        // The main memory's name says nothing; others are kept with the part that is meant.
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

/// `ivrs_ioapic[4]=00:14.0`, as often as there are.
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
    // A record of a group that names no member says nothing of a driver.
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
