//! Claims: who holds them, and their state.

use crate::ffi::{self, log};
use crate::refused::Refused;
use alloc::format;
use alloc::vec::Vec;
use pmem_arena_abi::{FORCE, MINE, Region, state, status};
use pmem_core::{AddrRange, Attrs, RegionId};

/// The largest number of claims. It bounds the memory that a request takes.
const MOST: usize = 256;

/// A claim.
pub struct Claim {
    /// The id that programs use.
    pub id: u64,
    /// The file that holds the claim; `None` once the file has released it.
    pub owner: Option<u64>,
    /// The process that made the claim.
    pub holder: u32,
    pub range: AddrRange,
    pub attrs: Attrs,
    /// The region in the manager; `None` once its registers are given back.
    pub region: Option<RegionId>,
    /// The PCI function, with its BAR in the lowest byte.
    pub device: u64,
    pub is_forced: bool,
    /// The state that it ended in with its device; `None` if it has not ended.
    pub end: Option<u32>,
}

impl Claim {
    /// Returns whether the claim still asks for its memory types.
    pub const fn is_held(&self) -> bool {
        self.owner.is_some() && self.end.is_none()
    }

    /// Returns whether the claim's registers must still be given back.
    pub const fn is_pending(&self) -> bool {
        !self.is_held() && self.region.is_some()
    }

    const fn state(&self) -> u32 {
        match (self.owner, self.end) {
            (Some(_), None) => state::HELD,
            (Some(_), Some(end)) => end,
            (None, _) => state::PENDING,
        }
    }

    /// Fills in the structure for the file `session`, which asks.
    pub fn show(&self, out: &mut Region, session: u64) {
        out.id = self.id;
        (out.start, out.last) = (self.range.start(), self.range.last());
        out.flags = if self.owner == Some(session) { MINE } else { 0 };
        out.flags |= if self.is_forced { FORCE } else { 0 };
        out.usage = u32::from(self.attrs.usage().bits());
        out.prot = u32::from(self.attrs.prot().bits());
        out.props = u32::from(self.attrs.props().bits());
        (out.state, out.holder) = (self.state(), self.holder);
    }

    pub const fn words(&self) -> &'static str {
        match self.state() {
            state::HELD => "",
            state::PENDING => ", released, but its registers are not changed yet",
            state::BOUND => ", ended: a driver is bound to the device",
            state::REMOVED => ", ended: the device is gone",
            _ => ", ended: the BAR has moved",
        }
    }
}

/// All claims. The room for them is reserved at the start, so adding one does not allocate.
pub struct Claims(Vec<Claim>);

impl Claims {
    pub fn new() -> Self {
        Self(Vec::with_capacity(MOST))
    }

    /// Checks that there is room for one more claim.
    pub fn has_room(&self) -> Result<(), Refused> {
        if self.0.len() < MOST {
            return Ok(());
        }
        Err(Refused::new(status::MANY, &format!("the module's limit of {MOST} claims is reached")))
    }

    pub fn push(&mut self, claim: Claim) {
        self.0.push(claim);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Claim> {
        self.0.iter()
    }

    pub fn get(&self, index: usize) -> Option<&Claim> {
        self.0.get(index)
    }

    /// Returns a claim if the file `session` holds it.
    pub fn mine(&mut self, id: u64, session: u64) -> Result<&mut Claim, Refused> {
        match self.0.iter_mut().find(|claim| claim.id == id && claim.owner.is_some()) {
            None => Err(Refused::new(status::NONE, "no such region")),
            Some(claim) if claim.owner != Some(session) => {
                Err(Refused::new(status::NOT_YOURS, "another file holds that region"))
            }
            Some(claim) => Ok(claim),
        }
    }

    /// Returns the regions of the claims that `only` accepts and whose registers must still be given back.
    pub fn pending(&self, only: impl Fn(&Claim) -> bool) -> Vec<RegionId> {
        self.0
            .iter()
            .filter(|claim| claim.is_pending() && only(claim))
            .filter_map(|claim| claim.region)
            .collect()
    }

    /// Records that the registers of these regions are given back, and logs it.
    pub fn given_back(&mut self, regions: &[RegionId]) {
        for claim in
            self.0.iter_mut().filter(|claim| claim.region.is_some_and(|region| regions.contains(&region)))
        {
            claim.region = None;
            log(&format!("{} is released", claim.range));
        }
        self.0.retain(|claim| claim.owner.is_some() || claim.region.is_some());
    }

    /// Makes a file release everything that it holds.
    pub fn close(&mut self, session: u64) {
        for claim in self.0.iter_mut().filter(|claim| claim.owner == Some(session)) {
            claim.owner = None;
        }
    }

    /// Ends the claims for which `why` returns a state, and tells their files. Returns how many it ended.
    pub fn end(&mut self, why: impl Fn(&Claim) -> Option<u32>) -> usize {
        let mut count = 0;
        for claim in self.0.iter_mut().filter(|claim| claim.is_held()) {
            claim.end = why(claim);
            count += usize::from(claim.end.is_some());
        }
        if count > 0 {
            self.0.iter().filter_map(|claim| claim.owner).for_each(|owner| self.tell(owner));
        }
        count
    }

    /// Tells a file how many of its claims have ended.
    pub fn tell(&self, owner: u64) {
        let ended = self.0.iter().filter(|claim| claim.owner == Some(owner) && claim.end.is_some()).count();
        ffi::told(owner, ended as u32);
    }
}
