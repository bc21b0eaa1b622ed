//! Reads what kernels, hypervisors and virtual machine monitors refuse: mappings, groups and tables.

mod record;

use crate::text::lines;
use record::Reader;
use std::sync::Arc;

pub use record::{Refusal, Refused};

/// Reads the refusals in a text, in order. Context that explains them is read too: members of groups, drivers,
/// where memory and registers are to be mapped.
///
/// # Examples
///
/// ```
/// use pmem_import::refused::{Refusal, refusals};
///
/// let log = b"vfio 0000:05:00.0: group 14 is not viable\n";
/// let found = refusals(log);
/// let device = "0000:05:00.0".parse()?;
/// assert_eq!(found[0].what, Refusal::NotViable { device, group: Some(14) });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn refusals(text: &[u8]) -> Vec<Refused> {
    let source: Arc<str> = "the text".into();
    let mut all: Vec<(u32, String)> = Vec::new();
    lines(&source, text, |line| all.push((line.number, line.words().to_owned())));
    let mut reader = Reader::default();
    for (n, (line, words)) in all.iter().enumerate() {
        // A message that a mailer wrapped continues in the next line.
        let next = all.get(n + 1).map_or("", |(_, words)| words.as_str());
        reader.take(*line, words, next);
    }
    reader.found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<Refusal> {
        refusals(text.as_bytes()).into_iter().map(|refused| refused.what).collect()
    }

    #[test]
    fn mappings_are_read_in_each_spelling() {
        let map = |at, size| Refusal::Map { at, size, errno: -22, region: None };
        for text in [
            "Region pc.ram: vfio_dma_map(0x55ba53e7a9d0, 0x100000000, 0xff30000000, 0x7ed243e00000) = -22 (Invalid argument)",
            "QEMU: kvm: vfio_container_dma_map(0x5ae448831540, 0x100000000, 0xff30000000, 0x706d10000000) = -22 (Invalid argument)",
        ] {
            assert_eq!(read(text), [map(0x1_0000_0000, 0xff_3000_0000)], "{text}");
        }
        let section = "vfio_dma_map(0x1, 0x380000000000, 0x10000000, 0x2) = -22\n section->offset_within_address_space: 0x382000000000\n Memory region name: shmem0\n Memory region size: 0x10000000";
        let region = Some("shmem0".to_owned());
        assert_eq!(
            read(section),
            [Refusal::Map { at: 0x3820_0000_0000, size: 0x1000_0000, errno: -22, region }]
        );
        assert_eq!(
            read("intel_iommu_map: iommu width (39) is not sufficient for the mapped address (8800001000)"),
            [Refusal::Width { width: 39, address: 0x88_0000_1000 }]
        );
    }

    #[test]
    fn wrapped_lines_are_one() {
        let range = [Refusal::Unreserved { first: 0x41d9_2000, last: 0x41d9_4fff }];
        let whole = "DMAR: [Firmware Bug]: No firmware reserved region can cover this RMRR [0x0000000041d92000-0x0000000041d94fff], contact";
        assert_eq!(read(whole), range);
        assert_eq!(read(&whole.replace(" [0x", "\n[0x")), range);
        let device = "0000:06:00.0".parse().unwrap();
        let text = "pci 0000:06:00.0: DMAR: Device is ineligible for IOMMU\ndomain attach due to platform RMRR requirement.";
        assert_eq!(read(text), [Refusal::Ineligible { device }]);
    }

    proptest! {
        #[test]
        fn whatever_a_text_says_nothing_panics(text in r"([ -~]{0,60}(0x[0-9a-f]{0,20}|vfio_dma_map\(|IOAPIC\[|RMRR \[|GiB|Group |drv=)?\n?){0,12}") {
            let _ = refusals(text.as_bytes());
        }
    }
}
