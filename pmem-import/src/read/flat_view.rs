//! QEMU's `info mtree -f`: what each address space sees.

use super::reader::{LineReader, Verdict};
use crate::facts::{Facts, FlatKind, FlatRange, FlatView, SourceSummary};
use crate::number::hex;
use crate::text::{Line, Scan};
use pmem_core::AddrRange;

const RECORD: &str = "mapped range";

/// What accelerators call themselves after a range that they map.
const ACCELERATORS: [&str; 7] = ["KVM", "HAX", "HVF", "WHPX", "NVMM", "MSHV", "XEN"];

/// Reads the monitor's output.
#[derive(Default)]
pub(super) struct Reader {
    done: Vec<FlatView>,
    now: Option<FlatView>,
    /// Number of outputs in the text.
    outputs: usize,
    is_tree: bool,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, _facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        if let Some(number) = words.strip_prefix("FlatView #") {
            let Ok(number) = number.trim().parse() else {
                return Verdict::Odd("FlatView", format!("{number:?} is no number"));
            };
            self.done.extend(self.now.take());
            // Numbers that start again mean another output. Only the last one counts.
            if self.done.last().is_none_or(|last| number <= last.number) {
                self.done.clear();
                self.outputs += 1;
            }
            self.now = Some(FlatView { number, spaces: Vec::new(), ranges: Vec::new(), at: line.place() });
            return Verdict::Took;
        }
        if let Some(name) = words.strip_prefix("address-space: ") {
            if !name.is_empty() && !self.is_tree {
                self.is_tree = true;
                let note = "info mtree does not show what address spaces see: capture info mtree -f instead";
                heard.notes.push(note.to_owned());
            }
            self.done.extend(self.now.take());
            return Verdict::Took;
        }
        let Some(now) = &mut self.now else { return Verdict::Pass };
        if let Some(space) = words.strip_prefix("AS \"") {
            let parts = space.split_once('"').map(|(name, rest)| (name, rest.strip_prefix(", root: ")));
            let Some((name, root)) = parts else {
                return Verdict::Odd("address space", "its name has no end".to_owned());
            };
            let root = root.unwrap_or_default();
            let root = root.split_once(", alias ").map_or(root, |(root, _)| root);
            now.spaces.push((name.to_owned(), root.to_owned()));
            heard.count("address space");
            return Verdict::Took;
        }
        if words.starts_with("Root memory region: ") || words.starts_with("No rendered FlatView") {
            return Verdict::Took;
        }
        if !words.contains(" (prio ") {
            return Verdict::Pass;
        }
        let (verdict, range) = Verdict::of(RECORD, range(words, line.number));
        if let Some(range) = range {
            now.ranges.push(range);
            heard.count(RECORD);
        }
        verdict
    }

    fn end(&mut self, facts: &mut Facts, heard: &mut SourceSummary) {
        self.done.extend(self.now.take());
        if self.outputs > 1 {
            heard.notes.push(format!("{} outputs of info mtree -f: the last one is taken", self.outputs));
        }
        if !self.done.is_empty() {
            if let Some(before) = facts.views.first() {
                let source = before.at.source.clone();
                heard.notes.push(format!("the address spaces are taken from here, not from {source}"));
            }
            facts.views = std::mem::take(&mut self.done);
        }
    }
}

/// Parses `0000000000100000-000000007fffffff (prio 0, ram): pc.ram @0000000000100000 KVM owner:{…}`.
fn range(words: &str, line: u32) -> Result<FlatRange, String> {
    let mut scan = Scan::new(words);
    let ends = (|| {
        let first = scan.hex()?;
        scan.lit("-")?;
        Some((first, scan.hex()?))
    })();
    let (first, last) = ends.ok_or_else(|| format!("{words:?} has no range"))?;
    let range = AddrRange::inclusive(first, last).map_err(|error| error.to_string())?;
    let head = scan.lit("(prio").and_then(|()| scan.until("):")).and_then(|head| head.split_once(", "));
    let (priority, kind) = head.ok_or_else(|| format!("{words:?} has no priority and kind"))?;
    let priority = priority.trim().parse().map_err(|_| format!("{priority:?} is no priority"))?;
    let kind = match kind.trim() {
        "ram" => FlatKind::Ram,
        "nv-ram" => FlatKind::Persistent,
        "rom" | "romd" | "nv-rom" | "nv-romd" => FlatKind::Rom,
        "i/o" | "ramd" | "nv-i/o" | "nv-ramd" => FlatKind::Device,
        other => return Err(format!("{other:?} is no kind of memory region")),
    };
    let mut name = scan.0;
    for owner in [" owner:{", " parent:{"] {
        name = name.split_once(owner).map_or(name, |(name, _)| name);
    }
    // A name may contain blanks and `@` itself: `/rom@etc/acpi/tables`. The offset has 16 digits.
    let placed = name.rmatch_indices(" @").find_map(|(at, _)| {
        let behind = name.get(at + 2..)?;
        let digits = behind.split_whitespace().next().filter(|digits| digits.len() == 16)?;
        Some((name.get(..at)?, hex(digits)?))
    });
    let (name, offset) = placed.unwrap_or((name, 0));
    // These words can follow a name several times, once for each address space.
    let mut name = name.trim();
    while let Some((bare, last)) = name.rsplit_once(' ')
        && (last == "orphan" || ACCELERATORS.contains(&last.to_ascii_uppercase().as_str()))
    {
        name = bare.trim_end();
    }
    if name.is_empty() {
        return Err(format!("{words:?} names no memory region"));
    }
    Ok(FlatRange { range, kind, priority, name: name.to_owned(), offset, line })
}

#[cfg(test)]
mod tests {
    use super::super::facts_of;
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "(qemu) info mtree -f\nFlatView #0\n AS \"memory\", root: system\n AS \"cpu-memory-0\", root: system\n Root memory region: system\n  \
        0000000000000000-000000000009ffff (prio 0, ram): pc.ram KVM\n  \
        00000000000e0000-00000000000fffff (prio 1, rom): pc.bios @0000000000020000\n  \
        00000000fd000000-00000000fdffffff (prio 1, ram): vga.vram owner:{dev id=vga}\n  \
        0000000100000000-000000017fffffff (prio 0, ram): pc.ram @0000000080000000 KVM owner:{obj path=/x}\n\n\
        FlatView #1\n AS \"e1000\", root: bus master container\n Root memory region: (none)\n  No rendered FlatView\n\n";

    #[test]
    fn ranges_have_regions_offsets_and_kinds() {
        let facts = facts_of(TEXT);
        let [memory, none] = &facts.views[..] else { panic!("{:?}", facts.views) };
        assert!(memory.is_of("memory") && memory.is_of("cpu-memory-0") && none.is_of("e1000"));
        assert!(none.ranges.is_empty());
        let all: Vec<_> =
            memory.ranges.iter().map(|r| (r.name.as_str(), r.offset, r.kind, r.is_main_memory())).collect();
        assert_eq!(
            all,
            [
                ("pc.ram", 0, FlatKind::Ram, true),
                ("pc.bios", 0x20000, FlatKind::Rom, false),
                ("vga.vram", 0, FlatKind::Ram, false),
                ("pc.ram", 0x8000_0000, FlatKind::Ram, true),
            ]
        );
        assert_eq!(memory.ranges[3].range.last(), 0x1_7fff_ffff);
    }

    #[test]
    fn what_stands_behind_a_name_is_none_of_it() {
        let line = |words: &str| range(words, 1).unwrap();
        let head = "0000000000000000-00000000000fffff (prio 0, ram): ";
        for tail in [
            "",
            " KVM",
            " KVM KVM",
            " orphan",
            " orphan KVM",
            " owner:{dev id=a} KVM",
            " @0000000000000000 orphan",
        ] {
            assert_eq!(line(&format!("{head}pc.ram{tail}")).name, "pc.ram", "{tail:?}");
        }
        assert_eq!(line(&format!("{head}0000:01:00.0 BAR 1")).name, "0000:01:00.0 BAR 1");
        let facts = facts_of("FlatView #0\n AS \"e\", root: container, alias system\n");
        assert_eq!(facts.views[0].spaces, [("e".to_owned(), "container".to_owned())]);
    }

    #[test]
    fn of_two_outputs_the_last_counts_and_is_said_to() {
        let facts = facts_of(&format!("{TEXT}{}", TEXT.replace("e1000", "rtl8139")));
        assert_eq!(facts.views.len(), 2);
        assert!(facts.views[1].is_of("rtl8139"));
        assert!(facts.heard[0].notes.iter().any(|note| note.contains("2 outputs")), "{:?}", facts.heard);
    }

    #[test]
    fn what_is_no_range_is_named_and_a_tree_is_said_to_be_one() {
        let facts = facts_of(&TEXT.replace("prio 1, rom", "prio 1, rum"));
        assert!(facts.heard[0].odd[0].why.contains("rum"), "{:?}", facts.heard[0].odd);
        let facts =
            facts_of("address-space: memory\n  0000000000000000-ffffffffffffffff (prio 0, i/o): system\n");
        assert!(facts.views.is_empty());
        assert!(facts.heard[0].notes[0].contains("info mtree -f"), "{:?}", facts.heard[0]);
    }

    proptest! {
        #[test]
        fn whatever_is_pasted_nothing_panics(text in "(FlatView #[0-9]{0,2}\n| AS \"[a-z]{0,3}\"?(, root: [a-z]*)?\n|  [0-9a-f]{0,17}-[0-9a-f]{0,17} \\(prio -?[0-9]{1,11}, (ram|i/o)?\\): [a-z @]{0,9}(@[0-9a-f]{16})?( KVM)?\n){0,12}") {
            facts_of(&text);
        }
    }
}
