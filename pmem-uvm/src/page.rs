//! Pages: the record of each page frame, three words that any thread may read at any time.

use alloc::sync::Arc;
use alloc::vec::Vec;
use bitflags::bitflags;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

/// The words of one page. A host that provides memory for pages provides an array of these, all zero.
pub type PageWords = [AtomicU64; 3];

bitflags! {
    /// Flags of a page, after `PG_*` of NetBSD's uvm_page.h.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PageFlags: u8 {
        /// The owner is still working on the page. [`pagealloc`](crate::Uvm::pagealloc) returns pages with this flag.
        const BUSY = 0x01;
        /// The page has not been written to.
        const CLEAN = 0x02;
        /// The page has not been filled yet.
        const FAKE = 0x04;
        /// The page is known to be filled with zeroes. Set it before you free a zeroed page; pages are handed out
        /// without it.
        const ZERO = 0x08;
    }
}

/// The state of a page frame.
///
/// The usual transitions are:
/// - `Free` ↔ `Cached`, and from either to `Allocated` and back;
/// - `Free` ↔ `Isolated`, and from there to `Allocated` (capture), `Offline` or `Retired`;
/// - `Offline` → `Free`;
/// - `Free` ↔ `Reserved` by [`reserve`](crate::Uvm::reserve) and [`free_reserved`](crate::Uvm::free_reserved);
/// - `Free`, `Reserved` or `Offline` → `Retired` by [`retire`](crate::Uvm::retire);
/// - whatever a model that feeds the page asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PageState {
    /// The page is free and can be handed out.
    #[default]
    Free = 0,
    /// The page is free and lies in one processor's cache, which alone hands it out.
    Cached = 1,
    /// The page is handed out.
    Allocated = 2,
    /// The page is held back while its range is captured or goes offline. Nobody can get or free it.
    Isolated = 3,
    /// The page is there but belongs to firmware, or to the host from before it was plugged. It is not handed out.
    Reserved = 4,
    /// The page is bad and is not handed out, unless a model that feeds it later declares it good.
    Retired = 5,
    /// The page is there but not in use.
    Offline = 6,
}

impl PageState {
    /// Whether nobody has the page or is about to get it: it is not cached, allocated or isolated.
    pub(crate) fn is_idle(self) -> bool {
        !matches!(self, Self::Cached | Self::Allocated | Self::Isolated)
    }

    pub(crate) const ALL: [Self; 7] = [
        Self::Free,
        Self::Cached,
        Self::Allocated,
        Self::Isolated,
        Self::Reserved,
        Self::Retired,
        Self::Offline,
    ];
}

impl fmt::Display for PageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Free => "free",
            Self::Cached => "cached",
            Self::Allocated => "allocated",
            Self::Isolated => "isolated",
            Self::Reserved => "reserved",
            Self::Retired => "retired",
            Self::Offline => "offline",
        })
    }
}

/// The owner of a page, and the page's place in it. A page has at most one owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PageOwner {
    /// No particular owner. Such a page cannot be moved on behalf of anyone, so it never comes from movable-only
    /// memory.
    #[default]
    None,
    /// A `uvm_object`.
    Object {
        /// The host's key for the object.
        key: u64,
        /// The offset of the page in the object, in bytes.
        offset: u64,
    },
    /// A `vm_anon`.
    Anon {
        /// The host's key for the anon.
        key: u64,
        /// The address where the page is mapped, in bytes. Colours follow it.
        offset: u64,
    },
}

/// A page as it was at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageInfo {
    /// The state.
    pub state: PageState,
    /// The flags.
    pub flags: PageFlags,
    /// The owner.
    pub owner: PageOwner,
    /// The number of times the page is wired.
    pub wired: u32,
    /// The number of times the page is lent (`loan_count`).
    pub loans: u32,
    /// Whether the page is part of a list and is freed with it.
    pub listed: bool,
}

/// The flags of a page that was just handed out.
pub(crate) const FRESH: PageFlags = PageFlags::BUSY.union(PageFlags::CLEAN).union(PageFlags::FAKE);

/// The state a page must be in to be freed on its own, as a phrase for messages.
pub(crate) const IDLE: &str = "allocated, unwired, unlent and in no list";

/// The most times a page can be wired, and the most times it can be lent.
pub const COUNT_MAX: u32 = (1 << 24) - 1;

const STATE: u64 = 0xf;
const FLAGS: u32 = 4;
const ZERO: u64 = (PageFlags::ZERO.bits() as u64) << FLAGS;
/// Set on a reserved page that was plugged offline with its block. It stays reserved whether the block is online or
/// offline, like the pages that Linux's memmap_on_memory uses.
const OWN: u64 = 1 << 10;
/// Set on such a page while its block is offline.
const OUT: u64 = 1 << 11;
const OBJECT: u64 = 1 << 12;
const ANON: u64 = 1 << 13;
/// Set on the first page of a run in a list: its other two words are links.
const LISTED: u64 = 1 << 14;
/// Set on every page of a list: it must stay where it is.
const IN_LIST: u64 = 1 << 15;
const WIRED: u32 = 16;
const LOANS: u32 = 40;

/// A view of the record of one page frame. It stays live: each call reads the page as it is at that moment.
///
/// # Examples
/// A wired page can neither be freed nor moved:
///
/// ```
/// use pmem_uvm::{FrameRange, PageFlags, PageRequest, PageState, Plug, Uvm};
///
/// let mut uvm = Uvm::default();
/// uvm.plug(&Plug::new(FrameRange::new(0x100, 16)?))?;
/// let frame = uvm.pagealloc(&PageRequest::new())?;
/// uvm.pagewire(frame)?;
/// let info = uvm.page(frame).ok_or("not plugged")?.info();
/// assert_eq!((info.state, info.wired), (PageState::Allocated, 1));
/// assert_eq!(info.flags, PageFlags::BUSY | PageFlags::CLEAN | PageFlags::FAKE);
/// assert!(uvm.pagefree(frame).is_err());
/// uvm.pageunwire(frame)?;
/// uvm.pagefree(frame)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Page<'p>(pub(crate) &'p PageWords);

impl Page<'_> {
    /// Returns the whole record as it is now.
    #[must_use]
    pub fn info(self) -> PageInfo {
        let head = self.head();
        let (key, offset) = (self.0[1].load(Ordering::Relaxed), self.0[2].load(Ordering::Relaxed));
        let owner = match head & (OBJECT | ANON) {
            OBJECT => PageOwner::Object { key, offset },
            ANON => PageOwner::Anon { key, offset },
            _ => PageOwner::None,
        };
        PageInfo {
            state: state_of(head),
            flags: PageFlags::from_bits_truncate((head >> FLAGS) as u8),
            owner,
            wired: (head >> WIRED) as u32 & COUNT_MAX,
            loans: (head >> LOANS) as u32 & COUNT_MAX,
            listed: head & IN_LIST != 0,
        }
    }

    /// Returns the state as it is now.
    #[inline]
    #[must_use]
    pub fn state(self) -> PageState {
        state_of(self.head())
    }

    #[inline]
    fn head(self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }

    /// Puts the page into `state` with exactly these flags, no owner and no counts.
    #[inline]
    pub(crate) fn reset(self, state: PageState, flags: PageFlags) {
        self.0[0].store(state as u64 | u64::from(flags.bits()) << FLAGS, Ordering::Relaxed);
    }

    /// Makes this a reserved page of an offline block, which from now on follows the block online and offline.
    pub(crate) fn reset_own(self) {
        self.0[0].store(PageState::Reserved as u64 | OWN | OUT, Ordering::Relaxed);
    }

    /// Whether this is a reserved page that follows its block.
    pub(crate) fn is_own(self) -> bool {
        self.head() & OWN != 0
    }

    /// Whether this is a reserved page that follows its block, and the block is offline.
    pub(crate) fn is_out(self) -> bool {
        self.head() & OUT != 0
    }

    /// Records whether the block is offline, if the page follows its block.
    pub(crate) fn set_out(self, out: bool) {
        self.update(|head| (head & OWN != 0).then_some(if out { head | OUT } else { head & !OUT }));
    }

    /// Returns the flags as they are now.
    #[inline]
    pub(crate) fn flags(self) -> PageFlags {
        PageFlags::from_bits_truncate((self.head() >> FLAGS) as u8)
    }

    /// Moves the page to another state with exactly these flags. The page must be allocated, outside any list, and
    /// neither wired nor lent; otherwise nothing changes and the error says how the page is.
    #[inline]
    pub(crate) fn hand(self, to: PageState, flags: PageFlags) -> Result<(), PageInfo> {
        let head = self.head();
        let new = to as u64 | u64::from(flags.bits()) << FLAGS;
        let idle = head & STATE == PageState::Allocated as u64 && head & IN_LIST == 0 && head >> WIRED == 0;
        let handed =
            idle && self.0[0].compare_exchange(head, new, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if handed { Ok(()) } else { Err(self.info()) }
    }

    /// Puts the page into `state` with exactly these flags and this owner.
    #[inline]
    pub(crate) fn give(self, state: PageState, flags: PageFlags, owner: PageOwner) {
        let (kind, key, offset) = owner_words(owner);
        if kind != 0 {
            self.0[1].store(key, Ordering::Relaxed);
            self.0[2].store(offset, Ordering::Relaxed);
        }
        self.0[0].store(state as u64 | u64::from(flags.bits()) << FLAGS | kind, Ordering::Release);
    }

    /// Changes the owner and nothing else.
    pub(crate) fn own(self, owner: PageOwner) {
        let (kind, key, offset) = owner_words(owner);
        self.0[1].store(key, Ordering::Relaxed);
        self.0[2].store(offset, Ordering::Relaxed);
        self.update(|head| Some(head & !(OBJECT | ANON) | kind));
    }

    /// Isolates an allocated page while it is moved, so that nobody can free it meanwhile. Returns the old head word
    /// for [`Self::let_go`]; `None` if the page is in a list, wired, lent, or not allocated.
    pub(crate) fn hold(self) -> Option<u64> {
        let head = self.head();
        let movable =
            head & STATE == PageState::Allocated as u64 && head & IN_LIST == 0 && head >> WIRED == 0;
        let held = head & !STATE | PageState::Isolated as u64;
        let done =
            movable && self.0[0].compare_exchange(head, held, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        done.then_some(head)
    }

    /// Whether the page is free or cached, or its owner could be asked to move it.
    pub(crate) fn can_go(self) -> bool {
        let head = self.head();
        match state_of(head) {
            PageState::Free | PageState::Cached => true,
            PageState::Allocated => head & IN_LIST == 0 && head >> WIRED == 0,
            _ => false,
        }
    }

    /// Restores the head word that [`Self::hold`] returned.
    pub(crate) fn let_go(self, head: u64) {
        self.0[0].store(head, Ordering::Release);
    }

    /// Takes over the owner and the head word of a page that was held back.
    pub(crate) fn become_like(self, other: Page<'_>, head: u64) {
        self.0[1].store(other.0[1].load(Ordering::Relaxed), Ordering::Relaxed);
        self.0[2].store(other.0[2].load(Ordering::Relaxed), Ordering::Relaxed);
        self.let_go(head);
    }

    /// Sets some flags and clears others.
    pub(crate) fn set_flags(self, set: PageFlags, clear: PageFlags) {
        let (set, clear) = (u64::from(set.bits()) << FLAGS, u64::from(clear.bits()) << FLAGS);
        self.update(|head| Some(head & !clear | set));
    }

    /// Counts the wire count up or down and returns the count before; `None`, and no change, if it would leave its
    /// bounds.
    pub(crate) fn count_wired(self, up: bool) -> Option<u32> {
        self.count(WIRED, up)
    }

    /// Counts the loan count up or down and returns the count before; `None`, and no change, if it would leave its
    /// bounds.
    pub(crate) fn count_loans(self, up: bool) -> Option<u32> {
        self.count(LOANS, up)
    }

    fn count(self, at: u32, up: bool) -> Option<u32> {
        let field = |head: u64| (head >> at) as u32 & COUNT_MAX;
        let old = self.update(|head| match (up, field(head)) {
            (true, COUNT_MAX) | (false, 0) => None,
            (true, _) => Some(head + (1 << at)),
            (false, _) => Some(head - (1 << at)),
        })?;
        Some(field(old))
    }

    fn update(self, with: impl FnMut(u64) -> Option<u64>) -> Option<u64> {
        self.0[0].fetch_update(Ordering::AcqRel, Ordering::Relaxed, with).ok()
    }

    /// Makes a free page a page of a list: CLEAN, and still ZERO if it was.
    #[inline]
    pub(crate) fn enlist(self) {
        const CLEAN: u64 = (PageFlags::CLEAN.bits() as u64) << FLAGS;
        let zero = self.head() & ZERO;
        self.0[0].store(PageState::Allocated as u64 | zero | CLEAN | IN_LIST, Ordering::Release);
    }

    /// Makes a page of a list a free page, still ZERO if it was.
    #[inline]
    pub(crate) fn delist(self) {
        self.0[0].store(PageState::Free as u64 | self.head() & ZERO, Ordering::Release);
    }

    /// Whether the page is known to be zeroed.
    #[inline]
    pub(crate) fn is_zeroed(self) -> bool {
        self.head() & ZERO != 0
    }

    /// Clears the ZERO flag.
    pub(crate) fn forget_zero(self) {
        self.set_flags(PageFlags::empty(), PageFlags::ZERO);
    }

    /// Whether the page is part of a list.
    pub(crate) fn is_listed(self) -> bool {
        self.head() & IN_LIST != 0
    }

    /// Makes this the first page of a run of `count` pages in a list. The run at `next` follows it.
    pub(crate) fn link(self, count: u64, next: Option<u64>) {
        self.0[1].store(next.map_or(0, |next| next + 1), Ordering::Relaxed);
        self.0[2].store(count, Ordering::Relaxed);
        self.update(|head| Some(head | LISTED));
    }

    /// Returns the length of the run and the start of the next run if this is the first page of a run in a list.
    pub(crate) fn linked(self) -> Option<(u64, Option<u64>)> {
        (self.head() & LISTED != 0)
            .then(|| (self.0[2].load(Ordering::Relaxed), self.0[1].load(Ordering::Relaxed).checked_sub(1)))
    }

    /// Makes this the last page of a run in a list that starts at `start` and has at least two pages.
    pub(crate) fn end(self, start: u64) {
        self.0[1].store(start, Ordering::Relaxed);
    }

    /// Returns where the run starts, if this is the last page of a run of at least two pages in a list.
    pub(crate) fn start(self) -> u64 {
        self.0[1].load(Ordering::Relaxed)
    }

    /// Removes the links of a run's first page; it stays in the list.
    pub(crate) fn unlink(self) {
        self.update(|head| Some(head & !LISTED));
    }

    /// Takes the page out of its list; it stays allocated.
    pub(crate) fn unlist(self) {
        self.update(|head| Some(head & !(LISTED | IN_LIST)));
    }
}

impl fmt::Debug for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info().fmt(f)
    }
}

fn owner_words(owner: PageOwner) -> (u64, u64, u64) {
    match owner {
        PageOwner::None => (0, 0, 0),
        PageOwner::Object { key, offset } => (OBJECT, key, offset),
        PageOwner::Anon { key, offset } => (ANON, key, offset),
    }
}

fn state_of(head: u64) -> PageState {
    PageState::ALL.get((head & STATE) as usize).copied().unwrap_or_default()
}

/// The bytes that an `Arc` keeps beside its contents: two counts.
const SHARED: usize = 2 * size_of::<usize>();

/// Whether the heap has `bytes` bytes in one piece. An `Arc` aborts when there is no memory, so ask for a `Vec`
/// first, which can fail, and give it back.
pub(crate) fn is_memory_for(bytes: usize) -> bool {
    Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}

/// The pages of one plug. They live for as long as anybody refers to them.
#[derive(Clone, Debug)]
pub(crate) enum Pages {
    /// On the heap.
    Heap(Arc<[PageWords]>),
    /// In memory that the host provides for good.
    Direct(&'static [PageWords]),
}

impl Pages {
    /// Allocates pages on the heap; `None` if there is not enough memory.
    pub(crate) fn new(count: u64) -> Option<Self> {
        let count = usize::try_from(count).ok()?;
        let bytes = count.checked_mul(size_of::<PageWords>())?.checked_add(SHARED)?;
        is_memory_for(bytes).then(|| Self::Heap((0..count).map(|_| PageWords::default()).collect()))
    }

    /// Whether both are the same memory.
    pub(crate) fn is(&self, other: &Self) -> bool {
        core::ptr::eq(self.all(), other.all())
    }

    #[inline]
    pub(crate) fn get(&self, index: u64) -> Option<Page<'_>> {
        self.all().get(index as usize).map(Page)
    }

    /// Returns up to `count` pages from `index` on; fewer if the pages end before.
    #[inline]
    pub(crate) fn slice(&self, index: u64, count: u64) -> impl ExactSizeIterator<Item = Page<'_>> {
        let all = self.all();
        let from = (index as usize).min(all.len());
        let to = from + (count as usize).min(all.len() - from);
        all[from..to].iter().map(Page)
    }

    #[inline]
    fn all(&self) -> &[PageWords] {
        match self {
            Self::Heap(pages) => pages,
            Self::Direct(pages) => pages,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_bounds_and_leave_the_rest() {
        let pages = Pages::new(1).unwrap();
        let page = pages.get(0).unwrap();
        let owner = PageOwner::Anon { key: 7, offset: 0x3000 };
        page.give(PageState::Allocated, PageFlags::BUSY | PageFlags::ZERO, owner);
        assert_eq!(page.count_loans(false), None);
        assert_eq!(page.count_loans(true), Some(0));
        assert_eq!(page.count_wired(true), Some(0));
        assert_eq!(page.count_wired(true), Some(1));
        page.set_flags(PageFlags::CLEAN, PageFlags::BUSY);
        let info = PageInfo {
            state: PageState::Allocated,
            flags: PageFlags::CLEAN | PageFlags::ZERO,
            owner,
            wired: 2,
            loans: 1,
            listed: false,
        };
        assert_eq!(page.info(), info);
        assert_eq!(page.hand(PageState::Free, PageFlags::empty()), Err(info));
        assert!(pages.get(1).is_none());
    }
}
