//! The structures that programs exchange with the module: `pmem_arena.h`. Types and attributes have the values of
//! the enums in the proposal's header, `pmem.h`.

use crate::layout::structures;
use crate::{VARIABLE, VERSION, WHY};

structures! {
    /// The beginning of every structure.
    Head = "pmem_arena_head" {
        /// The version of the interface: [`VERSION`].
        version: u32,
        /// The size of the whole structure in bytes.
        size: u32,
    }

    /// The boot processor's registers, which all processors should have, and figures of the manager.
    Info = "pmem_arena_info" {
        /// The version and size.
        head: Head,
        /// The width of physical addresses in bits.
        width: u32,
        /// The number of variable registers.
        variable: u32,
        /// The number of processors online.
        cpus: u32,
        /// The number of arenas.
        arenas: u32,
        /// The number of held claims.
        regions: u32,
        /// The most stack that a request has used, in bytes.
        most_stack: u32,
        /// The most memory that a request has used, in bytes.
        most_memory: u64,
        /// `IA32_MTRRCAP`.
        cap: u64,
        /// `IA32_MTRR_DEF_TYPE`.
        def: u64,
        /// The fixed-range registers.
        fixed: [u64; 11],
        /// `IA32_MTRR_PHYSBASEn`.
        base: [u64; VARIABLE],
        /// `IA32_MTRR_PHYSMASKn`.
        mask: [u64; VARIABLE],
        /// The number of claims that nobody holds any more, but whose registers could not be written yet.
        pending: u32,
        /// The number of claims that ended with their device, and that their files have not released yet.
        ended: u32,
        /// The number of processors that differ from the boot processor in effect.
        differ: u32,
        /// The first of these processors.
        differ_cpu: u32,
        /// The first register (MSR) in which that processor differs.
        differ_msr: u32,
        /// How often a processor was found to differ and was made equal.
        mended: u32,
        /// What that processor's register holds.
        differ_has: u64,
        /// What the boot processor's register holds.
        differ_boot: u64,
        /// How long the last change took on all processors together, in nanoseconds.
        rendezvous: u64,
        /// Reserved, 0.
        reserved: [u64; 3],
    }

    /// A span of an arena.
    Span = "pmem_arena_span" {
        /// The version and size.
        head: Head,
        /// The index of the span, counted across all arenas.
        index: u32,
        /// The type of the arena (`enum pmem_type`).
        r#type: u32,
        /// The first address.
        start: u64,
        /// The last address, inclusive.
        last: u64,
        /// The protection (`enum pmem_prot`).
        prot: u32,
        /// The properties (`enum pmem_props`).
        props: u32,
        /// The name of the arena, terminated by 0.
        name: [u8; 32],
        /// Reserved, 0.
        reserved: [u64; 2],
    }

    /// A region: either what exists, or what is requested.
    Region = "pmem_arena_region" {
        /// The version and size.
        head: Head,
        /// The module's id for the region.
        id: u64,
        /// The first address.
        start: u64,
        /// The last address, inclusive.
        last: u64,
        /// The index of the region in a listing.
        index: u32,
        /// Flags: [`FORCE`](crate::FORCE), [`MINE`](crate::MINE).
        flags: u32,
        /// The usage (`enum pmem_use`).
        usage: u32,
        /// The protection (`enum pmem_prot`).
        prot: u32,
        /// The properties (`enum pmem_props`), which decide the memory type.
        props: u32,
        /// The number of registers needed in total, if a request is refused for lack of registers; 0 if unknown.
        needed: u32,
        /// The number of registers that exist.
        available: u32,
        /// Reserved, 0.
        reserved: u32,
        /// The state of the claim: [`state`](crate::state).
        state: u32,
        /// The reason why a request was refused: [`status`](crate::status).
        status: u32,
        /// The process that made the claim.
        holder: u32,
        /// Reserved, 0.
        reserved2: u32,
        /// The reason in words, terminated by 0.
        why: [u8; WHY],
    }

    /// A text for people to read.
    Text = "pmem_arena_text" {
        /// The version and size.
        head: Head,
        /// The address of the buffer for the text.
        buffer: u64,
        /// In: the size of the buffer in bytes, 1 to 65536. Out: the length of the text, which is cut if it does not fit.
        len: u64,
        /// Reserved, 0.
        reserved: u64,
    }

    /// A window of a PCI bridge: where the kernel's resource tree has it, and where it should be. Addresses are the CPU's,
    /// as in `/proc/iomem`. A window whose start is above its last is closed.
    Window = "pmem_arena_window" {
        /// The PCI segment.
        domain: u32,
        /// Bus, device and function, in the 16 bits of a requester id.
        function: u32,
        /// The kind of window: [`window`](crate::window).
        kind: u32,
        /// Reserved, 0.
        reserved: u32,
        /// The first address in the kernel's resource tree.
        old_start: u64,
        /// The last address in the kernel's resource tree, inclusive.
        old_last: u64,
        /// The first address that it should have.
        new_start: u64,
        /// The last address that it should have, inclusive.
        new_last: u64,
    }

    /// Windows to change, in order. Either all change or none.
    Windows = "pmem_arena_windows" {
        /// The version and size.
        head: Head,
        /// The address of the array of windows.
        windows: u64,
        /// The number of windows, 1 to 256. A window may occur more than once.
        count: u32,
        /// The index of the window that was refused.
        failed: u32,
        /// The reason why it was refused: [`status`](crate::status).
        status: u32,
        /// Reserved, 0.
        reserved: u32,
        /// The reason in words, terminated by 0.
        why: [u8; WHY],
        /// Reserved, 0.
        reserved2: [u64; 2],
    }
}

impl Window {
    /// Creates a change from one range to another, both ends inclusive. `None` is a closed window.
    ///
    /// # Examples
    ///
    /// ```
    /// use pmem_arena_abi::{Window, window};
    ///
    /// // Open the closed prefetchable window of bridge 00:1c.0 for a hot-plugged card.
    /// let window = Window::new(0, 0x00e0, window::PREF, None, Some((0x40_0000_0000, 0x43_ffff_ffff)));
    /// assert!(window.old_start > window.old_last);
    /// assert_eq!(window.new_last, 0x43_ffff_ffff);
    /// ```
    #[must_use]
    pub fn new(
        domain: u32,
        function: u16,
        kind: u32,
        old: Option<(u64, u64)>,
        new: Option<(u64, u64)>,
    ) -> Self {
        let ((old_start, old_last), (new_start, new_last)) = (old.unwrap_or((1, 0)), new.unwrap_or((1, 0)));
        let function = u32::from(function);
        Self { domain, function, kind, reserved: 0, old_start, old_last, new_start, new_last }
    }
}

impl Windows {
    /// Returns the reason why a window was refused, in words.
    #[must_use]
    pub fn why(&self) -> &str {
        text(&self.why)
    }

    /// A structure with a valid head, and everything else 0.
    pub const BLANK: Self = Self {
        head: Head::of::<Self>(),
        windows: 0,
        count: 0,
        failed: 0,
        status: 0,
        reserved: 0,
        why: [0; WHY],
        reserved2: [0; 2],
    };
}

impl Head {
    /// Returns the head of a structure `T`.
    #[must_use]
    pub const fn of<T>() -> Self {
        Self { version: VERSION, size: size_of::<T>() as u32 }
    }
}

impl Info {
    /// A structure with a valid head, and everything else 0.
    pub const BLANK: Self = Self {
        head: Head::of::<Self>(),
        width: 0,
        variable: 0,
        cpus: 0,
        arenas: 0,
        regions: 0,
        most_stack: 0,
        most_memory: 0,
        cap: 0,
        def: 0,
        fixed: [0; 11],
        base: [0; VARIABLE],
        mask: [0; VARIABLE],
        pending: 0,
        ended: 0,
        differ: 0,
        differ_cpu: 0,
        differ_msr: 0,
        mended: 0,
        differ_has: 0,
        differ_boot: 0,
        rendezvous: 0,
        reserved: [0; 3],
    };
}

impl Span {
    /// Returns the name of the arena.
    #[must_use]
    pub fn name(&self) -> &str {
        text(&self.name)
    }

    /// A structure with a valid head, and everything else 0.
    pub const BLANK: Self = Self {
        head: Head::of::<Self>(),
        index: 0,
        r#type: 0,
        start: 0,
        last: 0,
        prot: 0,
        props: 0,
        name: [0; 32],
        reserved: [0; 2],
    };
}

impl Region {
    /// Creates a claim of addresses, both ends inclusive, with the values of the proposal's enums.
    ///
    /// # Examples
    ///
    /// ```
    /// use pmem_arena_abi::Region;
    ///
    /// const PMEM_T_FRAMEBUF: u32 = 0x10; // the values of pmem.h
    /// const READ_WRITE: u32 = 0x3;
    /// const PMEM_P_WCOMB: u32 = 0x4;
    /// let claim = Region::new(0xe000_0000, 0xe0ff_ffff, PMEM_T_FRAMEBUF, READ_WRITE, PMEM_P_WCOMB);
    /// assert_eq!((claim.start, claim.last), (0xe000_0000, 0xe0ff_ffff));
    /// assert_eq!(claim.why(), "");
    /// ```
    #[must_use]
    pub const fn new(start: u64, last: u64, usage: u32, prot: u32, props: u32) -> Self {
        Self { start, last, usage, prot, props, ..Self::BLANK }
    }

    /// Returns the reason why the request was refused, in words.
    #[must_use]
    pub fn why(&self) -> &str {
        text(&self.why)
    }

    /// A structure with a valid head, and everything else 0.
    pub const BLANK: Self = Self {
        head: Head::of::<Self>(),
        id: 0,
        start: 0,
        last: 0,
        index: 0,
        flags: 0,
        usage: 0,
        prot: 0,
        props: 0,
        needed: 0,
        available: 0,
        reserved: 0,
        state: 0,
        status: 0,
        holder: 0,
        reserved2: 0,
        why: [0; WHY],
    };
}

/// Returns the text before the first 0. A text that was cut within a character ends before it.
fn text(bytes: &[u8]) -> &str {
    let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let bytes = bytes.get(..len).unwrap_or_default();
    core::str::from_utf8(bytes).unwrap_or_else(|error| {
        let whole = bytes.get(..error.valid_up_to()).unwrap_or_default();
        core::str::from_utf8(whole).unwrap_or_default()
    })
}
