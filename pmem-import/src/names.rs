//! The names that sources give to addresses. Names nest; an address gets only names of lines that cover it.

use crate::facts::{Listed, Listing, SourceLine};
use crate::settle::{WellKnown, well_known};
use pmem_core::AddrRange;

/// The names of memory addresses and I/O ports, as CPUs see them.
#[derive(Clone, Debug, Default)]
pub struct Names {
    memory: Index,
    ports: Index,
    is_x86: bool,
    is_amd: bool,
}

/// A listing, with an index from addresses to the innermost line.
#[derive(Clone, Debug, Default)]
struct Index {
    listing: Listing,
    /// Disjoint ranges in order of address, each with the line that owns it: a line owns what no line
    /// inside it covers.
    leaves: Vec<(AddrRange, usize)>,
}

impl Index {
    fn new(listing: Listing) -> Self {
        let mut flat: rangemap::RangeInclusiveMap<u64, usize> = rangemap::RangeInclusiveMap::new();
        // Parents come before children, and later inserts overwrite earlier ones, so the innermost line wins. Among
        // overlapping lines of one depth the shorter one is inserted last and wins.
        let mut order: Vec<usize> = (0..listing.lines.len()).collect();
        order.sort_by_key(|i| (listing.lines[*i].depth, std::cmp::Reverse(listing.lines[*i].range.len())));
        for index in order {
            let range = listing.lines[index].range;
            flat.insert(range.start()..=range.last(), index);
        }
        let leaf = |(range, index): (&std::ops::RangeInclusive<u64>, &usize)| {
            Some((AddrRange::inclusive(*range.start(), *range.end()).ok()?, *index))
        };
        let leaves = flat.iter().filter_map(leaf).collect();
        Self { listing, leaves }
    }

    /// The lines that cover an address, innermost first.
    fn lines(&self, addr: u64) -> impl Iterator<Item = &Listed> {
        let after = self.leaves.partition_point(|(range, _)| range.start() <= addr);
        let found =
            after.checked_sub(1).and_then(|i| self.leaves.get(i)).filter(|(range, _)| range.contains(addr));
        let index = found.map(|(_, index)| *index);
        let inner = index.and_then(|index| self.listing.lines.get(index));
        inner.into_iter().chain(index.into_iter().flat_map(|index| self.listing.around(index)))
    }

    fn at(&self, addr: u64) -> Vec<&str> {
        self.lines(addr).map(|line| line.name.as_str()).collect()
    }
}

impl Names {
    pub(crate) fn new(memory: Listing, ports: Listing, is_x86: bool, is_amd: bool) -> Self {
        Self { memory: Index::new(memory), ports: Index::new(ports), is_x86, is_amd }
    }

    /// Returns the names of a memory address, innermost first; empty if no source names it.
    ///
    /// # Examples
    ///
    /// ```
    /// use pmem_import::{Machine, Sources, Text};
    ///
    /// let iomem = "00100000-7fffffff : System RAM\n  01000000-01ffffff : Kernel code\n";
    /// let texts = vec![Text { name: "iomem".into(), bytes: iomem.into() }];
    /// let mut sources = Sources { texts, ..Sources::default() };
    /// let machine = Machine::read(&mut sources)?;
    /// assert_eq!(machine.names.of_memory(0x100_0000), ["Kernel code", "System RAM"]);
    ///
    /// let (_, place) = machine.names.said_of_memory(0x100_0000).next().ok_or("no line")?;
    /// assert_eq!(place.to_string(), "iomem:2");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of_memory(&self, addr: u64) -> Vec<&str> {
        self.memory.at(addr)
    }

    /// Returns the lines that name a memory address, innermost first, each with its place in the source.
    pub fn said_of_memory(&self, addr: u64) -> impl Iterator<Item = (&Listed, SourceLine)> {
        self.memory.lines(addr).map(|line| (line, self.memory.listing.place(line)))
    }

    /// Returns the lines that name an I/O port, innermost first, each with its place in the source.
    pub fn said_of_port(&self, port: u64) -> impl Iterator<Item = (&Listed, SourceLine)> {
        self.ports.lines(port).map(|line| (line, self.ports.listing.place(line)))
    }

    /// Returns the names of an I/O port, innermost first; empty if no source names it.
    #[must_use]
    pub fn of_port(&self, port: u64) -> Vec<&str> {
        self.ports.at(port)
    }

    /// Returns the named ranges of memory, as the source lists them.
    #[must_use]
    pub fn memory(&self) -> &Listing {
        &self.memory.listing
    }

    /// Returns what the architecture defines at a memory address, whether or not a source lists it.
    #[must_use]
    pub fn by_architecture(&self, addr: u64) -> Option<&'static WellKnown> {
        well_known(addr, self.is_x86, self.is_amd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_line_comes_first_and_covers_the_address() {
        let line = |start, last, name: &str, parent: Option<usize>, depth| Listed {
            range: AddrRange::inclusive(start, last).unwrap(),
            name: name.to_owned(),
            depth,
            parent,
            line: 0,
        };
        let lines = vec![
            line(0x1000, 0x1fff, "outer", None, 0),
            line(0x1100, 0x11ff, "a", Some(0), 1),
            line(0x1180, 0x118f, "b", Some(1), 2),
        ];
        let names = Names::new(Listing { lines, ..Listing::default() }, Listing::default(), true, false);
        assert_eq!(names.of_memory(0x1180), ["b", "a", "outer"]);
        assert_eq!(names.of_memory(0x1190), ["a", "outer"]);
        assert_eq!(names.of_memory(0x1200), ["outer"]);
        assert!(names.of_memory(0x2000).is_empty() && names.of_memory(0xfff).is_empty());
        assert_eq!(
            names.by_architecture(0xfee0_0010).map(|known| known.name),
            Some("local APIC and message signalled interrupts")
        );
        assert!(names.by_architecture(0xfd_0000_0000).is_none(), "AMD's only");
    }
}
