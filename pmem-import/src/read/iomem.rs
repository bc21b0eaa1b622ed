//! `/proc/iomem` and `/proc/ioports`.

use super::listing::{Reader, Space};
use super::reader::read_file;
use crate::capture::Tree;
use crate::facts::{Facts, SourceSummary};

/// The files.
pub(super) const FILES: &[&str] = &["proc/iomem", "proc/ioports"];

pub(super) fn read(tree: &Tree, facts: &mut Facts, heard: &mut SourceSummary) {
    for (path, space) in FILES.iter().zip([Space::Memory, Space::Ports]) {
        read_file(tree, path, &mut Reader::of(space), facts, heard);
    }
}
