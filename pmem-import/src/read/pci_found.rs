//! `/proc/pci` of Linux 2.0 to 2.6: functions in words, a few lines each (`PCI devices found:`).

use super::lspci::named_class;
use super::reader::{LineReader, Verdict};
use crate::facts::{Facts, PciResource, PciSource, ResourceKind, SourceLine, SourceSummary};
use crate::number::hex;
use crate::text::Line;
use pmem_core::AddrRange;
use pmem_pci::Address;

/// Reads the lines.
#[derive(Default)]
pub(super) struct Reader {
    /// The function that the lines describe.
    current: Option<Address>,
    /// Its class and name come on the next line.
    is_new: bool,
}

/// Parses `Bus  6, device   8, function  1:`.
fn heading(words: &str) -> Option<Address> {
    let mut parts = words.strip_suffix(':')?.split(", ");
    let mut after = |name: &str| parts.next()?.strip_prefix(name)?.trim().parse().ok();
    let (bus, device, function) = (after("Bus ")?, after("device ")?, after("function ")?);
    (device < 32 && function < 8).then_some(Address { segment: 0, bus, device, function })
}

/// Parses `Prefetchable 64 bit memory at 0xfbfe0000 [0xfbffffff].` or `I/O at 0x2300 [0x233f].`; they
/// do not name the register.
fn resource(words: &str, at: &SourceLine) -> Option<Result<PciResource, String>> {
    let (what, place) = words.split_once(" at 0x")?;
    let (io, prefetchable, wide) = match what.split_once(' ') {
        None if what == "I/O" => (true, false, false),
        Some(("Prefetchable", rest)) => (false, true, rest.starts_with("64 bit")),
        Some(("Non-prefetchable", rest)) => (false, false, rest.starts_with("64 bit")),
        _ => return None,
    };
    let ends = place.trim_end_matches('.').split_once(" [0x");
    let range = ends.and_then(|(first, last)| Some((hex(first)?, hex(last.strip_suffix(']')?)?)));
    Some(range.ok_or_else(|| "no first and last address".to_owned()).and_then(|(first, last)| {
        let range = AddrRange::inclusive(first, last).map_err(|error| error.to_string())?;
        let (kind, at) = (ResourceKind::Unnamed, at.clone());
        Ok(PciResource { kind, range, io, prefetchable, wide: Some(wide), open_ended: false, at })
    }))
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let (words, at) = (line.words().trim(), line.place());
        if let Some(address) = heading(words) {
            (self.current, self.is_new) = (Some(address), true);
            facts.pci.function(PciSource::Listing, address, &at);
            heard.count("PCI function");
            return Verdict::Took;
        }
        let Some(current) = self.current else { return Verdict::Pass };
        let function = facts.pci.function(PciSource::Listing, current, &at);
        if std::mem::take(&mut self.is_new) {
            let Some((class, title)) = words.split_once(": ") else { return Verdict::Pass };
            function.class = named_class(class);
            let title = title.trim_end_matches('.');
            function.title = Some(title.rsplit_once(" (rev ").map_or(title, |(title, _)| title).to_owned());
            return Verdict::Took;
        }
        match resource(words, &at) {
            None => Verdict::Pass,
            Some(Err(why)) => Verdict::Odd("BAR", why),
            Some(Ok(resource)) => {
                function.resources.push(resource);
                Verdict::Took
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;
    use super::*;

    #[test]
    fn functions_in_words_are_read() {
        let facts = read(
            "PCI devices found:\n\
             \x20 Bus  6, device   8, function  1:\n\
             \x20   Ethernet controller: Intel Corp. 82546EB Gigabit (Copper) (#2) (rev 1).\n\
             \x20     IRQ 30.\n\
             \x20     Non-prefetchable 64 bit memory at 0xfbfc0000 [0xfbfdffff].\n\
             \x20     I/O at 0x2340 [0x237f].\n\
             \x20     Prefetchable 32 bit memory at 0xe0000000 [0xe0\n",
        );
        let function = &facts.pci.functions[&(PciSource::Listing, "0000:06:08.1".parse().unwrap())];
        assert_eq!(function.class.map(|class| class.subclass()), Some(0x0200));
        assert_eq!(function.title.as_deref(), Some("Intel Corp. 82546EB Gigabit (Copper) (#2)"));
        let found: Vec<_> = function.resources.iter().map(|r| (r.io, r.range.len(), r.wide)).collect();
        assert_eq!(found, [(false, 0x2_0000, Some(true)), (true, 0x40, Some(false))]);
        // The last is cut.
        assert_eq!(facts.heard.iter().map(|heard| heard.odd.len()).sum::<usize>(), 1);
    }
}
