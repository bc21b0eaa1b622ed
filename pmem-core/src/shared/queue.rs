//! References given up when no thread could wait for the writer.

use super::sync::{Mutex, lock};
use crate::id::RegionId;
use alloc::vec::Vec;

/// The regions whose handles were dropped, oldest first.
#[derive(Default)]
pub(super) struct DropQueue(Mutex<Vec<RegionId>>);

impl DropQueue {
    pub(super) fn push(&self, region: RegionId) {
        lock(&self.0).push(region);
    }

    pub(super) fn take(&self) -> Vec<RegionId> {
        core::mem::take(&mut *lock(&self.0))
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}
