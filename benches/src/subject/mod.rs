//! What is compared: our index and manager and their peers, behind one interface.

mod btreemap;
mod buddy;
mod eytzinger;
mod ours;
mod peers;

pub use eytzinger::Eytzinger;

use pmem_space::AddrRange;

/// A request: length and alignment in bytes, and the window to allocate in.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    pub len: u64,
    pub align: u64,
    pub window: Option<AddrRange>,
}

/// A range that is taken, and the token that the subject knows it by.
#[derive(Clone, Copy, Debug)]
pub struct Live {
    pub start: u64,
    pub len: u64,
    pub token: u64,
}

/// The result of a look-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hit {
    pub start: u64,
    pub last: u64,
    pub attrs: u32,
    pub id: u64,
}

/// The attributes and the id of a range, for subjects that can store them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    pub id: u64,
    pub attrs: u32,
}

impl Tag {
    pub fn of(start: u64) -> Self {
        Self { id: start ^ 0x5bd1_e995, attrs: (start >> 12) as u32 }
    }
}

/// An implementation to measure.
pub trait Subject {
    /// Takes exactly this range, to build a layout; `None` if it cannot.
    fn adopt(&mut self, range: AddrRange) -> Option<Live>;
    /// Allocates a range; `None` if there is no room.
    fn alloc(&mut self, want: &Want) -> Option<Live>;
    /// Frees a range.
    fn free(&mut self, live: &Live);
    /// Returns the range at an address; `None` if there is none, or if the subject cannot tell.
    fn find(&self, addr: u64) -> Option<Hit>;
    /// Returns the bytes of lists that belong to the caller rather than to the subject.
    fn listed(&self) -> usize {
        0
    }
    /// Returns the starts of the nearest taken ranges below and above an address.
    fn neighbours(&self, addr: u64) -> Option<(u64, u64)>;
}

/// The abilities of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Can {
    pub window: bool,
    pub find: bool,
    pub neighbours: bool,
}

/// A kind of subject, and how to make one.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub can: Can,
    /// What to know about it besides the figures.
    pub note: &'static str,
    pub make: fn(AddrRange) -> Box<dyn Subject>,
}

const ALL: Can = Can { window: true, find: true, neighbours: true };
const FIND: Can = Can { window: true, find: true, neighbours: false };
const ALLOC: Can = Can { window: false, find: false, neighbours: false };

/// All subjects, ours first.
pub const KINDS: &[Kind] = &[
    Kind { name: "pmem-space", can: ALL, note: "exact first fit", make: ours::index },
    Kind {
        name: "pmem-space-64",
        can: ALL,
        note: "first fit, after 64 gaps that do not fit any that does",
        make: ours::bounded,
    },
    Kind { name: "pmem-space-good", can: ALL, note: "good fit", make: ours::good },
    Kind {
        name: "pmem",
        can: ALL,
        note: "exact first fit; attributes, owners, counts",
        make: ours::exclusive,
    },
    Kind { name: "pmem-shared", can: ALL, note: "as pmem, published after every change", make: ours::shared },
    Kind { name: "vm-allocator", can: ALLOC, note: "first fit", make: peers::vm_allocator },
    Kind { name: "rangemap", can: ALL, note: "gaps(), first fit", make: peers::rangemap },
    Kind { name: "nodit", can: FIND, note: "gaps_trimmed(), first fit", make: peers::nodit },
    Kind { name: "btreemap", can: ALL, note: "first fit", make: btreemap::first_fit },
    Kind {
        name: "btreemap2",
        can: ALL,
        note: "by address; by size and address: best fit",
        make: btreemap::two,
    },
    Kind { name: "range-alloc", can: ALLOC, note: "best fit", make: peers::range_alloc },
    Kind { name: "buddy_system_allocator", can: ALLOC, note: "powers of two", make: buddy::frames },
    Kind { name: "offset-allocator", can: ALLOC, note: "no alignment", make: peers::offset },
];
