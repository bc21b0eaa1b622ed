//! Fills gaps in the PCI hierarchy with what follows from what is known.

use super::tree::PciTree;
use crate::facts::{Facts, Function, ResourceKind};
use pmem_pci::BusRange;
use pmem_pci::tree::{Aperture, Resource, Space, WindowKind};
use std::collections::BTreeMap;

const LOW: u64 = 0xffff_ffff;

impl PciTree {
    /// Gives resources of unknown size the largest size that they can have: what their start is aligned
    /// to, limited by what comes next on the bus and by the enclosing window. Nothing may be placed
    /// there. Such a resource never moves.
    pub(super) fn settle_unmeasured(&mut self) {
        for (index, slot) in self.unmeasured.clone() {
            let Some(function) = self.tree.functions.get(index) else { continue };
            let Some((at, space)) = function.resource(slot).and_then(|r| Some((r.at?, r.space))) else {
                continue;
            };
            let beside = self.tree.on_bus(function.root, function.parent).flat_map(|(_, f)| {
                let windows = f.bridge.iter().flat_map(|bridge| &bridge.windows);
                let windows = windows.filter(|w| w.kind.space() == space).filter_map(|w| w.span);
                windows.chain(f.resources.iter().filter(|r| r.space == space).filter_map(Resource::span))
            });
            let next = beside.map(|span| span.first).filter(|first| *first > at).min();
            let above = function.parent.and_then(|parent| self.tree.functions.get(parent)?.bridge.as_ref());
            let windows = above.iter().flat_map(|bridge| &bridge.windows).filter_map(|w| w.span);
            let apertures = self.tree.roots.get(function.root).into_iter().flat_map(|root| &root.apertures);
            let around =
                windows.chain(apertures.map(|aperture| aperture.span)).find(|span| span.contains(at));
            let room = [next.map(|next| next - at), around.map(|span| span.last - at + 1)];
            let largest = 1u64 << at.trailing_zeros().min(63);
            let size = room.into_iter().flatten().fold(largest, u64::min);
            let functions = self.tree.functions.get_mut(index);
            let own = functions.and_then(|f| f.resources.iter_mut().find(|r| r.slot == slot));
            if let Some(own) = own {
                (own.size, own.align, own.fixed) = (size.max(own.size), 1, true);
            }
        }
    }

    /// Gives bridges with unknown windows the smallest windows that cover what lies behind them. Nothing
    /// else may be placed there.
    pub(super) fn settle_unsaid(&mut self) {
        for index in self.unsaid.iter().rev().copied() {
            let Some(root) = self.tree.functions.get(index).map(|f| f.root) else { continue };
            let mut behind: BTreeMap<WindowKind, BusRange> = BTreeMap::new();
            for (_, function) in self.tree.on_bus(root, Some(index)) {
                let own = function.resources.iter().filter_map(|r| {
                    let span = r.span()?;
                    let kind = match (r.space, r.prefetchable || span.last > LOW) {
                        (Space::Io, _) => WindowKind::Io,
                        (Space::Memory, true) => WindowKind::Prefetchable,
                        (Space::Memory, false) => WindowKind::Memory,
                    };
                    Some((kind, span))
                });
                let windows = function.bridge.iter().flat_map(|bridge| &bridge.windows);
                let windows = windows.filter_map(|window| Some((window.kind, window.span?)));
                for (kind, span) in own.chain(windows) {
                    behind.entry(kind).and_modify(|had| *had = had.hull(span)).or_insert(span);
                }
            }
            let bridge = self.tree.functions.get_mut(index).and_then(|f| f.bridge.as_mut());
            for window in bridge.into_iter().flat_map(|bridge| &mut bridge.windows) {
                if let Some(span) = behind.get(&window.kind).filter(|_| window.span.is_none()) {
                    window.span = Some(span.rounded(window.granule));
                }
            }
        }
    }

    /// Adds apertures that an incomplete log leaves out: what lies in no known aperture must lie in another one.
    pub(super) fn settle_apertures(&mut self) {
        for root in 0..self.tree.roots.len() {
            let mut shown: Vec<(Space, BusRange)> = Vec::new();
            for (_, function) in self.tree.on_bus(root, None) {
                let windows = function.bridge.iter().flat_map(|bridge| &bridge.windows);
                shown.extend(windows.filter_map(|window| Some((window.kind.space(), window.span?))));
                shown.extend(function.resources.iter().filter_map(|r| Some((r.space, r.span()?))));
            }
            let Some(host) = self.tree.roots.get_mut(root) else { continue };
            for (space, span) in shown {
                let outside = host.apertures.iter().all(|a| a.space != space || !a.span.overlaps(span));
                let is_known = host.apertures.iter().any(|a| a.space == space);
                if outside && is_known {
                    host.apertures.push(Aperture { space, span, cpu: span.first });
                    self.guessed.insert((root, space));
                }
            }
            host.join_apertures();
        }
    }

    /// Records windows that are smaller than the kernel wanted, and bridges without bus numbers.
    pub(super) fn settle_short(&mut self, facts: &Facts, functions: &[Function]) {
        for said in &facts.pci.wanted {
            let wanted = &said.value;
            let Some(index) = self.tree.find(wanted.bridge) else { continue };
            let kind = match (wanted.io, wanted.prefetchable) {
                (true, _) => WindowKind::Io,
                (false, true) => WindowKind::Prefetchable,
                (false, false) => WindowKind::Memory,
            };
            let has =
                self.tree.functions.get(index).and_then(|f| f.window(kind)?.span).map_or(0, BusRange::len);
            if has < wanted.size {
                self.short.push((index, kind, wanted.size));
            }
        }
        // A window that failed altogether. Functions work without I/O ports.
        for function in functions {
            let failed =
                function.unplaced.iter().filter(|lost| lost.kind == ResourceKind::Window && !lost.io);
            for (lost, size) in failed.filter_map(|lost| Some((lost, lost.size?))) {
                let kind = if lost.prefetchable { WindowKind::Prefetchable } else { WindowKind::Memory };
                let Some(index) = self.tree.find(function.bdf()) else { continue };
                if !self.short.iter().any(|(known, of, _)| (*known, *of) == (index, kind)) {
                    self.short.push((index, kind, size));
                }
            }
        }
        for (bridge, buses) in &facts.pci.numberless {
            if let Some(index) = self.tree.find(*bridge) {
                self.numberless.push((index, *buses));
            }
        }
    }

    /// Listings do not say what is prefetchable: a resource that lies in a prefetchable window is.
    pub(super) fn settle_unnamed(&mut self) {
        for (index, slot) in &self.unnamed {
            let Some(function) = self.tree.functions.get(*index) else { continue };
            let span = function.resource(*slot).and_then(Resource::span);
            let above = function.parent.and_then(|parent| self.tree.functions.get(parent));
            let window = above.and_then(|above| above.window(WindowKind::Prefetchable)?.span);
            let inside = window.zip(span).is_some_and(|(window, span)| window.covers(span));
            let resources = self.tree.functions.get_mut(*index).map(|function| &mut function.resources);
            if let Some(own) = resources.into_iter().flatten().find(|r| r.slot == *slot && inside) {
                own.prefetchable = true;
            }
        }
    }
}
