//! A VMM's MMIO allocator on top of the index alone. It has the interface that VMMs use: allocate by size,
//! alignment and policy; free; look up an address. The owner of each range is kept beside it.

use pmem_space::{AddrRange, Fit, Policy, Space};
use std::error::Error;
use std::fmt::Write;

fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}

/// Where to place a range.
pub enum Place {
    /// At the lowest address that fits.
    First,
    /// At the highest address that fits.
    Last,
    /// Exactly at this address.
    At(u64),
}

/// An allocator for one window of addresses.
pub struct AddressAllocator {
    window: AddrRange,
    space: Space<&'static str>,
}

impl AddressAllocator {
    /// Creates an allocator of `size` bytes starting at `base`.
    pub fn new(base: u64, size: u64) -> Result<Self, Box<dyn Error>> {
        let (window, mut space) = (AddrRange::sized(base, size)?, Space::new());
        space.open(window);
        Ok(Self { window, space })
    }

    /// Allocates `size` bytes for `owner`, aligned to a power of two.
    pub fn allocate(
        &mut self,
        owner: &'static str,
        size: u64,
        align: u64,
        place: Place,
    ) -> Result<AddrRange, Box<dyn Error>> {
        let fit = Fit::new(size)?.align(align)?.window(self.window);
        let fit = match place {
            Place::First => fit,
            Place::Last => fit.policy(Policy::LastFit),
            Place::At(start) => {
                let range = AddrRange::sized(start, size)?;
                self.space.insert(range, owner)?;
                return Ok(range);
            }
        };
        Ok(self.space.alloc(&fit, owner).ok_or("no space")?)
    }

    /// Frees the range that starts at `start`, and returns its owner.
    pub fn free(&mut self, start: u64) -> Option<&'static str> {
        self.space.remove(start).map(|(_, owner)| owner)
    }

    /// Returns the range that an address lies in, and its owner.
    #[must_use]
    pub fn owner(&self, addr: u64) -> Option<(AddrRange, &'static str)> {
        self.space.get(addr)
    }
}

/// Places devices, and returns what happened.
pub fn run() -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    let mut mmio = AddressAllocator::new(0xc000_0000, 0x1000_0000)?;
    let nic = mmio.allocate("NIC", 0x4000, 0x4000, Place::First)?;
    let gpu = mmio.allocate("GPU", 0x100_0000, 0x100_0000, Place::Last)?;
    writeln!(out, "NIC at {nic}, GPU at {gpu}")?;
    let clash = mmio.allocate("disk", 0x1000, 0x1000, Place::At(0xc000_2000));
    writeln!(out, "disk: {}", clash.err().map_or(String::new(), |e| e.to_string()))?;
    writeln!(out, "at 0xc0000010: {:?}", mmio.owner(0xc000_0010).map(|(_, owner)| owner))?;
    mmio.free(nic.start());
    let disk = mmio.allocate("disk", 0x1000, 0x1000, Place::At(0xc000_2000))?;
    writeln!(out, "disk at {disk} once the NIC is gone")?;
    Ok(out)
}
