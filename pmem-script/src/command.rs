//! Commands that change the model, parsed from words.

use super::mapping::{direction, mapping, metric};
use super::words::{Words, dashed, policy, range_of};
use pmem_core::{
    AddrRange, ArenaType, Attrs, Constraints, Direction, Metric, Owner, Pin, Props, Prot, Request, Usage, Way,
};

/// A command that changes the model. It refers to everything by name.
#[derive(Clone, Debug)]
pub(super) enum Verb {
    Arena { name: String, kind: ArenaType },
    Rename { arena: String, name: String },
    Remove { arena: String },
    Connect { name: String, left: String, right: String, to_right: Direction, to_left: Direction },
    Disconnect { link: String },
    Prime { arena: String, range: AddrRange, attrs: Attrs },
    Seal { arena: String, range: AddrRange },
    Retire { arena: String, range: AddrRange },
    Unseal { arena: String, range: AddrRange },
    Unprime { arena: String, range: AddrRange },
    Alloc { name: String, arena: String, request: Request },
    Set { region: String, set: SetAttrs },
    Pin { region: String, pin: Pin },
    Own { region: String, owner: Owner },
    Incref { region: String },
    Decref { region: String },
    Floor { link: String, way: Way, piece: u32, floor: Option<AddrRange> },
    Metric { link: String, way: Way, metric: Metric },
    Map { name: String, arena: String, region: String, spot: Constraints },
    Relocate { moves: Vec<(String, u64)> },
    Resize { region: String, len: u64 },
    Park { region: String },
    Unpark { region: String, spot: Constraints },
}

/// The attributes that a command sets; `None` leaves one unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SetAttrs {
    pub(super) usage: Option<Usage>,
    pub(super) prot: Option<Prot>,
    pub(super) props: Option<Props>,
}

impl SetAttrs {
    fn of(words: &Words<'_>) -> Result<Self, String> {
        let bad = |what: &str, text: &str| format!("unknown {what} {text:?}");
        let usage = words.option("usage").map(|t| Usage::from_words(t).ok_or_else(|| bad("usage", t)));
        let prot = words.option("prot").map(|t| Prot::from_words(t).ok_or_else(|| bad("protection", t)));
        let props = words.option("props").map(|t| Props::from_words(t).ok_or_else(|| bad("property", t)));
        Ok(Self { usage: usage.transpose()?, prot: prot.transpose()?, props: props.transpose()? })
    }

    pub(super) fn over(self, old: Attrs) -> Result<Attrs, pmem_core::CachingConflict> {
        Attrs::new(
            self.usage.unwrap_or(old.usage()),
            self.prot.unwrap_or(old.prot()),
            self.props.unwrap_or(old.props()),
        )
    }
}

const ATTRS: [&str; 3] = ["usage", "prot", "props"];

impl Verb {
    /// Parses a command; `None` if it is not one that changes the model.
    pub(super) fn parse(words: &Words<'_>) -> Result<Option<Self>, String> {
        let name = |i: usize, what: &str| words.word(i, what).map(str::to_owned);
        let verb = match words.name {
            "arena" => {
                let kind = words.word(1, "TYPE")?;
                let kind =
                    ArenaType::from_words(kind).ok_or_else(|| format!("unknown arena type {kind:?}"))?;
                limits(words, 2, &[])?;
                Self::Arena { name: name(0, "NAME")?, kind }
            }
            "rename" => {
                limits(words, 2, &[])?;
                Self::Rename { arena: name(0, "ARENA")?, name: name(1, "NAME")? }
            }
            "remove" => {
                limits(words, 1, &[])?;
                Self::Remove { arena: name(0, "ARENA")? }
            }
            "connect" => connect(words)?,
            "disconnect" => {
                limits(words, 1, &[])?;
                Self::Disconnect { link: name(0, "INTERCONNECT")? }
            }
            "prime" => {
                limits(words, 3, &ATTRS)?;
                let attrs = SetAttrs::of(words)?.over(Attrs::ram()).map_err(|e| e.to_string())?;
                Self::Prime { arena: name(0, "ARENA")?, range: words.range(1)?, attrs }
            }
            "seal" | "unseal" | "unprime" | "retire" => {
                limits(words, 3, &[])?;
                let (arena, range) = (name(0, "ARENA")?, words.range(1)?);
                match words.name {
                    "seal" => Self::Seal { arena, range },
                    "retire" => Self::Retire { arena, range },
                    "unseal" => Self::Unseal { arena, range },
                    _ => Self::Unprime { arena, range },
                }
            }
            "alloc" => {
                let len = words.addr(2, "LEN")?;
                Self::Alloc {
                    name: name(0, "NAME")?,
                    arena: name(1, "ARENA")?,
                    request: request(words, len, 3)?,
                }
            }
            "set" => {
                limits(words, 1, &ATTRS)?;
                Self::Set { region: name(0, "REGION")?, set: SetAttrs::of(words)? }
            }
            "pin" | "unpin" => {
                limits(words, 1, &[])?;
                let pin = if words.name == "pin" { Pin::Pinned } else { Pin::Movable };
                Self::Pin { region: name(0, "REGION")?, pin }
            }
            "own" => {
                limits(words, 2, &[])?;
                Self::Own { region: name(0, "REGION")?, owner: Owner(words.addr(1, "OWNER")?) }
            }
            "incref" | "decref" | "unmap" => {
                limits(words, 1, &[])?;
                let region = name(0, "REGION")?;
                if words.name == "incref" { Self::Incref { region } } else { Self::Decref { region } }
            }
            "floor" => {
                let floor = match words.word(3, "START")? {
                    "none" => {
                        limits(words, 4, &[])?;
                        None
                    }
                    _ => {
                        limits(words, 5, &[])?;
                        Some(words.range(3)?)
                    }
                };
                let piece = words.addr(2, "WINDOW")?;
                let piece = u32::try_from(piece).map_err(|_| format!("there is no window {piece}"))?;
                Self::Floor {
                    link: name(0, "INTERCONNECT")?,
                    way: way(words.word(1, "DIRECTION")?)?,
                    piece,
                    floor,
                }
            }
            "metric" => {
                limits(words, 3, &[])?;
                let (way, metric) = (way(words.word(1, "DIRECTION")?)?, metric(words.word(2, "METRIC")?)?);
                Self::Metric { link: name(0, "INTERCONNECT")?, way, metric }
            }
            "map" => Self::Map {
                name: name(0, "NAME")?,
                arena: name(1, "ARENA")?,
                region: name(2, "REGION")?,
                spot: spot(words, 3)?,
            },
            "relocate" => {
                let pairs = words.count().div_ceil(2).max(1);
                let moves: Result<Vec<_>, String> = (0..pairs)
                    .map(|i| Ok((name(2 * i, "REGION")?, words.addr(2 * i + 1, "START")?)))
                    .collect();
                limits(words, 2 * pairs, &[])?;
                Self::Relocate { moves: moves? }
            }
            "resize" => {
                limits(words, 2, &[])?;
                Self::Resize { region: name(0, "REGION")?, len: words.addr(1, "LEN")? }
            }
            "park" => {
                limits(words, 1, &[])?;
                Self::Park { region: name(0, "REGION")? }
            }
            "unpark" => Self::Unpark { region: name(0, "REGION")?, spot: spot(words, 1)? },
            _ => return Ok(None),
        };
        Ok(Some(verb))
    }
}

fn limits(words: &Words<'_>, plain: usize, options: &[&str]) -> Result<(), String> {
    words.at_most(plain)?;
    words.only(options)
}

/// Parses `connect NAME LEFT RIGHT METRIC MAPPING`, or `connect NAME LEFT RIGHT right=METRIC:MAPPING
/// left=METRIC:MAPPING`. A direction that is left out is closed.
fn connect(words: &Words<'_>) -> Result<Verb, String> {
    let name = |i: usize, what: &str| words.word(i, what).map(str::to_owned);
    words.only(&["right", "left"])?;
    let (to_right, to_left) = match (words.option("right"), words.option("left")) {
        (None, None) => {
            words.at_most(5)?;
            let (cost, mapping) = (metric(words.word(3, "METRIC")?)?, mapping(words.word(4, "MAPPING")?)?);
            let back = Direction::new(mapping.inverse(), cost);
            (Direction::new(mapping, cost), back)
        }
        (right, left) => {
            words.at_most(3)?;
            let of = |text: Option<&str>| text.map_or(Ok(Direction::closed()), direction);
            (of(right)?, of(left)?)
        }
    };
    Ok(Verb::Connect {
        name: name(0, "NAME")?,
        left: name(1, "LEFT")?,
        right: name(2, "RIGHT")?,
        to_right,
        to_left,
    })
}

/// Parses a direction of an interconnect.
fn way(word: &str) -> Result<Way, String> {
    match word {
        "right" => Ok(Way::ToRight),
        "left" => Ok(Way::ToLeft),
        _ => Err(format!("unknown direction {word:?}: expected right or left")),
    }
}

/// Parses the options that restrict where something is placed.
fn spot(words: &Words<'_>, plain: usize) -> Result<Constraints, String> {
    limits(words, plain, &["window", "at", "align", "boundary", "policy"])?;
    Ok(Constraints::from(&request(words, 1, plain)?))
}

fn request(words: &Words<'_>, len: u64, plain: usize) -> Result<Request, String> {
    words.only(&[
        "window", "at", "align", "boundary", "usage", "prot", "props", "owner", "max", "policy", "type",
    ])?;
    let pinned = words.flag("pinned", plain);
    words.at_most(plain + usize::from(pinned))?;
    let mut request = Request::new(len);
    if let Some(window) = words.option("window") {
        request = request.window(dashed(window)?);
    }
    if let Some(at) = words.option("at") {
        request = request.at(pmem_import::parse_addr(at)?);
    }
    if let Some(align) = words.number("align")? {
        request = request.align(align);
    }
    if let Some(boundary) = words.number("boundary")? {
        request = request.boundary(boundary);
    }
    let set = SetAttrs::of(words)?;
    request = set.usage.map_or(request, |usage| request.usage(usage));
    request = set.prot.map_or(request, |prot| request.prot(prot));
    request = set.props.map_or(request, |props| request.props(props));
    if let Some(owner) = words.number("owner")? {
        request = request.owner(Owner(owner));
    }
    if let Some(max) = words.option("max") {
        request = request.max_metric(if max == "any" { Metric::FARTHEST } else { metric(max)? });
    }
    if let Some(word) = words.option("type") {
        let kind = ArenaType::from_words(word).ok_or_else(|| format!("unknown arena type {word:?}"))?;
        request = request.of_type(kind);
    }
    if let Some(word) = words.option("policy") {
        request = request.policy(policy(word)?);
    }
    Ok(if pinned { request.pinned() } else { request })
}

/// Parses a range of two words, `START END`, for commands that only query.
pub(super) fn asked_range(words: &Words<'_>, index: usize) -> Result<AddrRange, String> {
    range_of(words.word(index, "START")?, words.word(index + 1, "END")?)
}
