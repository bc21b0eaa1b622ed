//! What is wrong with a PCI hierarchy, with both sides of each conflict.

use super::parts::{Names, Range};
use crate::sources::{Read, Warning};
use crate::units::Addr;
use pmem_import::{Conflict, PciTree, ResourceKind};
use pmem_pci::check::{Part as Which, Side as Known, Violation, ViolationKind, check};
use serde::Serialize;

/// One side of a violation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ViolationSide {
    /// The function; null for a host bridge, and for a range to be kept free.
    pub function: Option<String>,
    /// `BAR 0` to `BAR 5`, `ROM`, `VF BAR 0` …, `io window`, `mem window`, `pref window`, `aperture`, `kept free`,
    /// `buses`.
    pub what: String,
    /// The CPU addresses, or the bus numbers.
    pub range: Range,
}

/// A violation of the rules of the hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PciViolation {
    /// The kind: `overlap`, `outside`, `unreachable`, `prefetched`, `misaligned`, `ragged`, `too-high`, `avoided`,
    /// `isa`, `vga`, `buses`, or `firmware` (firmware's assignment was wrong, and the kernel has changed it since).
    pub fault: String,
    /// The resource that violates a rule.
    pub side: ViolationSide,
    /// The resource that it conflicts with; null if there is none.
    pub other: Option<ViolationSide>,
    /// The violation as a sentence.
    pub says: String,
}

/// What is wrong with a PCI hierarchy.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PciLint {
    /// The violations, in order of function; firmware's come last.
    pub wrong: Vec<PciViolation>,
    /// What was read of each source.
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

/// Lists everything wrong with the hierarchy as it is.
pub(super) fn wrong(known: &PciTree, names: &Names<'_>) -> Vec<PciViolation> {
    sure(known).iter().map(|violation| one(names, violation)).collect()
}

/// Returns the violations that are certain, not artefacts of missing sources.
pub(super) fn sure(known: &PciTree) -> Vec<Violation> {
    check(&known.tree).into_iter().filter(|violation| is_sure(known, violation)).collect()
}

/// Describes a resource that firmware placed wrongly. The kernel has since moved it, or left it without an address.
pub(super) fn of_firmware(conflict: &Conflict) -> PciViolation {
    let Conflict { function, kind, range, with, .. } = conflict;
    let what = if *kind == ResourceKind::Window { "window".to_owned() } else { kind.to_string() };
    let range = Range { start: Addr(range.start()), end: Addr(range.last()) };
    let side = ViolationSide { function: Some(function.to_string()), what, range };
    let why = match with.as_str() {
        "" => "where no window of the bridge above has it".to_owned(),
        with => format!("where there is {with}"),
    };
    let says = format!("{} was put by firmware {why}", words(&side));
    PciViolation { fault: "firmware".to_owned(), side, other: None, says }
}

/// Whether a violation is certain, not an artefact of missing sources.
fn is_sure(known: &PciTree, violation: &Violation) -> bool {
    let measured = |side: &Known| match (side.function, side.part) {
        (Some(index), Which::Resource(slot)) => !known.unmeasured.contains(&(index, slot)),
        _ => true,
    };
    // If no source describes the host bridge's apertures, they are only guessed.
    let guessed = violation.other.is_none_or(|other| other.part == Which::Aperture)
        && matches!(violation.fault, ViolationKind::Outside | ViolationKind::Unreachable)
        && known.guessed.contains(&(violation.side.root, violation.side.space));
    // Without the apertures, the offset between CPU and bus addresses is not known either.
    let shifted = violation.fault == ViolationKind::Outside
        && known.guessed.contains(&(violation.side.root, violation.side.space))
        && violation.other.is_some_and(|other| other.span.first >> 32 != violation.side.span.first >> 32);
    // No source says what the bridge above forwards.
    let unsaid = violation.side.function.and_then(|index| known.tree.functions.get(index)?.parent);
    let unsaid = matches!(violation.fault, ViolationKind::Outside | ViolationKind::Unreachable)
        && unsaid.is_some_and(|parent| known.unsaid.contains(&parent));
    let guessed = guessed || shifted || unsaid;
    let numbered = |side: &Known| side.function.is_none_or(|index| !known.unnumbered.contains(&index));
    if violation.fault == ViolationKind::Buses
        && !(numbered(&violation.side) && violation.other.as_ref().is_none_or(numbered))
    {
        return false;
    }
    measured(&violation.side) && violation.other.as_ref().is_none_or(measured) && !guessed
}

pub(super) fn one(names: &Names<'_>, violation: &Violation) -> PciViolation {
    let fault = match violation.fault {
        ViolationKind::Overlap => "overlap",
        ViolationKind::Outside => "outside",
        ViolationKind::Unreachable => "unreachable",
        ViolationKind::Prefetched => "prefetched",
        ViolationKind::Misaligned => "misaligned",
        ViolationKind::Ragged => "ragged",
        ViolationKind::TooHigh => "too-high",
        ViolationKind::Avoided => "avoided",
        ViolationKind::Isa => "isa",
        ViolationKind::Vga => "vga",
        ViolationKind::Buses => "buses",
    };
    let (side, other) = (show(names, &violation.side), violation.other.map(|other| show(names, &other)));
    let says = match &other {
        Some(other) => format!("{} {} {}", words(&side), violation.fault, words(other)),
        None if violation.fault == ViolationKind::Unreachable => {
            format!("{} is not forwarded by the host bridge", words(&side))
        }
        None => format!("{} {}", words(&side), violation.fault),
    };
    PciViolation { fault: fault.to_owned(), side, other, says }
}

fn show(names: &Names<'_>, side: &Known) -> ViolationSide {
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
    ViolationSide { function: side.function.map(|index| names.function(index)), what, range: Range::of(span) }
}

fn words(side: &ViolationSide) -> String {
    let range = if side.what == "buses" { side.range.buses() } else { side.range.shown() };
    match &side.function {
        Some(function) => format!("{function} {} {range}", side.what),
        None => format!("{} {range}", side.what),
    }
}
