//! `/proc/bus/pci/devices`: one function per line, in hexadecimal columns.

use super::reader::{LineReader, Verdict};
use crate::facts::{Facts, PciResource, PciSource, ResourceKind, SourceSummary};
use crate::number::hex;
use crate::text::Line;
use pmem_core::AddrRange;
use pmem_pci::Address;

/// Reads the lines.
#[derive(Default)]
pub(super) struct Reader;

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let mut columns = line.text.split('\t');
        let (Some(place), Some(id)) = (columns.next(), columns.next()) else { return Verdict::Pass };
        if place.len() != 4 || id.len() != 8 {
            return Verdict::Pass;
        }
        let (Some(place), Some(id)) = (hex(place), hex(id)) else { return Verdict::Pass };
        let numbers: Vec<u64> = columns.clone().skip(1).map_while(|column| hex(column.trim())).collect();
        if numbers.len() < 14 {
            return Verdict::Odd(
                "PCI function",
                format!("{} columns of addresses and sizes: 14 are expected", numbers.len()),
            );
        }
        let address = Address::from_routing_id(0, place as u16);
        let at = line.place();
        let function = facts.pci.function(PciSource::Listing, address, &at);
        function.id = Some(((id >> 16) as u16, id as u16));
        function.driver = columns.nth(15).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        for (n, (base, size)) in (0u8..).zip(numbers[..7].iter().zip(&numbers[7..14])) {
            let io = base & 1 != 0;
            let start = base & if io { !3 } else { !0xf };
            let kind = if n == 6 { ResourceKind::Rom } else { ResourceKind::Bar(n) };
            let start = if n == 6 { base & !0x7ff } else { start };
            if start != 0
                && let Ok(range) = AddrRange::sized(start, *size)
            {
                let prefetchable = !io && base & 8 != 0;
                function.resources.push(PciResource {
                    kind,
                    range,
                    io,
                    prefetchable,
                    wide: Some(!io && base & 6 == 4),
                    open_ended: false,
                    at: at.clone(),
                });
            }
        }
        heard.count("PCI function");
        Verdict::Took
    }
}
