//! Ids as the opaque pointers of C: numbers that lead nowhere, and name nothing once what they named is gone.

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
            /// Nothing.
            pub(crate) const NULL: Self = Self(super::null());
            /// Sets the uppermost byte, of generations, apart: what names an arena names no region, as long as a place is
            /// not used again 16,777,216 times.
            const TAG: u64 = $tag << 56;

            /// The id; null, and what is none, is one that names nothing.
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
    /// Whether it is none.
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }
}
