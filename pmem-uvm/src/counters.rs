//! The counters of the physical half of `struct uvmexp`, each exact at every moment.

use crate::settings::Settings;
use core::sync::atomic::{AtomicU64, Ordering};

/// A number in a line of its own: who reads it does not wait for who counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Apart(pub(crate) AtomicU64);

/// How many free pages are kept back, and when the page daemon is woken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserves {
    /// For the page daemon alone.
    pub pagedaemon: u64,
    /// For requests that may use reserves.
    pub kernel: u64,
    /// Fewer free pages wake the page daemon.
    pub freemin: u64,
    /// What the page daemon is to bring about.
    pub freetarg: u64,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters as anybody may read them while pages come and go.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            /// How often it changed what lies where: no counter of pages, but as many ask for it.
            pub(crate) generation: Apart,
            $(pub(crate) $name: AtomicU64,)*
        }

        /// The counters of the physical half of `struct uvmexp` (uvm(9)), in pages unless said otherwise.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Uvmexp {
            /// The size of a page in bytes.
            pub pagesize: u64,
            /// The size of a page less one.
            pub pagemask: u64,
            /// The size of a page as a power of two.
            pub pageshift: u32,
            /// How many colours pages have: their number modulo this.
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
            /// Each counter with its name.
            pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Pages that are managed: free, held back, or handed out.
    npages,
    /// Pages that are there (`physmem`): those, and the reserved, the retired and the offline.
    physmem,
    /// Pages to be handed out, those in caches included.
    free,
    /// Of these, pages that are known to be zeroed.
    zeropages,
    /// Of the free pages, those that a processor's cache has.
    cached,
    /// Of the free pages, those that are only for movable ones ([`Zone::Movable`](crate::Zone::Movable)).
    movable,
    /// Managed pages held back, while what they are in is captured or goes offline.
    isolated,
    /// Pages on their way to be freed: the page daemon's to say.
    paging,
    /// Pages that are wired at least once.
    wired,
    /// Pages that are lent at least once.
    loaned,
    /// Pages that are there and not ours to hand out.
    reserved,
    /// Bad pages.
    retired,
    /// Pages that are there and not in use.
    offline,
    /// Free pages that only the page daemon gets.
    reserve_pagedaemon,
    /// Free pages that only requests for reserves get.
    reserve_kernel,
    /// Free pages below which the page daemon is woken.
    freemin,
    /// Free pages that the page daemon is to bring about.
    freetarg,
    /// How often a page had the colour that was asked for.
    colorhit,
    /// How often it had another.
    colormiss,
    /// How often a zeroed page was asked for and there.
    pga_zerohit,
    /// How often it had to be zeroed.
    pga_zeromiss,
    /// How often a page came from a processor's cache.
    cpuhit,
    /// How often the cache had none.
    cpumiss,
    /// How often the page daemon was woken.
    pdwoke,
    /// How often a request was refused.
    failed,
}

impl Counters {
    /// How many pages are kept back.
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

/// Adds one to a counter that only the owner of all writes.
#[inline]
pub(crate) fn note(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// Takes from a counter.
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
