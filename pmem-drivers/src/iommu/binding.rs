//! What of a model is which device, and which domain.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use pmem_core::{ArenaId, LinkId};
use pmem_iommu::RequesterId;

/// Whether devices' registers may be mapped for other devices.
///
/// Such accesses can be misrouted or refused between devices and the unit, which the tables do not show (PCI Express 6.0, 6.12; access control
/// services), so that they are refused unless somebody says that they work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Peers {
    /// They may not.
    #[default]
    Refused,
    /// They may.
    Permitted,
}

/// A unit's devices and domains.
#[derive(Clone, Debug, Default)]
pub struct Binding {
    /// The system's bus, where requests go that pass; [`super::add_domain`] says it.
    pub system: Option<ArenaId>,
    /// By which ids a device asks: its own, and those of bridges and hidden functions that ask for it.
    pub devices: BTreeMap<ArenaId, Vec<RequesterId>>,
    /// The interconnects whose tables are this unit's.
    pub domains: BTreeMap<LinkId, Peers>,
}

/// Tells a driver which devices and domains are its own.
///
/// [`Binding`] is one for what stays; shared behind a lock (feature `std`), devices and domains can come and go with the transaction that
/// makes them.
pub trait Layout: Send {
    /// What there is.
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
