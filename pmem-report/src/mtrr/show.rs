//! The registers, the memory type that they give each address, and what is wrong with them.

use super::MtrrError;
use super::given::MtrrState;
use super::strips::{Stretch, Strip, effective, strips};
use crate::sources::{Read, Warning};
use crate::units::{Addr, Extent};
use pmem_import::DefaultType;
use pmem_mtrr::regs::{phys_base, phys_mask};
use pmem_mtrr::{Finding, MemType};
use serde::Serialize;

/// What the MTRRs hold, and what is wrong with them.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Show {
    /// The width of physical addresses in bits.
    pub bits: u8,
    /// The number of variable registers that the processor has.
    pub available: usize,
    /// The number of variable registers in use.
    pub used: usize,
    /// The default type; null if it is not known, or not a valid type.
    pub default: Option<String>,
    /// How the default type is known: `said`, `inferred` or `unknown`.
    pub default_known: String,
    /// Whether MTRRs are enabled.
    pub enabled: bool,
    /// Whether the fixed-range registers are enabled.
    pub fixed: bool,
    /// AMD's TOP_MEM2: below this address (exclusive), memory above 4 GiB is write-back by default; null if the rule
    /// does not apply.
    pub tom2: Option<Addr>,
    /// Whether that rule is only likely: no source states it.
    pub tom2_likely: bool,
    /// The range of system management RAM (SMRR or TSeg); null if not known.
    pub management: Option<Extent>,
    /// The variable registers in use.
    pub registers: Vec<RegisterRow>,
    /// The memory type of every address.
    pub effective: Vec<Stretch>,
    /// The same in more detail, with the registers that match.
    pub strips: Vec<Strip>,
    /// What is wrong with the registers.
    pub findings: Vec<FindingReport>,
    /// What kernels complain about.
    pub complaints: Vec<Warning>,
    /// Type changes that those complaints ask for, in the form of `--want`.
    pub wishes: Vec<String>,
    /// Assumptions that were made.
    pub assumed: Vec<String>,
    /// What is odd about the sources.
    pub warnings: Vec<Warning>,
    /// What was read of each source.
    pub read: Vec<Read>,
}

/// A variable-range register.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RegisterRow {
    /// The register's number.
    pub register: usize,
    /// Its two model-specific registers, PhysBase and PhysMask.
    pub msrs: [MsrValue; 2],
    /// The range that it matches; null if that is not one contiguous block.
    pub range: Option<Extent>,
    /// The memory type; null if the encoding is reserved.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The raw value of PhysBase.
    pub base: Addr,
    /// The raw value of PhysMask.
    pub mask: Addr,
}

/// A model-specific register.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MsrValue {
    /// The register's number.
    pub msr: Addr,
    /// Its value.
    pub value: Addr,
}

/// Something wrong with the registers.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FindingReport {
    /// The kind of fault, such as `undefined`, `ram-uncached` or `mmio-cached`.
    pub kind: String,
    /// A description in words.
    pub text: String,
    /// The number of the variable register at fault, if it is one register's.
    pub register: Option<usize>,
    /// The addresses concerned, if it is about some.
    pub range: Option<Extent>,
}

impl From<&Finding> for FindingReport {
    fn from(finding: &Finding) -> Self {
        let (kind, register, span) = match finding {
            Finding::Off => ("off", None, None),
            Finding::DefaultType(_) => ("default-type", None, None),
            Finding::DefaultReserved(_) => ("default-reserved", None, None),
            Finding::Type { n, .. } => ("type", Some(*n), None),
            Finding::Discontiguous { n, .. } => ("discontiguous", Some(*n), None),
            Finding::Reserved { n, .. } => ("reserved-bits", Some(*n), None),
            Finding::Unaligned { n, .. } => ("unaligned", Some(*n), None),
            Finding::FixedType { span, .. } => ("fixed-type", None, Some(*span)),
            Finding::Undefined { span, .. } => ("undefined", None, Some(*span)),
            Finding::RamUncached(span) => ("ram-uncached", None, Some(*span)),
            Finding::RamType { span, .. } => ("ram-type", None, Some(*span)),
            Finding::MmioCached(span) => ("mmio-cached", None, Some(*span)),
            Finding::Disagree { .. } => ("disagree", None, None),
        };
        Self { kind: kind.to_owned(), text: finding.to_string(), register, range: span.map(Extent::from) }
    }
}

impl Show {
    /// Describes what is programmed.
    ///
    /// # Errors
    /// Returns [`MtrrError::Other`] if the sources say nothing about what is programmed.
    pub fn of(given: &MtrrState, read: Vec<Read>) -> Result<Self, MtrrError> {
        if !given.programmed {
            let text = "the sources show no MTRRs: they are in /proc/mtrr and in the boot messages of a kernel on x86";
            return Err(MtrrError::Other(text.to_owned()));
        }
        let setting = &given.setting;
        let mut assumed = given.assumed.clone();
        if given.facts.memory.is_empty() {
            assumed.push("there is no memory map: whether all memory is cached cannot be said".to_owned());
        }
        let unknown = given.facts.fixed_unknown();
        if setting.fixed_counts() && !unknown.is_empty() {
            let shown: Vec<String> = unknown.iter().map(|span| Extent::from(*span).to_string()).collect();
            assumed.push(format!("the list of fixed ranges is not whole: {} is unknown", shown.join(", ")));
        }
        let default = given.facts.default;
        let live = !given.facts.cpus.is_empty();
        let (complaints, wishes) = given.complaints();
        let rows = setting.variable().iter().enumerate().filter(|(_, variable)| variable.valid());
        let rows = rows.map(|(n, variable)| RegisterRow {
            register: n,
            msrs: [
                MsrValue { msr: Addr(u64::from(phys_base(n))), value: Addr(variable.base) },
                MsrValue { msr: Addr(u64::from(phys_mask(n))), value: Addr(variable.mask) },
            ],
            range: variable.block(setting.width).map(|block| block.span().into()),
            kind: variable.kind().map(|kind| kind.name().to_owned()),
            base: Addr(variable.base),
            mask: Addr(variable.mask),
        });
        let registers: Vec<RegisterRow> = rows.collect();
        let known = live || default != DefaultType::Unknown;
        Ok(Self {
            bits: setting.width.bits(),
            available: setting.variable().len(),
            used: registers.len(),
            default: setting.default_kind().filter(|_| known).map(|kind| kind.name().to_owned()),
            default_known: match default {
                _ if live => "said",
                DefaultType::Said(_) => "said",
                DefaultType::Inferred(_) => "inferred",
                DefaultType::Unknown => "unknown",
            }
            .to_owned(),
            enabled: setting.def.enabled(),
            fixed: setting.def.fixed(),
            tom2: setting.tom2().map(Addr),
            tom2_likely: given.facts.tom2_likely,
            management: setting.management().map(Extent::from),
            registers,
            effective: effective(setting, Some(given)),
            strips: strips(setting, None, Some(given)),
            findings: given.findings().iter().map(FindingReport::from).collect(),
            complaints,
            wishes: wishes.iter().map(|(span, kind)| wish(*span, *kind)).collect(),
            assumed,
            warnings: given.warnings.clone(),
            read,
        })
    }
}

/// Formats a wish the way `--want` takes it.
pub(super) fn wish(span: pmem_mtrr::Span, kind: MemType) -> String {
    format!("{span}={kind}")
}
