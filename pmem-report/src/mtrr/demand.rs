//! What each address is to be: from the memory map, from what is programmed, and from what is asked for.

use super::MtrrError;
use super::given::MtrrState;
use pmem_import::parse_range;
use pmem_mtrr::{Effective, Fixed, MemType, Requirement, Setting, Span, TypeSet};
use rangemap::RangeMap;

/// What addresses may become that nothing is known of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmapped {
    /// Uncacheable, or as they are.
    Uc,
    /// So where a bus may place devices, anything elsewhere.
    Windows,
    /// Anything.
    Any,
}

/// What is wanted of the whole space.
pub(super) struct Demand {
    /// What something is known of, or wanted of.
    pub(super) wants: Vec<Requirement>,
    /// The same, and what the rest may be.
    pub(super) all: Vec<Requirement>,
}

const FOUR_GIB: u64 = 1 << 32;
const PAGE: u64 = 0x1000;

fn pages(span: Span) -> std::ops::Range<u64> {
    span.start & !(PAGE - 1)..span.end.next_multiple_of(PAGE)
}

/// Reads `RANGE=TYPE`, a range ([`parse_range`]) that begins and ends at multiples of 4 KiB; several types stand with `|` between them, `any` for all.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_want(text: &str) -> Result<Requirement, MtrrError> {
    let wrong = |what: String| MtrrError::Usage(format!("--want {text}: {what}"));
    let (range, kinds) = text.split_once('=').ok_or_else(|| wrong("no = in it".to_owned()))?;
    let (start, last) = parse_range(range).map_err(&wrong)?;
    let span = Span { start, end: last.saturating_add(1) };
    if span.is_empty() || (span.start | span.end) & (PAGE - 1) != 0 {
        return Err(wrong("start and end are to be multiples of 4 KiB, the end above the start".to_owned()));
    }
    let allowed = if kinds.eq_ignore_ascii_case("any") {
        TypeSet::ANY
    } else {
        kinds.split('|').try_fold(TypeSet::EMPTY, |set, name| {
            let kind = MemType::from_name(name)
                .ok_or_else(|| wrong(format!("{name:?} is no memory type: UC, WC, WT, WP, WB or any")))?;
            Ok::<_, MtrrError>(set.or(kind.into()))
        })?
    };
    Ok(Requirement { span, allowed })
}

/// What addresses may be that are to stay as they are.
fn as_it_is(what: Effective) -> TypeSet {
    match what {
        Effective::Type(kind) => kind.into(),
        Effective::Undefined(mix) => mix.or(MemType::Uc.into()),
        Effective::Invalid(_) | Effective::Unknown => MemType::Uc.into(),
    }
}

pub(super) fn of(
    given: &mut MtrrState,
    asked: &[Requirement],
    unmapped: Unmapped,
) -> Result<Demand, MtrrError> {
    let end = given.setting.width.end();
    let present: Vec<(Span, TypeSet)> = if given.programmed {
        given.setting.map().map(|(span, what)| (span, as_it_is(what))).collect()
    } else {
        vec![(Span { start: 0, end }, MemType::Uc.into())]
    };
    let mut map: RangeMap<u64, TypeSet> = RangeMap::new();
    let lay = |map: &mut RangeMap<u64, TypeSet>, within: Span| {
        for (span, set) in &present {
            let part = span.and(within);
            if !part.is_empty() {
                map.insert(pages(part), *set);
            }
        }
    };
    if !given.facts.memory.is_empty() {
        for (span, _) in given.facts.memory.iter().filter(|(_, kind)| !kind.is_memory()) {
            lay(&mut map, *span);
        }
        for (span, _) in given.facts.memory.iter().filter(|(_, kind)| kind.is_memory()) {
            map.insert(pages(*span), MemType::Wb.into());
        }
        follow_neighbours(given, &mut map);
    } else if given.programmed {
        let top = match given.facts.top {
            Some(top) => top.max(FOUR_GIB),
            None => {
                let cached = |(_, set): &&(Span, TypeSet)| *set != MemType::Uc.into();
                let top = present.iter().rfind(cached).map_or(0, |(span, _)| span.end).max(FOUR_GIB);
                given.assumed.push(format!(
                    "there is no memory map: what is programmed below {top:#x} is wanted, above it nothing is known"
                ));
                top
            }
        };
        lay(&mut map, Span { start: 0, end: top.min(end) });
    }
    if let Some(range) = given.setting.management() {
        map.insert(pages(range), TypeSet::of(&[MemType::Uc, MemType::Wb]));
    }
    for (span, kind) in &given.facts.wanted {
        if span.end > end {
            let text = format!("{span}={kind} is beyond {} bits", given.setting.width.bits());
            return Err(MtrrError::Other(text));
        }
        map.insert(pages(*span), (*kind).into());
    }
    for (i, want) in asked.iter().enumerate() {
        if want.span.end > end {
            let bits = given.setting.width.bits();
            let text = format!("--want {}: beyond physical addresses of {bits} bits", want.span);
            return Err(MtrrError::Usage(text));
        }
        if let Some(other) = asked[..i].iter().find(|other| !other.span.and(want.span).is_empty()) {
            return Err(MtrrError::Usage(format!("--want {} and --want {} overlap", other.span, want.span)));
        }
        map.insert(want.span.start..want.span.end, want.allowed);
    }
    let wants = collect(&map);
    rest(given, &present, &mut map, unmapped);
    follow_neighbours(given, &mut map);
    Ok(Demand { wants, all: collect(&map) })
}

/// Below 1 MiB one register has 64, 16 or 4 KiB: where a range that firmware keeps shares it with memory, it becomes what the memory is, unless
/// something is known of what it is now.
fn follow_neighbours(given: &MtrrState, map: &mut RangeMap<u64, TypeSet>) {
    let known = given.programmed && given.facts.fixed_known != 0 || given.facts.memory.is_empty();
    if known || !given.setting.fixed_counts() && given.programmed {
        return;
    }
    for granule in (0..88).map(Fixed::span) {
        let parts: Vec<_> = map
            .overlapping(&(granule.start..granule.end))
            .map(|(range, set)| (range.clone(), *set))
            .collect();
        let has_memory = parts.iter().any(|(_, set)| *set == MemType::Wb.into());
        for (range, _) in parts.iter().filter(|(_, set)| has_memory && *set != MemType::Wb.into()) {
            let part = range.start.max(granule.start)..range.end.min(granule.end);
            map.insert(part, TypeSet::ANY);
        }
    }
}

/// Fills what nothing is known of.
fn rest(
    given: &mut MtrrState,
    present: &[(Span, TypeSet)],
    map: &mut RangeMap<u64, TypeSet>,
    unmapped: Unmapped,
) {
    let end = given.setting.width.end();
    let gaps: Vec<Span> = map.gaps(&(0..end)).map(|gap| Span { start: gap.start, end: gap.end }).collect();
    if gaps.is_empty() {
        return;
    }
    let mut windows = given.facts.windows.clone();
    let size = crate::size(gaps.iter().map(|gap| gap.len()).sum());
    given.assumed.push(match unmapped {
        Unmapped::Uc => format!("the {size} that nothing is known of stay uncacheable, or as they are"),
        Unmapped::Windows => {
            if windows.is_empty() {
                let low = given.facts.memory.iter().filter(|(s, k)| k.is_memory() && s.end <= FOUR_GIB);
                let start = low.map(|(span, _)| span.end).max().unwrap_or(0).next_multiple_of(PAGE);
                windows.push(Span { start, end: FOUR_GIB });
            }
            let shown: Vec<String> = windows.iter().map(ToString::to_string).collect();
            format!("of the {size} that nothing is known of, devices are only in {}", shown.join(", "))
        }
        Unmapped::Any => format!("no device is in the {size} that nothing is known of"),
    });
    for gap in gaps {
        map.insert(gap.start..gap.end, TypeSet::ANY);
        let strict: Vec<Span> = match unmapped {
            Unmapped::Uc => vec![gap],
            Unmapped::Windows => windows.iter().map(|w| w.and(gap)).filter(|w| !w.is_empty()).collect(),
            Unmapped::Any => vec![],
        };
        for strict in strict {
            for (span, set) in present {
                let part = span.and(strict);
                if !part.is_empty() {
                    map.insert(pages(part), set.or(MemType::Uc.into()));
                }
            }
        }
    }
}

fn collect(map: &RangeMap<u64, TypeSet>) -> Vec<Requirement> {
    map.iter()
        .map(|(range, set)| Requirement { span: Span { start: range.start, end: range.end }, allowed: *set })
        .collect()
}

/// What a setting makes of every address that is not as it may be.
pub(super) fn unmet(setting: &Setting, wants: &[Requirement]) -> Vec<(Span, TypeSet, Effective)> {
    let mut all = Vec::new();
    setting.unmet(wants, |span, allowed, got| all.push((span, allowed, got)));
    all
}
