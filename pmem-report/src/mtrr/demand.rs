//! Works out which memory types each address may have: from the memory map, from what is programmed, and from the
//! user's wishes.

use super::MtrrError;
use super::given::MtrrState;
use pmem_import::parse_range;
use pmem_mtrr::{Effective, Fixed, MemType, Requirement, Setting, Span, TypeSet};
use rangemap::RangeMap;

/// What may become of addresses about which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmapped {
    /// They become uncacheable, or stay as they are.
    Uc,
    /// Where a bus may place devices, they become uncacheable or stay as they are. Elsewhere they may become anything.
    Windows,
    /// They may become anything.
    Any,
}

/// The permitted memory types of the whole address space.
pub(super) struct Demand {
    /// Ranges about which something is known, or for which a type is asked.
    pub(super) wants: Vec<Requirement>,
    /// The whole space: those ranges, and what the rest may become.
    pub(super) all: Vec<Requirement>,
}

const FOUR_GIB: u64 = 1 << 32;
const PAGE: u64 = 0x1000;

fn pages(span: Span) -> std::ops::Range<u64> {
    span.start & !(PAGE - 1)..span.end.next_multiple_of(PAGE)
}

/// Parses `RANGE=TYPE`. The range is as in [`parse_range`] and must start and end at multiples of 4 KiB. Several
/// permitted types are separated by `|`; `any` permits all.
///
/// # Errors
/// Returns [`MtrrError::Usage`] with what is wrong with the text.
///
/// # Examples
///
/// ```
/// use pmem_report::mtrr::parse_want;
///
/// let framebuffer = parse_want("0xd0000000..0xe0000000=WC")?;
/// assert_eq!(framebuffer.span.len(), 256 << 20);
/// assert!(parse_want("0xd0000000..0xd0000800=WC").is_err()); // not a whole page
/// # Ok::<(), pmem_report::mtrr::MtrrError>(())
/// ```
pub fn parse_want(text: &str) -> Result<Requirement, MtrrError> {
    let wrong = |what: String| MtrrError::Usage(format!("--want {text}: {what}"));
    let (range, kinds) = text.split_once('=').ok_or_else(|| wrong("no = in it".to_owned()))?;
    let (start, last) = parse_range(range).map_err(&wrong)?;
    let span = Span { start, end: last.saturating_add(1) };
    if span.is_empty() || (span.start | span.end) & (PAGE - 1) != 0 {
        return Err(wrong(
            "start and end must be multiples of 4 KiB, and the end above the start".to_owned(),
        ));
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

/// Returns the types that keep an address as it is. An undefined or unknown type may also become uncacheable.
fn as_it_is(what: Effective) -> TypeSet {
    match what {
        Effective::Type(kind) => kind.into(),
        Effective::Undefined(mix) => mix.or(MemType::Uc.into()),
        Effective::Invalid(_) | Effective::Unknown => MemType::Uc.into(),
    }
}

/// Works out the demand. Each step overrides the ones before: the memory map, system management memory, wishes in the
/// sources, and the user's wishes.
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

/// Relaxes firmware's ranges below 1 MiB that share a fixed register with memory. A fixed register covers 64, 16 or 4
/// KiB at once, so such a range takes the memory's type, unless its present type is known.
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

/// Fills in addresses about which nothing is known.
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

/// Returns each range whose type under a setting is not a permitted one, with the permitted types and the actual one.
pub(super) fn unmet(setting: &Setting, wants: &[Requirement]) -> Vec<(Span, TypeSet, Effective)> {
    let mut all = Vec::new();
    setting.unmet(wants, |span, allowed, got| all.push((span, allowed, got)));
    all
}
