//! The amount of memory: `/proc/meminfo`, also that of nodes in a pasted text.

use super::node_log::node;
use super::reader::{LineReader, Verdict, read_file};
use crate::capture::Tree;
use crate::facts::{Facts, SourceSummary, Sourced};
use crate::text::{Line, Scan};

/// The files.
pub(super) const FILES: &[&str] = &["proc/meminfo"];

pub(super) fn read(tree: &Tree, facts: &mut Facts, heard: &mut SourceSummary) {
    read_file(tree, FILES[0], &mut Reader, facts, heard);
}

/// Reads the totals.
#[derive(Default)]
pub(super) struct Reader;

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let mut scan = Scan::new(line.words());
        let id = scan.lit("Node ").and_then(|()| scan.decimal()).and_then(|id| u32::try_from(id).ok());
        if scan.lit("MemTotal:").is_none() {
            return Verdict::Pass;
        }
        let bytes = scan.decimal().filter(|_| scan.0 == "kB").and_then(|kb| kb.checked_mul(1024));
        let (verdict, bytes) =
            Verdict::of("memory size", bytes.ok_or_else(|| "MemTotal is no number of kB".to_owned()));
        let Some(bytes) = bytes else { return verdict };
        match id {
            Some(id) => node(facts, id).bytes = Some(bytes),
            None => facts.numa.total = Some(Sourced::new(bytes, line.place())),
        }
        heard.count("memory size");
        verdict
    }
}
