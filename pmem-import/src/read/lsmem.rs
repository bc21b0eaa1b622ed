//! `lsmem`: memory blocks, whether they are online, and their nodes.

use super::node_log::node;
use super::reader::{LineReader, Verdict};
use crate::facts::{Facts, SourceSummary, join};
use crate::number::parse_size;
use crate::text::Line;
use pmem_core::AddrRange;

const RECORD: &str = "range of memory blocks";

/// Reads the table, with whatever columns were asked for.
#[derive(Default)]
pub(super) struct Reader {
    /// Column names, and where each begins in the line.
    columns: Vec<(String, usize)>,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        if words.starts_with("RANGE ") && words.contains("STATE") {
            self.columns = placed(words).map(|(at, name)| (name.to_owned(), at)).collect();
            if !self.columns.iter().any(|(column, _)| column == "NODE") {
                let note = "lsmem printed no NODE column, so its memory has no node: use lsmem -o +NODE";
                heard.notes.push(note.to_owned());
            }
            return Verdict::Took;
        }
        if let Some(size) = words.strip_prefix("Memory block size:") {
            let size = parse_size(size.trim());
            facts.numa.block_size = size.or(facts.numa.block_size);
            return if size.is_some() {
                Verdict::Took
            } else {
                Verdict::Odd(RECORD, format!("{words:?} is no size"))
            };
        }
        if self.columns.is_empty() || !words.starts_with("0x") {
            return Verdict::Pass;
        }
        let fields: Vec<(usize, &str)> = placed(words).collect();
        // If a field is blank, fields are matched to columns by position: they overlap the column's name.
        let is_full = fields.len() == self.columns.len();
        let field = |name: &str| {
            let (column, at) = self
                .columns
                .iter()
                .enumerate()
                .find(|(_, (known, _))| known == name)
                .map(|(i, (_, at))| (i, *at))?;
            if is_full {
                return fields.get(column).map(|(_, field)| *field);
            }
            let meets =
                |(start, field): &&(usize, &str)| *start < at + name.len() && at < *start + field.len();
            fields.iter().find(meets).map(|(_, field)| *field)
        };
        let range = field("RANGE").and_then(|range| range.split_once('-')).and_then(|(first, last)| {
            let number = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
            AddrRange::inclusive(number(first)?, number(last)?).ok()
        });
        let (verdict, range) = Verdict::of(RECORD, range.ok_or_else(|| format!("{words:?} has no range")));
        let Some(range) = range else { return verdict };
        // Blocks that several nodes share (`0-1`) cannot be assigned to one.
        let id = field("NODE").and_then(|id| id.parse().ok());
        match (field("NODE"), id) {
            (None, _) => {}
            (Some(ids), None) => {
                return Verdict::Odd(
                    RECORD,
                    format!(
                        "{range} belongs to nodes {ids}, and lsmem does not say which part to which node"
                    ),
                );
            }
            (_, Some(id)) => {
                let node = node(facts, id);
                node.at.get_or_insert_with(|| line.place());
                let list = if field("STATE").is_some_and(|state| state.starts_with("on")) {
                    &mut node.blocks
                } else {
                    &mut node.offline
                };
                list.push(range);
                *list = join(std::mem::take(list));
            }
        }
        heard.count(RECORD);
        Verdict::Took
    }
}

/// The words of a line, each with its offset.
fn placed(line: &str) -> impl Iterator<Item = (usize, &str)> {
    line.split_whitespace().map(move |word| (word.as_ptr() as usize - line.as_ptr() as usize, word))
}

#[cfg(test)]
mod tests {
    use super::super::facts_of;
    use proptest::prelude::*;

    #[test]
    fn blocks_are_of_the_node_that_is_named() {
        let facts = facts_of(
            "RANGE                                  SIZE   STATE REMOVABLE BLOCK NODE  ZONES\n\
             0x0000000000000000-0x000000007fffffff    2G  online       yes  0-15    0 Normal\n\
             0x0000000080000000-0x00000000ffffffff    2G offline           16-31    0   None\n\
             0x0000000100000000-0x000000017fffffff    2G  online       yes 32-47    1 Normal\n\n\
             Memory block size:       128M\nTotal online memory:       4G\n",
        );
        let one = |id: usize| (facts.numa.all[id].blocks[0].to_string(), facts.numa.all[id].offline.len());
        assert_eq!(facts.numa.block_size, Some(128 << 20));
        assert_eq!(one(1), ("0x100000000..0x180000000".to_owned(), 0));
        assert_eq!(facts.numa.all[0].blocks[0].to_string(), "0x0..0x80000000");
        assert_eq!(
            facts.numa.all[0].offline[0].to_string(),
            "0x80000000..0x100000000",
            "a blank field shifts nothing"
        );
    }

    #[test]
    fn what_it_does_not_say_is_said() {
        let heard = |text: &str| facts_of(text).heard.remove(0);
        let bare = heard(
            "RANGE                                  SIZE  STATE REMOVABLE BLOCK\n0x0000000000000000-0x000000007fffffff    2G online       yes  0-15\n",
        );
        assert!(bare.notes.iter().any(|note| note.contains("NODE")));
        let shared = heard("RANGE SIZE STATE NODE\n0x0000000100000000-0x000000017fffffff 2G online 0-1\n");
        assert!(shared.odd[0].why.contains("nodes 0-1"), "{}", shared.odd[0].why);
        let wrong = heard("RANGE SIZE STATE NODE\n0x0000000200000000-0x000000017fffffff 2G online 0\n");
        assert!(wrong.odd[0].why.contains("no range"), "{}", wrong.odd[0].why);
    }

    proptest! {
        #[test]
        fn whatever_lines_say_nothing_panics(text in "RANGE SIZE STATE NODE\n(0x[0-9a-f]{1,17}-0x[0-9a-f]{0,17} [0-9.]{0,4}[KMGX]? (online|offline) [0-9-]{0,3}\n){0,4}(Memory block size: [0-9.]{0,25}[A-Z]?\n)?") {
            facts_of(&text);
        }
    }
}
