//! Finds where descriptions of a machine's physical address space contradict each other, or the rules of what they describe.
//!
//! Every rule compares what tables and registers say. What a kernel complains of shows what the kernel did, and only its numbers count.

mod cxl;
mod finding;
mod iommu;
mod memory;
mod node;
mod pci;
mod ranges;
mod rule;
mod types;

pub use finding::{LintFinding, LintReport, Severity, Side, Unchecked};
pub use rule::{RULES, Rule};

use pmem_import::{Facts, MtrrFacts, Sources};

impl LintReport {
    /// Looks at everything that sources of one machine say.
    #[must_use]
    pub fn of(machine: &str, sources: &mut Sources) -> Self {
        let (facts, mtrr) = Facts::read(sources);
        let mut linted = Self { machine: machine.to_owned(), ..Self::default() };
        linted.is_nothing = facts.heard.iter().all(|heard| heard.is_nothing());
        linted.read = facts.heard.iter().map(ToString::to_string).collect();
        linted.look(&facts, &mtrr);
        linted
    }

    fn look(&mut self, facts: &Facts, mtrr: &MtrrFacts) {
        node::lint(facts, self);
        cxl::lint(facts, self);
        pci::lint(facts, self);
        iommu::lint(facts, self);
        memory::lint(facts, self);
        types::lint(facts, mtrr, self);
        // The worst first; in the order of the rules.
        let place = |rule: &str| RULES.iter().position(|known| known.id == rule).unwrap_or(RULES.len());
        self.findings.sort_by_key(|found| (std::cmp::Reverse(found.severity), place(found.rule)));
        self.unchecked.sort_by_key(|missing| (place(missing.rule), missing.wants));
        self.unchecked.dedup();
    }

    /// How many findings are so bad.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|found| found.severity == severity).count()
    }
}
