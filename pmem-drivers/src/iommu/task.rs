//! What a change asks of tables: spans, each with what is to be there.

use pmem_core::{AddrRange, LinkId, Prot, Step};
use pmem_iommu::table::Access;

/// Where a span's first address leads, and what may be done there.
pub(super) type Target = (u64, Access);

/// How things stand in a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// As before.
    Old,
    /// Without what goes away.
    Between,
    /// As after.
    New,
}

/// One span of a domain in a change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) domain: LinkId,
    pub(super) range: AddrRange,
    pub(super) old: Option<Target>,
    pub(super) new: Option<Target>,
    /// It is all that was mapped together: no page is larger, and none is split.
    pub(super) is_whole: bool,
}

impl Task {
    /// Whether a step asks anything of it. Another task may be about the same pages in the other step.
    pub(super) fn is_of(&self, step: Step) -> bool {
        let between = self.at(Stage::Between);
        match step {
            Step::Withdraw => self.old != between,
            Step::Install => self.new != between,
        }
    }

    /// What is there in a stage.
    pub(super) fn at(&self, stage: Stage) -> Option<Target> {
        match stage {
            Stage::Old => self.old,
            Stage::New => self.new,
            // What both say stays all the time.
            Stage::Between => self.old.zip(self.new).and_then(|((old, may), (new, will))| {
                let access = may.and(will);
                (old == new && !access.is_none()).then_some((new, access))
            }),
        }
    }
}

/// Something that is mapped: whole pages, and where they lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) range: AddrRange,
    pub(super) target: Target,
}

impl Span {
    /// What of it lies in a range.
    fn cut(&self, range: AddrRange) -> Option<Target> {
        let (target, access) = self.target;
        self.range.covers(range).then_some((target + (range.start() - self.range.start()), access))
    }
}

/// What devices may do where a region says what may be done; execution is nobody's.
pub(super) fn access(prot: Prot) -> Option<Access> {
    let access = Access { read: prot.contains(Prot::READ), write: prot.contains(Prot::WRITE) };
    (!access.is_none()).then_some(access)
}

/// The tasks that have one span be another: what is only in one of them, and what is in both.
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
