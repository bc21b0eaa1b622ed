//! SMMU faults as Linux and Xen print them.

use super::record::{FaultRecord, after, joined};
use crate::number::hex;
use crate::text::Line;
use pmem_iommu::smmu::{v2, v3};

pub(super) fn read(lines: &[Line<'_>]) -> Option<(FaultRecord, usize)> {
    let words = lines.first()?.words();
    if words.contains("context fault:") {
        let begins = |text: &str| text.contains("context fault");
        // A comma at the end of the line is a mailer's break: the stream's number comes last.
        let (text, taken) = joined(lines, begins, |text| {
            let has_more = text.trim_end().ends_with(',');
            after(text, "fsynr").is_some() && after(text, "iova=").is_some() && !has_more
        });
        let number = |word: &str| after(&text, word).and_then(hex).and_then(|n| u32::try_from(n).ok());
        let stream = number("cbfrsynra=");
        let fault = v2::Fault {
            status: number("fsr=")?,
            syndrome: number("fsynr=").or_else(|| number("fsynr0=")).unwrap_or(0),
            stream: stream.unwrap_or(0),
        };
        let address = after(&text, "iova=").and_then(hex)?;
        return Some((FaultRecord::SmmuV2 { fault, address, has_stream: stream.is_some() }, taken));
    }
    if !(words.contains("event 0x") && words.contains("received")) {
        return None;
    }
    let (mut event, mut taken) = ([0; 4], 1);
    for word in &mut event {
        let Some(found) = lines.get(taken).and_then(|line| event_word(line.words())) else { break };
        *word = found;
        taken += 1;
    }
    if taken == 1 {
        return None;
    }
    // Newer kernels repeat the event in words.
    let mut client = None;
    if let Some(words) = lines
        .get(taken)
        .map(Line::words)
        .filter(|words| words.contains("event: ") && words.contains("client:"))
    {
        client = after(words, "client:").and_then(super::record::function);
        taken += 1;
        taken += usize::from(lines.get(taken).is_some_and(|line| line.words().contains("stag:")));
    }
    Some((FaultRecord::SmmuV3 { event: v3::Event(event), client }, taken))
}

/// Parses an event word at the end of a line, whole or in halves: `0x0000010000000010`, `0x00000100 00000010`.
fn event_word(words: &str) -> Option<u64> {
    let mut last = words.split_whitespace().rev();
    let (low, high) = (last.next()?, last.next());
    if let Some(whole) = low.strip_prefix("0x").filter(|digits| digits.len() == 16) {
        return hex(whole);
    }
    let high = high?.strip_prefix("0x").filter(|digits| digits.len() == 8 && low.len() == 8)?;
    hex(&format!("{high}{low}"))
}
