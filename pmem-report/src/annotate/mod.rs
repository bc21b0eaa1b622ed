//! Explains the physical addresses in a text: what each is, and why a device's fault happened.
//!
//! Which numbers of a text are addresses, the words around them say ([`numbers`]); whose an address is, a fault's requester says. A text
//! with a memory map of its own is explained with that map.

pub mod numbers;

use crate::resolve::{Answer, Outcome};
use crate::sources::Sources;
use crate::units::Addr;
use numbers::{Number, Of, Requester, Smmu, find};
use pmem_import::{Address, ImportError, Machine, Text, decode};
use schemars::JsonSchema;
use serde::Serialize;

/// A text, explained.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Annotated {
    /// What the explanations rest on, where that is not the machine that was asked for.
    pub about: Vec<String>,
    /// Explanations, in order.
    pub notes: Vec<Note>,
    /// What was read.
    #[serde(flatten)]
    pub sources: Sources,
}

/// An explanation of a number.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Note {
    /// The line of the text, from 1.
    pub line: u32,
    /// What the number is.
    pub number: String,
    /// In words.
    pub text: String,
    /// Who asked, of a fault.
    pub requester: Option<String>,
    /// What the address means.
    #[serde(flatten)]
    pub answer: Answer,
}

/// What of a text's memory must agree with a machine's for it to be the machine's own, in percent.
const AGREES: u64 = 90;

impl Annotated {
    /// Explains a text with a machine, or with the text's own map where it has one and is of another machine.
    ///
    /// # Errors
    /// [`AnnotateError`].
    pub fn of(machine: &mut Machine, from: Option<&str>, text: &[u8]) -> Result<Self, AnnotateError> {
        let mut own = Self::own_machine(text)?;
        let mut about = Vec::new();
        let machine = match &mut own {
            Some(own) => match differs(machine, own) {
                Some(why) => {
                    about.push(why);
                    own
                }
                None => machine,
            },
            None => machine,
        };
        let viewer = match from {
            Some(word) => machine.viewer(word).map_err(AnnotateError::Viewer)?,
            None => machine.system,
        };
        let mut notes = Vec::new();
        let mut smmu = Smmu::default();
        // A text's lines count as they stand in it.
        let text = decode(text);
        for (line, raw) in (1u32..).zip(text.lines()) {
            if raw.len() > LONGEST {
                about.push(format!("line {line} is longer than {LONGEST} bytes: passed on as it is"));
                continue;
            }
            let found = smmu.event(raw).map_or_else(|| find(raw), |number| number.into_iter().collect());
            for number in found {
                notes.push(note(machine, viewer, line, &number));
            }
        }
        Ok(Self { about, notes, sources: Sources::of(machine) })
    }

    /// The machine that a text describes, if it has a memory map.
    fn own_machine(text: &[u8]) -> Result<Option<Machine>, AnnotateError> {
        let text = Text { name: "the text".into(), bytes: text.to_vec() };
        let mut sources = pmem_import::Sources { texts: vec![text], ..pmem_import::Sources::default() };
        let machine = Machine::read(&mut sources)?;
        let has_map = machine.memory.values().any(|memory| !memory.spans.is_empty());
        Ok(has_map.then_some(machine))
    }
}

/// Why a text was not explained.
#[derive(Debug, thiserror::Error)]
pub enum AnnotateError {
    /// The word for whom to look from means nothing.
    #[error("{0}")]
    Viewer(String),
    /// The text's own machine could not be built.
    #[error(transparent)]
    Import(#[from] ImportError),
}

/// Lines longer than this are passed on without a look.
const LONGEST: usize = 1 << 16;

/// Why a text is not of a machine: their memory differs.
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
        "this text is of another machine: it has a memory map of its own ({sizes}), with which it is explained"
    ))
}

fn note(machine: &Machine, viewer: pmem_core::ArenaId, line: u32, number: &Number) -> Note {
    let Requester { address, ambiguous } = number.requester.clone().unwrap_or_default();
    let bus = address.and_then(|address| bus_of(machine, address));
    let from = bus.unwrap_or(viewer);
    let answer = Answer::new(machine, from, number.addr);
    let mut text = explain(&answer);
    if let Some(address) = address {
        let who = match (machine.function(address), bus) {
            (Some(function), _) => {
                let what = function.title.clone().unwrap_or_else(|| function.class_name().to_owned());
                format!("asked for by {address} ({what})")
            }
            (None, _) => format!("asked for by {address}, which no source names: looked at from the CPUs"),
        };
        text = format!("{text}; {who}");
    } else if let Some(stream) = ambiguous {
        text = format!("{text}; asked for by {stream}, of which no source says which device it is");
    }
    if number.of == Of::Fault {
        text = format!(
            "{text}; where an IOMMU translates, this is an I/O virtual address, and means what its driver mapped"
        );
    }
    Note {
        line,
        number: number.shown.clone(),
        text,
        requester: address.map(|address| address.to_string()),
        answer,
    }
}

fn bus_of(machine: &Machine, address: Address) -> Option<pmem_core::ArenaId> {
    let function = machine.function(address)?;
    let below = function.parent.and_then(|parent| machine.bridges.get(&parent)).copied();
    let id = below.unwrap_or((address.segment, address.bus));
    machine.buses.get(&id).map(|bus| bus.memory)
}

/// An answer in a line.
fn explain(answer: &Answer) -> String {
    match answer.result {
        Outcome::Accept | Outcome::Architecture => {
            let arena = answer.arena.as_deref().filter(|_| answer.function.is_some());
            arena.map_or_else(|| answer.what.clone(), |arena| format!("{}, {arena}", answer.what))
        }
        _ => answer.reason.clone().unwrap_or_else(|| answer.what.clone()),
    }
}

impl Note {
    /// The address as it is shown before its explanation.
    pub fn shown(&self) -> String {
        let plain = Addr(self.answer.asked.0).to_string();
        if self.number == plain { plain } else { format!("{} ({plain})", self.number) }
    }
}
