//! Explains the physical addresses in a text: what is at each one, and why a device's DMA faulted.
//!
//! The words around a number tell whether it is an address ([`numbers`]). In an IOMMU fault, the requester tells whose
//! address it is. A text that contains a memory map of its own is explained with that map.

mod fault;
mod note;
pub mod numbers;
mod stream;

pub(crate) use fault::ASKED;
pub use fault::FaultNote;
pub use note::Note;
pub use stream::Annotator;

use crate::iommu::{IommuRefused, RefusalNote};
use crate::resolve::Resolved;
use crate::sources::Sources;
use fault::Known;
use note::explain;
use numbers::{Number, find};
use pmem_import::fault::faults;
use pmem_import::refused::refusals;
use pmem_import::{ImportError, Iommu, Machine, Text, decode};
use serde::Serialize;

/// A text, explained.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Annotated {
    /// General remarks, in particular whether the explanations rest on another machine than the one asked for.
    pub about: Vec<String>,
    /// Explanations of single addresses, in order of line.
    pub notes: Vec<Note>,
    /// IOMMU faults, and mappings and devices that were refused, explained; in order of their last line.
    pub faults: Vec<FaultNote>,
    /// The sources that were read.
    #[serde(flatten)]
    pub sources: Sources,
}

/// The share of memory, in percent, that a text's map and a machine's map must have in common to count as the same
/// machine.
const AGREES: u64 = 90;

impl Annotated {
    /// Explains a text with a machine. If the text has a memory map that differs from the machine's, that map is used
    /// instead.
    ///
    /// `from` is a viewer as [`Machine::viewer`] takes it; `None` is the system bus.
    ///
    /// # Examples
    ///
    /// ```
    /// use pmem_import::{Machine, Sources};
    /// use pmem_report::annotate::Annotated;
    ///
    /// let mut iomem: &[u8] = b"\
    /// 00100000-7fffffff : System RAM
    /// 80000000-febfffff : PCI Bus 0000:00
    ///   e0000000-efffffff : 0000:00:02.0
    ///     e0000000-e07fffff : efifb
    /// ";
    /// let mut sources = Sources::default();
    /// sources.add_stream("iomem", &mut iomem)?;
    /// let mut machine = Machine::read(&mut sources)?;
    ///
    /// let log = b"gpu 0000:00:02.0: scanout from 0xe0001000\n";
    /// let report = Annotated::of(&mut machine, None, log)?;
    /// let note = &report.notes[0];
    /// assert_eq!((note.line, note.number.as_str()), (1, "0xe0001000"));
    /// assert!(note.text.contains("efifb"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(machine: &mut Machine, from: Option<&str>, text: &[u8]) -> Result<Self, AnnotateError> {
        Self::behind(machine, from, text, 0)
    }

    /// Explains what follows the first `known` lines of a text. Those lines were explained before; they are here only
    /// for what they say about the machine.
    fn behind(
        machine: &mut Machine,
        from: Option<&str>,
        text: &[u8],
        known: u32,
    ) -> Result<Self, AnnotateError> {
        let mut own = Self::own_machine(text)?;
        let mut about = Vec::new();
        let is_map = |record: &str| record == "e820 range";
        let has_map = own.memory.values().any(|memory| !memory.spans.is_empty())
            || own.heard.iter().flat_map(|heard| heard.counts.keys()).any(|record| is_map(record));
        let names_devices = !own.functions.is_empty() || own.iommu != Iommu::default();
        let records = faults(text);
        let why = has_map.then(|| differs(machine, &own)).flatten();
        if !has_map && !records.is_empty() {
            about.push(UNMAPPED.to_owned());
        }
        // A text without a memory map can still name the devices of its own machine.
        let (faults, mut notes) = match (&why, names_devices) {
            (Some(_), _) => Known::new(&own, &own, &records).notes(),
            (None, true) => Known::new(&own, machine, &records).notes(),
            (None, false) => Known::new(machine, machine, &records).notes(),
        };
        let mut faults = with_refusals(faults, &own.iommu, text);
        about.extend(why.clone());
        let machine = if why.is_some() { &mut own } else { machine };
        let viewer = match from {
            Some(word) => machine.viewer(word).map_err(AnnotateError::Viewer)?,
            None => machine.system,
        };
        let is_explained =
            |line: u32| faults.iter().any(|fault| (fault.line..=fault.last_line).contains(&line));
        // Read the undecorated lines, so that line numbers match the text as it stands.
        let text = decode(text);
        for (line, raw) in (1u32..).zip(text.lines()).skip(known as usize) {
            if raw.len() > LONGEST {
                about.push(format!("line {line} is longer than {LONGEST} bytes: passed on as it is"));
                continue;
            }
            if is_explained(line) {
                continue;
            }
            let mut last = None;
            for number in find(raw) {
                let found = note(machine, viewer, line, &number);
                // If both ends of a range lie in the same thing, explain it once.
                if !number.ends_range || last.as_ref() != Some(&found.text) {
                    last = Some(found.text.clone());
                    notes.push(found);
                }
            }
        }
        faults.retain(|fault| fault.last_line > known);
        notes.retain(|note| note.line > known);
        notes.sort_by_key(|note| note.line);
        Ok(Self { about, notes, faults, sources: Sources::of(machine) })
    }

    /// Reads the machine that a text describes, as far as it describes one.
    fn own_machine(text: &[u8]) -> Result<Machine, AnnotateError> {
        let text = Text { name: "the text".into(), bytes: text.to_vec() };
        let mut sources = pmem_import::Sources { texts: vec![text], ..pmem_import::Sources::default() };
        Ok(Machine::read(&mut sources)?)
    }
}

/// Merges IOMMU faults with what the text says was refused, in order of line.
fn with_refusals(mut faults: Vec<FaultNote>, iommu: &Iommu, text: &[u8]) -> Vec<FaultNote> {
    let refused = IommuRefused::of(iommu, &refusals(text)).refusals;
    let as_fault = |note: RefusalNote| FaultNote {
        line: note.line,
        last_line: note.line,
        unit: "IOMMU".to_owned(),
        requester: None,
        access: None,
        address: None,
        reason: None,
        says: [vec![note.what], note.says].concat(),
    };
    faults.extend(refused.into_iter().map(as_fault));
    faults.sort_by_key(|fault| fault.last_line);
    faults
}

/// Why a text could not be explained.
#[derive(Debug, thiserror::Error)]
pub enum AnnotateError {
    /// The viewer names no arena, node or device.
    #[error("{0}")]
    Viewer(String),
    /// The machine that the text describes could not be built.
    #[error(transparent)]
    Import(#[from] ImportError),
}

/// The remark about faults in a text that has no memory map.
const UNMAPPED: &str = "this text has no memory map: addresses are looked up in the machine that was read, and so are requesters that the text does not name";

/// Lines longer than this many bytes are passed on unexamined.
const LONGEST: usize = 1 << 16;

/// Tells why a text must come from another machine: their memory maps differ. Returns `None` if they match.
fn differs(machine: &Machine, own: &Machine) -> Option<String> {
    let spans = |machine: &Machine| -> Vec<pmem_core::AddrRange> {
        machine.memory.values().flat_map(|memory| memory.spans.iter().copied()).collect()
    };
    let (here, there) = (spans(machine), spans(own));
    let bytes = |ranges: &[pmem_core::AddrRange]| {
        ranges.iter().fold(0u64, |sum, range| sum.saturating_add(range.len()))
    };
    let both: u64 = there
        .iter()
        .flat_map(|a| here.iter().filter_map(|b| a.intersect(*b)))
        .fold(0u64, |sum, range| sum.saturating_add(range.len()));
    let (ours, theirs) = (bytes(&here), bytes(&there));
    let agree = both >= ours.max(theirs) / 100 * AGREES;
    if agree && ours > 0 {
        return None;
    }
    let sizes = format!(
        "{} of memory against {} here",
        crate::size(theirs),
        if ours == 0 { "none known".to_owned() } else { crate::size(ours) }
    );
    Some(format!(
        "this text comes from another machine, so it is explained with its own memory map ({sizes})"
    ))
}

fn note(machine: &Machine, viewer: pmem_core::ArenaId, line: u32, number: &Number) -> Note {
    let answer = Resolved::new(machine, viewer, number.addr);
    Note { line, number: number.shown.clone(), text: explain(&answer), requester: None, answer }
}
