//! Ids as the opaque pointers of C: numbers that lead nowhere, and name nothing once what they named is gone.

use pmem_core::{ArenaId, DriverId, LinkId, RegionId};
use std::ffi::c_void;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("ids are 64 bits wide, and so must pointers be");

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident: $id:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(transparent)]
        pub struct $name(*mut c_void);

        impl $name {
            /// Nothing.
            pub(crate) const NULL: Self = Self(super::null());

            /// The id; null is one that names nothing.
            pub(crate) fn id(self) -> $id {
                <$id>::from_raw(self.0.addr() as u64)
            }
        }

        impl From<$id> for $name {
            fn from(id: $id) -> Self {
                Self(std::ptr::without_provenance_mut(id.to_raw() as usize))
            }
        }
    )*};
}

handles! {
    /// `pmem_arena_t`.
    ArenaPtr: ArenaId;
    /// `pmem_interconnect_t`.
    LinkPtr: LinkId;
    /// `pmem_region_t`.
    RegionPtr: RegionId;
    /// `pmem_driver_t`.
    DriverPtr: DriverId;
}

impl ArenaPtr {
    /// Whether it is none.
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }
}
