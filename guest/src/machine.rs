//! The machine as a model: devices, and memory that the kernel does not use.

use crate::edu::Edu;
use pmem_core::{AddrRange, ArenaId, ArenaType, Attrs, Error, Manager};
use pmem_drivers::iommu::{Binding, Domain, Limits, Peers, add_device, add_domain, join};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The start of the memory reserved from the kernel. The unit's tables are in the first half, the devices' data
/// in the second.
pub const KEPT: u64 = 0x3000_0000;
/// Half the size of that memory, in bytes.
pub const HALF: u64 = 8 << 20;

/// The binding of devices and domains to arenas, shared with the driver.
pub type Shared = Arc<Mutex<Binding>>;

/// The model, and the memory that it describes.
pub struct Machine {
    /// The model.
    pub pmem: Manager,
    /// The system bus.
    pub system: ArenaId,
    /// The memory for data.
    pub ram: ArenaId,
    /// One arena per device.
    pub devices: Vec<ArenaId>,
    /// The binding that the driver follows.
    pub binding: Shared,
    words: &'static [AtomicU64],
}

impl Machine {
    /// Builds the model of the memory for data and the devices.
    pub fn new(words: &'static [AtomicU64], edus: &[Edu]) -> Result<Self, Error> {
        let mut pmem = Manager::new();
        let system = pmem.create_arena("system", ArenaType::BUS)?;
        let ram = pmem.create_arena("ram", ArenaType::RAM)?;
        let range = AddrRange::sized(KEPT + HALF, HALF)?;
        pmem.prime(ram, range, Attrs::ram())?;
        let mapping = pmem_core::Mapping::window(range, range.start())?;
        pmem.connect(system, ram, mapping, pmem_core::Metric::new(1))?;
        let binding = Shared::default();
        let devices = pmem.transaction(|plan| {
            let mut binding = binding.lock().unwrap_or_else(PoisonError::into_inner);
            let add = |edu: &Edu| add_device(plan, &mut binding, "edu", [edu.id]);
            edus.iter().map(add).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(Self { pmem, system, ram, devices, binding, words })
    }

    /// Creates a domain, without devices in it.
    pub fn domain(&mut self, width: u32) -> Result<Domain, Error> {
        let (system, binding) = (self.system, Arc::clone(&self.binding));
        self.pmem.transaction(|plan| {
            let mut binding = binding.lock().unwrap_or_else(PoisonError::into_inner);
            add_domain(plan, &mut binding, system, "domain", &Limits::amd(width), Peers::Refused)
        })
    }

    /// Moves a device into a domain.
    pub fn join(&mut self, device: usize, domain: Domain) -> Result<(), Error> {
        let device = self.devices.get(device).copied().ok_or(Error::NoArena(domain.arena))?;
        self.pmem.transaction(|plan| join(plan, device, domain)).map(|_| ())
    }

    fn word(&self, at: u64) -> Option<&AtomicU64> {
        self.words.get(usize::try_from(at.checked_sub(KEPT + HALF)? / 8).ok()?)
    }

    /// Fills memory with a pattern that differs at each address.
    pub fn fill(&self, at: u64, bytes: u64, seed: u64) {
        for n in 0..bytes / 8 {
            if let Some(word) = self.word(at + 8 * n) {
                word.store(pattern(seed, n), Ordering::SeqCst);
            }
        }
    }

    /// Returns `true` if the pattern is there.
    pub fn has(&self, at: u64, bytes: u64, seed: u64) -> bool {
        (0..bytes / 8)
            .all(|n| self.word(at + 8 * n).map(|word| word.load(Ordering::SeqCst)) == Some(pattern(seed, n)))
    }
}

const fn pattern(seed: u64, n: u64) -> u64 {
    (seed << 32 | n).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed
}
