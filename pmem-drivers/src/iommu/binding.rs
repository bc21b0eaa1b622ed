//! The connection between a model and a unit's devices and domains.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use pmem_core::{ArenaId, LinkId};
use pmem_iommu::RequesterId;

/// Whether devices' registers may be mapped for other devices.
///
/// Bridges between the devices and the unit can misroute or refuse such accesses, which the tables do not show
/// (access control services: PCI Express 6.0, 6.12). So the driver refuses them unless you say that they work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Peers {
    /// They may not be mapped.
    #[default]
    Refused,
    /// They may be mapped.
    Permitted,
}

/// A unit's devices and domains.
#[derive(Clone, Debug, Default)]
pub struct Binding {
    /// The arena of the system bus, where untranslated requests go. [`super::add_domain`] sets it.
    pub system: Option<ArenaId>,
    /// The requester ids of each device: its own, and those that bridges and hidden functions use for it.
    pub devices: BTreeMap<ArenaId, Vec<RequesterId>>,
    /// The interconnects whose tables belong to this unit.
    pub domains: BTreeMap<LinkId, Peers>,
}

/// Gives a driver its devices and domains.
///
/// A [`Binding`] does this if they never change. With the feature `std`, a binding behind a lock lets devices and
/// domains come and go with the transaction that adds them.
pub trait Layout: Send {
    /// Calls `look` with the binding, and returns the result.
    fn binding<T>(&self, look: impl FnOnce(&Binding) -> T) -> T;
}

impl Layout for Binding {
    fn binding<T>(&self, look: impl FnOnce(&Binding) -> T) -> T {
        look(self)
    }
}

#[cfg(feature = "std")]
impl Layout for alloc::sync::Arc<std::sync::Mutex<Binding>> {
    fn binding<T>(&self, look: impl FnOnce(&Binding) -> T) -> T {
        look(&self.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
