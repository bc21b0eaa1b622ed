//! A page: what is kept of each page frame, in three words that any thread may read.

use alloc::sync::Arc;
use alloc::vec::Vec;
use bitflags::bitflags;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

/// The words of one page. A host that gives memory for pages gives an array of these, all zero.
pub type PageWords = [AtomicU64; 3];

bitflags! {
    /// What is known of a page, after `PG_` of NetBSD's uvm_page.h.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PageFlags: u8 {
        /// Its owner is still at work on it: so it comes from [`pagealloc`](crate::Uvm::pagealloc).
        const BUSY = 0x01;
        /// It has not been written to.
        const CLEAN = 0x02;
        /// It has not been filled yet.
        const FAKE = 0x04;
        /// It is known to be filled with zeroes: for whoever gives it back to say. Pages come without it.
        const ZERO = 0x08;
    }
}

/// What a page frame is doing.
///
/// `Free` ↔ `Cached` → `Allocated` → `Free`; `Free` ↔ `Isolated` → `Allocated` (capture), `Offline`, `Retired`; `Offline` → `Free`;
/// `Reserved` changes by [`free_reserved`](crate::Uvm::free_reserved), by [`retire`](crate::Uvm::retire), and as a model says that feeds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PageState {
    /// To be handed out.
    #[default]
    Free = 0,
    /// To be handed out by one processor's cache.
    Cached = 1,
    /// Handed out.
    Allocated = 2,
    /// Held back, while what it is in is captured or goes offline.
    Isolated = 3,
    /// There, but not ours to hand out: firmware's, or the host's from before.
    Reserved = 4,
    /// Bad: not handed out, unless a model that feeds it says that it is good after all.
    Retired = 5,
    /// There, but not in use.
    Offline = 6,
}

impl PageState {
    /// Whether nobody has it, nor is about to.
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

/// Whom a page belongs to: at most one, and where in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PageOwner {
    /// Nobody in particular.
    #[default]
    None,
    /// A `uvm_object`, by a key of the host's.
    Object {
        /// Which.
        key: u64,
        /// Where in it, in bytes.
        offset: u64,
    },
    /// A `vm_anon`, by a key of the host's.
    Anon {
        /// Which.
        key: u64,
        /// Where it is mapped, in bytes: colours follow it.
        offset: u64,
    },
}

/// A page as it is at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageInfo {
    /// What it is doing.
    pub state: PageState,
    /// What is known of it.
    pub flags: PageFlags,
    /// Whose it is.
    pub owner: PageOwner,
    /// How often it is wired.
    pub wired: u32,
    /// How often it is lent (`loan_count`).
    pub loans: u32,
    /// Whether it is part of a list, and goes back with that.
    pub listed: bool,
}

/// How a page comes.
pub(crate) const FRESH: PageFlags = PageFlags::BUSY.union(PageFlags::CLEAN).union(PageFlags::FAKE);

/// What a page has to be to be given back.
pub(crate) const IDLE: &str = "one that can be given back by itself";

/// How often a page can be wired, or lent.
pub const COUNT_MAX: u32 = (1 << 24) - 1;

const STATE: u64 = 0xf;
const FLAGS: u32 = 4;
const ZERO: u64 = (PageFlags::ZERO.bits() as u64) << FLAGS;
/// Of a reserved page: it came so with its block, offline, and stays so whether that is online or not, as Linux's memmap_on_memory does.
const OWN: u64 = 1 << 10;
/// Of such a page: its block is offline.
const OUT: u64 = 1 << 11;
const OBJECT: u64 = 1 << 12;
const ANON: u64 = 1 << 13;
/// First page of a run in a list: its other words are links.
const LISTED: u64 = 1 << 14;
/// Page of a list: it stays where it is.
const IN_LIST: u64 = 1 << 15;
const WIRED: u32 = 16;
const LOANS: u32 = 40;

/// What is kept of one page frame.
#[derive(Clone, Copy)]
pub struct Page<'p>(pub(crate) &'p PageWords);

impl Page<'_> {
    /// The page as it is now.
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

    /// What it is doing.
    #[inline]
    pub fn state(self) -> PageState {
        state_of(self.head())
    }

    #[inline]
    fn head(self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }

    /// Makes it a page of this state, of nobody, with nothing known but `flags`.
    #[inline]
    pub(crate) fn reset(self, state: PageState, flags: PageFlags) {
        self.0[0].store(state as u64 | u64::from(flags.bits()) << FLAGS, Ordering::Relaxed);
    }

    /// Makes it a reserved page that goes offline and comes online with its block, which is offline.
    pub(crate) fn reset_own(self) {
        self.0[0].store(PageState::Reserved as u64 | OWN | OUT, Ordering::Relaxed);
    }

    /// Whether it is reserved, and goes offline and comes online with its block.
    pub(crate) fn is_own(self) -> bool {
        self.head() & OWN != 0
    }

    /// Whether it is such a page of a block that is offline.
    pub(crate) fn is_out(self) -> bool {
        self.head() & OUT != 0
    }

    /// Says whether its block is offline, if it goes with that.
    pub(crate) fn set_out(self, out: bool) {
        self.update(|head| (head & OWN != 0).then_some(if out { head | OUT } else { head & !OUT }));
    }

    /// What is known of it.
    #[inline]
    pub(crate) fn flags(self) -> PageFlags {
        PageFlags::from_bits_truncate((self.head() >> FLAGS) as u8)
    }

    /// Makes a page that is handed out by itself, and that nobody has wired or borrowed, one of another state; forgets all
    /// but `flags`. How it is, if it is not so.
    #[inline]
    pub(crate) fn hand(self, to: PageState, flags: PageFlags) -> Result<(), PageInfo> {
        let head = self.head();
        let new = to as u64 | u64::from(flags.bits()) << FLAGS;
        let idle = head & STATE == PageState::Allocated as u64 && head & IN_LIST == 0 && head >> WIRED == 0;
        let handed =
            idle && self.0[0].compare_exchange(head, new, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if handed { Ok(()) } else { Err(self.info()) }
    }

    /// Gives it to an owner.
    #[inline]
    pub(crate) fn give(self, state: PageState, flags: PageFlags, owner: PageOwner) {
        let (kind, key, offset) = owner_words(owner);
        if kind != 0 {
            self.0[1].store(key, Ordering::Relaxed);
            self.0[2].store(offset, Ordering::Relaxed);
        }
        self.0[0].store(state as u64 | u64::from(flags.bits()) << FLAGS | kind, Ordering::Release);
    }

    /// Changes its owner, and nothing else.
    pub(crate) fn own(self, owner: PageOwner) {
        let (kind, key, offset) = owner_words(owner);
        self.0[1].store(key, Ordering::Relaxed);
        self.0[2].store(offset, Ordering::Relaxed);
        self.update(|head| Some(head & !(OBJECT | ANON) | kind));
    }

    /// Holds a page back that is handed out by itself, while it is moved: nobody can free it meanwhile. What [`Self::let_go`] takes.
    pub(crate) fn hold(self) -> Option<u64> {
        let head = self.head();
        let movable =
            head & STATE == PageState::Allocated as u64 && head & IN_LIST == 0 && head >> WIRED == 0;
        let held = head & !STATE | PageState::Isolated as u64;
        let done =
            movable && self.0[0].compare_exchange(head, held, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        done.then_some(head)
    }

    /// Whether nobody has it, or whoever has it may be asked to move.
    pub(crate) fn can_go(self) -> bool {
        let head = self.head();
        match state_of(head) {
            PageState::Free | PageState::Cached => true,
            PageState::Allocated => head & IN_LIST == 0 && head >> WIRED == 0,
            _ => false,
        }
    }

    /// Makes a page that was held back what it was.
    pub(crate) fn let_go(self, head: u64) {
        self.0[0].store(head, Ordering::Release);
    }

    /// Becomes what a page was that was held back.
    pub(crate) fn become_like(self, other: Page<'_>, head: u64) {
        self.0[1].store(other.0[1].load(Ordering::Relaxed), Ordering::Relaxed);
        self.0[2].store(other.0[2].load(Ordering::Relaxed), Ordering::Relaxed);
        self.let_go(head);
    }

    /// Sets and clears flags.
    pub(crate) fn set_flags(self, set: PageFlags, clear: PageFlags) {
        let (set, clear) = (u64::from(set.bits()) << FLAGS, u64::from(clear.bits()) << FLAGS);
        self.update(|head| Some(head & !clear | set));
    }

    /// Adds to, or takes from, how often it is wired; the count before. `None` beyond the count's bounds.
    pub(crate) fn count_wired(self, up: bool) -> Option<u32> {
        self.count(WIRED, up)
    }

    /// Adds to, or takes from, how often it is lent; the count before. `None` beyond the count's bounds.
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

    /// Makes a free page one of a list: CLEAN, and ZERO if it was.
    #[inline]
    pub(crate) fn enlist(self) {
        const CLEAN: u64 = (PageFlags::CLEAN.bits() as u64) << FLAGS;
        let zero = self.head() & ZERO;
        self.0[0].store(PageState::Allocated as u64 | zero | CLEAN | IN_LIST, Ordering::Release);
    }

    /// Makes a page of a list a free one, ZERO if it is.
    #[inline]
    pub(crate) fn delist(self) {
        self.0[0].store(PageState::Free as u64 | self.head() & ZERO, Ordering::Release);
    }

    /// Whether it is known to be zeroed.
    #[inline]
    pub(crate) fn is_zeroed(self) -> bool {
        self.head() & ZERO != 0
    }

    /// Forgets that it is zeroed.
    pub(crate) fn forget_zero(self) {
        self.set_flags(PageFlags::empty(), PageFlags::ZERO);
    }

    /// Whether it is a page of a list.
    pub(crate) fn is_listed(self) -> bool {
        self.head() & IN_LIST != 0
    }

    /// Makes it the first page of a run of `count` pages in a list, before the run at `next`.
    pub(crate) fn link(self, count: u64, next: Option<u64>) {
        self.0[1].store(next.map_or(0, |next| next + 1), Ordering::Relaxed);
        self.0[2].store(count, Ordering::Relaxed);
        self.update(|head| Some(head | LISTED));
    }

    /// Of the first page of a run in a list: how many pages it has, and where the next run is.
    pub(crate) fn linked(self) -> Option<(u64, Option<u64>)> {
        (self.head() & LISTED != 0)
            .then(|| (self.0[2].load(Ordering::Relaxed), self.0[1].load(Ordering::Relaxed).checked_sub(1)))
    }

    /// Makes it the last page of the run in a list that begins at a page frame, and is not the only one.
    pub(crate) fn end(self, start: u64) {
        self.0[1].store(start, Ordering::Relaxed);
    }

    /// Of the last page of a run in a list: where the run begins.
    pub(crate) fn start(self) -> u64 {
        self.0[1].load(Ordering::Relaxed)
    }

    /// Makes it a page like others of its list.
    pub(crate) fn unlink(self) {
        self.update(|head| Some(head & !LISTED));
    }

    /// Makes it a page by itself.
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

/// What is kept beside what is shared: two counts.
const SHARED: usize = 2 * size_of::<usize>();

/// Whether there is so much memory in one piece. What is shared cannot be asked for without aborting; what is not can, and is given back.
pub(crate) fn is_memory_for(bytes: usize) -> bool {
    Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}

/// The pages of what was plugged at once, for as long as anybody refers to them.
#[derive(Clone, Debug)]
pub(crate) enum Pages {
    /// On the heap.
    Heap(Arc<[PageWords]>),
    /// In memory that the host reaches for good.
    Direct(&'static [PageWords]),
}

impl Pages {
    /// Takes memory from the heap; `None` if there is not so much.
    pub(crate) fn new(count: u64) -> Option<Self> {
        let count = usize::try_from(count).ok()?;
        let bytes = count.checked_mul(size_of::<PageWords>())?.checked_add(SHARED)?;
        is_memory_for(bytes).then(|| Self::Heap((0..count).map(|_| PageWords::default()).collect()))
    }

    /// Whether they are the same memory.
    pub(crate) fn is(&self, other: &Self) -> bool {
        core::ptr::eq(self.all(), other.all())
    }

    #[inline]
    pub(crate) fn get(&self, index: u64) -> Option<Page<'_>> {
        self.all().get(index as usize).map(Page)
    }

    /// The pages from one on, as many as there are of those asked for.
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
