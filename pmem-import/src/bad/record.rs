//! Statements about bad memory.

/// Size of a page as a power of two: 12 is 4 KiB.
pub const PAGE: u32 = 12;

/// A statement about bad memory, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadMemoryLine {
    /// Its line in the text, counted from 1.
    pub line: u32,
    /// The statement.
    pub what: BadRecord,
}

/// What a text says about bad memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRecord {
    /// An error at an address.
    Error(MemoryError),
    /// A bad range: first and last address, inclusive.
    Range(u64, u64),
    /// The lowest or highest failing address. Errors lie between two of these, but not everywhere between them.
    Bound(u64),
    /// Mask of the bits in a word that were wrong.
    Bits(u64),
    /// A memory module, or how it is reached.
    Module(String),
    /// Bytes of memory that the kernel has retired (`HardwareCorrupted`).
    Corrupted(u64),
    /// Something that looks like an address but is none; the text says why.
    Aside(String),
    /// Where the kernel itself is: first and last address, inclusive.
    Kernel(u64, u64),
    /// A setting that keeps memory from being used.
    Setting(Setting),
}

/// An error at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryError {
    /// The address; the start of the page if only the page is known.
    pub address: u64,
    /// The memory module, in the source's words.
    pub module: Option<String>,
    /// Mask of the bits in the word that were wrong.
    pub bits: Option<u64>,
    /// The address comes from a pattern that a program computed; single errors may contradict it.
    pub is_pattern: bool,
}

/// A setting that keeps memory from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// GRUB's `badram`: pairs of address and mask.
    BadRam {
        /// Pairs of address and mask.
        pairs: Vec<(u64, u64)>,
        /// The last number, if it has no mask to go with it.
        left: Option<u64>,
    },
    /// The kernel's `memmap=`.
    MemMap {
        /// Its comma-separated parts.
        parts: Vec<MemMapPart>,
        /// How it is quoted in a file that a shell and GRUB read.
        quoting: Quoting,
    },
    /// Windows' list of bad page frames.
    BadMemoryList {
        /// The page frame numbers.
        frames: Vec<u64>,
        /// The command names `{badmemory}`, without which it has no effect.
        named: bool,
    },
}

/// A part of `memmap=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemMapPart {
    /// Length in bytes.
    pub size: u64,
    /// The sign before the address: `$` reserved, `@` usable, `#` ACPI, `!` persistent. `None` for a size alone,
    /// which limits memory to that size.
    pub kind: Option<char>,
    /// First address; 0 for a size alone.
    pub start: u64,
}

/// How a setting is quoted, which decides whether its `$` survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quoting {
    /// On the kernel's own command line, as `/proc/cmdline` shows it.
    #[default]
    Plain,
    /// In a shell's quotes.
    Shell {
        /// Number of backslashes before the sign.
        backslashes: usize,
        /// The quotes are double quotes.
        double: bool,
    },
}
