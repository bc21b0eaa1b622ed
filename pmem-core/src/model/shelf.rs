//! Values by id, shared between clones. A change copies the path to one value, not the whole table.

use alloc::sync::Arc;
use core::marker::PhantomData;
use slotmap::{Key, KeyData};

/// The bits of an index that one level of nodes tells apart.
const BITS: u32 = 4;
const FAN: usize = 1 << BITS;

#[derive(Clone, Debug)]
enum Node<V> {
    Inner([Option<Arc<Node<V>>>; FAN]),
    /// Each value with the version of the id it belongs to.
    Leaf([Option<(u32, V)>; FAN]),
}

/// A persistent map from ids to values: a radix tree. A clone shares everything.
#[derive(Clone, Debug)]
pub(crate) struct Shelf<K, V> {
    root: Option<Arc<Node<V>>>,
    /// The number of levels of inner nodes.
    height: u32,
    keys: PhantomData<fn(K)>,
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self { root: None, height: 0, keys: PhantomData }
    }
}

/// Splits an id into its index and its version.
fn split(key: KeyData) -> (u32, u32) {
    let raw = key.as_ffi();
    (raw as u32, (raw >> 32) as u32)
}

/// Returns which child holds an index, in a node `height` levels above the leaves.
fn place(index: u32, height: u32) -> usize {
    (index >> (BITS * height).min(31)) as usize % FAN
}

impl<K: Key, V: Clone> Shelf<K, V> {
    #[inline]
    pub(crate) fn get(&self, key: K) -> Option<&V> {
        let (index, version) = split(key.data());
        if !self.reaches(index) {
            return None;
        }
        let (mut node, mut height) = (self.root.as_deref()?, self.height);
        loop {
            match node {
                Node::Inner(kids) => node = kids[place(index, height)].as_deref()?,
                Node::Leaf(values) => {
                    let (found, value) = values[place(index, 0)].as_ref()?;
                    return (*found == version).then_some(value);
                }
            }
            height = height.saturating_sub(1);
        }
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let (index, version) = split(key.data());
        if !self.reaches(index) {
            return None;
        }
        let mut height = self.height;
        let mut node = Arc::make_mut(self.root.as_mut()?);
        loop {
            match node {
                Node::Inner(kids) => node = Arc::make_mut(kids[place(index, height)].as_mut()?),
                Node::Leaf(values) => {
                    let (found, value) = values[place(index, 0)].as_mut()?;
                    return (*found == version).then_some(value);
                }
            }
            height = height.saturating_sub(1);
        }
    }

    pub(crate) fn contains_key(&self, key: K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let (index, version) = split(key.data());
        // Grow at the root: what was the tree becomes child 0 of the new root.
        while !self.reaches(index) {
            let mut kids = [const { None }; FAN];
            kids[0] = self.root.take();
            if kids[0].is_some() {
                self.root = Some(Arc::new(Node::Inner(kids)));
            }
            self.height += 1;
        }
        if let Some(cell) = self.cell(index) {
            *cell = Some((version, value));
        }
    }

    pub(crate) fn remove(&mut self, key: K) {
        if self.contains_key(key)
            && let Some(cell) = self.cell(split(key.data()).0)
        {
            *cell = None;
        }
    }

    /// Whether the tree is high enough to hold an index.
    fn reaches(&self, index: u32) -> bool {
        index.checked_shr(BITS * (self.height + 1)).unwrap_or(0) == 0
    }

    /// Returns the cell of an index. Copies every node on the path that a clone shares.
    fn cell(&mut self, index: u32) -> Option<&mut Option<(u32, V)>> {
        let mut height = self.height;
        let fresh = |height| match height {
            0 => Arc::new(Node::Leaf([const { None }; FAN])),
            _ => Arc::new(Node::Inner([const { None }; FAN])),
        };
        let mut node = Arc::make_mut(self.root.get_or_insert_with(|| fresh(height)));
        loop {
            match node {
                Node::Inner(kids) => {
                    let kid = &mut kids[place(index, height)];
                    height = height.checked_sub(1)?;
                    node = Arc::make_mut(kid.get_or_insert_with(|| fresh(height)));
                }
                Node::Leaf(values) => return Some(&mut values[place(index, 0)]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ArenaId;
    use slotmap::SlotMap;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    #[test]
    fn clones_keep_what_they_had_and_stale_ids_find_nothing() {
        let mut ids: SlotMap<ArenaId, ()> = SlotMap::with_key();
        let (mut shelf, mut model) = (Shelf::default(), BTreeMap::new());
        let mut kept = Vec::new();
        for i in 0..5000usize {
            let id = ids.insert(());
            shelf.insert(id, i);
            model.insert(id, i);
            if i % 3 == 0 {
                let gone = *model.keys().nth(i / 7 % model.len()).unwrap();
                shelf.remove(gone);
                model.remove(&gone);
                ids.remove(gone);
                assert_eq!(shelf.get(gone), None);
            }
            if i % 1000 == 999 {
                kept.push((shelf.clone(), model.clone()));
            }
            if let Some((first, _)) = model.first_key_value() {
                let first = *first;
                *shelf.get_mut(first).unwrap() += 1;
                *model.get_mut(&first).unwrap() += 1;
            }
        }
        kept.push((shelf, model));
        for (shelf, model) in kept {
            assert!(model.iter().all(|(id, value)| shelf.get(*id) == Some(value)));
        }
    }
}
