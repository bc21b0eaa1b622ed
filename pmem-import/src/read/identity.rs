//! The machine's identity: hardware and kernel.

use super::reader::{LineReader, Verdict};
use crate::capture::{Sources, Text, Tree};
use crate::facts::{Facts, Finding, SourceLine, SourceSummary, Sourced};
use crate::text::{Line, lines};

/// The files. Serial numbers are in others.
pub(super) const FILES: &[&str] = &[
    "proc/version",
    "sys/class/dmi/id/sys_vendor",
    "sys/class/dmi/id/product_name",
    "sys/kernel/security/lockdown",
];

pub(super) fn read(tree: &Tree, facts: &mut Facts, _: &mut SourceSummary) {
    let mut text = |path: &str| {
        let text = tree.text(path, &mut facts.findings)?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let (kernel, vendor, product) = (text(FILES[0]), text(FILES[1]), text(FILES[2]));
    // The active level is in brackets: `none [integrity] confidentiality`.
    let level = text(FILES[3]).filter(|text| !text.contains("[none]"));
    facts.identity.locked_down |= level.is_some();
    let place = |path: &str| SourceLine::whole(tree.place(path));
    facts.identity.kernel = kernel.map(|kernel| Sourced::new(kernel, place(FILES[0])));
    facts.identity.hardware = product.map(|product| {
        Sourced::new(format!("{} {product}", vendor.unwrap_or_default()).trim().to_owned(), place(FILES[2]))
    });
}

/// Reads identity lines of a log.
#[derive(Default)]
pub(super) struct Reader {
    /// Models that the text names, each with the first line that names it.
    models: Vec<(String, u32)>,
}

/// The hardware that a log line names.
fn hardware<'t>(line: &'t Line<'_>) -> Option<&'t str> {
    let words = line.words();
    let said = words.strip_prefix("DMI: ").or_else(|| words.strip_prefix("Hardware name: "))?;
    (!said.starts_with("Memory slots")).then_some(said)
}

impl Sources {
    /// Splits a single text that names several machines into one source per machine. Collections of excerpts are
    /// common, and mixing them would describe no machine. Other sources are returned as they are.
    #[must_use]
    pub fn by_machine(self) -> Vec<Self> {
        let ([], [text]) = (&self.trees[..], &self.texts[..]) else { return vec![self] };
        let mut parts = by_machine(text);
        if parts.len() < 2 {
            return vec![self];
        }
        let first = Self { texts: vec![parts.remove(0)], findings: self.findings, ..Self::default() };
        let others = parts.into_iter().map(|part| Self { texts: vec![part], ..Self::default() });
        std::iter::once(first).chain(others).collect()
    }
}

/// How the log of a boot begins.
const BOOTS: [&str; 3] = ["Linux version ", "BIOS-provided physical RAM map", "Command line: "];
/// A text that names more machines than this is not split.
const MOST: usize = 64;

/// Whether two names mean one machine: old kernels leave out the maker in later messages.
fn is_same(a: &str, b: &str) -> bool {
    let without =
        |long: &str, short: &str| long.strip_suffix(short).is_some_and(|maker| maker.ends_with(' '));
    a == b || without(a, b) || without(b, a)
}

/// Splits a text at the places where another machine is named. Each part keeps the other lines as blank lines, so
/// that line numbers stay right.
fn by_machine(text: &Text) -> Vec<Text> {
    let mut begins: Vec<(String, usize)> = Vec::new();
    // A boot names its machine only after its memory map, so the boot's start belongs to the machine too.
    let mut boot = None;
    lines(&text.name, &text.bytes, |line| {
        let number = line.number as usize - 1;
        if let Some(own) = hardware(&line).map(model) {
            if begins.last().is_none_or(|(last, _)| !is_same(last, own)) {
                begins.push((own.to_owned(), boot.unwrap_or(number)));
            }
            boot = None;
        } else if BOOTS.iter().any(|begin| line.words().starts_with(begin)) {
            boot.get_or_insert(number);
        }
    });
    // So many names are no machines.
    if !(2..=MOST).contains(&begins.len()) {
        return vec![text.clone()];
    }
    let all: Vec<&[u8]> = text.bytes.split_inclusive(|byte| *byte == b'\n').collect();
    // Lines before the first name belong to its machine, or to one without a name.
    let cuts: Vec<usize> =
        std::iter::once(0).chain(begins.iter().map(|(_, line)| *line)).chain([all.len()]).collect();
    let part = |ends: &[usize]| {
        let own = ends[0]..ends[1];
        let kept = |(n, line): (usize, &&[u8])| if own.contains(&n) { line.to_vec() } else { b"\n".to_vec() };
        Text { name: text.name.clone(), bytes: all.iter().enumerate().flat_map(kept).collect() }
    };
    cuts.windows(2).filter(|ends| ends[0] < ends[1]).map(part).collect()
}

/// Returns the model in `Dell Inc. PowerEdge R910/0KYD3D, BIOS 2.12.0 06/04/2018`, without board and
/// BIOS, which can be replaced.
fn model(hardware: &str) -> &str {
    let named = hardware.split_once(", BIOS").map_or(hardware, |(named, _)| named);
    named.rsplit_once('/').map_or(named, |(model, _)| model).trim()
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, _: &mut SourceSummary) -> Verdict {
        let words = line.words();
        if words.starts_with("Linux version ") {
            facts.identity.kernel = Some(Sourced::new(words.to_owned(), line.place()));
            return Verdict::Took;
        }
        if words.starts_with("Kernel is locked down from ") {
            facts.identity.locked_down = true;
            return Verdict::Took;
        }
        if let Some(hardware) = hardware(line) {
            let own = model(hardware);
            if self.models.len() <= MOST && self.models.iter().all(|(known, _)| !is_same(known, own)) {
                self.models.push((own.to_owned(), line.number));
            }
            // Two sources that name different machines would otherwise be mixed silently.
            let other = facts.identity.hardware.as_ref().filter(|said| said.at.source != line.source);
            if let Some(other) = other.filter(|said| !is_same(model(&said.value), own)) {
                let text = format!(
                    "two machines: {own} here, {} there; give pmem the sources of one machine only",
                    model(&other.value)
                );
                let finding = Finding::between(&line.place(), &other.at, text);
                facts.find(finding);
            }
            facts.identity.hardware = Some(Sourced::new(hardware.to_owned(), line.place()));
            return Verdict::Took;
        }
        Verdict::Pass
    }

    fn end(&mut self, _: &mut Facts, heard: &mut SourceSummary) {
        if self.models.len() > 1 {
            let all: Vec<String> =
                self.models.iter().take(4).map(|(name, line)| format!("{name}, line {line}")).collect();
            let more = if self.models.len() > all.len() { "; …" } else { "" };
            let note = format!(
                "{} machines in one text ({}{more}): the answers mix them; put each machine into its own file",
                self.models.len(),
                all.join("; ")
            );
            heard.notes.push(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{facts_of, read_text};
    use super::by_machine;
    use crate::capture::Text;

    const LENOVO: &str = "DMI: LENOVO 81YH/LNVNB161216, BIOS DSCN22WW(V1.08) 03/06/2020\n";

    #[test]
    fn several_machines_in_one_text_are_said_to_be() {
        let twice = facts_of(&format!("{LENOVO}{}", LENOVO.replace("DSCN22WW", "DSCN23WW")));
        assert!(twice.heard[0].notes.is_empty(), "the same with another BIOS: {:?}", twice.heard[0].notes);
        let two =
            facts_of(&format!("{LENOVO}DMI: Dell Inc. PowerEdge R910/0KYD3D, BIOS 2.12.0 06/04/2018\n"));
        assert!(
            two.heard[0].notes[0]
                .contains("2 machines in one text (LENOVO 81YH, line 1; Dell Inc. PowerEdge R910, line 2)"),
            "{:?}",
            two.heard[0].notes
        );
    }

    #[test]
    fn a_text_is_cut_where_another_machine_is_named() {
        let text = Text {
            name: "t".into(),
            bytes: format!("before\n{LENOVO}a\n{LENOVO}b\nDMI: Acer Spin, BIOS V1\nc").into(),
        };
        let parts: Vec<String> =
            by_machine(&text).into_iter().map(|part| String::from_utf8(part.bytes).unwrap()).collect();
        assert_eq!(
            parts,
            [
                "before\n\n\n\n\n\n\n".to_owned(),
                format!("\n{LENOVO}a\n{LENOVO}b\n\n\n"),
                "\n\n\n\n\nDMI: Acer Spin, BIOS V1\nc".to_owned()
            ]
        );
        // A boot begins before it says which machine it is.
        let boots = format!(
            "{LENOVO}a\nLinux version 6.1\nBIOS-provided physical RAM map:\nDMI: Acer Spin, BIOS V1\nc\n"
        );
        let parts = by_machine(&Text { name: "t".into(), bytes: boots.into() });
        assert_eq!(String::from_utf8(parts[0].bytes.clone()).unwrap(), format!("{LENOVO}a\n\n\n\n\n"));
        // Warnings of old kernels name the product alone.
        let old = "DMI: Dell Inc. PowerEdge R910/0KYD3D, BIOS 2.12.0\na\nHardware name: PowerEdge R910\n";
        assert_eq!(by_machine(&Text { name: "t".into(), bytes: old.into() }).len(), 1);
        let one = Text { name: "t".into(), bytes: format!("x\n{LENOVO}").into() };
        assert_eq!(by_machine(&one)[0].bytes, one.bytes);
    }

    #[test]
    fn two_texts_of_two_machines_are_a_finding() {
        let mut facts = facts_of(LENOVO);
        let text = "Hardware name: Dell Inc. PowerEdge R910/0KYD3D, BIOS 2.12.0 06/04/2018\n";
        read_text(&Text { name: "other".into(), bytes: text.into() }, &mut facts);
        let found = facts.findings.finish();
        assert!(
            found[0].to_string().contains("two machines: Dell Inc. PowerEdge R910 here, LENOVO 81YH there"),
            "{found:?}"
        );
    }
}
