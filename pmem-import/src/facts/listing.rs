//! Nested, named ranges, as Linux lists its resources.

use super::{SourceLine, join, without};
use pmem_core::AddrRange;
use std::sync::Arc;

/// One line: a named range, and what it lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its addresses.
    pub range: AddrRange,
    /// What the kernel calls it.
    pub name: String,
    /// How many ranges it lies inside.
    pub depth: usize,
    /// The place in the list of the line that it lies inside.
    pub parent: Option<usize>,
    /// The line in the source, from 1.
    pub line: u32,
}

/// A list of nested ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// In the order of the source; a parent stands before its children.
    pub lines: Vec<Listed>,
    /// The kernel gave zeros for addresses, as it does to those without `CAP_SYS_ADMIN`.
    pub hidden: bool,
    /// The source.
    pub source: Arc<str>,
}

impl Listing {
    /// The lines around a line, from the inside out.
    pub fn around(&self, index: usize) -> impl Iterator<Item = &Listed> {
        std::iter::successors(self.lines.get(index).and_then(|line| line.parent), |outer| {
            self.lines.get(*outer).and_then(|line| line.parent)
        })
        .filter_map(|index| self.lines.get(index))
    }

    /// Where a line stands.
    pub fn place(&self, line: &Listed) -> SourceLine {
        SourceLine::line(&self.source, line.line)
    }

    /// By line: what of it no line inside it has, in order.
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
