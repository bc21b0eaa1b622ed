//! The registers, what they make of each address, and what is wrong.

use super::MtrrError;
use super::given::MtrrState;
use super::strips::{Stretch, Strip, effective, strips};
use crate::sources::{Read, Warning};
use crate::units::{Addr, Extent};
use pmem_import::DefaultType;
use pmem_mtrr::regs::{phys_base, phys_mask};
use pmem_mtrr::{Finding, MemType};
use schemars::JsonSchema;
use serde::Serialize;

/// What is programmed, and what is wrong with it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Show {
    /// How many bits physical addresses have.
    pub bits: u8,
    /// How many variable registers there are.
    pub available: usize,
    /// How many of them are in use.
    pub used: usize,
    /// The default type; null if it is not known, or no type.
    pub default: Option<String>,
    /// How the default type is known: `said`, `inferred` or `unknown`.
    pub default_known: String,
    /// MTRRs are on.
    pub enabled: bool,
    /// The fixed ranges count.
    pub fixed: bool,
    /// Up to where AMD's rule makes the default WB.
    pub tom2: Option<Addr>,
    /// That is likely, but no source says it.
    pub tom2_likely: bool,
    /// The system management range.
    pub management: Option<Extent>,
    /// The registers in use.
    pub registers: Vec<RegisterRow>,
    /// What they make of each address.
    pub effective: Vec<Stretch>,
    /// The same, with which registers match.
    pub strips: Vec<Strip>,
    /// What is wrong.
    pub findings: Vec<FindingReport>,
    /// What kernels complain of.
    pub complaints: Vec<Warning>,
    /// Wishes in these complaints, as `--want` takes them.
    pub wishes: Vec<String>,
    /// What was taken for granted.
    pub assumed: Vec<String>,
    /// What is odd about the sources.
    pub warnings: Vec<Warning>,
    /// What of each source was read.
    pub read: Vec<Read>,
}

/// A variable register.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RegisterRow {
    /// Its number.
    pub register: usize,
    /// Its two model-specific registers.
    pub msrs: [MsrValue; 2],
    /// Its addresses; null if they are not one block.
    pub range: Option<Extent>,
    /// Its type; null if it is none.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The base as it is held.
    pub base: Addr,
    /// The mask as it is held.
    pub mask: Addr,
}

/// A model-specific register.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MsrValue {
    /// Its number.
    pub msr: Addr,
    /// What it holds.
    pub value: Addr,
}

/// Something that is wrong with the registers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FindingReport {
    /// What kind of fault it is.
    pub kind: String,
    /// In words.
    pub text: String,
    /// The register, if it is about one.
    pub register: Option<usize>,
    /// The addresses, if it is about some.
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
    /// Sources that say nothing of it.
    pub fn of(given: &MtrrState, read: Vec<Read>) -> Result<Self, MtrrError> {
        if !given.programmed {
            let text = "the sources say nothing of what is programmed: see `pmem mtrr plan`";
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

/// A wish as `--want` takes it.
pub(super) fn wish(span: pmem_mtrr::Span, kind: MemType) -> String {
    format!("{span}={kind}")
}
