//! What the two kinds of unit have in common.

use super::port::Port;
use alloc::vec::Vec;
use pmem_core::Fault;
use pmem_iommu::RequesterId;
use pmem_iommu::table::{Format, Invalidate};

/// The number of requests that pass. A unit may note under 0 what is not mapped (VT-d 4.1, 6.1), and domains have those from the next on.
pub(super) const PASSED: u16 = 1;

/// What becomes of a requester's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DomainKind {
    /// They are refused.
    #[default]
    Refused,
    /// They are let through as they are.
    Passed,
    /// They are translated.
    Domain {
        /// The domain's number, by which the unit tells translations apart that it remembers.
        number: u16,
        /// The first table.
        root: u64,
    },
}

/// A unit, of which nothing is known but what it can do and how it is told.
///
/// What a call begins it has finished when it returns: no translation is remembered any more that was to be forgotten, and no request is
/// under way that went by one.
pub trait Unit: Send {
    /// How its tables are written.
    type Format: Format + Clone + Send;
    /// The door to it.
    type Port: Port;
    /// What it says of a request that it refused.
    type Event;

    /// What people call it.
    fn name(&self) -> &'static str;

    /// The door.
    fn port(&self) -> &Self::Port;

    /// The same, to be used.
    fn port_mut(&mut self) -> &mut Self::Port;

    /// How the tables of its domains are written.
    fn format(&self) -> &Self::Format;

    /// Bits of the addresses that it translates.
    fn width(&self) -> u32 {
        self.format().width()
    }

    /// How many domains it tells apart.
    fn domains(&self) -> u32;

    /// Whether requests can be let through untranslated.
    fn passes(&self) -> bool;

    /// Whether it may remember that nothing is mapped.
    fn caches_absent(&self) -> bool;

    /// Has it translate, with every requester refused. A unit that translates already, or remaps interrupts, is somebody's.
    ///
    /// # Errors
    /// [`Fault`] if it is somebody's, or does not do so; it is then as it was, as far as it takes that.
    fn start(&mut self) -> Result<(), Fault>;

    /// Programs it again as it was started, whether it was reset or not; every requester is refused until it is seated. One that translates
    /// goes on to do so: at no time does it let requests pass.
    ///
    /// # Errors
    /// [`Fault`] if it does not do so.
    fn restart(&mut self) -> Result<(), Fault>;

    /// Has it translate no more: requests pass as they are, as before it was started. The memory of its tables is given back.
    ///
    /// # Errors
    /// [`Fault`] if it does not do so.
    fn stop(&mut self) -> Result<(), Fault>;

    /// How many pages of table memory it takes to seat these.
    fn tables_to_seat(&self, ids: &[RequesterId]) -> usize;

    /// Says what becomes of a requester's requests.
    ///
    /// # Errors
    /// [`Fault`] if it does not do so.
    fn seat(&mut self, id: RequesterId, new: DomainKind) -> Result<(), Fault>;

    /// What becomes of them now, as its tables say.
    fn seated(&self, id: RequesterId) -> DomainKind;

    /// Has it forget translations of a domain.
    ///
    /// # Errors
    /// [`Fault`] if it does not do so.
    fn forget(&mut self, domain: u16, what: &[Invalidate]) -> Result<(), Fault>;

    /// What it refused since it was asked last.
    ///
    /// # Errors
    /// [`Fault`] if it does not say.
    fn events(&mut self) -> Result<Vec<Self::Event>, Fault>;

    /// Whether its registers say that it translates by its tables.
    ///
    /// # Errors
    /// [`Fault`] if it does not say.
    fn is_running(&mut self) -> Result<bool, Fault>;
}

/// Blocks of 2^shift bytes that begin at multiples of their size and cover a span: one, twice as large as need be at most, or as large as all.
pub(super) fn block(what: &Invalidate) -> (u64, u32) {
    let apart = what.first ^ what.last;
    let shift = (64 - apart.leading_zeros()).max(12);
    (if shift >= 64 { 0 } else { what.first >> shift << shift }, shift)
}
