//! Nodes of a device tree, from a blob or from the kernel's folder.

use crate::capture::Tree;
use crate::facts::Facts;
use dtoolkit::fdt::FdtNode;
use dtoolkit::{Node as _, Property as _};
use std::collections::BTreeMap;

/// Limit on nesting; real trees have about ten levels.
const DEEPEST: usize = 48;
/// Limit on the number of nodes; the largest trees have some thousands.
const MOST: usize = 100_000;

/// A node, wherever it comes from.
#[derive(Default)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) properties: BTreeMap<String, Vec<u8>>,
    pub(super) children: Vec<Node>,
}

pub(super) fn of_blob(found: FdtNode<'_>, depth: usize, count: &mut usize) -> Node {
    *count += 1;
    let properties =
        found.properties().map(|property| (property.name().to_owned(), property.value().to_vec()));
    let mut node =
        Node { name: found.name().to_owned(), properties: properties.collect(), children: Vec::new() };
    if depth < DEEPEST {
        for child in found.children() {
            if *count >= MOST {
                break;
            }
            node.children.push(of_blob(child, depth + 1, count));
        }
    }
    node
}

pub(super) fn of_folder(
    tree: &Tree,
    path: &str,
    name: &str,
    depth: usize,
    count: &mut usize,
    facts: &mut Facts,
) -> Node {
    *count += 1;
    let mut node = Node { name: name.to_owned(), ..Node::default() };
    for inner in tree.names(path) {
        let inside = format!("{path}/{inner}");
        if tree.is_file(&inside) {
            let value = tree.bytes(&inside, &mut facts.findings).unwrap_or_default();
            node.properties.insert(inner, value);
        } else if depth < DEEPEST && *count < MOST {
            node.children.push(of_folder(tree, &inside, &inner, depth + 1, count, facts));
        }
    }
    node
}

impl Node {
    pub(super) fn cells(&self, name: &str) -> Vec<u32> {
        let bytes = self.properties.get(name).map_or(&[][..], |value| value);
        bytes.chunks_exact(4).map(|cell| u32::from_be_bytes([cell[0], cell[1], cell[2], cell[3]])).collect()
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.cells(name).first().copied()
    }

    /// Returns the NUL-separated strings of a property.
    pub(super) fn words(&self, name: &str) -> Vec<String> {
        let bytes = self.properties.get(name).map_or(&[][..], |value| value);
        bytes
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect()
    }

    pub(super) fn is(&self, name: &str, word: &str) -> bool {
        self.words(name).iter().any(|had| had == word)
    }

    /// Whether the node's device is usable: `status` is absent or says so.
    pub(super) fn is_there(&self) -> bool {
        self.words("status").first().is_none_or(|status| status == "okay" || status == "ok")
    }

    /// Returns the number of address and size cells of its children: 2 and 1 if it does not say (section 2.3.5).
    pub(super) fn widths(&self) -> (usize, usize) {
        let width = |name, usual| self.number(name).map_or(usual, |cells| cells as usize);
        (width("#address-cells", 2), width("#size-cells", 1))
    }
}

/// Joins cells into a number; `None` if it does not fit in 64 bits.
pub(super) fn joined(cells: &[u32]) -> Option<u64> {
    let (high, low) = cells.split_at(cells.len().saturating_sub(2));
    high.iter()
        .all(|cell| *cell == 0)
        .then(|| low.iter().fold(0, |number, cell| number << 32 | u64::from(*cell)))
}
