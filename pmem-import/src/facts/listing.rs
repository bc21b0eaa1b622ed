//! Nested, named ranges, as Linux lists its resources.

use super::{SourceLine, join, without};
use pmem_core::AddrRange;
use std::sync::Arc;

/// One line of a listing: a named range, and the line that it is nested in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its addresses.
    pub range: AddrRange,
    /// Its name, in the kernel's words.
    pub name: String,
    /// How deeply it is nested; 0 is outermost.
    pub depth: usize,
    /// Index of the enclosing line in [`Listing::lines`]; `None` if it is outermost.
    pub parent: Option<usize>,
    /// The line in the source, counted from 1.
    pub line: u32,
}

/// A listing of nested ranges, such as `/proc/iomem`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The lines in the order of the source; parents come before their children.
    pub lines: Vec<Listed>,
    /// The kernel printed zeros for addresses, as it does for readers without `CAP_SYS_ADMIN`.
    pub hidden: bool,
    /// The source's name.
    pub source: Arc<str>,
}

impl Listing {
    /// Returns the lines that enclose a line, innermost first.
    pub fn around(&self, index: usize) -> impl Iterator<Item = &Listed> {
        std::iter::successors(self.lines.get(index).and_then(|line| line.parent), |outer| {
            self.lines.get(*outer).and_then(|line| line.parent)
        })
        .filter_map(|index| self.lines.get(index))
    }

    /// Returns a line's place in the source.
    #[must_use]
    pub fn place(&self, line: &Listed) -> SourceLine {
        SourceLine::line(&self.source, line.line)
    }

    /// For each line: the parts of it that no nested line covers, in order of address.
    #[must_use]
    pub fn leaves(&self) -> Vec<Vec<AddrRange>> {
        let mut inner: Vec<Vec<AddrRange>> = vec![Vec::new(); self.lines.len()];
        for line in &self.lines {
            if let Some(parent) = line.parent {
                inner[parent].push(line.range);
            }
        }
        let own = |(line, inner): (&Listed, Vec<AddrRange>)| without(&[line.range], &join(inner));
        self.lines.iter().zip(inner).map(own).collect()
    }
}
