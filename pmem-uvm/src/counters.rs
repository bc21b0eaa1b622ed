//! The counters of the physical half of `struct uvmexp`, each exact at every moment.

use crate::settings::Settings;
use core::sync::atomic::{AtomicU64, Ordering};

/// A counter in a cache line of its own, so that reading it does not contend with counters that change all the time.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Apart(pub(crate) AtomicU64);

/// The numbers of free pages that are kept back, and when the page daemon is woken.
///
/// # Examples
/// ```
/// use pmem_uvm::{Caller, FrameRange, PageRequest, Plug, Reserves, Uvm};
///
/// let mut uvm = Uvm::default();
/// uvm.plug(&Plug::new(FrameRange::new(0x100, 4)?))?;
/// uvm.set_reserves(Reserves { pagedaemon: 3, ..Reserves::default() });
/// uvm.pagealloc(&PageRequest::new())?;
/// // The last three are for the page daemon, which needs pages to free pages.
/// assert!(uvm.pagealloc(&PageRequest::new()).is_err());
/// assert!(uvm.pagealloc(&PageRequest::new().caller(Caller::PageDaemon)).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserves {
    /// Pages that only the page daemon may use.
    pub pagedaemon: u64,
    /// Pages that only requests with [`USERESERVE`](crate::PgaFlags::USERESERVE) may use.
    pub kernel: u64,
    /// The page daemon is woken when fewer pages than this are free.
    pub freemin: u64,
    /// The number of free pages that the page daemon should aim for. The manager only passes it on.
    pub freetarg: u64,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters as any thread may read them while pages come and go.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            /// How often the layout of segments changed. This does not count pages, but it is read as often.
            pub(crate) generation: Apart,
            $(pub(crate) $name: AtomicU64,)*
        }

        /// A copy of the counters of the physical half of `struct uvmexp` (uvm(9)). Sizes of memory are in pages
        /// unless stated otherwise.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Uvmexp {
            /// The page size in bytes.
            pub pagesize: u64,
            /// The page size minus one.
            pub pagemask: u64,
            /// The base-2 logarithm of the page size.
            pub pageshift: u32,
            /// The number of page colours. A page's colour is its frame number modulo this.
            pub ncolors: u32,
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn read(&self, settings: &Settings) -> Uvmexp {
                let (pageshift, ncolors) = (settings.pageshift(), settings.colours_of());
                let pagesize = 1 << pageshift;
                Uvmexp {
                    pagesize, pagemask: pagesize - 1, pageshift, ncolors,
                    $($name: self.$name.load(Ordering::Acquire),)*
                }
            }
        }

        impl Uvmexp {
            /// Iterates over the counters with their names, in the order of declaration.
            pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Managed pages: free, held back, or handed out.
    npages,
    /// All plugged pages (`physmem`): the managed, the reserved, the retired and the offline ones.
    physmem,
    /// Free pages, including those in caches.
    free,
    /// Free pages outside caches that are known to be zeroed.
    zeropages,
    /// Free pages that lie in processors' caches.
    cached,
    /// Free pages of movable-only memory ([`Zone::Movable`](crate::Zone::Movable)).
    movable,
    /// Managed pages that are held back while their range is captured or goes offline.
    isolated,
    /// Pages on their way to be freed, as the page daemon reports them ([`Uvm::set_paging`](crate::Uvm::set_paging)).
    paging,
    /// Pages that are wired at least once.
    wired,
    /// Pages that are lent at least once.
    loaned,
    /// Pages that are there but belong to firmware or the host.
    reserved,
    /// Bad pages.
    retired,
    /// Pages that are there but not in use.
    offline,
    /// Free pages that only the page daemon may use.
    reserve_pagedaemon,
    /// Free pages that only requests with [`USERESERVE`](crate::PgaFlags::USERESERVE) may use.
    reserve_kernel,
    /// The page daemon is woken when fewer pages than this are free.
    freemin,
    /// The number of free pages that the page daemon should aim for.
    freetarg,
    /// How often a page had the wanted colour: the one asked for, the one that follows from its offset, or the next in
    /// turn. With one colour, always.
    colorhit,
    /// How often a page had another colour than the wanted one.
    colormiss,
    /// How often a zeroed page was asked for and one was free.
    pga_zerohit,
    /// How often a zeroed page was asked for and the page had to be filled.
    pga_zeromiss,
    /// How often a page came from a processor's cache.
    cpuhit,
    /// How often a processor's cache was empty.
    cpumiss,
    /// How often the page daemon was woken.
    pdwoke,
    /// How often a request failed.
    failed,
}

impl Counters {
    /// Reads the numbers of pages that are kept back.
    #[inline]
    pub(crate) fn reserves(&self) -> Reserves {
        Reserves {
            pagedaemon: get(&self.reserve_pagedaemon),
            kernel: get(&self.reserve_kernel),
            freemin: get(&self.freemin),
            freetarg: get(&self.freetarg),
        }
    }
}

/// Adds to a counter.
#[inline]
pub(crate) fn add(counter: &AtomicU64, pages: u64) {
    counter.fetch_add(pages, Ordering::AcqRel);
}

/// Adds one to a counter that only the owner of the manager writes, so no read-modify-write is needed.
#[inline]
pub(crate) fn note(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// Subtracts from a counter.
#[inline]
pub(crate) fn sub(counter: &AtomicU64, pages: u64) {
    let old = counter.fetch_sub(pages, Ordering::AcqRel);
    debug_assert!(old >= pages, "a counter below zero");
}

/// Reads a counter.
#[inline]
pub(crate) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Acquire)
}
