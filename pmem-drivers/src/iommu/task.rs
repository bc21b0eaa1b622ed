//! What a change requires of tables: spans, with their old and new contents.

use pmem_core::{AddrRange, LinkId, Prot, Step};
use pmem_iommu::table::Access;

/// The output address of a span's first address, and the access it permits.
pub(super) type Target = (u64, Access);

/// A stage of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Before the change.
    Old,
    /// After removing what goes away, before adding what is new.
    Between,
    /// After the change.
    New,
}

/// A span of a domain that changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) domain: LinkId,
    pub(super) range: AddrRange,
    pub(super) old: Option<Target>,
    pub(super) new: Option<Target>,
    /// Whether the span covers all of a mapping, so that no large page must be split.
    pub(super) is_whole: bool,
}

impl Task {
    /// Returns whether the task does something in a step. A different task may change the same pages in the other
    /// step.
    pub(super) fn is_of(&self, step: Step) -> bool {
        let between = self.at(Stage::Between);
        match step {
            Step::Withdraw => self.old != between,
            Step::Install => self.new != between,
        }
    }

    /// Returns what the span holds in a stage.
    pub(super) fn at(&self, stage: Stage) -> Option<Target> {
        match stage {
            Stage::Old => self.old,
            Stage::New => self.new,
            // What is the same before and after stays in between.
            Stage::Between => self.old.zip(self.new).and_then(|((old, may), (new, will))| {
                let access = may.and(will);
                (old == new && !access.is_none()).then_some((new, access))
            }),
        }
    }
}

/// A mapping: whole pages, and where they lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) range: AddrRange,
    pub(super) target: Target,
}

impl Span {
    /// Returns the part of the mapping in a range; `None` unless it covers all of that.
    fn cut(&self, range: AddrRange) -> Option<Target> {
        let (target, access) = self.target;
        self.range.covers(range).then_some((target + (range.start() - self.range.start()), access))
    }
}

/// Returns the access that devices get for a region's protection; `None` if they get none. Execute permission does
/// not matter.
pub(super) fn access(prot: Prot) -> Option<Access> {
    let access = Access { read: prot.contains(Prot::READ), write: prot.contains(Prot::WRITE) };
    (!access.is_none()).then_some(access)
}

/// Returns the tasks that turn one span into another: one for each part that only one of them covers, and one for
/// the part that both cover.
pub(super) fn tasks(domain: LinkId, old: Option<Span>, new: Option<Span>) -> impl Iterator<Item = Task> {
    let task = move |range: AddrRange| Task {
        domain,
        range,
        old: old.and_then(|old| old.cut(range)),
        new: new.and_then(|new| new.cut(range)),
        is_whole: old.is_none_or(|old| old.range == range),
    };
    let both = old.zip(new).and_then(|(old, new)| old.range.intersect(new.range));
    let only = move |span: Option<Span>| match (span, both) {
        (Some(span), Some(both)) => span.range.minus(both),
        (Some(span), None) => [Some(span.range), None],
        (None, _) => [None, None],
    };
    let ranges = only(old).into_iter().chain(only(new)).chain([both]);
    ranges.flatten().map(task).filter(|task| task.old != task.new)
}
