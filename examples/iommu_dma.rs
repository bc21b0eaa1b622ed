//! If you want a device to reach some memory and nothing else: an IOMMU domain with a buffer in it, what
//! happens to other accesses, and what becomes of the mapping when the buffer moves. The unit here is a fake;
//! with [`Mapped`](pmem_drivers::iommu::Mapped) it would be a real one.

use pmem_core::{
    AddrRange, ArenaType, Attrs, Constraints, Manager, Mapping, Metric, Prot, Request, Scope, Subscription,
    Usage,
};
use pmem_drivers::iommu::{
    Binding, FakeVtd, Iommu, Limits, Peers, Unit, Vtd, VtdChip, add_device, add_domain, join,
};
use pmem_iommu::RequesterId;
use std::error::Error;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

type Shared = Arc<Mutex<Binding>>;

/// Runs the example, and returns its output.
pub fn run() -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    // A machine: memory behind the system bus, and a network card.
    let mut pmem = Manager::new();
    let system = pmem.create_arena("system", ArenaType::BUS)?;
    let ram = pmem.create_arena("ram", ArenaType::RAM)?;
    pmem.prime(ram, AddrRange::sized(0, 1 << 30)?, Attrs::ram())?;
    let window = AddrRange::sized(1 << 32, 1 << 30)?;
    pmem.connect(system, ram, Mapping::window(window, 0)?, Metric::new(1))?;

    // A VT-d unit, which the driver starts, and a domain with 39 address bits.
    let unit = FakeVtd::new(VtdChip::new(3, false, true), 64);
    let binding = Shared::default();
    let driver = Iommu::new(Vtd::new(unit.clone()).map_err(|fault| fault.to_string())?, binding.clone());
    let driver = pmem.register(Box::new(driver), Subscription::new([Scope::Everything]))?;
    let nic = RequesterId::new(0x3b, 0, 0);
    let made = pmem.transaction(|plan| {
        let mut binding = binding.lock().expect("no panic");
        let limits = Limits::x86(39).reserve(AddrRange::sized(0xe000_0000, 0x1000_0000)?, "peers' window");
        let domain = add_domain(plan, &mut binding, system, "network", &limits, Peers::Refused)?;
        Ok((domain, add_device(plan, &mut binding, "0000:3b:00.0", [nic])?))
    });
    let (domain, device) = made?;
    pmem.transaction(|plan| join(plan, device, domain))?;

    // A ring that the card reads and writes, and a packet that it only reads.
    let ring = pmem.alloc(ram, &Request::new(0x4000).align(0x1000).usage(Usage::DMABUF))?;
    let packet =
        pmem.alloc(ram, &Request::new(0x1000).align(0x1000).usage(Usage::DMABUF).prot(Prot::READ))?;
    let (seen, read_only) = (pmem.map(domain.arena, ring)?, pmem.map(domain.arena, packet)?);
    let (at, of_packet) = (pmem.range(seen)?.start(), pmem.range(read_only)?.start());
    writeln!(out, "the ring at {} is {at:#x} for the card", pmem.range(ring)?)?;
    let access = |what: &str, at: u64, write: bool| match unit.access(nic, at, write) {
        Some(to) => format!("{what} {at:#x}: memory at {to:#x}\n"),
        None => format!("{what} {at:#x}: refused\n"),
    };
    out += &access("writes", at + 0x10, true);
    out += &access("reads ", of_packet, false);
    out += &access("writes", of_packet, true);
    out += &access("reads ", at + 0x10_0000, false);
    if let Some(driver) = pmem.driver_mut::<Iommu<Vtd<FakeVtd>, Shared>>(driver) {
        for fault in driver.unit_mut().events().map_err(|fault| fault.to_string())? {
            writeln!(out, "the unit says: {} {:#x}, {}", fault.source, fault.address, fault.reason)?;
        }
    }

    // The ring moves in memory, but the card still sees it at the same address.
    pmem.relocate(ring, 0x10_0000)?;
    out += &access("writes", at + 0x10, true);
    // Unmapping also removes what the unit has cached, before anybody else can get the memory.
    pmem.unmap(seen)?;
    out += &access("writes", at + 0x10, true);
    // The interrupt range and the window of the card's peers are never handed out.
    for at in [0xfee0_0000, 0xe800_0000] {
        let refused = pmem.map_at(domain.arena, ring, Constraints::at(at)).err();
        let refused =
            refused.map_or_else(|| "given".to_owned(), |error| error.named(pmem.state()).to_string());
        writeln!(out, "{at:#x}: {refused}")?;
    }
    pmem.verify(driver)?;
    Ok(out)
}

fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}
