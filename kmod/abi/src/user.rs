//! What programs exchange with the module: `pmem_arena.h`.

use crate::layout::structures;
use crate::{VARIABLE, VERSION, WHY};

structures! {
    /// What every structure begins with.
    Head = "pmem_arena_head" {
        /// [`VERSION`].
        version: u32,
        /// Of the structure, in bytes.
        size: u32,
    }

    /// The boot processor's registers, which all are to have, and the manager's figures.
    Info = "pmem_arena_info" {
        /// The version and size.
        head: Head,
        /// How wide physical addresses are, in bits.
        width: u32,
        /// How many variable registers there are.
        variable: u32,
        /// How many processors are online.
        cpus: u32,
        /// How many arenas there are.
        arenas: u32,
        /// How many claims are held.
        regions: u32,
        /// The most stack that any request took, in bytes.
        most_stack: u32,
        /// The most memory that any request took, in bytes.
        most_memory: u64,
        /// `IA32_MTRRCAP`.
        cap: u64,
        /// `IA32_MTRR_DEF_TYPE`.
        def: u64,
        /// The fixed ranges.
        fixed: [u64; 11],
        /// `IA32_MTRR_PHYSBASEn`.
        base: [u64; VARIABLE],
        /// `IA32_MTRR_PHYSMASKn`.
        mask: [u64; VARIABLE],
        /// Claims that nobody holds any more, whose registers could not be written yet.
        pending: u32,
        /// Claims that ended with their device, and that their files have not let go of.
        ended: u32,
        /// Processors that differ from the boot processor in effect.
        differ: u32,
        /// The first of them.
        differ_cpu: u32,
        /// The first register by which it differs.
        differ_msr: u32,
        /// How often a processor was found to differ, and was made equal.
        mended: u32,
        /// What it holds there.
        differ_has: u64,
        /// What the boot processor holds there.
        differ_boot: u64,
        /// How long the last change took on all processors together, in nanoseconds.
        rendezvous: u64,
        /// 0.
        reserved: [u64; 3],
    }

    /// A span of an arena.
    Span = "pmem_arena_span" {
        /// The version and size.
        head: Head,
        /// Which, of all arenas'.
        index: u32,
        /// The arena's type, with the proposal's numbers.
        r#type: u32,
        /// The first address.
        start: u64,
        /// The last address.
        last: u64,
        /// With the proposal's numbers.
        prot: u32,
        /// With the proposal's numbers.
        props: u32,
        /// The arena's name, ended by 0.
        name: [u8; 32],
        /// 0.
        reserved: [u64; 2],
    }

    /// A region: what it is, or what it is to be.
    Region = "pmem_arena_region" {
        /// The version and size.
        head: Head,
        /// What the module calls it.
        id: u64,
        /// The first address.
        start: u64,
        /// The last address.
        last: u64,
        /// Which.
        index: u32,
        /// [`FORCE`](crate::FORCE), [`MINE`](crate::MINE).
        flags: u32,
        /// With the proposal's numbers.
        usage: u32,
        /// With the proposal's numbers.
        prot: u32,
        /// With the proposal's numbers.
        props: u32,
        /// Registers that it takes in all, where that is why it is refused.
        needed: u32,
        /// Registers that there are.
        available: u32,
        /// 0.
        reserved: u32,
        /// What has become of it: [`state`](crate::state).
        state: u32,
        /// Why it was refused: [`status`](crate::status).
        status: u32,
        /// The process that claimed it.
        holder: u32,
        /// 0.
        reserved2: u32,
        /// What was refused, in words, ended by 0.
        why: [u8; WHY],
    }

    /// A text for people.
    Text = "pmem_arena_text" {
        /// The version and size.
        head: Head,
        /// Where it goes.
        buffer: u64,
        /// How long the buffer is, and then the text.
        len: u64,
        /// 0.
        reserved: u64,
    }

    /// A window of a PCI bridge, from where the kernel's map has it to where it is to be. One that starts above its last is closed.
    Window = "pmem_arena_window" {
        /// The segment.
        domain: u32,
        /// Bus, device and function, as the bus has them.
        function: u32,
        /// [`window`](crate::window).
        kind: u32,
        /// 0.
        reserved: u32,
        /// The first address that the map has.
        old_start: u64,
        /// The last one.
        old_last: u64,
        /// The first address that it is to have.
        new_start: u64,
        /// The last one.
        new_last: u64,
    }

    /// Windows to change, in order, all or none.
    Windows = "pmem_arena_windows" {
        /// The version and size.
        head: Head,
        /// Where they are.
        windows: u64,
        /// How many.
        count: u32,
        /// Which was refused.
        failed: u32,
        /// Why it was refused: [`status`](crate::status).
        status: u32,
        /// 0.
        reserved: u32,
        /// The same in words, ended by 0.
        why: [u8; WHY],
        /// 0.
        reserved2: [u64; 2],
    }
}

impl Window {
    /// From one range to another, both ends in; `None` is closed.
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
    /// Why one was refused, in words.
    pub fn why(&self) -> &str {
        text(&self.why)
    }

    /// All zero, but for the head.
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
    /// Of a structure `T`.
    pub const fn of<T>() -> Self {
        Self { version: VERSION, size: size_of::<T>() as u32 }
    }
}

impl Info {
    /// All zero, but for the head.
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
    /// The arena's name.
    pub fn name(&self) -> &str {
        text(&self.name)
    }

    /// All zero, but for the head.
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
    /// A claim for addresses, both ends in, with the proposal's numbers.
    pub const fn new(start: u64, last: u64, usage: u32, prot: u32, props: u32) -> Self {
        Self { start, last, usage, prot, props, ..Self::BLANK }
    }

    /// Why it was refused, in words.
    pub fn why(&self) -> &str {
        text(&self.why)
    }

    /// All zero, but for the head.
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

/// What comes before the first 0; of a text that is cut inside of a character, what is whole.
fn text(bytes: &[u8]) -> &str {
    let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let bytes = bytes.get(..len).unwrap_or_default();
    core::str::from_utf8(bytes).unwrap_or_else(|error| {
        let whole = bytes.get(..error.valid_up_to()).unwrap_or_default();
        core::str::from_utf8(whole).unwrap_or_default()
    })
}
