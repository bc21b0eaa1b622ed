//! What a kernel's log says became of a PCI function's resource.

use crate::facts::{Facts, Function, PciResource, PciSource, ResourceKind, SourceLine, Unplaced};
use crate::text::Bracketed;
use pmem_core::AddrRange;
use pmem_pci::Address;

/// What the kernel says after it has said why.
const FAILED_TO_ASSIGN: &str = "failed to assign";

/// What became of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome<'t> {
    /// It is there.
    Placed,
    /// It was there, and is not any more.
    Released,
    /// It could not be placed, for this reason.
    Failed(&'t str),
    /// The message is about something else.
    Aside,
}

impl<'t> Outcome<'t> {
    pub(super) fn of(before: &'t str, after: &'t str) -> Self {
        const FAILED: [&str; 9] = [
            "no space",
            "can't assign",
            FAILED_TO_ASSIGN,
            "can't allocate",
            "can't claim",
            "no compatible bridge window",
            "address conflict",
            "failed to expand",
            "invalid alignment",
        ];
        let said = |word: &&str| before.contains(*word) || after.contains(*word);
        let both = if after.is_empty() { before } else { after };
        if FAILED.iter().any(&said) {
            return Self::Failed(both);
        }
        // `[mem 0x00100000-0x001fffff] to [bus 07] requires relaxed alignment rules`: an alignment and a size, no place.
        if after.starts_with("to [bus ") {
            return Self::Aside;
        }
        if said(&"was not released") || contained(after).is_some() {
            return Self::Placed;
        }
        if said(&"releasing") || after == "released" {
            return Self::Released;
        }
        const ASIDE: [&str; 7] =
            ["add_size", "shrunken", "extended", "distributing", "requesting", "resize", "reserved"];
        if ASIDE.iter().any(&said) || before.contains("space") {
            return Self::Aside;
        }
        let placed = after.is_empty()
            || [
                "assigned",
                "reassigned",
                "disabled",
                "restored",
                "updated",
                "claimed",
                "trying firmware assignment",
            ]
            .iter()
            .any(said)
            || before.is_empty();
        if placed { Self::Placed } else { Self::Aside }
    }
}

/// Notes windows that were: the last of each kind.
pub(super) fn remember(function: &mut Function, gone: Vec<PciResource>) {
    for window in gone.into_iter().filter(|gone| gone.kind == ResourceKind::Window) {
        function.former.retain(|had| had.io != window.io || had.prefetchable != window.prefetchable);
        function.former.push(window);
    }
}

/// Notes a resource as it now is.
pub(super) fn note(
    function: &mut Function,
    kind: ResourceKind,
    found: Bracketed,
    outcome: Outcome<'_>,
    at: &SourceLine,
) {
    // A CardBus bridge has two windows of a kind.
    let is_one_of_two =
        kind == ResourceKind::Window && function.class.is_some_and(|class| class.subclass() == 0x0607);
    let same = |had: &PciResource| {
        had.kind == kind
            && (!is_one_of_two || Some(had.range) == found.range)
            && (kind != ResourceKind::Window
                || (had.io == found.io && had.prefetchable == found.prefetchable))
    };
    if outcome != Outcome::Aside {
        function.kept.retain(|had| !same(had));
    }
    match outcome {
        Outcome::Aside => {}
        Outcome::Released => {
            let (gone, rest): (Vec<PciResource>, _) = function.resources.drain(..).partition(same);
            function.resources = rest;
            function.kept.extend(gone.iter().filter(|gone| gone.kind == ResourceKind::Window).cloned());
            remember(function, gone);
        }
        Outcome::Failed(why) => {
            // A conflict leaves what firmware put there in the registers, which nobody may use.
            let (gone, rest) = function.resources.drain(..).partition(same);
            function.resources = rest;
            remember(function, gone);
            let failed = |had: &Unplaced| {
                had.kind == kind && had.io == found.io && had.prefetchable == found.prefetchable
            };
            let why = why.trim().trim_end_matches(" for");
            // The reason comes first, and then that it failed.
            if why == FAILED_TO_ASSIGN && function.unplaced.iter().any(failed) {
                return;
            }
            function.unplaced.retain(|had| !failed(had));
            function.unplaced.push(Unplaced {
                kind,
                size: found.size.or(found.range.map(AddrRange::len)),
                io: found.io,
                prefetchable: found.prefetchable,
                wide: Some(found.wide),
                why: why.to_owned(),
                again: false,
                at: at.clone(),
            });
        }
        Outcome::Placed => {
            let Some(range) = found.range else { return };
            // A BAR that was not set begins at 0: its size is all that it says.
            let unset = range.start() == 0;
            function.resources.retain(|had| !same(had));
            function.unplaced.retain(|had| {
                had.kind != kind || had.io != found.io || had.prefetchable != found.prefetchable
            });
            if unset {
                // Nobody misses a ROM.
                if matches!(kind, ResourceKind::Bar(_) | ResourceKind::VfBar(_)) {
                    function.unplaced.push(Unplaced {
                        kind,
                        size: Some(range.len()),
                        io: found.io,
                        prefetchable: found.prefetchable,
                        wide: Some(found.wide),
                        why: "not set".to_owned(),
                        again: false,
                        at: at.clone(),
                    });
                }
            } else {
                function.resources.push(PciResource {
                    kind,
                    range,
                    io: found.io,
                    prefetchable: found.prefetchable,
                    wide: Some(found.wide),
                    open_ended: false,
                    at: at.clone(),
                });
            }
        }
    }
}

/// `bridge window [io  0x1000-0x0fff] to [bus 01] add_size 1000`: notes that cards can be plugged in below a bridge, if nothing on the buses behind it
/// explains that more is kept than is needed. The kernel says it from the inside out.
pub(super) fn note_kept(
    facts: &mut Facts,
    address: Address,
    io: bool,
    (first, last): (u8, u8),
    at: &SourceLine,
) {
    let explains = |function: &Function| {
        let bdf = function.bdf();
        // Memory is kept for virtual functions and for ROMs as well.
        let is_kept = |kind: &ResourceKind| !io && matches!(kind, ResourceKind::VfBar(_) | ResourceKind::Rom);
        bdf.segment == address.segment
            && (first..=last).contains(&bdf.bus)
            && (function.hot_plug == Some(true)
                || function.resources.iter().any(|r| is_kept(&r.kind))
                || function.unplaced.iter().any(|r| is_kept(&r.kind)))
    };
    if !facts.pci.functions.iter().any(|((source, _), f)| *source == PciSource::Log && explains(f)) {
        facts.pci.function(PciSource::Log, address, at).hot_plug.get_or_insert(true);
    }
}

/// `contains BAR 0 for 7 VFs`, `(contains BAR0 for 8 VFs)`: for how many.
pub(super) fn contained(after: &str) -> Option<u64> {
    let rest = after.split_once("contains BAR")?.1.split_once(" for ")?.1;
    rest.split_whitespace().next()?.parse().ok()
}
