//! What is said of bad memory.

/// Bytes of a page, as a power of two.
pub const PAGE: u32 = 12;

/// Something in a text that is about bad memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadMemoryLine {
    /// Its line, from 1.
    pub line: u32,
    /// What it is.
    pub what: BadRecord,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRecord {
    /// An error at an address.
    Error(MemoryError),
    /// Addresses from a first to a last one.
    Range(u64, u64),
    /// Errors lie between two of these, not in all of it.
    Bound(u64),
    /// Bits of a word that were wrong.
    Bits(u64),
    /// A module, or how it is reached.
    Module(String),
    /// Bytes of memory that the kernel has given up.
    Corrupted(u64),
    /// What looks like an address, and is none: why.
    Aside(String),
    /// Where the kernel itself is: the first and the last address.
    Kernel(u64, u64),
    /// Somebody's setting.
    Setting(Setting),
}

/// An error at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryError {
    /// The address, or the page.
    pub address: u64,
    /// Which module, in the source's words.
    pub module: Option<String>,
    /// Bits of the word that were wrong.
    pub bits: Option<u64>,
    /// A program has worked it out, which single errors may contradict.
    pub is_pattern: bool,
}

/// A setting that is to keep memory from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// GRUB's `badram`: pairs of address and mask, and a number too many.
    BadRam {
        /// The pairs.
        pairs: Vec<(u64, u64)>,
        /// The last number, without a mask.
        left: Option<u64>,
    },
    /// The kernel's `memmap=`.
    MemMap {
        /// Its parts.
        parts: Vec<MemMapPart>,
        /// How it stands in a file that a shell and GRUB read.
        quoting: Quoting,
    },
    /// Windows' list of page frames.
    BadMemoryList {
        /// The frames.
        frames: Vec<u64>,
        /// `{badmemory}` is named, without which it sets nothing.
        named: bool,
    },
}

/// A part of `memmap=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemMapPart {
    /// Bytes.
    pub size: u64,
    /// What is said of them: `$` reserved, `@` used, `#` ACPI, `!` persistent; `None` if nothing is, which cuts memory off at the size.
    pub kind: Option<char>,
    /// The first address.
    pub start: u64,
}

/// How the `$` of a setting stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quoting {
    /// On the kernel's own command line, as `/proc/cmdline` shows it.
    #[default]
    Plain,
    /// In a shell's quotes.
    Shell {
        /// Backslashes before it.
        backslashes: usize,
        /// The quotes are double.
        double: bool,
    },
}
