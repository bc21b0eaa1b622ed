//! Two sockets, each with memory and a PCI root complex: allocate near memory, map it for a device, and see
//! what the device sees.

use pmem_core::{
    AddrRange, ArenaType, Attrs, Direction, Manager, Mapping, Metric, Performance, Props, Request, Usage,
    ViewTarget,
};
use std::error::Error;
use std::fmt::Write;

fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}

/// Builds the machine, uses it, and returns what happened.
pub fn run() -> Result<String, Box<dyn Error>> {
    let mut pmem = Manager::new();
    let (mut sockets, mut rams, mut buses) = (Vec::new(), Vec::new(), Vec::new());
    for socket in 0..2u64 {
        sockets.push(pmem.create_arena(format!("socket {socket}"), ArenaType::VIEW)?);
        rams.push(pmem.create_arena(format!("RAM {socket}"), ArenaType::RAM)?);
        buses.push(pmem.create_arena(format!("PCI {socket}"), ArenaType::PCI)?);
        // Each memory controller counts from 0. The sockets see the two memories one after the other.
        pmem.prime(rams[socket as usize], AddrRange::sized(0, 1 << 30)?, Attrs::ram())?;
        pmem.prime(
            buses[socket as usize],
            AddrRange::sized(0x8000_0000 + (socket << 28), 1 << 28)?,
            Attrs::device(),
        )?;
    }
    for (here, socket) in sockets.iter().enumerate() {
        for (there, ram) in rams.iter().enumerate() {
            let (cost, latency) = if here == there { (10, 80) } else { (21, 140) };
            let window = Mapping::window(AddrRange::sized((there as u64) << 30, 1 << 30)?, 0)?;
            let performance = Performance { read_latency: Some(latency), ..Performance::default() };
            let down = Direction { mapping: window, metric: Metric::new(cost), performance };
            pmem.connect_asymmetric(*socket, *ram, down, Direction::closed())?;
        }
        // A root complex forwards its aperture down, and everything else up.
        let aperture = AddrRange::sized(0x8000_0000 + ((here as u64) << 28), 1 << 28)?;
        let down = Direction::new(Mapping::window(aperture, aperture.start())?, Metric::new(1));
        let up = Direction::new(Mapping::Identity, Metric::new(1));
        pmem.connect_asymmetric(*socket, buses[here], down, up)?;
    }

    let mut out = String::new();
    // A network card on socket 1: registers, and a buffer near it. A buffer that is too large for near memory
    // goes to the far one.
    let bar = pmem.alloc(buses[1], &Request::new(0x4000).align(0x4000).props(Props::UNCACHED))?;
    let memory = |len| Request::new(len).of_type(ArenaType::RAM);
    let near = memory(0x10000).align(0x10000).usage(Usage::DMABUF).max_metric(Metric::new(10));
    let buffer = pmem.alloc(sockets[1], &near)?;
    let large = pmem.alloc(sockets[1], &memory(1 << 30).max_metric(Metric::new(21)))?;
    for (name, region) in [("BAR", bar), ("DMA buffer", buffer), ("large block", large)] {
        writeln!(out, "{name} at {}", pmem.range(region)?)?;
    }

    // The address to program into the card: where the buffer is on its bus.
    let seen = pmem.map(buses[1], buffer)?;
    writeln!(out, "the card reaches the buffer at {}", pmem.range(seen)?)?;
    writeln!(out, "as the card sees it:")?;
    for piece in pmem.state().view(buses[1]) {
        let ViewTarget::Local { arena, region, .. } = piece.what else { continue };
        let name = pmem.state().info(arena).map_or("", |info| &info.name);
        let taken = if region.is_some() { "taken" } else { "free" };
        writeln!(out, "  {} {name}, {taken}, cost {}", piece.seen, piece.cost)?;
    }
    Ok(out)
}
