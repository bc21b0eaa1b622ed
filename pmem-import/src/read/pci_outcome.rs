//! What became of a PCI resource, according to a kernel's log.

use crate::facts::{Facts, Function, PciResource, PciSource, ResourceKind, SourceLine, Unplaced};
use crate::text::Bracketed;
use pmem_core::AddrRange;
use pmem_pci::Address;

/// What the kernel prints after the actual reason.
const FAILED_TO_ASSIGN: &str = "failed to assign";

/// What became of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome<'t> {
    /// It is assigned.
    Placed,
    /// It was assigned and has been released.
    Released,
    /// It could not be assigned, for this reason.
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
        // `[mem 0x00100000-0x001fffff] to [bus 07] requires relaxed alignment rules`: an alignment and a
        // size, not a place.
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

/// Remembers former windows: the last one of each kind.
pub(super) fn remember(function: &mut Function, gone: Vec<PciResource>) {
    for window in gone.into_iter().filter(|gone| gone.kind == ResourceKind::Window) {
        function.former.retain(|had| had.io != window.io || had.prefetchable != window.prefetchable);
        function.former.push(window);
    }
}

/// Records what became of a resource.
pub(super) fn note(
    function: &mut Function,
    kind: ResourceKind,
    found: Bracketed,
    outcome: Outcome<'_>,
    at: &SourceLine,
) {
    // A CardBus bridge has two windows of each kind.
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
            // After a conflict, firmware's address is still in the register, but it must not be used.
            let (gone, rest) = function.resources.drain(..).partition(same);
            function.resources = rest;
            remember(function, gone);
            let failed = |had: &Unplaced| {
                had.kind == kind && had.io == found.io && had.prefetchable == found.prefetchable
            };
            let why = why.trim().trim_end_matches(" for");
            // The reason comes first, then a line that only says that it failed.
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
            // A BAR that was not set starts at 0, so only its size is meaningful.
            let unset = range.start() == 0;
            function.resources.retain(|had| !same(had));
            function.unplaced.retain(|had| {
                had.kind != kind || had.io != found.io || had.prefetchable != found.prefetchable
            });
            if unset {
                // An unset ROM is normal.
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

/// Reads `bridge window [io  0x1000-0x0fff] to [bus 01] add_size 1000`. Records that cards can be plugged in below
/// the bridge, unless something behind it explains why more is reserved than needed. The kernel prints these lines
/// from the inside out, so what is behind the bridge is known by now.
pub(super) fn note_kept(
    facts: &mut Facts,
    address: Address,
    io: bool,
    (first, last): (u8, u8),
    at: &SourceLine,
) {
    let explains = |function: &Function| {
        let bdf = function.bdf();
        // Memory is also reserved for virtual functions and ROMs.
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

/// Returns the number of virtual functions in `contains BAR 0 for 7 VFs` or `(contains BAR0 for 8 VFs)`.
pub(super) fn contained(after: &str) -> Option<u64> {
    let rest = after.split_once("contains BAR")?.1.split_once(" for ")?.1;
    rest.split_whitespace().next()?.parse().ok()
}
