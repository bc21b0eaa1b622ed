//! If you write a kernel for AMD's Élan SC520: protect its text against writes and its data against execution,
//! with the chip's programmable address regions.

use pmem_core::{
    AddrRange, ArenaType, Attrs, Manager, Mapping, Metric, Props, Prot, Request, Scope, Subscription, Usage,
};
use pmem_drivers::par::{Attributes, FakeMmcr, Map, Par, REGISTERS, Register, Target, Targets, Value};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;

const SDRAM: u32 = 64 << 20;

/// Runs the example, and returns its output.
pub fn run() -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    let mut pmem = Manager::new();
    let cpu = pmem.create_arena("cpu", ArenaType::VIEW)?;
    let ram = pmem.create_arena("sdram", ArenaType::RAM)?;
    let flash = pmem.create_arena("flash", ArenaType::ROM)?;
    pmem.prime(ram, AddrRange::sized(0, SDRAM.into())?, Attrs::ram())?;
    pmem.prime(flash, AddrRange::sized(0, 2 << 20)?, Attrs::ram().with_prot(Prot::READ | Prot::EXEC))?;
    pmem.connect(cpu, ram, Mapping::Identity, Metric::new(1))?;
    let high = AddrRange::sized(0x3fe0_0000, 2 << 20)?;
    pmem.connect(cpu, flash, Mapping::window(high, 0)?, Metric::new(1))?;

    // What the boot loader left in the registers.
    let boot = Value::memory(Target::BootCs, Attributes::NO_WRITE);
    let boot = Register { first: 0x3fe0_0000, last: 0x3fff_ffff, value: boot };
    let mut bits = [0; REGISTERS];
    bits[15] = boot.encode().ok_or("no register holds the flash")?;
    let mmcr = FakeMmcr::new(bits);
    let targets = Targets {
        memory: cpu,
        ports: None,
        arenas: BTreeMap::from([(ram, Target::Sdram), (flash, Target::BootCs)]),
        sdram: SDRAM,
    };
    let driver =
        pmem.register(Box::new(Par::new(mmcr.clone(), targets)), Subscription::new([Scope::View(cpu)]))?;
    writeln!(out, "taken over with {} writes", mmcr.writes())?;

    // A kernel: text, data, and a buffer that a device writes without cache coherence.
    let text = pmem.alloc(ram, &Request::new(0x24_6000).at(0x10_0000).usage(Usage::TEXT))?;
    let data = pmem.alloc(ram, &Request::new(0xb_a000).at(0x34_6000).usage(Usage::DATA))?;
    let ring = pmem.alloc(ram, &Request::new(0x4000).at(0x80_0000).usage(Usage::DMABUF))?;
    pmem.transaction(|plan| {
        plan.set(text, Attrs::new(Usage::TEXT, Prot::READ | Prot::EXEC, Props::WBACK)?)?;
        plan.set(data, Attrs::new(Usage::DATA, Prot::READ | Prot::WRITE, Props::WBACK)?)?;
        plan.set(ring, Attrs::new(Usage::DMABUF, Prot::READ | Prot::WRITE, Props::UNCACHED)?)
    })?;
    for (number, register) in mmcr.bits().map(Register::decode).iter().enumerate() {
        if let Some(Register { first, last, value }) = register {
            writeln!(out, "PAR{number:<2} {first:#010x}-{last:#010x} {value}")?;
        }
    }
    let map = Map::of(SDRAM, &mmcr.bits().map(Register::decode));
    for at in [0x10_0000, 0x34_5fff, 0x34_6000, 0x40_0000, 0x80_0000, 0x3ff0_0000, 0x3000_0000] {
        writeln!(out, "{at:#x}: {}", map.at(at).ok_or("beyond 1 GiB")?)?;
    }
    pmem.verify(driver)?;

    // A change that needs more registers than there are is refused with the numbers, and changes nothing.
    let refused = pmem.transaction(|plan| {
        for n in 0..20 {
            let page = plan.alloc(ram, &Request::new(0x1000).at(0x100_0000 + n * 0x20_0000))?;
            plan.set(page, Attrs::ram().with_prot(Prot::READ))?;
        }
        Ok(())
    });
    writeln!(out, "{}", refused.err().ok_or("twenty more fit")?)?;
    pmem.verify(driver)?;
    Ok(out)
}

fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}
