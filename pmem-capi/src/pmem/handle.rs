//! Ids as opaque pointers of C. They are numbers, not addresses; stale ids are detected.

use pmem_core::{ArenaId, DriverId, LinkId, RegionId};
use std::ffi::c_void;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("ids are 64 bits wide, and so must pointers be");

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident: $id:ty, $tag:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(transparent)]
        pub struct $name(*mut c_void);

        impl $name {
            /// The handle of nothing.
            pub(crate) const NULL: Self = Self(super::null());
            /// Distinguishes the kinds by the top byte, which belongs to the generation. The handle of an arena is no
            /// handle of a region as long as a slot is not reused 16,777,216 times.
            const TAG: u64 = $tag << 56;

            /// Returns the id. Null, and whatever is not a handle of this kind, gives an id that names nothing.
            pub(crate) fn id(self) -> $id {
                let raw = self.0.addr() as u64 ^ Self::TAG;
                let id = <$id>::from_raw(raw);
                if id.to_raw() == raw { id } else { <$id>::default() }
            }
        }

        impl From<$id> for $name {
            fn from(id: $id) -> Self {
                Self(std::ptr::without_provenance_mut((id.to_raw() ^ Self::TAG) as usize))
            }
        }
    )*};
}

handles! {
    /// `pmem_arena_t`.
    ArenaPtr: ArenaId, 1;
    /// `pmem_interconnect_t`.
    LinkPtr: LinkId, 2;
    /// `pmem_region_t`.
    RegionPtr: RegionId, 3;
    /// `pmem_driver_t`.
    DriverPtr: DriverId, 4;
}

impl ArenaPtr {
    /// Whether the handle is null.
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }
}
