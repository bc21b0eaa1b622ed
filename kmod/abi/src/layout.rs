//! The layouts of structures: their sizes and the offsets of their fields.

/// The layout that a structure must have in C.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The structure's name in C.
    pub name: &'static str,
    /// The structure's size in bytes.
    pub size: usize,
    /// The name, offset and size of each field; offset and size in bytes.
    pub fields: &'static [(&'static str, usize, usize)],
}

/// Defines structures whose fields have the same order and sizes as in C.
macro_rules! structures {
    ($($(#[$about:meta])* $name:ident = $c:literal { $($(#[$what:meta])* $field:ident: $kind:ty,)* })*) => { $(
        $(#[$about])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub struct $name { $($(#[$what])* pub $field: $kind,)* }

        impl $name {
            /// The layout that the structure must have in C.
            pub const LAYOUT: crate::Layout = crate::Layout {
                name: $c,
                size: size_of::<Self>(),
                fields: &[$((stringify!($field), core::mem::offset_of!(Self, $field), size_of::<$kind>()),)*],
            };
        }
    )* };
}
pub(crate) use structures;
