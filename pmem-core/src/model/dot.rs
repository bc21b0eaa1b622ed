//! The graph of arenas and interconnects in Graphviz's DOT language.

use super::state::State;
use crate::id::Way;
use crate::mapping::Mapping;
use core::fmt::{self, Write};
use slotmap::Key;

/// Prints a state as a graph in the DOT language: one node per arena, one edge per open direction of an interconnect.
#[derive(Clone, Copy, Debug)]
pub struct Dot<'s>(&'s State);

impl State {
    /// Returns the graph in Graphviz's DOT language, to be printed.
    #[must_use]
    pub const fn dot(&self) -> Dot<'_> {
        Dot(self)
    }
}

impl fmt::Display for Dot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("digraph pmem {\n")?;
        for (id, info, _) in self.0.arenas() {
            writeln!(f, "\ta{} [label={}];", id.data().as_ffi(), Quoted(&[&info.name, &info.kind.words()]))?;
        }
        for (_, link) in self.0.links() {
            for way in [Way::ToRight, Way::ToLeft] {
                let direction = link.direction(way);
                let what = match &direction.mapping {
                    Mapping::Closed => continue,
                    Mapping::Identity => "identity",
                    Mapping::Windows(windows) if windows.yields() => "windows that yield",
                    Mapping::Windows(_) => "windows",
                    Mapping::Interleave(_) => "interleave",
                    Mapping::Table(_) => "table",
                };
                let cost = alloc::format!("{what}, cost {}", direction.metric);
                let (near, far) = (link.near(way).data().as_ffi(), link.far(way).data().as_ffi());
                writeln!(f, "\ta{near} -> a{far} [label={}];", Quoted(&[&link.name, &cost]))?;
            }
        }
        f.write_str("}\n")
    }
}

/// A quoted DOT string of several lines. Empty lines are left out.
struct Quoted<'t>(&'t [&'t dyn fmt::Display]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let lines = self.0.iter().map(|line| alloc::format!("{line}")).filter(|line| !line.is_empty());
        for (i, line) in lines.enumerate() {
            f.write_str(if i == 0 { "" } else { "\\n" })?;
            for c in line.chars() {
                match c {
                    '"' | '\\' => write!(f, "\\{c}")?,
                    '\n' => f.write_str("\\n")?,
                    c => f.write_char(c)?,
                }
            }
        }
        f.write_char('"')
    }
}
