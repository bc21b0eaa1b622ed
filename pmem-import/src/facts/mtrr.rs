//! Memory types: tables of registers, and what belongs to them.

use super::{SourceLine, Sourced};
use pmem_mtrr::{DefType, Fixed, MemType, PatType, Register, Setting, Span, Variable, Width};

/// A variable register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// As its two registers hold it.
    Raw(Variable),
    /// As a block of a type, where the width of addresses is not needed to say so.
    Register(Register),
    /// Base and mask where the mask was cut to 32 bits: matches from its base to the end of addresses.
    Cut(Register),
}

/// Who lists registers, those that count less first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableKind {
    /// What firmware sets up for a while only.
    Temporary,
    /// What firmware's log says.
    Firmware,
    /// What a kernel found when it cleaned up.
    BeforeCleanup,
    /// A kernel's log.
    KernelLog,
    /// What a kernel's clean-up programmed.
    AfterCleanup,
    /// A running system's list.
    System,
}

impl TableKind {
    /// What it is called.
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

/// A table of registers, and what its source says with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterTable {
    /// Who lists them.
    pub kind: TableKind,
    /// Where it begins.
    pub at: SourceLine,
    /// Variable registers by number, with their lines; those that are not in use are left out.
    pub entries: Vec<(usize, Entry, u32)>,
    /// The highest register that was listed, in use or not, plus one.
    pub listed: usize,
    /// A register that is not in use was listed: so all were.
    pub lists_unused: bool,
    /// How many variable registers there are.
    pub count: Option<u8>,
    /// The default type.
    pub default: Option<MemType>,
    /// The default type's whole register.
    pub def: Option<DefType>,
    /// Whether MTRRs are on.
    pub enabled: Option<bool>,
    /// Whether the fixed ranges count.
    pub fixed_enabled: Option<bool>,
    /// The fixed ranges.
    pub fixed: Fixed,
    /// Which of the fixed ranges are said.
    pub fixed_known: u128,
    /// Types that the firmware says it wanted.
    pub wanted: Vec<(Span, MemType)>,
    /// It is printed as kernels did until 2008 (before 2.6.28), whose processors have 36 address bits unless registers show more.
    pub is_old: bool,
}

impl RegisterTable {
    /// An empty table.
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

    /// Whether it says anything of what is programmed.
    pub fn has_registers(&self) -> bool {
        !self.entries.is_empty()
            || self.listed > 0
            || self.def.is_some()
            || self.default.is_some()
            || self.enabled.is_some()
    }
}

/// A complaint of a kernel about its registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// Somebody wanted a type where there is another.
    Mismatch {
        /// The addresses.
        span: Span,
        /// What is there.
        old: String,
        /// What was wanted.
        new: Option<MemType>,
    },
    /// No register was left.
    NoneLeft,
    /// CPUs differed, and the kernel made them agree.
    Inconsistent,
    /// Something else.
    Other(String),
}

/// What sources say of memory types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mtrr {
    /// Tables in the order of the sources.
    pub tables: Vec<RegisterTable>,
    /// How wide physical addresses are.
    pub width: Option<Sourced<Width>>,
    /// A width that a mask shows: at least that wide.
    pub mask_width: Option<Width>,
    /// Where AMD's rule makes the default write back up to.
    pub tom2: Option<Sourced<u64>>,
    /// Where memory ends.
    pub top: Option<u64>,
    /// Types that somebody wants.
    pub wanted: Vec<Sourced<(Span, MemType)>>,
    /// What kernels complain of.
    pub complaints: Vec<Sourced<Complaint>>,
    /// The page attribute table.
    pub pat: Option<Sourced<[Option<PatType>; 8]>>,
    /// The processor's vendor is AMD or Hygon.
    pub is_amd: bool,
    /// The processor has no fixed ranges (Cyrix, Centaur).
    pub no_fixed: bool,
    /// Whole settings of all processors, where they could be read: the first one's first.
    pub cpus: Vec<Setting>,
}
