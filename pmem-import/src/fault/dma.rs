//! Transfers that the kernel refused itself, because the device cannot address the memory (`kernel/dma/direct.h`).

use super::record::{FaultRecord, joined};
use crate::number::hex;
use crate::text::Line;

/// Reads `amdgpu 0000:43:00.0: DMA addr 0x0000210b39000000+8388608 overflow (mask fffffffffff, bus limit 0).`
pub(super) fn read(lines: &[Line<'_>]) -> Option<(FaultRecord, usize)> {
    let words = lines.first()?.words();
    let mark = ["DMA addr 0x", "swiotlb addr 0x"].into_iter().find(|mark| words.contains(mark))?;
    let begins = |text: &str| text.contains("DMA addr 0x") || text.contains("swiotlb addr 0x");
    let (text, taken) = joined(lines, begins, |text| text.contains("bus limit ") && text.contains(')'));
    let (before, rest) = text.split_once(mark)?;
    let (place, rest) = rest.split_once(" overflow (mask ")?;
    let (address, size) = place.split_once('+')?;
    let (mask, limit) = rest.split_once(", bus limit ")?;
    let device = before.trim().trim_end_matches(':').rsplit(' ').next().unwrap_or("").to_owned();
    Some((
        FaultRecord::TooFar {
            device,
            address: hex(address)?,
            size: size.parse().ok()?,
            mask: hex(mask)?,
            limit: hex(limit.split([')', '.']).next()?)?,
            bounced: mark.starts_with("swiotlb"),
        },
        taken,
    ))
}
