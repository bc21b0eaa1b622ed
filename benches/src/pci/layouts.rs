//! Hierarchies that are known to fit: an aperture is cut up into BARs and bridges, so that one placement is
//! known. Then everything loses its place.

use crate::workload::Rng;
use pmem_pci::tree::{
    Aperture, Bridge, Function, Index, Mobility, Resource, Root, Slot, Space, Tree, Window, WindowKind,
};
use pmem_pci::{Address, BusRange};

pub const MIB: u64 = 1 << 20;
/// The first address of the aperture; it is not a multiple of anything large.
const FIRST: u64 = 0x8070_0000;

/// The kinds of hierarchies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One aperture, and nothing in place.
    Plain,
    /// One BAR in eight stays in place.
    Pins,
    /// Two apertures.
    Apertures,
}

impl Kind {
    /// Returns the name of the case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "from scratch",
            Self::Pins => "from scratch, with pins",
            Self::Apertures => "from scratch, two apertures",
        }
    }
}

/// Cuts a span into what lies on one bus: gaps, BARs, and bridges with their own content.
fn cut(rng: &mut Rng, tree: &mut Tree, parent: Option<Index>, span: BusRange, depth: u32, fill: u64) {
    let mut first = span.first;
    while first <= span.last {
        let left = (span.last - first + 1) / MIB;
        let len = 1 + rng.below(left.min(if depth > 0 { left / 2 + 1 } else { left }));
        let piece = BusRange { first, last: first + len * MIB - 1 };
        first = piece.last + 1;
        if rng.below(100) >= fill {
            continue;
        }
        if depth > 0 && len > 2 && rng.below(3) > 0 {
            let bridge = add(tree, parent);
            let window = Window {
                kind: WindowKind::Memory,
                span: Some(piece),
                granule: MIB,
                top: 0xffff_ffff,
                card_bus: None,
            };
            if let Some(function) = tree.functions.get_mut(bridge) {
                function.bridge = Some(Bridge { windows: vec![window], ..Bridge::default() });
            }
            cut(rng, tree, Some(bridge), piece, depth - 1, fill);
        } else {
            // Aligned powers of two, as large as the piece allows.
            let mut at = piece.first;
            while at <= piece.last {
                let most = 1 << (63 - (piece.last - at + 1).leading_zeros());
                let size = most.min(1 << at.trailing_zeros());
                let function = add(tree, parent);
                if let Some(function) = tree.functions.get_mut(function) {
                    function.resources.push(register(size, Some(at), false));
                }
                at += size;
            }
        }
    }
}

/// Adds a function that is to be placed.
pub fn add(tree: &mut Tree, parent: Option<Index>) -> Index {
    let n = tree.functions.len();
    let address = Address { segment: 0, bus: (n / 32) as u8, device: (n % 32) as u8, function: 0 };
    let mut function = Function::new(address, parent, 0);
    function.mobility = Mobility::Asked;
    function.command = Some(0);
    tree.functions.push(function);
    n
}

/// Makes a BAR.
pub fn register(size: u64, at: Option<u64>, prefetchable: bool) -> Resource {
    Resource {
        slot: Slot::Bar(0),
        space: Space::Memory,
        prefetchable,
        top: if prefetchable { u64::MAX } else { 0xffff_ffff },
        size,
        align: size,
        at,
        fixed: false,
        optional: false,
    }
}

/// Makes a hierarchy that is known to fit.
pub fn scratch(rng: &mut Rng, fill: u64, kind: Kind) -> Tree {
    loop {
        let mut tree = Tree::default();
        let len = if kind == Kind::Apertures { 256 } else { 1024 };
        let whole = BusRange { first: FIRST, last: FIRST + len * MIB - 1 };
        let spans = if kind == Kind::Apertures {
            let middle = whole.first + (64 + rng.below(128)) * MIB;
            vec![
                BusRange { first: whole.first, last: middle - 1 },
                BusRange { first: middle + 64 * MIB, last: whole.last + 64 * MIB },
            ]
        } else {
            vec![whole]
        };
        let aperture = |span: &BusRange| Aperture { space: Space::Memory, span: *span, cpu: span.first };
        let apertures = spans.iter().map(aperture).collect();
        tree.roots.push(Root { segment: 0, buses: (0, 255), apertures });
        for span in spans {
            cut(rng, &mut tree, None, span, 3, fill);
        }
        if !(8..=120).contains(&tree.functions.len()) {
            continue;
        }
        for function in &mut tree.functions {
            if kind == Kind::Pins && function.bridge.is_none() && rng.below(8) == 0 {
                function.mobility = Mobility::Pinned;
                continue;
            }
            function.resources.iter_mut().for_each(|resource| resource.at = None);
            function.bridge.iter_mut().flat_map(|b| &mut b.windows).for_each(|window| window.span = None);
        }
        // Fit the windows around what stays.
        for index in (0..tree.functions.len()).rev() {
            let own = |f: &Function| f.resources.iter().filter_map(Resource::span).reduce(BusRange::hull);
            let window = |f: &Function| f.bridge.as_ref()?.windows.first()?.span;
            let inside =
                tree.on_bus(0, Some(index)).filter_map(|(_, f)| own(f).or(window(f))).reduce(BusRange::hull);
            let bridge = tree.functions.get_mut(index).and_then(|f| f.bridge.as_mut());
            if let Some(window) = bridge.and_then(|bridge| bridge.windows.first_mut()) {
                window.span = inside.map(|span| span.rounded(MIB));
            }
        }
        return tree;
    }
}
