//! AMD-Vi events as Linux and Xen print them.

use super::record::{FaultRecord, Requester, after, function, joined};
use crate::number::hex;
use crate::text::Line;
use pmem_iommu::amd::{Code, DeviceEntry, Flags};

pub(super) fn read(lines: &[Line<'_>]) -> Option<(FaultRecord, usize)> {
    let words = lines.first()?.words();
    if words.contains("Completion-Wait loop timed out") {
        return Some((FaultRecord::CompletionTimeout, 1));
    }
    if words.contains("DTE[0]:") {
        return entry(lines);
    }
    if let Some(found) = xen(words) {
        return Some((found, 1));
    }
    if !words.contains("Event logged") {
        return None;
    }
    let begins = |text: &str| text.contains("Event logged");
    let (text, taken) = joined(lines, begins, |text| body(text).is_some_and(|body| body.contains(']')));
    let body = body(&text)?;
    let body = body.split(']').next()?;
    let code = body.split_whitespace().next().and_then(Code::named)?;
    // A function that the kernel knows comes first: `nvme 0000:01:00.0: AMD-Vi: Event logged […`.
    let before = text.split("AMD-Vi").next().unwrap_or("").trim().trim_end_matches(':');
    let known = before.rsplit(' ').next().filter(|word| word.contains('.')).and_then(function);
    let named = after(body, "device=").and_then(function);
    let who = match (known, named) {
        (Some(address), _) => Some(Requester { address, is_known: true }),
        (None, Some(address)) => Some(Requester { address, is_known: false }),
        (None, None) => None,
    };
    let number = |word: &str| after(body, word).and_then(hex);
    let domain = number("domain=").or_else(|| number("pasid=")).and_then(|domain| u32::try_from(domain).ok());
    let flags = number("flags=").and_then(|flags| u16::try_from(flags).ok()).map(Flags);
    Some((FaultRecord::Amd { code, who, domain, address: number("address="), flags }, taken))
}

/// The text in the brackets after `Event logged`.
fn body(text: &str) -> Option<&str> {
    Some(text.split_once("Event logged")?.1.trim_start().strip_prefix('[')?.trim_start())
}

/// Reads `AMD-Vi: IO_PAGE_FAULT: 0000:00:13.1 d0 addr 00000000000eb380 flags 0x20 RW`.
fn xen(words: &str) -> Option<FaultRecord> {
    let (name, rest) = words.split_once("AMD-Vi: ")?.1.split_once(": ")?;
    let code = Code::named(name)?;
    let who = rest.split_whitespace().next().and_then(function)?;
    let flags = after(rest, "flags ").and_then(hex).and_then(|flags| u16::try_from(flags).ok()).map(Flags);
    Some(FaultRecord::Amd {
        code,
        who: Some(Requester { address: who, is_known: false }),
        domain: None,
        address: after(rest, "addr ").and_then(hex),
        flags,
    })
}

/// Reads the four lines of a device table entry: `AMD-Vi: DTE[0]: 6000000000000003`.
fn entry(lines: &[Line<'_>]) -> Option<(FaultRecord, usize)> {
    let mut words = [0; 4];
    let mut taken = 0;
    for (n, word) in words.iter_mut().enumerate() {
        let Some(found) = lines.get(n).and_then(|line| after(line.words(), &format!("DTE[{n}]:"))) else {
            break;
        };
        *word = hex(found)?;
        taken = n + 1;
    }
    (taken > 0).then_some((FaultRecord::DeviceEntry(DeviceEntry(words)), taken))
}
