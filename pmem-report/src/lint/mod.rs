//! Finds where descriptions of a machine's physical address space contradict each other, or break the rules of the
//! hardware that they describe.
//!
//! Every rule compares what tables and registers say. A kernel's complaint is evidence of what the kernel did; only the
//! numbers in it count.

mod cxl;
mod finding;
mod iommu;
mod memory;
mod node;
mod owner;
mod pci;
mod ranges;
mod rule;
mod summary;
mod types;

pub use finding::{LintFinding, LintReport, Severity, Side, Unchecked};
pub use rule::{RULES, Rule};
pub use summary::{LintLine, LintSummary, MachineFailed, MachineRead};

use crate::sources::Warning;
use pmem_import::{Facts, MtrrFacts, Sources};

impl LintReport {
    /// Checks everything that the sources of one machine say. A text that names several machines is split, and each
    /// machine is checked by itself.
    ///
    /// # Examples
    ///
    /// A kernel log in which a BAR lies in a range that firmware reserved:
    ///
    /// ```
    /// use pmem_import::Sources;
    /// use pmem_report::lint::{LintReport, Severity};
    ///
    /// let mut log: &[u8] = b"\
    /// BIOS-e820: 0000000000100000 - 00000000bfe4dc00 (usable)
    /// BIOS-e820: 00000000bfe4dc00 - 00000000c0000000 (reserved)
    /// pci_root PNP0A03:00: host bridge window [mem 0xbff00000-0xdfffffff]
    /// pci 0000:00:1f.2: BAR 5: assigned [mem 0xbff00000-0xbff007ff]
    /// ";
    /// let mut sources = Sources::default();
    /// sources.add_stream("dmesg", &mut log)?;
    /// let report = LintReport::of("laptop", sources);
    ///
    /// assert_eq!(report.count(Severity::Error), 1);
    /// assert_eq!((report.findings[0].rule, report.findings[0].sides.len()), ("P1", 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of(machine: &str, sources: Sources) -> Self {
        let mut linted = Self { machine: machine.to_owned(), is_nothing: true, ..Self::default() };
        for mut own in sources.by_machine() {
            let (facts, mtrr) = Facts::read(&mut own);
            linted.is_nothing &= facts.heard.iter().all(|heard| heard.is_nothing());
            linted.read.extend(facts.heard.iter().map(ToString::to_string));
            linted.look(&facts, &mtrr);
            linted.damage = linted.damage.or(facts.findings.damage.as_ref().map(ToString::to_string));
            linted.warnings.extend(facts.findings.finish().iter().map(Warning::from));
        }
        // The most serious first; among equals, in the order of the rules.
        let place = |rule: &str| RULES.iter().position(|known| known.id == rule).unwrap_or(RULES.len());
        linted.findings.sort_by_key(|found| (std::cmp::Reverse(found.severity), place(found.rule)));
        linted.unchecked.sort_by_key(|missing| (place(missing.rule), missing.wants));
        linted.unchecked.dedup();
        linted
    }

    fn look(&mut self, facts: &Facts, mtrr: &MtrrFacts) {
        node::lint(facts, self);
        cxl::lint(facts, self);
        pci::lint(facts, self);
        iommu::lint(facts, self);
        memory::lint(facts, self);
        types::lint(facts, mtrr, self);
        owner::lint(facts, self);
    }

    /// The number of findings of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|found| found.severity == severity).count()
    }
}
