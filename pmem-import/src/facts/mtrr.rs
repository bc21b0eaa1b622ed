//! What sources say about memory types: register tables, and what comes with them.

use super::{SourceLine, Sourced};
use pmem_mtrr::{DefType, Fixed, MemType, PatType, Register, Setting, Span, Variable, Width};

/// A variable MTRR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The contents of its two registers.
    Raw(Variable),
    /// A block and its type, from a source that prints neither register; no address width is needed to read it.
    Register(Register),
    /// Like `Register`, but the source cut the mask to 32 bits; the block is what was meant.
    Cut(Register),
}

/// Where a table of registers comes from, in increasing order of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableKind {
    /// Registers that firmware sets up temporarily.
    Temporary,
    /// Firmware's log.
    Firmware,
    /// What a kernel found before its clean-up.
    BeforeCleanup,
    /// A kernel's log.
    KernelLog,
    /// What a kernel's clean-up programmed.
    AfterCleanup,
    /// A running system's own list.
    System,
}

impl TableKind {
    /// Returns the table's name for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Temporary => "firmware's temporary registers",
            Self::Firmware => "firmware's registers",
            Self::BeforeCleanup => "the registers before the kernel's clean-up",
            Self::KernelLog => "the registers of the kernel's log",
            Self::AfterCleanup => "the registers after the kernel's clean-up",
            Self::System => "the running system's registers",
        }
    }
}

/// A table of registers, and what its source says along with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterTable {
    /// Where the table comes from.
    pub kind: TableKind,
    /// Where it begins in the source.
    pub at: SourceLine,
    /// Variable registers in use: number, contents, and line in the source.
    pub entries: Vec<(usize, Entry, u32)>,
    /// One more than the highest register listed, in use or not.
    pub listed: usize,
    /// The source lists unused registers too, so `listed` is their total number.
    pub lists_unused: bool,
    /// Number of variable registers; `None` if the source does not say.
    pub count: Option<u8>,
    /// The default type; `None` if the source does not say.
    pub default: Option<MemType>,
    /// The whole default type register (`IA32_MTRR_DEF_TYPE`), if the source shows it.
    pub def: Option<DefType>,
    /// Whether MTRRs are enabled; `None` if the source does not say.
    pub enabled: Option<bool>,
    /// Whether the fixed-range registers are enabled; `None` if the source does not say.
    pub fixed_enabled: Option<bool>,
    /// The types of the fixed ranges.
    pub fixed: Fixed,
    /// Bit n is set if the source gives the type of fixed range n.
    pub fixed_known: u128,
    /// Types that firmware's log says it wanted.
    pub wanted: Vec<(Span, MemType)>,
    /// It is printed as Linux did before 2.6.28 (2008). Processors of that time have 36 address bits unless
    /// registers show more.
    pub is_old: bool,
}

impl RegisterTable {
    /// Creates an empty table.
    pub fn new(kind: TableKind, at: SourceLine) -> Self {
        Self {
            kind,
            at,
            entries: Vec::new(),
            listed: 0,
            lists_unused: false,
            count: None,
            default: None,
            def: None,
            enabled: None,
            fixed_enabled: None,
            fixed: Fixed::default(),
            fixed_known: 0,
            wanted: Vec::new(),
            is_old: false,
        }
    }

    /// Whether it says anything about what is programmed.
    pub fn has_registers(&self) -> bool {
        !self.entries.is_empty()
            || self.listed > 0
            || self.def.is_some()
            || self.default.is_some()
            || self.enabled.is_some()
    }
}

/// A kernel's complaint about its MTRRs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// Somebody asked for a type where the registers give another.
    Mismatch {
        /// The addresses.
        span: Span,
        /// The present type, in the kernel's words.
        old: String,
        /// The requested type; `None` if its name is unknown.
        new: Option<MemType>,
    },
    /// No free register was left.
    NoneLeft,
    /// CPUs disagreed, and the kernel made them agree.
    Inconsistent,
    /// Another complaint, in the kernel's words.
    Other(String),
}

/// What sources say about memory types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mtrr {
    /// Register tables, in the order of the sources.
    pub tables: Vec<RegisterTable>,
    /// Width of physical addresses.
    pub width: Option<Sourced<Width>>,
    /// A lower bound of the width, from the masks of registers.
    pub mask_width: Option<Width>,
    /// AMD's top of memory above 4 GiB (TOM2): from 4 GiB up to there the default type is write-back.
    pub tom2: Option<Sourced<u64>>,
    /// Where memory ends.
    pub top: Option<u64>,
    /// Memory types that were requested, for ranges of addresses.
    pub wanted: Vec<Sourced<(Span, MemType)>>,
    /// Kernels' complaints.
    pub complaints: Vec<Sourced<Complaint>>,
    /// The page attribute table (PAT); an entry is `None` if its encoding is reserved.
    pub pat: Option<Sourced<[Option<PatType>; 8]>>,
    /// The processor is made by AMD or Hygon.
    pub is_amd: bool,
    /// The processor has no fixed ranges (Cyrix, Centaur).
    pub no_fixed: bool,
    /// The complete MTRR settings of all processors, the first processor's first. Empty unless MSRs could be read.
    pub cpus: Vec<Setting>,
}
