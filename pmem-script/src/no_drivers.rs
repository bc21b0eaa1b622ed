//! Stands in for scripted drivers if the feature `drivers` is off.

use super::names::Names;
use super::words::Words;
use pmem_core::{DriverId, Manager};

/// The drivers that a script has created: none.
#[derive(Default)]
pub(super) struct Drivers {}

impl Drivers {
    pub(super) const fn told(&self) -> Vec<String> {
        Vec::new()
    }

    pub(super) const fn has(&self, _: &str) -> bool {
        false
    }

    pub(super) const fn forget_all(&mut self) {}

    pub(super) const fn forget(&mut self, _: DriverId) {}

    pub(super) fn command(
        &mut self,
        _: &mut Manager,
        _: &mut Names,
        words: &Words<'_>,
    ) -> Result<String, String> {
        let name = words.name;
        Err(format!("{name}: this build has no scripted drivers: enable the feature drivers of pmem-script"))
    }
}
