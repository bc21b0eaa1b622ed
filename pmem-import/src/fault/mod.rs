//! Reads IOMMU faults from logs of kernels and hypervisors: VT-d, AMD-Vi, SMMU.
//!
//! Each has been printed in many forms over the years, and all are understood. A record may span several lines:
//! kernels print some that way, and mailers wrap others.

mod amd;
mod dma;
mod record;
mod smmu;
mod vtd;

use crate::text::{Line, lines};
use std::sync::Arc;

pub use record::{Fault, FaultRecord, Requester};
pub use vtd::reason_of_text;

/// Reads the faults of a text, in order. Other lines are skipped.
///
/// # Examples
///
/// ```
/// use pmem_import::fault::{FaultRecord, faults};
///
/// let log = b"DMAR: [DMA Write] Request device [05:00.0] fault addr ffdc0000 \
///     [fault reason 05] PTE Write access is not set\n";
/// let found = faults(log);
/// let FaultRecord::Vtd { who, read, address, .. } = &found[0].record else { panic!("not a VT-d fault") };
/// assert_eq!(who.map(|who| who.address.to_string()).as_deref(), Some("0000:05:00.0"));
/// assert_eq!((*read, *address), (Some(false), Some(0xffdc_0000)));
/// ```
#[must_use]
pub fn faults(text: &[u8]) -> Vec<Fault> {
    let source: Arc<str> = "the text".into();
    let mut all: Vec<Line<'static>> = Vec::new();
    lines(&source, text, |line| all.push(Line { text: line.text.into_owned().into(), ..line }));
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(rest) = all.get(at..).filter(|rest| !rest.is_empty()) {
        let readers = [vtd::read, amd::read, smmu::read, dma::read];
        let found = readers.iter().find_map(|read| read(rest));
        let Some((record, taken)) = found else {
            at += 1;
            continue;
        };
        let taken = taken.clamp(1, rest.len());
        let (first, last) = (rest.first(), rest.get(taken - 1));
        out.push(Fault {
            line: first.map_or(0, |line| line.number),
            last_line: last.map_or(0, |line| line.number),
            xen: first.is_some_and(|line| line.xen),
            record,
        });
        at += taken;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmem_iommu::vtd::Reason;
    use proptest::prelude::*;

    /// Requester, read, address, reason.
    type Request = (String, Option<bool>, Option<u64>, Option<u8>);

    fn vtd(text: &str) -> Vec<Request> {
        let one = |fault: Fault| match fault.record {
            FaultRecord::Vtd { who, read, address, reason, .. } => {
                let who = who.map_or("nobody".to_owned(), |who| who.address.to_string());
                Some((who, read, address, reason.map(|reason| reason.0)))
            }
            _ => None,
        };
        faults(text.as_bytes()).into_iter().filter_map(one).collect()
    }

    #[test]
    fn every_spelling_of_vt_d_is_read() {
        for (text, who, read, address, reason) in [
            (
                "DMAR:[DMA Read] Request device [00:02.0] fault addr 1a45aa9000 \nDMAR:[fault reason 12] non-zero reserved fields in PTE",
                "0000:00:02.0",
                true,
                0x1a_45aa_9000,
                12,
            ),
            (
                "[1.0] DMAR: [DMA Write] Request device [00:12.0] fault addr 0 [fault reason 05] PTE Write access is not set",
                "0000:00:12.0",
                false,
                0,
                5,
            ),
            (
                "DMAR: [DMA Read NO_PASID] Request device [0x00:0x02.0] fault addr 0x70ad5000 [fault reason 0x07] Next",
                "0000:00:02.0",
                true,
                0x70ad_5000,
                7,
            ),
            (
                "> DMAR: [DMA Read] Request device [00:05.0] PASID ffffffff\n>   fault addr 76406000 [fault\n> reason 06] PTE Read",
                "0000:00:05.0",
                true,
                0x7640_6000,
                6,
            ),
            (
                "(XEN) [VT-D]DMAR:[DMA Write] Request device [0001:04:00.4] fault addr bdf80000, iommu reg = ffff82c00021d000\n(XEN) [VT-D]DMAR: reason 05 - PTE Write access is not set",
                "0001:04:00.4",
                false,
                0xbdf8_0000,
                5,
            ),
            (
                "DMAR0: pci5:31:7 sid 5ff fault acc 1 adt 0x0 reason 0x6 addr 1000",
                "0000:05:1f.7",
                true,
                0x1000,
                6,
            ),
        ] {
            assert_eq!(vtd(text), [(who.to_owned(), Some(read), Some(address), Some(reason))], "{text}");
        }
        // Neither the place nor the reason is taken from another record.
        let two = "DMAR: [DMA Read] Request device [00:05.0]\nDMAR: [DMA Read] Request device [00:06.0] fault addr 1000 [fault reason 06] x";
        assert_eq!(vtd(two)[0], ("0000:00:05.0".to_owned(), Some(true), None, None));
        assert_eq!(vtd(two)[1].2, Some(0x1000));
    }

    #[test]
    fn words_tell_a_reason_whose_number_is_a_slip() {
        assert_eq!(reason_of_text("Present bit in contect entry is clear"), Some(Reason(2)));
        assert_eq!(reason_of_text("Present bit in root entry is clear"), Some(Reason(1)));
        assert_eq!(reason_of_text("PTE Read access is not set"), Some(Reason(6)));
        assert_eq!(reason_of_text("something else entirely"), None);
    }

    #[test]
    fn events_of_amd_vi_are_read_over_lines() {
        let text = "kernel: [   13.1] AMD-Vi: Event logged [\nkernel: [   13.2] IO_PAGE_FAULT device=05:00.0 domain=0x0012 address=0x00000000ff6101b0 flags=0x0070]\n\
                    nvme 0000:01:00.0: AMD-Vi: Event logged\n[IO_PAGE_FAULT domain=0x000c address=0xffffc080 flags=0x0050]\n\
                    (XEN) AMD-Vi: IO_PAGE_FAULT: 0000:00:14.0 d0 addr 000000fdf8010140 flags 0x8 I\nAMD-Vi: Event logged [IO_PAGE_FAULT cut";
        let found: Vec<_> = faults(text.as_bytes())
            .into_iter()
            .filter_map(|fault| match fault.record {
                FaultRecord::Amd { who: Some(who), address, .. } => {
                    Some((fault.line, fault.last_line, who.address.to_string(), who.is_known, address))
                }
                _ => None,
            })
            .collect();
        assert_eq!(
            found,
            [
                (1, 2, "0000:05:00.0".to_owned(), false, Some(0xff61_01b0)),
                (3, 4, "0000:01:00.0".to_owned(), true, Some(0xffff_c080)),
                (5, 5, "0000:00:14.0".to_owned(), false, Some(0xfd_f801_0140)),
            ]
        );
    }

    #[test]
    fn a_stream_on_the_next_line_belongs_to_its_fault() {
        let whole = "arm-smmu 5000000.iommu: Unhandled context fault: fsr=0x402, iova=0x9f800000, fsynr=0x1b0021, cbfrsynra=0x1c00, cb=2\n";
        let streams = |text: &str| -> Vec<(u64, u32, bool)> {
            let one = |fault: Fault| match fault.record {
                FaultRecord::SmmuV2 { fault, address, has_stream } => {
                    Some((address, fault.stream, has_stream))
                }
                _ => None,
            };
            faults(text.as_bytes()).into_iter().filter_map(one).collect()
        };
        let wanted = [(0x9f80_0000, 0x1c00, true)];
        assert_eq!(streams(whole), wanted);
        let behind = whole.find("fault: ").unwrap();
        for (at, _) in whole.match_indices(' ').filter(|(at, _)| *at > behind) {
            let wrapped = format!("> {}\n> {}> and so on\n", &whole[..at], &whole[at + 1..]);
            assert_eq!(streams(&wrapped), wanted, "{wrapped}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(
            text in "(.{0,40}\n){0,3}",
            near in "((DMAR: |AMD-Vi: Event logged |DTE\\[0\\]: |arm-smmu event 0x10 received: |Request device |fault addr |\\[|\\]|iova=|fsr=|DMA addr 0x|[0-9a-f:. ]{0,9}|\n)){0,24}",
        ) {
            let _ = faults(text.as_bytes());
            let _ = faults(near.as_bytes());
        }
    }
}
