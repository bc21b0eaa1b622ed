//! The whole path: mapping a region in the model makes the driver change a unit's page tables.

use super::{Mapper, pool};
use pmem_core::{
    AddrRange, ArenaType, Attrs, Constraints, Fault, Manager, RegionId, Request, Scope, Subscription,
};
use pmem_drivers::iommu::{Binding, Domain, Iommu, Limits, Peers, Port, Vtd, Width, add_domain};
use pmem_iommu::table::Pool;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

/// Registers that carry out every command at once.
struct Quick {
    pool: Pool<Vec<AtomicU64>>,
    status: u64,
    root: u64,
}

impl Port for Quick {
    type Memory = Pool<Vec<AtomicU64>>;

    fn memory(&self) -> &Self::Memory {
        &self.pool
    }

    fn memory_mut(&mut self) -> &mut Self::Memory {
        &mut self.pool
    }

    fn read(&mut self, offset: u64, _: Width) -> Result<u64, Fault> {
        Ok(match offset {
            0x00 => 0x10,
            // 48 bits, four levels, large pages, invalidation page by page.
            0x08 => 2 | 1 << 10 | 47 << 16 | 0x20 << 24 | 3 << 34 | 1 << 39 | 18 << 48,
            0x10 => 1 | 0x10 << 8,
            0x1c => self.status,
            0x20 => self.root,
            // Everything was invalidated.
            0x28 => 1 << 59,
            0x108 => 1 << 57,
            _ => 0,
        })
    }

    fn write(&mut self, offset: u64, _: Width, value: u64) -> Result<(), Fault> {
        match offset {
            0x18 => self.status = value,
            0x20 => self.root = value,
            _ => {}
        }
        Ok(())
    }
}

struct Managed {
    pmem: Manager,
    domain: Domain,
    ram: pmem_core::ArenaId,
    /// The regions by target and length, and the mappings by device address.
    regions: BTreeMap<(u64, u64), RegionId>,
    mapped: BTreeMap<u64, RegionId>,
}

pub fn managed(n: usize) -> Box<dyn Mapper> {
    let build = || -> Result<Managed, pmem_core::Error> {
        let mut pmem = Manager::new();
        pmem.set_journal_limit(0);
        let ram = pmem.create_arena("ram", ArenaType::RAM)?;
        pmem.prime(ram, AddrRange::sized(1 << 32, 1 << 44)?, Attrs::ram())?;
        let binding = Arc::new(Mutex::new(Binding::default()));
        let unit = Vtd::new(Quick { pool: pool(n), status: 0, root: 0 });
        let unit = unit.and_then(Vtd::by_registers).map_err(|_| pmem_core::Error::NoArena(ram))?;
        let driver = Iommu::new(unit, binding.clone());
        pmem.register(Box::new(driver), Subscription::new([Scope::Everything]))?;
        let domain = pmem.transaction(|plan| {
            let mut binding = binding.lock().expect("no panic");
            add_domain(plan, &mut binding, ram, "domain", &Limits::x86(48), Peers::Refused)
        })?;
        Ok(Managed { pmem, domain, ram, regions: BTreeMap::new(), mapped: BTreeMap::new() })
    };
    Box::new(build().expect("a model"))
}

impl Mapper for Managed {
    fn map(&mut self, at: u64, target: u64, len: u64) {
        // A caller would have the region already, so it is created only once.
        let region = *self.regions.entry((target, len)).or_insert_with(|| {
            let range = AddrRange::sized(target, len).expect("a range");
            self.pmem.alloc(self.ram, &Request::exactly(range)).expect("nothing is there")
        });
        let alias =
            self.pmem.map_at(self.domain.arena, region, Constraints::at(at)).expect("nothing is there");
        self.mapped.insert(at, alias);
    }

    fn unmap(&mut self, at: u64, _: u64) {
        let alias = self.mapped.remove(&at).expect("it is there");
        self.pmem.unmap(alias).expect("it is there");
    }
}
