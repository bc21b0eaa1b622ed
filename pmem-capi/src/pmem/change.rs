//! Changes and whole states as lists of edits that C can read.

use super::{ArenaPtr, LinkPtr, Paddr, RegionPtr};
use pmem_core::{
    AddrRange, ArenaId, Attrs, Change, Delta, Edit, Effective, Link, LinkId, Location, Mapping, Placement,
    PrimedSpan, Role, SpanState, State, Way, Window,
};
use std::ffi::{CString, c_char, c_int, c_uint};
use std::ptr;

/// `struct pmem_side`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Side {
    present: c_int,
    first: Paddr,
    last: Paddr,
    usage: c_uint,
    prot: c_uint,
    props: c_uint,
    state: c_int,
}

/// `enum pmem_edit_kind`.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
enum Kind {
    Arena = 1,
    Interconnect = 2,
    Space = 3,
    Window = 4,
    Region = 5,
    View = 6,
    Effective = 7,
}

/// `enum pmem_space_state`, the `state` of a side of space.
const OPEN: c_int = 0;
const SEALED: c_int = 1;
const LENT: c_int = 2;

/// `struct pmem_edit`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CEdit {
    kind: Kind,
    arena: ArenaPtr,
    interconnect: LinkPtr,
    region: RegionPtr,
    target: RegionPtr,
    far: ArenaPtr,
    name: *const c_char,
    kinds: c_uint,
    metric: u32,
    offset: Paddr,
    before: Side,
    after: Side,
}

/// `struct pmem_change`.
#[derive(Debug)]
#[repr(C)]
pub struct CChange {
    sequence: u64,
    count: usize,
    edits: *const CEdit,
}

/// A list of edits, and the names that they point to.
#[derive(Debug, Default)]
pub(super) struct Edits {
    all: Vec<CEdit>,
    names: Vec<CString>,
}

impl Edits {
    /// Lists the edits of a change: all of them, or what a view sees of them.
    pub(super) fn of_change(change: &Change<'_>, view: Option<ArenaId>) -> Self {
        let mut edits = Self::default();
        match view {
            None => change.edits().iter().for_each(|edit| edits.push(edit, change.after())),
            Some(view) => change.deltas().iter().for_each(|delta| edits.push_view(view, delta)),
        }
        edits
    }

    /// Lists a whole state, or what a view sees of it, as if all of it were added now.
    pub(super) fn of_state(state: &State, view: Option<ArenaId>) -> Self {
        let mut edits = Self::default();
        if let Some(view) = view {
            for (range, seen) in state.sees(view) {
                edits.push_view(view, &Delta { range, old: None, new: Some(seen) });
            }
            return edits;
        }
        let mut push = |edit: Edit| edits.push(&edit, state);
        for (arena, info, _) in state.arenas() {
            push(Edit::Arena { arena, old: None, new: Some(info.clone()) });
        }
        for (link, ends) in state.links() {
            push(Edit::Link { link, old: None, new: Some(ends.clone().into()) });
        }
        for (arena, _, contents) in state.arenas() {
            for (range, span) in contents.spans() {
                push(Edit::Span { arena, range, old: None, new: Some(span) });
            }
        }
        for (link, ends) in state.links() {
            for way in [Way::ToRight, Way::ToLeft] {
                // Fixed windows come with their interconnect.
                let fixed = pieces(ends, way).iter().map(Window::is_fixed);
                for ((piece, window), fixed) in (0..).zip(state.windows(link, way)).zip(fixed) {
                    if !fixed && window.is_some() {
                        push(Edit::Window { link, way, piece, old: None, new: *window });
                    }
                }
            }
        }
        for (arena, _, contents) in state.arenas() {
            let placed = contents.regions().map(|(range, record)| (Location::At(range), record));
            let parked = contents.parked().map(|(len, record)| (Location::Parked(len), record));
            for (seat, record) in placed.chain(parked) {
                let new = Some(Placement { arena, seat, record });
                push(Edit::Region { region: record.id, old: None, new });
            }
        }
        edits
    }

    /// Calls `run` with the list as C reads it.
    pub(super) fn show<T>(&self, sequence: u64, run: impl FnOnce(&CChange) -> T) -> T {
        run(&CChange { sequence, count: self.all.len(), edits: self.all.as_ptr() })
    }

    /// Adds an edit as C sees it. Changes of reference counts are left out.
    fn push(&mut self, edit: &Edit, state: &State) {
        let edit = match edit {
            Edit::Arena { arena, old, new } => {
                let info = new.as_ref().or(old.as_ref());
                let name = info.map_or(ptr::null(), |info| self.keep(&info.name));
                let kinds = info.map_or(0, |info| info.kind.bits().into());
                let (before, after) = (Side::there(old.is_some()), Side::there(new.is_some()));
                CEdit { arena: (*arena).into(), name, kinds, before, after, ..CEdit::new(Kind::Arena) }
            }
            Edit::Link { link, old, new } => {
                let (before, after) = (Side::there(old.is_some()), Side::there(new.is_some()));
                let Some(ends) = new.as_ref().or(old.as_ref()) else { return };
                let (arena, far, metric) = (ends.left.into(), ends.right.into(), ends.to_right.metric.get());
                let interconnect = (*link).into();
                self.all.push(CEdit {
                    arena,
                    far,
                    interconnect,
                    metric,
                    before,
                    after,
                    ..CEdit::new(Kind::Interconnect)
                });
                for way in [Way::ToRight, Way::ToLeft] {
                    for window in pieces(ends, way).iter().filter(|window| window.is_fixed()) {
                        let range = Side::of(window.limit(), None, 0);
                        let side = |there: bool| if there { range } else { Side::default() };
                        let (before, after) = (side(old.is_some()), side(new.is_some()));
                        self.all.push(CEdit {
                            before,
                            after,
                            ..CEdit::of_window(*link, ends, way, Some(window))
                        });
                    }
                }
                return;
            }
            Edit::Span { arena, range, old, new } => {
                let state = |span: &PrimedSpan| match span.state {
                    SpanState::Open => OPEN,
                    SpanState::Sealed => SEALED,
                    SpanState::Lent => LENT,
                };
                let side = |span: &Option<PrimedSpan>| {
                    span.as_ref().map_or(Side::default(), |s| Side::of(*range, Some(s.attrs), state(s)))
                };
                CEdit {
                    arena: (*arena).into(),
                    before: side(old),
                    after: side(new),
                    ..CEdit::new(Kind::Space)
                }
            }
            Edit::Window { link, way, piece, old, new } => {
                let side =
                    |range: &Option<AddrRange>| range.map_or(Side::default(), |r| Side::of(r, None, 0));
                let Some(ends) = state.link(*link) else { return };
                let window = pieces(ends, *way).get(*piece as usize);
                CEdit { before: side(old), after: side(new), ..CEdit::of_window(*link, ends, *way, window) }
            }
            Edit::Region { region, old, new } => {
                let placement = new.or(*old);
                let arena = placement.map_or(ArenaPtr::NULL, |p| p.arena.into());
                let (target, interconnect) = match placement.map(|p| p.record.role) {
                    Some(Role::Alias(alias)) => (alias.target.into(), alias.link.into()),
                    _ => (RegionPtr::NULL, LinkPtr::NULL),
                };
                let (before, after) = (Side::placed(old), Side::placed(new));
                let region = (*region).into();
                CEdit { arena, interconnect, region, target, before, after, ..CEdit::new(Kind::Region) }
            }
            Edit::Effective { placement, old, new } => {
                let Role::Alias(alias) = placement.record.role else { return };
                // A region that is parked has no address.
                let Some(range) = placement.seat.range() else { return };
                let side = |attrs| Side::of(range, Some(attrs), 0);
                CEdit {
                    arena: placement.arena.into(),
                    interconnect: alias.link.into(),
                    region: placement.record.id.into(),
                    target: alias.target.into(),
                    before: side(*old),
                    after: side(*new),
                    ..CEdit::new(Kind::Effective)
                }
            }
            _ => return,
        };
        self.all.push(edit);
    }

    fn push_view(&mut self, view: ArenaId, delta: &Delta) {
        let side = |e: Option<Effective>| {
            e.map_or(Side::default(), |e| Side::of(delta.range, Some(e.attrs), c_int::from(e.taken)))
        };
        let (before, after) = (side(delta.old), side(delta.new));
        let leads = delta.new.or(delta.old);
        let far = leads.map_or(ArenaPtr::NULL, |leads| leads.arena.into());
        let offset = leads.map_or(0, |leads| leads.offset as usize);
        self.all.push(CEdit { arena: view.into(), far, offset, before, after, ..CEdit::new(Kind::View) });
    }

    fn keep(&mut self, name: &str) -> *const c_char {
        let name = CString::new(name.replace('\0', " ")).unwrap_or_default();
        let at = name.as_ptr();
        // The name itself does not move when the list grows.
        self.names.push(name);
        at
    }
}

/// Returns the windows of one direction of an interconnect.
fn pieces(ends: &Link, way: Way) -> &[Window] {
    match &ends.direction(way).mapping {
        Mapping::Windows(windows) => windows.pieces(),
        _ => &[],
    }
}

impl CEdit {
    fn of_window(link: LinkId, ends: &Link, way: Way, window: Option<&Window>) -> Self {
        let (arena, far) = (ends.near(way).into(), ends.near(way.back()).into());
        let offset = window.map_or(0, |window| window.offset_of() as Paddr);
        Self { arena, far, interconnect: link.into(), offset, ..CEdit::new(Kind::Window) }
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            arena: ArenaPtr::NULL,
            interconnect: LinkPtr::NULL,
            region: RegionPtr::NULL,
            target: RegionPtr::NULL,
            far: ArenaPtr::NULL,
            name: ptr::null(),
            kinds: 0,
            metric: 0,
            offset: 0,
            before: Side::default(),
            after: Side::default(),
        }
    }
}

impl Side {
    fn of(range: AddrRange, attrs: Option<Attrs>, state: c_int) -> Self {
        let bits =
            attrs.map_or([0; 3], |a| [a.usage().bits(), a.prot().bits(), a.props().bits()]).map(c_uint::from);
        let [usage, prot, props] = bits;
        let (first, last) = (range.start() as Paddr, range.last() as Paddr);
        Self { present: 1, first, last, usage, prot, props, state }
    }

    fn there(present: bool) -> Self {
        Self { present: c_int::from(present), ..Self::default() }
    }

    fn placed(placement: &Option<Placement>) -> Self {
        placement.map_or(Self::default(), |p| match p.seat.range() {
            Some(range) => Self::of(range, Some(p.record.attrs), 0),
            None => Self { first: 0, last: 0, ..Self::of(AddrRange::ALL, Some(p.record.attrs), 0) },
        })
    }
}
