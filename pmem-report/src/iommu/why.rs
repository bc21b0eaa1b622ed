//! Explains why VFIO refuses to map a range for a device.

use super::show::{devices, kind};
use crate::sources::Sources;
use crate::units::size;
use crate::units::{self, Addr};
use pmem_core::AddrRange;
use pmem_import::{Address, Machine, ReservedKind};
use pmem_iommu::INTERRUPTS;
use pmem_iommu::amd::HYPER_TRANSPORT;
use serde::Serialize;

/// Whether a device can be given a mapping of a range of addresses, and if not, why.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IommuWhy {
    /// The device.
    pub device: String,
    /// The first device address.
    pub start: Addr,
    /// The last device address, inclusive.
    pub end: Addr,
    /// `refused`: VFIO returns -22 (`EINVAL`). `allowed`: nothing known forbids it.
    pub verdict: String,
    /// The functions in the device's group; empty if no source says.
    pub group: Vec<String>,
    /// The reasons for the refusal; empty if it is allowed.
    pub why: Vec<String>,
    /// What else to try, and what is not known.
    pub says: Vec<String>,
    /// The sources that were read.
    #[serde(flatten)]
    pub sources: Sources,
}

impl IommuWhy {
    /// Checks a device and a range against reserved ranges and address widths.
    ///
    /// # Examples
    ///
    /// No device can be given a mapping of the MSI window:
    ///
    /// ```
    /// use pmem_core::AddrRange;
    /// use pmem_import::{Machine, Sources};
    /// use pmem_report::iommu::IommuWhy;
    ///
    /// let mut regions: &[u8] = b"reserved_regions 0x00000000fee00000 0x00000000feefffff msi\n";
    /// let mut sources = Sources::default();
    /// sources.add_stream("reserved_regions", &mut regions)?;
    /// let machine = Machine::read(&mut sources)?;
    ///
    /// let nic = "0000:41:10.1".parse()?;
    /// let report = IommuWhy::of(&machine, nic, AddrRange::sized(0xfee0_0000, 0x1000)?);
    /// assert_eq!(report.verdict, "refused");
    /// assert!(report.why[0].contains("interrupts are written there"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of(machine: &Machine, device: Address, range: AddrRange) -> Self {
        let iommu = &machine.iommu;
        let (first, last) = (range.start(), range.last());
        let mut why = Vec::new();
        let overlaps = |low: &u64, high: &u64| first <= *high && *low <= last;
        for said in
            iommu.reserved_for(device).map(|said| &said.value).filter(|said| range.overlaps(said.range))
        {
            let names = devices(machine, said);
            let whose = if names.is_empty() { String::new() } else { format!(", for {}", names.join(", ")) };
            let what = match said.kind {
                ReservedKind::Direct => {
                    "firmware has devices share memory there: it counts for the whole group"
                }
                ReservedKind::DirectRelaxable => {
                    "firmware has devices share memory there, until a driver has them"
                }
                ReservedKind::Msi => "interrupts are written there",
                ReservedKind::Other => "no mapping may use it",
            };
            why.push(format!(
                "{} is reserved ({}{whose}): {what}",
                units::range(said.range.start(), said.range.last()),
                kind(said.kind)
            ));
        }
        let says_interrupts = iommu.reserved.iter().any(|said| said.value.kind == ReservedKind::Msi);
        let is_intel =
            iommu.units.iter().any(|unit| unit.value.capability.is_some()) || iommu.width.is_some();
        let is_amd = !iommu.special.is_empty() || !iommu.aliases.is_empty();
        if (is_intel || is_amd) && !says_interrupts && overlaps(INTERRUPTS.start(), INTERRUPTS.end()) {
            why.push(format!("{} are interrupts", units::range(*INTERRUPTS.start(), *INTERRUPTS.end())));
        }
        let says_link = iommu.reserved.iter().any(|said| said.value.range.contains(*HYPER_TRANSPORT.start()));
        if is_amd && !says_link && overlaps(HYPER_TRANSPORT.start(), HYPER_TRANSPORT.end()) {
            why.push(format!(
                "{} is HyperTransport's",
                units::range(*HYPER_TRANSPORT.start(), *HYPER_TRANSPORT.end())
            ));
        }
        let widths = iommu.units.iter().filter_map(|unit| unit.value.capability).map(|c| c.width());
        let width = widths.min();
        let needed = u64::BITS - last.leading_zeros();
        if let Some(width) = width.filter(|width| needed > *width) {
            why.push(format!(
                "it needs {needed} bits, and a unit takes {width}: {:#x} ({}) and above are beyond it",
                1u64 << width,
                size(1 << width)
            ));
        }
        let mut says = Vec::new();
        if width.is_none() {
            says.push(format!(
                "it needs {needed} bits; how many the unit takes no source says (39 on most clients of Intel): a log's \"cap\" does"
            ));
        }
        if first & 0xfff != 0 || last & 0xfff != 0xfff {
            why.push("it is not of whole pages".to_owned());
        }
        if why.is_empty() {
            says.push("-14 would be memory that cannot be pinned, -12 the limit of locked memory, -28 too many mappings (65,535): none of them is of the address".to_owned());
        }
        if iommu.reserved.is_empty() {
            says.push(
                "no source says which ranges are reserved: a log, or reserved_regions of the group"
                    .to_owned(),
            );
        }
        let group = iommu.groups.get(&device).map(|own| {
            let all = iommu.groups.iter().filter(|(_, group)| *group == own);
            all.map(|(address, _)| address.to_string()).collect()
        });
        let verdict = if why.is_empty() { "allowed" } else { "refused" }.to_owned();
        Self {
            device: device.to_string(),
            start: Addr(first),
            end: Addr(last),
            verdict,
            group: group.unwrap_or_default(),
            why,
            says,
            sources: Sources::of(machine),
        }
    }
}
