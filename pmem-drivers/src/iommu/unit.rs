//! What both kinds of unit have in common.

use super::port::Port;
use alloc::vec::Vec;
use pmem_core::Fault;
use pmem_iommu::RequesterId;
use pmem_iommu::table::{Format, Invalidate};

/// The domain number for requests that pass untranslated. Numbers of domains follow it. A unit may use 0 to cache
/// that addresses are unmapped (VT-d 4.1, 6.1).
pub(super) const PASSED: u16 = 1;

/// How a unit handles a requester's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DomainKind {
    /// It refuses them.
    #[default]
    Refused,
    /// It passes them untranslated.
    Passed,
    /// It translates them.
    Domain {
        /// The number of the domain, which tags cached translations.
        number: u16,
        /// The address of the root table.
        root: u64,
    },
}

/// A unit, as the driver sees it: its capabilities, and how to command it.
///
/// Each call has taken full effect when it returns. Translations that were to be invalidated are gone, and no
/// request that used one is still in flight.
pub trait Unit: Send {
    /// The format of the unit's tables.
    type Format: Format + Clone + Send;
    /// The type of the unit's port.
    type Port: Port;
    /// The record of a refused request.
    type Event;

    /// Returns the name of the kind of unit.
    fn name(&self) -> &'static str;

    /// Returns the port.
    fn port(&self) -> &Self::Port;

    /// Returns the port, for writing.
    fn port_mut(&mut self) -> &mut Self::Port;

    /// Returns the format of the domains' tables.
    fn format(&self) -> &Self::Format;

    /// Returns the width of the addresses that the unit translates, in bits.
    fn width(&self) -> u32 {
        self.format().width()
    }

    /// Returns how many domain numbers the unit supports, from 0 on.
    fn domains(&self) -> u32;

    /// Returns whether the unit can pass requests untranslated.
    fn passes(&self) -> bool;

    /// Returns whether the unit can cache that an address is unmapped.
    fn caches_absent(&self) -> bool;

    /// Starts the unit: it translates, with every requester refused. A unit that already translates or remaps
    /// interrupts belongs to somebody else.
    ///
    /// # Errors
    /// Returns a [`Fault`] if it belongs to somebody else, or does not start. It is then back in its earlier state,
    /// as far as it cooperates.
    fn start(&mut self) -> Result<(), Fault>;

    /// Programs a started unit again, whether or not it was reset in the meantime. Every requester is refused until
    /// it is seated again. A unit that translates keeps translating: it never lets requests pass.
    ///
    /// # Errors
    /// Returns a [`Fault`] if the unit does not start.
    fn restart(&mut self) -> Result<(), Fault>;

    /// Stops the unit: requests pass untranslated, as before [`Self::start`]. Frees the memory of its
    /// tables.
    ///
    /// # Errors
    /// Returns a [`Fault`] if the unit does not stop.
    fn stop(&mut self) -> Result<(), Fault>;

    /// Returns how many pages of table memory it takes to seat these requesters.
    fn tables_to_seat(&self, ids: &[RequesterId]) -> usize;

    /// Changes how the unit handles a requester's requests.
    ///
    /// # Errors
    /// Returns a [`Fault`] if the unit does not respond.
    fn seat(&mut self, id: RequesterId, new: DomainKind) -> Result<(), Fault>;

    /// Returns how the unit handles a requester's requests now, according to its tables.
    fn seated(&self, id: RequesterId) -> DomainKind;

    /// Invalidates translations of a domain.
    ///
    /// # Errors
    /// Returns a [`Fault`] if the unit does not respond.
    fn forget(&mut self, domain: u16, what: &[Invalidate]) -> Result<(), Fault>;

    /// Returns the requests that the unit refused since the last call.
    ///
    /// # Errors
    /// Returns a [`Fault`] if they cannot be read.
    fn events(&mut self) -> Result<Vec<Self::Event>, Fault>;

    /// Returns whether the unit translates with the tables that this driver gave it, according to its registers.
    ///
    /// # Errors
    /// Returns a [`Fault`] if they cannot be read.
    fn is_running(&mut self) -> Result<bool, Fault>;
}

/// Returns the smallest naturally aligned block that covers a span: its first address, and its size as a power of
/// two, at least 12. A span across a high boundary needs a block much larger than itself, up to all addresses (64).
pub(super) fn block(what: &Invalidate) -> (u64, u32) {
    let apart = what.first ^ what.last;
    let shift = (64 - apart.leading_zeros()).max(12);
    (if shift >= 64 { 0 } else { what.first >> shift << shift }, shift)
}
