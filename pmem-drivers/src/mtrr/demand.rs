//! The memory types that each page may have.

use alloc::vec::Vec;
use core::ops::RangeInclusive;
use pmem_core::{Attrs, Props, Prot};
use pmem_mtrr::{Effective, MemType, Requirement, Setting, Span, TypeSet};
use rangemap::{RangeInclusiveMap, RangeInclusiveSet};

/// The types allowed for addresses that nothing is known to decode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmapped {
    /// Uncacheable, or the type that they have now.
    #[default]
    Strict,
    /// Only the type that they have now, since memory may be hot-added there.
    Keep,
    /// Any type. This needs the fewest registers, but may cache the registers of devices that the model does not
    /// know.
    Any,
}

/// Returns the memory type that attributes ask for; `None` if they ask for none, which keeps the current type.
///
/// # Examples
///
/// ```
/// use pmem_core::{Attrs, Props, Prot, Usage};
/// use pmem_drivers::mtrr::{MemType, wish};
///
/// let framebuffer = Attrs::new(Usage::FRAMEBUF, Prot::RW, Props::WCOMB | Props::PREFETCH)?;
/// assert_eq!(wish(framebuffer), Some(MemType::Wc));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
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

/// What the model asks for now, compared with what it asked for when the driver attached.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    /// The types asked for at first, where anything decodes.
    base: RangeInclusiveMap<u64, Option<MemType>>,
    /// The addresses that something decodes now.
    decoded: RangeInclusiveSet<u64>,
    /// The types asked for now, where they differ from those at first.
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

    /// Records the attributes of a range; `None` if no arena claims it any more.
    pub(super) fn set(&mut self, range: RangeInclusive<u64>, attrs: Option<Attrs>) {
        let Some(attrs) = attrs else {
            self.decoded.remove(range.clone());
            return self.overrides.remove(range);
        };
        let wish = wish(attrs);
        self.decoded.insert(range.clone());
        self.overrides.insert(range.clone(), wish);
        // A range that asks for its first type again is no override. A range that decodes only now always is one.
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

    /// Returns the allowed types of all pages in the address space of `baseline`; or the page that is asked to have
    /// two types.
    pub(super) fn wants(&self, baseline: &Setting, unmapped: Unmapped) -> Result<Vec<Requirement>, Span> {
        let end = baseline.width.end();
        // The allowed types change only where an override, a decoded range or a baseline range begins or ends. Cut
        // the space at those addresses, rounded both ways to pages, so that each piece has one answer.
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

    /// Returns the allowed types of a span that one rule covers; `None` if the model asks for two types there.
    fn allowed(&self, span: Span, had: Effective, unmapped: Unmapped) -> Option<TypeSet> {
        let as_it_is = match had {
            Effective::Type(kind) => TypeSet::only(kind),
            // An undefined mix of types cannot be kept. Allow each of its types, and uncacheable.
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
        // Every override in the span restricts the types, and so does each gap between overrides that something
        // decodes.
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
