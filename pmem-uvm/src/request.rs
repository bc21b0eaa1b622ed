//! What is asked for: a page, or a list of pages.

use crate::counters::Reserves;
use crate::error::UvmError;
use crate::frame::{FRAMES, FrameRange};
use crate::page::PageOwner;
use crate::segment::Zone;
use bitflags::bitflags;
use pmem_space::Fit;

bitflags! {
    /// How a page may be found (`UVM_PGA_*` of uvm(9)).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PgaFlags: u32 {
        /// From the kernel's reserve, if need be.
        const USERESERVE = 0x0001;
        /// Filled with zeroes.
        const ZERO = 0x0002;
    }
}

/// Where a page is looked for (`UVM_PGA_STRAT_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// On every free list, from 0 up.
    #[default]
    Normal,
    /// On one free list only.
    Only(u8),
    /// On one free list, and then on every one.
    Fallback(u8),
    /// On the node, on every free list, and then on other nodes.
    Numa,
}

/// Who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Anybody.
    #[default]
    Anybody,
    /// The page daemon, which may have the last pages.
    PageDaemon,
}

/// A request for a page (`uvm_pagealloc`).
#[derive(Clone, Copy, Debug, Default)]
pub struct PageRequest {
    pub(crate) owner: PageOwner,
    pub(crate) flags: PgaFlags,
    pub(crate) strategy: Strategy,
    pub(crate) node: u32,
    pub(crate) strict: bool,
    pub(crate) colour: Option<u32>,
    pub(crate) caller: Caller,
}

impl PageRequest {
    /// Any page, for nobody in particular, on node 0 if it matters.
    pub fn new() -> Self {
        Self::default()
    }

    /// For an owner; the colour follows its offset unless one is asked for. Only such pages may be in [`Zone::Movable`].
    #[must_use]
    pub fn owner(self, owner: PageOwner) -> Self {
        Self { owner, ..self }
    }

    /// In these ways.
    #[must_use]
    pub fn flags(self, flags: PgaFlags) -> Self {
        Self { flags, ..self }
    }

    /// By a strategy.
    #[must_use]
    pub fn strategy(self, strategy: Strategy) -> Self {
        Self { strategy, ..self }
    }

    /// For a processor of this node.
    #[must_use]
    pub fn node(self, node: u32) -> Self {
        Self { node, ..self }
    }

    /// On its node, or not at all.
    #[must_use]
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// Of a colour, if there is one: the page frame number modulo the number of colours.
    #[must_use]
    pub fn colour(self, colour: u32) -> Self {
        Self { colour: Some(colour), ..self }
    }

    /// Whether whoever gets the page can be told when it moves.
    pub(crate) fn may_move(&self) -> bool {
        self.owner != PageOwner::None
    }

    /// The free pages that it may not have.
    #[inline]
    pub(crate) fn kept_of(&self, reserves: &Reserves) -> u64 {
        let kernel = if self.flags.contains(PgaFlags::USERESERVE) { 0 } else { reserves.kernel };
        let daemon = if self.caller == Caller::PageDaemon { 0 } else { reserves.pagedaemon };
        kernel.max(daemon)
    }

    /// Whether the page may be of a zone.
    pub(crate) fn may_be_in(&self, zone: Zone) -> bool {
        zone == Zone::Normal || self.may_move()
    }

    /// Asked by.
    #[must_use]
    pub fn caller(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }
}

/// A request for a list of pages (`uvm_pglistalloc`), in page frames.
#[derive(Clone, Copy, Debug)]
pub struct PageListRequest {
    pub(crate) count: u64,
    pub(crate) window: FrameRange,
    pub(crate) align: u64,
    pub(crate) boundary: Option<u64>,
    pub(crate) runs: u64,
    pub(crate) node: Option<u32>,
    pub(crate) free_list: Option<u8>,
}

impl PageListRequest {
    /// So many pages, wherever they are, in as many runs as it takes.
    ///
    /// # Errors
    /// [`UvmError::Constraint`] for none; [`UvmError::Range`] for more than there can be.
    pub fn new(count: u64) -> Result<Self, UvmError> {
        if count == 0 {
            return Err(UvmError::Constraint { what: "length", value: count });
        }
        FrameRange::new(0, count)?;
        let window = FrameRange::new(0, FRAMES)?;
        Ok(Self { count, window, align: 1, boundary: None, runs: u64::MAX, node: None, free_list: None })
    }

    /// Only from these page frames.
    #[must_use]
    pub fn window(self, window: FrameRange) -> Self {
        Self { window, ..self }
    }

    /// Each run starts at a multiple of this many pages.
    ///
    /// # Errors
    /// [`UvmError::Constraint`] if it is no power of two.
    pub fn align(self, align: u64) -> Result<Self, UvmError> {
        if !align.is_power_of_two() {
            return Err(UvmError::Constraint { what: "alignment", value: align });
        }
        Ok(Self { align, ..self })
    }

    /// No run crosses a multiple of this many pages.
    ///
    /// # Errors
    /// [`UvmError::Constraint`] if it is no power of two.
    pub fn boundary(self, boundary: u64) -> Result<Self, UvmError> {
        if !boundary.is_power_of_two() {
            return Err(UvmError::Constraint { what: "boundary", value: boundary });
        }
        Ok(Self { boundary: Some(boundary), ..self })
    }

    /// In at most so many runs of consecutive pages (`nsegs`).
    ///
    /// # Errors
    /// [`UvmError::Constraint`] if there is to be none.
    pub fn runs(self, runs: u64) -> Result<Self, UvmError> {
        if runs == 0 {
            return Err(UvmError::Constraint { what: "number of runs", value: 0 });
        }
        Ok(Self { runs, ..self })
    }

    /// Only on this node.
    #[must_use]
    pub fn node(self, node: u32) -> Self {
        Self { node: Some(node), ..self }
    }

    /// Only on this free list.
    #[must_use]
    pub fn free_list(self, free_list: u8) -> Self {
        Self { free_list: Some(free_list), ..self }
    }

    /// Whether its pages may be of a node, a free list and a zone.
    pub(crate) fn may_be_of(&self, node: u32, free_list: u8, zone: Zone) -> bool {
        zone == Zone::Normal && self.may_be_on(node, free_list)
    }

    /// Whether its pages may be of a node and a free list.
    pub(crate) fn may_be_on(&self, node: u32, free_list: u8) -> bool {
        self.node.is_none_or(|wanted| wanted == node)
            && self.free_list.is_none_or(|wanted| wanted == free_list)
    }

    /// A run of `len` pages that keeps the constraints.
    pub(crate) fn fit(&self, len: u64) -> Option<Fit> {
        // A run as long as the boundary starts at a multiple of it.
        let align = if self.boundary == Some(len) { self.align.max(len) } else { self.align };
        let fit = Fit::new(len).ok()?.align(align).ok()?.window(self.window.units());
        match self.boundary {
            Some(boundary) => fit.boundary(boundary).ok(),
            None => Some(fit),
        }
    }

    /// The lowest place for all of it as one run, free or not, from a page frame on and inside a range.
    pub(crate) fn lowest_in(&self, from: u64, range: FrameRange) -> Option<FrameRange> {
        let mut start = from.max(range.start()).checked_next_multiple_of(self.align)?;
        if let Some(boundary) = self.boundary {
            if self.count > boundary {
                return None;
            }
            if start % boundary + self.count > boundary {
                start = start.checked_next_multiple_of(boundary)?;
            }
        }
        FrameRange::new(start, self.count).ok().filter(|run| range.covers(*run))
    }

    /// The longest run that it makes sense to look for.
    pub(crate) fn longest(&self) -> u64 {
        self.count.min(self.boundary.unwrap_or(u64::MAX))
    }
}
