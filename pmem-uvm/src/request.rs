//! Requests for a page and for a list of pages.

use crate::counters::Reserves;
use crate::error::UvmError;
use crate::frame::{FRAMES, FrameRange};
use crate::page::PageOwner;
use crate::segment::Zone;
use bitflags::bitflags;
use pmem_space::Fit;

bitflags! {
    /// Flags of a page request (`UVM_PGA_*` of uvm(9)).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PgaFlags: u32 {
        /// Lets the request use the kernel's reserve ([`Reserves::kernel`]).
        const USERESERVE = 0x0001;
        /// Asks for a page filled with zeroes.
        const ZERO = 0x0002;
    }
}

/// The order in which a page request searches free lists and nodes (`UVM_PGA_STRAT_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Every free list from 0 up; on each list the request's node first, then the others.
    #[default]
    Normal,
    /// This free list only.
    Only(u8),
    /// This free list first, then as [`Strategy::Normal`].
    Fallback(u8),
    /// The request's node first, on all its free lists from 0 up, then the other nodes.
    Numa,
}

/// The caller of a page request, which decides which reserves it must leave alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Any caller but the page daemon.
    #[default]
    Anybody,
    /// The page daemon, which may use the pages kept back for it ([`Reserves::pagedaemon`]).
    PageDaemon,
}

/// A request for one page (`uvm_pagealloc`).
///
/// # Examples
/// A page on node 1 or not at all, for an object that can be told when the page moves:
///
/// ```
/// use pmem_uvm::{FrameRange, PageOwner, PageRequest, Plug, Uvm, UvmError};
///
/// let mut uvm = Uvm::default();
/// uvm.plug(&Plug::new(FrameRange::new(0x100, 0x100)?))?;
/// uvm.plug(&Plug::new(FrameRange::new(0x1000, 1)?).node(1))?;
///
/// let owner = PageOwner::Object { key: 7, offset: 0x3000 };
/// let request = PageRequest::new().owner(owner).node(1).strict();
/// let page = uvm.pagealloc(&request)?;
/// assert_eq!(page, 0x1000);
/// assert!(matches!(uvm.pagealloc(&request), Err(UvmError::NoPages { .. })), "node 1 has no other");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// Requests any page, for no particular owner, with node 0 as the preferred node.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the owner. Unless you ask for a colour, the colour follows the owner's offset. Only a page with an owner
    /// can come from [`Zone::Movable`].
    #[must_use]
    pub fn owner(self, owner: PageOwner) -> Self {
        Self { owner, ..self }
    }

    /// Sets the flags.
    #[must_use]
    pub fn flags(self, flags: PgaFlags) -> Self {
        Self { flags, ..self }
    }

    /// Sets the order in which free lists and nodes are searched.
    #[must_use]
    pub fn strategy(self, strategy: Strategy) -> Self {
        Self { strategy, ..self }
    }

    /// Sets the preferred node, usually that of the calling processor.
    #[must_use]
    pub fn node(self, node: u32) -> Self {
        Self { node, ..self }
    }

    /// Takes a page of the preferred node or none at all.
    #[must_use]
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// Asks for a colour: the page frame number modulo the number of colours. It is a preference: if no such page is
    /// free, the request gets one of another colour.
    #[must_use]
    pub fn colour(self, colour: u32) -> Self {
        Self { colour: Some(colour), ..self }
    }

    /// Whether the page will have an owner, who can be told when it moves.
    pub(crate) fn may_move(&self) -> bool {
        self.owner != PageOwner::None
    }

    /// The number of free pages that this request must leave alone.
    #[inline]
    pub(crate) fn kept_of(&self, reserves: &Reserves) -> u64 {
        let kernel = if self.flags.contains(PgaFlags::USERESERVE) { 0 } else { reserves.kernel };
        let daemon = if self.caller == Caller::PageDaemon { 0 } else { reserves.pagedaemon };
        kernel.max(daemon)
    }

    /// Whether this request may take a page of a zone.
    pub(crate) fn may_be_in(&self, zone: Zone) -> bool {
        zone == Zone::Normal || self.may_move()
    }

    /// Sets the caller.
    #[must_use]
    pub fn caller(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }
}

/// A request for a list of pages (`uvm_pglistalloc`). All lengths are in pages.
///
/// # Examples
/// A buffer for a device that addresses 32 bits and cannot cross a 64 KiB boundary:
///
/// ```
/// use pmem_uvm::{FrameRange, PageListRequest, Plug, Uvm};
///
/// let mut uvm = Uvm::default();
/// uvm.plug(&Plug::new(FrameRange::new(0x107, 0x1000)?))?;
/// let below_4g = FrameRange::new(0, 1 << 20)?;
/// let request = PageListRequest::new(10)?.window(below_4g).boundary(16)?.runs(1)?;
/// let list = uvm.pglistalloc(&request)?;
/// // 0x107 to 0x110 are only nine pages, so the run starts at the next boundary.
/// assert!(uvm.runs(&list).eq([FrameRange::new(0x110, 10)?]));
/// uvm.pglistfree(list);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// Requests `count` pages anywhere, in any number of runs.
    ///
    /// # Errors
    /// [`UvmError::Constraint`] if `count` is zero; [`UvmError::Range`] if it is more than [`FRAMES`].
    pub fn new(count: u64) -> Result<Self, UvmError> {
        if count == 0 {
            return Err(UvmError::Constraint { what: "length", value: count });
        }
        FrameRange::new(0, count)?;
        let window = FrameRange::new(0, FRAMES)?;
        Ok(Self { count, window, align: 1, boundary: None, runs: u64::MAX, node: None, free_list: None })
    }

    /// Takes pages only from this window.
    #[must_use]
    pub fn window(self, window: FrameRange) -> Self {
        Self { window, ..self }
    }

    /// Makes each run start at a multiple of `align` pages.
    ///
    /// # Errors
    /// [`UvmError::Constraint`] if `align` is not a power of two.
    pub fn align(self, align: u64) -> Result<Self, UvmError> {
        if !align.is_power_of_two() {
            return Err(UvmError::Constraint { what: "alignment", value: align });
        }
        Ok(Self { align, ..self })
    }

    /// Keeps each run from crossing a multiple of `boundary` pages.
    ///
    /// # Errors
    /// [`UvmError::Constraint`] if `boundary` is not a power of two.
    pub fn boundary(self, boundary: u64) -> Result<Self, UvmError> {
        if !boundary.is_power_of_two() {
            return Err(UvmError::Constraint { what: "boundary", value: boundary });
        }
        Ok(Self { boundary: Some(boundary), ..self })
    }

    /// Takes at most `runs` runs of consecutive pages (`nsegs`).
    ///
    /// # Errors
    /// [`UvmError::Constraint`] if `runs` is zero.
    pub fn runs(self, runs: u64) -> Result<Self, UvmError> {
        if runs == 0 {
            return Err(UvmError::Constraint { what: "number of runs", value: 0 });
        }
        Ok(Self { runs, ..self })
    }

    /// Takes pages of this node only.
    #[must_use]
    pub fn node(self, node: u32) -> Self {
        Self { node: Some(node), ..self }
    }

    /// Takes pages of this free list only.
    #[must_use]
    pub fn free_list(self, free_list: u8) -> Self {
        Self { free_list: Some(free_list), ..self }
    }

    /// Whether pages of this node, free list and zone can serve the request. A list never takes movable-only memory.
    pub(crate) fn may_be_of(&self, node: u32, free_list: u8, zone: Zone) -> bool {
        zone == Zone::Normal && self.may_be_on(node, free_list)
    }

    /// Whether pages of this node and free list can serve the request.
    pub(crate) fn may_be_on(&self, node: u32, free_list: u8) -> bool {
        self.node.is_none_or(|wanted| wanted == node)
            && self.free_list.is_none_or(|wanted| wanted == free_list)
    }

    /// Returns what the free map is to search for: a run of `len` pages that meets the constraints; `None` if no such
    /// run exists.
    pub(crate) fn fit(&self, len: u64) -> Option<Fit> {
        // A run as long as the boundary can only start at a multiple of it. Said as an alignment, it lets the search
        // skip subtrees.
        let align = if self.boundary == Some(len) { self.align.max(len) } else { self.align };
        let fit = Fit::new(len).ok()?.align(align).ok()?.window(self.window.units());
        match self.boundary {
            Some(boundary) => fit.boundary(boundary).ok(),
            None => Some(fit),
        }
    }

    /// Returns the lowest place at or after `from` and inside `range` where the whole request fits as one run,
    /// whether its pages are free or not.
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

    /// The longest run worth searching for: none can be longer than the request, nor than the boundary.
    pub(crate) fn longest(&self) -> u64 {
        self.count.min(self.boundary.unwrap_or(u64::MAX))
    }
}
