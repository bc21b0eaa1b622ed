//! What each page may be.

use alloc::vec::Vec;
use core::ops::RangeInclusive;
use pmem_core::{Attrs, Props, Prot};
use pmem_mtrr::{Effective, MemType, Requirement, Setting, Span, TypeSet};
use rangemap::{RangeInclusiveMap, RangeInclusiveSet};

/// What addresses may be that nothing is known to decode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmapped {
    /// Uncacheable, or what they are.
    #[default]
    Strict,
    /// What they are, and nothing else: memory may be added there.
    Keep,
    /// Anything: fewer registers, at the risk that devices nobody told of are cached.
    Any,
}

/// The type that attributes ask for; `None` if they do not say: as it is.
pub fn wish(attrs: Attrs) -> Option<MemType> {
    match attrs.props().caching() {
        Props::UNCACHED => Some(MemType::Uc),
        Props::WCOMB => Some(MemType::Wc),
        Props::WTHRU => Some(MemType::Wt),
        Props::WBACK if attrs.prot().contains(Prot::WRITE) => Some(MemType::Wb),
        Props::WBACK => Some(MemType::Wp),
        _ => None,
    }
}

/// What the model says of addresses now, beside what it said when the driver took over.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    /// What it said at first, where anything decodes.
    base: RangeInclusiveMap<u64, Option<MemType>>,
    /// Where something decodes now.
    decoded: RangeInclusiveSet<u64>,
    /// Where it says something else now.
    overrides: RangeInclusiveMap<u64, Option<MemType>>,
}

impl Demand {
    pub(super) fn adopt(spans: impl Iterator<Item = (RangeInclusive<u64>, Attrs)>) -> Self {
        let mut new = Self::default();
        for (range, attrs) in spans {
            new.base.insert(range.clone(), wish(attrs));
            new.decoded.insert(range);
        }
        new
    }

    /// Takes note of what a range is now: `None` if nothing decodes it any more.
    pub(super) fn set(&mut self, range: RangeInclusive<u64>, attrs: Option<Attrs>) {
        let Some(attrs) = attrs else {
            self.decoded.remove(range.clone());
            return self.overrides.remove(range);
        };
        let wish = wish(attrs);
        self.decoded.insert(range.clone());
        self.overrides.insert(range.clone(), wish);
        // What was the same at first is no override; what decodes only now is one.
        let same: Vec<_> = self
            .base
            .overlapping(range.clone())
            .filter(|(_, at_first)| **at_first == wish)
            .map(|(part, _)| *part.start().max(range.start())..=*part.end().min(range.end()))
            .collect();
        for part in same {
            self.overrides.remove(part);
        }
    }

    /// What each page may be, all of the space that `baseline` has; the page if a page is wanted to be two types.
    pub(super) fn wants(&self, baseline: &Setting, unmapped: Unmapped) -> Result<Vec<Requirement>, Span> {
        let end = baseline.width.end();
        let mut cuts = Vec::from([0, end]);
        let mut cut = |range: &RangeInclusive<u64>| {
            let (start, last) = (range.start() & !0xfff, range.end() & !0xfff);
            for cut in [start, range.start().next_multiple_of(0x1000), last, last.saturating_add(0x1000)] {
                cuts.push(cut.min(end));
            }
        };
        self.overrides.iter().for_each(|(range, _)| cut(range));
        self.decoded.iter().for_each(&mut cut);
        let firmware: Vec<_> = baseline.map().collect();
        cuts.extend(firmware.iter().map(|(span, _)| span.start));
        cuts.sort_unstable();
        cuts.dedup();
        let mut wants: Vec<Requirement> = Vec::new();
        for pair in cuts.windows(2) {
            let &[start, stop] = pair else { continue };
            let place = firmware.partition_point(|(span, _)| span.end <= start);
            let had = firmware.get(place).map_or(Effective::Unknown, |(_, what)| *what);
            let span = Span { start, end: stop };
            let allowed = self.allowed(span, had, unmapped).ok_or(span)?;
            match wants.last_mut() {
                Some(last) if last.allowed == allowed => last.span.end = stop,
                _ => wants.push(Requirement { span, allowed }),
            }
        }
        Ok(wants)
    }

    /// What pages may be that are alike; `None` if they are wanted to be two types.
    fn allowed(&self, span: Span, had: Effective, unmapped: Unmapped) -> Option<TypeSet> {
        let as_it_is = match had {
            Effective::Type(kind) => TypeSet::only(kind),
            // What is undefined cannot be kept: any type that may have been meant, or uncacheable.
            Effective::Undefined(mix) => mix.or(TypeSet::only(MemType::Uc)),
            Effective::Invalid(_) | Effective::Unknown => TypeSet::only(MemType::Uc),
        };
        let range = span.start..=span.end - 1;
        if !self.decoded.overlaps(&range) {
            return Some(match unmapped {
                Unmapped::Strict => as_it_is.or(TypeSet::only(MemType::Uc)),
                Unmapped::Keep => as_it_is,
                Unmapped::Any => TypeSet::ANY,
            });
        }
        let mut allowed = TypeSet::ANY;
        let mut at = Some(span.start);
        for (part, wish) in self.overrides.overlapping(range.clone()) {
            allowed = allowed.and(wish.map_or(as_it_is, TypeSet::only));
            let before = at.is_some_and(|at| at < *part.start() && self.decodes(at, *part.start() - 1));
            if before {
                allowed = allowed.and(as_it_is);
            }
            at = part.end().checked_add(1);
        }
        if at.is_some_and(|at| at < span.end && self.decodes(at, span.end - 1)) {
            allowed = allowed.and(as_it_is);
        }
        (!allowed.is_empty()).then_some(allowed)
    }

    fn decodes(&self, start: u64, last: u64) -> bool {
        self.decoded.overlaps(&(start..=last))
    }
}
