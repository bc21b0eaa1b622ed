//! The manager of the running machine: what decodes which addresses, and the driver that follows it.

use crate::port::Kernel;
use alloc::boxed::Box;
use alloc::vec::Vec;
use pmem_arena_abi::Found;
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Error, LinkId, Manager, Mapping, Metric, Plan, Props, Prot, Scope,
    Subscription, Usage,
};
use pmem_drivers::mtrr::{Mtrr, Policy, Unmapped, Width};

pub struct Machine {
    pub manager: Manager,
    view: ArenaId,
    ram: ArenaId,
    /// The arena in which claims are made.
    pub pci: ArenaId,
    /// The arena of addresses about which nothing is known. They stay as they are.
    reserved: ArenaId,
    /// The interconnect from the view to `reserved`; `None` if nothing is reserved.
    to_reserved: Option<LinkId>,
}

impl Machine {
    /// Builds the manager from what the kernel knows, and takes over the registers.
    pub fn new(width: Width, spans: &[Found]) -> Result<Self, Error> {
        let mut manager = Manager::new();
        let view = manager.create_arena("system", ArenaType::VIEW)?;
        let ram = manager.create_arena("ram", ArenaType::RAM)?;
        let pci = manager.create_arena("pci", ArenaType::PCI)?;
        let reserved = manager.create_arena("reserved", ArenaType::ROM)?;
        let mut to_reserved = None;
        for (arena, kind, attrs) in [(ram, 1, Attrs::ram()), (pci, 4, bus()), (reserved, 2, unknown())] {
            let found = spans.iter().filter(|found| found.kind == kind);
            let found = found.filter_map(|found| AddrRange::inclusive(found.start, found.last).ok());
            let found: Vec<AddrRange> = found.collect();
            let link = manager.transaction(|plan| {
                found.iter().try_for_each(|range| plan.prime(arena, *range, attrs))?;
                join(plan, view, arena, &found)
            })?;
            if arena == reserved {
                to_reserved = link;
            }
        }
        // Memory may be hot-added where nothing is yet.
        let policy = Policy { unmapped: Unmapped::Keep, ..Policy::default() };
        let driver = Box::new(Mtrr::new(Kernel::new(width), view, policy));
        manager.register(driver, Subscription::new([Scope::View(view)]))?;
        Ok(Self { manager, view, ram, pci, reserved, to_reserved })
    }

    fn primed(&self, arena: ArenaId) -> Vec<AddrRange> {
        let arenas = self.manager.state().arenas();
        let spans = arenas.filter(|(id, ..)| *id == arena).flat_map(|(_, _, arena)| arena.spans());
        spans.map(|(range, _)| range).collect()
    }

    /// Returns the parts of a window that are not known yet, because the window appeared after load or was not
    /// recognised; `None` if all of it is known.
    pub fn uncovered(&self, window: AddrRange) -> Option<Cover> {
        let known: Vec<AddrRange> = [self.primed(self.pci), self.primed(self.ram)].concat();
        let new = without(window, &known);
        if new.is_empty() {
            return None;
        }
        let reserved = self.primed(self.reserved);
        let lost = reserved.iter().flat_map(|r| new.iter().filter_map(|n| common(*r, *n))).collect();
        let kept = reserved.iter().flat_map(|range| without(*range, &new)).collect();
        Some(Cover { new, lost, kept })
    }

    /// Returns a change that adds the window. Parts of it that were reserved become part of the bus. The change
    /// returns the new interconnect to `reserved`.
    pub fn take_in<'c>(
        &self,
        cover: &'c Cover,
    ) -> impl Fn(&mut Plan<'_>) -> Result<Option<LinkId>, Error> + use<'c> {
        let Self { view, pci, reserved, to_reserved, .. } = *self;
        move |plan| {
            let mut link = to_reserved;
            if let Some(old) = link.filter(|_| !cover.lost.is_empty()) {
                plan.disconnect(old)?;
                cover.lost.iter().try_for_each(|range| plan.unprime(reserved, *range))?;
                link = join(plan, view, reserved, &cover.kept)?;
            }
            cover.new.iter().try_for_each(|range| plan.prime(pci, *range, bus()))?;
            join(plan, view, pci, &cover.new)?;
            Ok(link)
        }
    }

    /// Records the new interconnect to `reserved`.
    pub fn taken_in(&mut self, to_reserved: Option<LinkId>) {
        self.to_reserved = to_reserved;
    }
}

/// A window to add.
pub struct Cover {
    new: Vec<AddrRange>,
    /// What was reserved, and becomes part of the bus.
    lost: Vec<AddrRange>,
    /// What stays reserved.
    kept: Vec<AddrRange>,
}

/// Makes the view see ranges of an arena at identical addresses. Returns the interconnect; `None` if there are no
/// ranges.
fn join(
    plan: &mut Plan<'_>,
    view: ArenaId,
    arena: ArenaId,
    ranges: &[AddrRange],
) -> Result<Option<LinkId>, Error> {
    if ranges.is_empty() {
        return Ok(None);
    }
    let windows = ranges.iter().map(|range| (*range, range.start()));
    plan.connect(view, arena, Mapping::windows(windows.collect::<Vec<_>>())?, Metric::new(1)).map(Some)
}

fn common(a: AddrRange, b: AddrRange) -> Option<AddrRange> {
    AddrRange::inclusive(a.start().max(b.start()), a.last().min(b.last())).ok()
}

/// Returns the parts of a range that lie in none of the others.
fn without(range: AddrRange, others: &[AddrRange]) -> Vec<AddrRange> {
    let mut left = Vec::from([range]);
    for other in others {
        let cut = |range: AddrRange| {
            let below = other
                .start()
                .checked_sub(1)
                .and_then(|last| AddrRange::inclusive(range.start(), last.min(range.last())).ok());
            let above = other
                .last()
                .checked_add(1)
                .and_then(|start| AddrRange::inclusive(start.max(range.start()), range.last()).ok());
            below.into_iter().chain(above)
        };
        left = left.into_iter().flat_map(cut).collect();
    }
    left
}

/// The attributes of a PCI bus. They do not ask for a caching mode, so the memory types stay as they are.
fn bus() -> Attrs {
    Attrs::new(Usage::DEVREGS, Prot::RWX, Props::PREFETCH).unwrap_or_default()
}

fn unknown() -> Attrs {
    Attrs::default().with_prot(Prot::RW)
}
