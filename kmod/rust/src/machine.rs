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
    /// Where claims are made.
    pub pci: ArenaId,
    /// What nobody knows: it stays as it is.
    reserved: ArenaId,
    /// From the view to the reserved; `None` if there is nothing reserved.
    to_reserved: Option<LinkId>,
}

impl Machine {
    /// Builds the manager from what the kernel knows, and takes the registers over.
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
        // Memory may be added where nothing is yet.
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

    /// What of a window is not known yet, since it came up after load or nobody knew it for one; `None` if all is.
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

    /// Takes it in: what of it was reserved is a bus's from then on. The link to what is reserved after that.
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

    /// Takes note of what became of that link.
    pub fn taken_in(&mut self, to_reserved: Option<LinkId>) {
        self.to_reserved = to_reserved;
    }
}

/// A window to be taken in.
pub struct Cover {
    new: Vec<AddrRange>,
    /// What was reserved, and is not any more.
    lost: Vec<AddrRange>,
    /// What is reserved still.
    kept: Vec<AddrRange>,
}

/// Has the view see ranges of an arena where they are.
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

/// What of a range none of the others has.
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

/// What a PCI bus is primed with: nothing is said of caching, so that the registers stay as they are.
fn bus() -> Attrs {
    Attrs::new(Usage::DEVREGS, Prot::RWX, Props::PREFETCH).unwrap_or_default()
}

fn unknown() -> Attrs {
    Attrs::default().with_prot(Prot::RW)
}
