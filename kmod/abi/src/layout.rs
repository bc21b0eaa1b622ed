//! Sizes and offsets.

/// How C must lay a structure out.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The structure's name in C.
    pub name: &'static str,
    /// Its size, in bytes.
    pub size: usize,
    /// Its fields' names, offsets and sizes.
    pub fields: &'static [(&'static str, usize, usize)],
}

/// Structures whose fields are in the order and of the sizes of C's.
macro_rules! structures {
    ($($(#[$about:meta])* $name:ident = $c:literal { $($(#[$what:meta])* $field:ident: $kind:ty,)* })*) => { $(
        $(#[$about])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub struct $name { $($(#[$what])* pub $field: $kind,)* }

        impl $name {
            /// How C must lay it out.
            pub const LAYOUT: crate::Layout = crate::Layout {
                name: $c,
                size: size_of::<Self>(),
                fields: &[$((stringify!($field), core::mem::offset_of!(Self, $field), size_of::<$kind>()),)*],
            };
        }
    )* };
}
pub(crate) use structures;
