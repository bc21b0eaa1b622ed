//! The ids in use of one kind: as `slotmap` assigns them, except that the order of reuse can be saved.

use alloc::vec::Vec;
use core::marker::PhantomData;
use slotmap::{Key, KeyData};

/// The ids in use of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Names<K> {
    /// The version of each index from 1 on; index 0 is the null id. Odd while the id is in use, so that every use of
    /// an index has its own version.
    versions: Vec<u32>,
    /// The indices that are free again; the last is reused first.
    free: Vec<u32>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Default for Names<K> {
    fn default() -> Self {
        Self { versions: Vec::new(), free: Vec::new(), kind: PhantomData }
    }
}

fn id<K: From<KeyData>>(index: u32, version: u32) -> K {
    KeyData::from_ffi(u64::from(version) << 32 | u64::from(index)).into()
}

impl<K: Key> Names<K> {
    fn version(&self, key: K) -> Option<(u32, u32)> {
        let raw = key.data().as_ffi();
        let (index, version) = (raw as u32, (raw >> 32) as u32);
        let now = *self.versions.get((index as usize).checked_sub(1)?)?;
        (now == version && version & 1 == 1).then_some((index, version))
    }

    #[cfg(any(test, feature = "serde"))]
    pub(crate) fn contains(&self, key: K) -> bool {
        self.version(key).is_some()
    }

    /// Returns the number of ids in use.
    #[cfg(feature = "serde")]
    pub(crate) fn len(&self) -> usize {
        self.versions.iter().filter(|version| **version & 1 == 1).count()
    }

    /// Takes an id into use.
    pub(crate) fn insert(&mut self) -> K {
        let index = self.free.pop().unwrap_or_else(|| {
            self.versions.push(0);
            self.versions.len() as u32
        });
        let Some(version) = self.versions.get_mut(index as usize - 1) else { return K::null() };
        *version |= 1;
        id(index, *version)
    }

    /// Retires an id for good.
    pub(crate) fn remove(&mut self, key: K) {
        let Some((index, version)) = self.version(key) else { return };
        let Some(slot) = self.versions.get_mut(index as usize - 1) else { return };
        // An index whose versions are used up is never reused: a new id would equal an old one.
        *slot = version.wrapping_add(1);
        if *slot != 0 {
            self.free.push(index);
        }
    }
}

#[cfg(feature = "serde")]
mod saved {
    use super::{Names, PhantomData};
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Saved {
        versions: Vec<u32>,
        free: Vec<u32>,
    }

    impl<K> Serialize for Names<K> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            Saved { versions: self.versions.clone(), free: self.free.clone() }.serialize(serializer)
        }
    }

    impl<'de, K> Deserialize<'de> for Names<K> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let Saved { versions, free } = Saved::deserialize(deserializer)?;
            let vacant = |index: &u32| {
                let version = versions.get((*index as usize).wrapping_sub(1));
                version.is_some_and(|version| version & 1 == 0)
            };
            let once: BTreeSet<u32> = free.iter().copied().filter(vacant).collect();
            if once.len() != free.len() || u32::try_from(versions.len()).is_err() {
                return Err(D::Error::custom("the free list contains an id that is in use, or an id twice"));
            }
            Ok(Self { versions, free, kind: PhantomData })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ArenaId;
    use slotmap::SlotMap;

    #[test]
    fn ids_are_what_slotmap_makes() {
        let (mut ours, mut theirs) = (Names::<ArenaId>::default(), SlotMap::<ArenaId, ()>::with_key());
        let mut used = Vec::new();
        for i in 0..500usize {
            if i % 3 == 2 {
                let gone = used.swap_remove(i * 7 % used.len());
                ours.remove(gone);
                ours.remove(gone);
                theirs.remove(gone);
            } else {
                used.push(theirs.insert(()));
                assert_eq!(Some(&ours.insert()), used.last());
            }
            assert!(used.iter().all(|id| ours.contains(*id)));
        }
        assert_eq!(ours.versions.iter().filter(|version| **version & 1 == 1).count(), used.len());
    }
}
