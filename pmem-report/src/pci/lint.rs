//! What is wrong with a hierarchy: each with both sides.

use super::parts::{Names, Range};
use crate::sources::{Read, Warning};
use crate::units::Addr;
use pmem_import::{Conflict, PciTree, ResourceKind};
use pmem_pci::check::{Fault, Part as Which, Side as Known, Violation, check};
use schemars::JsonSchema;
use serde::Serialize;

/// One side of what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Side {
    /// The function; null of a host bridge, and of what nothing may be placed at.
    pub function: Option<String>,
    /// `BAR 0` to `BAR 5`, `ROM`, `VF BAR 0` …, `io window`, `mem window`, `pref window`, `aperture`, `kept free`, `buses`.
    pub what: String,
    /// Its addresses as the CPU sees them, or its bus numbers.
    pub range: Range,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Wrong {
    /// What: `overlap`, `outside`, `unreachable`, `prefetched`, `misaligned`, `ragged`, `too-high`, `avoided`, `isa`, `vga`, `buses`,
    /// `firmware` (it was, before the kernel moved it).
    pub fault: String,
    /// With what.
    pub side: Side,
    /// And with what else.
    pub other: Option<Side>,
    /// The same as a sentence.
    pub says: String,
}

/// Everything that is wrong.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PciLint {
    /// In order of functions.
    pub wrong: Vec<Wrong>,
    /// What was read.
    pub read: Vec<Read>,
    /// What is odd in the sources, and where they differ.
    pub warnings: Vec<Warning>,
}

impl PciLint {
    /// Checks a hierarchy.
    #[must_use]
    pub fn of(known: &PciTree, read: Vec<Read>, warnings: Vec<Warning>) -> Self {
        let names = Names::of(known, &known.tree);
        let mut wrong = wrong(known, &names);
        wrong.extend(known.conflicts.iter().map(|said| of_firmware(&said.value)));
        Self { wrong, read, warnings }
    }
}

/// Everything that is wrong with the hierarchy as it is.
pub(super) fn wrong(known: &PciTree, names: &Names<'_>) -> Vec<Wrong> {
    sure(known).iter().map(|violation| one(names, violation)).collect()
}

/// The violations that do not only seem so for want of sources.
pub(super) fn sure(known: &PciTree) -> Vec<Violation> {
    check(&known.tree).into_iter().filter(|violation| is_sure(known, violation)).collect()
}

/// What firmware put where it cannot be: the kernel has moved it since, or left it without a place.
pub(super) fn of_firmware(conflict: &Conflict) -> Wrong {
    let Conflict { function, kind, range, with, .. } = conflict;
    let what = if *kind == ResourceKind::Window { "window".to_owned() } else { kind.to_string() };
    let range = Range { start: Addr(range.start()), end: Addr(range.last()) };
    let side = Side { function: Some(function.to_string()), what, range };
    let why = match with.as_str() {
        "" => "where no window of the bridge above has it".to_owned(),
        with => format!("where there is {with}"),
    };
    let says = format!("{} was put by firmware {why}", words(&side));
    Wrong { fault: "firmware".to_owned(), side, other: None, says }
}

/// Whether it does not only seem so for want of sources.
fn is_sure(known: &PciTree, violation: &Violation) -> bool {
    let measured = |side: &Known| match (side.function, side.part) {
        (Some(index), Which::Resource(slot)) => !known.unmeasured.contains(&(index, slot)),
        _ => true,
    };
    // What a host bridge forwards that no source describes is only guessed.
    let guessed = violation.other.is_none_or(|other| other.part == Which::Aperture)
        && matches!(violation.fault, Fault::Outside | Fault::Unreachable)
        && known.guessed.contains(&(violation.side.root, violation.side.space));
    // Without what a host bridge forwards it is not known how much addresses are shifted on the bus either.
    let shifted = violation.fault == Fault::Outside
        && known.guessed.contains(&(violation.side.root, violation.side.space))
        && violation.other.is_some_and(|other| other.span.first >> 32 != violation.side.span.first >> 32);
    // Nobody says what the bridge above forwards.
    let unsaid = violation.side.function.and_then(|index| known.tree.functions.get(index)?.parent);
    let unsaid = matches!(violation.fault, Fault::Outside | Fault::Unreachable)
        && unsaid.is_some_and(|parent| known.unsaid.contains(&parent));
    let guessed = guessed || shifted || unsaid;
    let numbered = |side: &Known| side.function.is_none_or(|index| !known.unnumbered.contains(&index));
    if violation.fault == Fault::Buses
        && !(numbered(&violation.side) && violation.other.as_ref().is_none_or(numbered))
    {
        return false;
    }
    measured(&violation.side) && violation.other.as_ref().is_none_or(measured) && !guessed
}

pub(super) fn one(names: &Names<'_>, violation: &Violation) -> Wrong {
    let fault = match violation.fault {
        Fault::Overlap => "overlap",
        Fault::Outside => "outside",
        Fault::Unreachable => "unreachable",
        Fault::Prefetched => "prefetched",
        Fault::Misaligned => "misaligned",
        Fault::Ragged => "ragged",
        Fault::TooHigh => "too-high",
        Fault::Avoided => "avoided",
        Fault::Isa => "isa",
        Fault::Vga => "vga",
        Fault::Buses => "buses",
    };
    let (side, other) = (show(names, &violation.side), violation.other.map(|other| show(names, &other)));
    let says = match &other {
        Some(other) => format!("{} {} {}", words(&side), violation.fault, words(other)),
        None => format!("{} {}", words(&side), violation.fault),
    };
    Wrong { fault: fault.to_owned(), side, other, says }
}

fn show(names: &Names<'_>, side: &Known) -> Side {
    let what = match side.part {
        Which::Resource(pmem_pci::tree::Slot::Bar(n)) => format!("BAR {n}"),
        Which::Resource(pmem_pci::tree::Slot::Rom) => "ROM".to_owned(),
        Which::Resource(pmem_pci::tree::Slot::Vf(n)) => format!("VF BAR {n}"),
        Which::Window(kind) => format!("{kind} window"),
        Which::Aperture => "aperture".to_owned(),
        Which::Avoid => "kept free".to_owned(),
        Which::Buses => "buses".to_owned(),
    };
    let span = match side.part {
        Which::Buses => side.span,
        _ => names.to_cpu(side.root, side.space, side.span),
    };
    Side { function: side.function.map(|index| names.function(index)), what, range: Range::of(span) }
}

fn words(side: &Side) -> String {
    let range = if side.what == "buses" { side.range.buses() } else { side.range.shown() };
    match &side.function {
        Some(function) => format!("{function} {} {range}", side.what),
        None => format!("{} {range}", side.what),
    }
}
