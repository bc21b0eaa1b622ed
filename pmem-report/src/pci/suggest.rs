//! Suggests requests that would fit instead.

use super::goal::{PlacementGoal, PlacementRequest};
use crate::units::{short, size};
use pmem_import::{Address, PciTree, parse_size};
use pmem_pci::Budget;
use pmem_pci::hole::smallest;
use pmem_pci::plan::{Verdict, plan};
use pmem_pci::tree::Space;

/// The most ports that are suggested.
const PORTS: usize = 4;

/// Suggests requests that fit without stopping anything: a smaller size, another port, fewer virtual functions. Also
/// tells how much more the host bridge would have to forward.
#[must_use]
pub fn suggestions(known: &PciTree, ask: &PlacementRequest, budget: &mut Budget<'_>) -> Vec<String> {
    let mut fits = |wish: PlacementGoal| {
        let goal = PlacementRequest { wishes: vec![wish], ..ask.clone() }.goal(known).ok()?;
        matches!(plan(&goal, budget), Verdict::Fits(_)).then_some(())
    };
    let mut out = Vec::new();
    match ask.wishes.as_slice() {
        [PlacementGoal::Resize { function, bar, size: wanted }] => {
            let smaller =
                std::iter::successors(Some(wanted / 2), |size| Some(size / 2)).take_while(|s| *s >= 1 << 20);
            let found = smaller.into_iter().find(|size| {
                fits(PlacementGoal::Resize { function: *function, bar: *bar, size: *size }).is_some()
            });
            out.extend(
                found.map(|found| {
                    format!("{} fits: --resize {function}:bar{bar}={}", size(found), short(found))
                }),
            );
        }
        [PlacementGoal::Vfs { function, count }] => {
            let found = (1..*count)
                .rev()
                .find(|n| fits(PlacementGoal::Vfs { function: *function, count: *n }).is_some());
            out.extend(found.map(|found| format!("{found} fit: --vfs {function}={found}")));
        }
        [PlacementGoal::Add { card, at }] => {
            for smaller in halved(card) {
                if fits(PlacementGoal::Add { card: smaller.clone(), at: *at }).is_some() {
                    out.push(format!("a smaller card fits: --add {smaller} --at {at}"));
                    break;
                }
            }
            let ports = ports(known).filter(|port| port != at);
            let others =
                ports.filter(|port| fits(PlacementGoal::Add { card: card.clone(), at: *port }).is_some());
            out.extend(others.take(PORTS).map(|port| format!("it fits below another port: --at {port}")));
        }
        _ => {}
    }
    out.extend(hole(known, ask, budget));
    out
}

/// Tells how much more the host bridge would have to forward. That helps hypervisors and firmware, which can arrange
/// it.
fn hole(known: &PciTree, ask: &PlacementRequest, budget: &mut Budget<'_>) -> Option<String> {
    const GIB: u64 = 1 << 30;
    let goal = ask.goal(known).ok()?;
    let root = goal.place.first().and_then(|(index, _)| goal.tree.functions.get(*index))?.root;
    let host = goal.tree.roots.get(root).filter(|_| !known.guessed.contains(&(root, Space::Memory)))?;
    // The new aperture is above all existing ones, aligned for the largest resource.
    let largest = goal.place.iter().filter_map(|(index, slot)| {
        goal.tree.functions.get(*index)?.resource(*slot).filter(|r| r.space == Space::Memory).map(|r| r.align)
    });
    let align = largest.max()?.max(4 * GIB);
    let end = host.apertures.iter().filter(|a| a.space == Space::Memory).map(|a| a.span.last).max()?;
    let base = end.checked_add(align)? / align * align;
    let len = smallest(&goal, root, base, align.min(GIB), budget)?;
    Some(format!("it would fit if the host bridge forwarded {} more, from {base:#x} on", size(len)))
}

/// Returns variants of the card, each with its largest BAR halved once more.
fn halved(card: &str) -> Vec<String> {
    let mut items: Vec<(String, u64)> = card
        .split(',')
        .filter_map(|item| {
            let (kind, text) = item.split_once(':')?;
            Some((kind.to_owned(), parse_size(text)?))
        })
        .collect();
    let mut out = Vec::new();
    while let Some((_, most)) =
        items.iter_mut().max_by_key(|(_, size)| *size).filter(|(_, size)| *size > 1 << 20)
    {
        *most /= 2;
        out.push(
            items.iter().map(|(kind, size)| format!("{kind}:{}", short(*size))).collect::<Vec<_>>().join(","),
        );
    }
    out
}

/// Iterates over ports without a card.
fn ports(known: &PciTree) -> impl Iterator<Item = Address> + '_ {
    let tree = &known.tree;
    tree.functions.iter().enumerate().filter_map(move |(index, function)| {
        let bridge = function.bridge.as_ref()?;
        let empty = tree.on_bus(function.root, Some(index)).next().is_none();
        (empty && bridge.buses.is_some() && !known.nameless.contains(&index)).then_some(function.address)
    })
}
