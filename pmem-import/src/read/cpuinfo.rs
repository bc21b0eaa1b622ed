//! Processors: maker, address width, and number.

use super::reader::{LineReader, Verdict, read_file};
use crate::capture::Tree;
use crate::facts::{Facts, SourceLine, SourceSummary, Sourced};
use crate::number::parse_list;
use crate::text::{Line, Scan};
use pmem_mtrr::Width;

/// The files.
pub(super) const FILES: &[&str] =
    &["proc/cpuinfo", "sys/devices/system/cpu/online", "sys/devices/system/cpu/present"];

pub(super) fn read(tree: &Tree, facts: &mut Facts, heard: &mut SourceSummary) {
    read_file(tree, FILES[0], &mut Reader::default(), facts, heard);
    for path in &FILES[1..] {
        let list = tree.text(path, &mut facts.findings).and_then(|text| parse_list(&text));
        if let Some(cpus) = list.filter(|cpus| !cpus.is_empty()) {
            facts.numa.cpus = Some(Sourced::new(cpus, SourceLine::whole(tree.place(path))));
            break;
        }
    }
}

/// Reads `key : value` lines.
#[derive(Default)]
pub(super) struct Reader {
    cpus: Vec<u32>,
    at: Option<SourceLine>,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        let mut scan = Scan::new(words);
        if scan.lit("address sizes").is_some() && scan.lit(":").is_some() {
            let bits = scan.decimal().filter(|_| scan.0.starts_with("bits physical"));
            let width = bits.and_then(|bits| Width::new(u8::try_from(bits).ok()?));
            let read = width.ok_or_else(|| "no width of physical addresses: 32 to 52 bits".to_owned());
            let (verdict, width) = Verdict::of("address width", read);
            if let Some(width) = width {
                if facts.mtrr.width.is_none() {
                    heard.count("address width");
                }
                facts.mtrr.width = Some(Sourced::new(width, line.place()));
            }
            return verdict;
        }
        let Some((key, value)) = words.split_once(':') else { return Verdict::Pass };
        let (key, value) = (key.trim(), value.trim());
        match key {
            "vendor_id" => {
                facts.identity.is_x86 |= !value.is_empty();
                facts.mtrr.is_amd |= value.contains("AMD") || value.contains("Hygon");
                facts.mtrr.no_fixed |= value.contains("Cyrix") || value.contains("Centaur");
                heard.count("processor");
                Verdict::Took
            }
            "processor" => {
                self.cpus.extend(value.parse::<u32>().ok());
                self.at.get_or_insert_with(|| line.place());
                Verdict::Took
            }
            // s390's form: `processor 0: version = FF, …`.
            _ if key.starts_with("processor ") && value.starts_with("version") => {
                self.cpus.extend(key[10..].trim().parse::<u32>().ok());
                self.at.get_or_insert_with(|| line.place());
                Verdict::Took
            }
            _ => Verdict::Pass,
        }
    }

    fn end(&mut self, facts: &mut Facts, _: &mut SourceSummary) {
        if let Some(at) = self.at.take().filter(|_| facts.numa.cpus.is_none() && !self.cpus.is_empty()) {
            facts.numa.cpus = Some(Sourced::new(std::mem::take(&mut self.cpus), at));
        }
    }
}
