//! Finds where descriptions of a machine's physical address space contradict each other, or the rules of what they describe.
//!
//! Every rule compares what tables and registers say. What a kernel complains of shows what the kernel did, and only its numbers count.

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

use pmem_import::{Facts, MtrrFacts, Sources};

impl LintReport {
    /// Looks at everything that sources of one machine say; of a text that names several, at one after the other.
    #[must_use]
    pub fn of(machine: &str, sources: Sources) -> Self {
        let mut linted = Self { machine: machine.to_owned(), is_nothing: true, ..Self::default() };
        for mut own in sources.by_machine() {
            let (facts, mtrr) = Facts::read(&mut own);
            linted.is_nothing &= facts.heard.iter().all(|heard| heard.is_nothing());
            linted.read.extend(facts.heard.iter().map(ToString::to_string));
            linted.look(&facts, &mtrr);
        }
        // The worst first; in the order of the rules.
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

    /// How many findings are so bad.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|found| found.severity == severity).count()
    }
}
