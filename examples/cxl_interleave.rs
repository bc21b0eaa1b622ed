//! If you model CXL: a host window interleaved over four devices, a latency for each, and the translation of a
//! host address to a device and its own address, and back.

use pmem_core::{
    AddrRange, ArenaType, Attrs, Direction, Interleave, Manager, Mapping, Metric, OwnedResolution,
    Performance, ViewTarget,
};
use std::error::Error;
use std::fmt::Write;

const GIB: u64 = 1 << 30;
/// The start of the host's window, as a CXL Fixed Memory Window Structure in ACPI's CEDT gives it.
const WINDOW: u64 = 0x10_0000_0000;
const WAYS: u8 = 4;
const GRANULARITY: u32 = 4096;

/// Runs the example, and returns its output.
pub fn run() -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    let mut pmem = Manager::new();
    let cpu = pmem.create_arena("cpu", ArenaType::VIEW)?;
    let window = AddrRange::sized(WINDOW, 4 * GIB)?;
    let mut devices = Vec::new();
    for position in 0..WAYS {
        let device = pmem.create_arena(format!("mem{position}"), ArenaType::RAM)?;
        pmem.prime(device, AddrRange::sized(0, GIB)?, Attrs::ram())?;
        // Each device has every fourth granule of the window, its own address 0 first.
        let share = Interleave::new(window, WAYS, GRANULARITY, position, 0)?;
        let performance = Performance {
            read_latency: Some(220 + 30 * u32::from(position)),
            read_bandwidth: Some(24_000),
            ..Performance::default()
        };
        let down = Direction { mapping: Mapping::Interleave(share), metric: Metric::new(50), performance };
        pmem.connect_asymmetric(cpu, device, down, Direction::closed())?;
        devices.push(device);
    }

    // Granules go round: the fifth is the second one of the first device.
    for at in [0, 0x1000, 0x2abc, 0x3000, 0x4000, 3 * GIB + 0xfff] {
        match pmem.state().resolve(cpu, WINDOW + at) {
            OwnedResolution::Accept { place, .. } => {
                let name = pmem.state().info(place.arena).map_or("", |info| &info.name);
                writeln!(out, "{:#x} is {:#x} of {name}", WINDOW + at, place.addr)?;
            }
            other => writeln!(out, "{:#x}: {other:?}", WINDOW + at)?,
        }
    }
    let beyond = pmem.state().resolve(cpu, WINDOW + 4 * GIB);
    writeln!(
        out,
        "behind the window: {}",
        if matches!(beyond, OwnedResolution::Fault { .. }) { "nothing" } else { "?" }
    )?;

    // And back: a device reports one of its own addresses as bad, and the host must find the page.
    let bad = AddrRange::sized(0x5_0040, 0x40)?;
    for image in pmem.state().reverse(devices[2], bad).iter().filter(|image| image.viewer == cpu) {
        writeln!(out, "{bad} of mem2 is {} of the host", image.seen)?;
    }

    // The host's view shows the window as one piece, however many granules of 4 KiB it has.
    for piece in pmem.state().view(cpu) {
        if let ViewTarget::Interleave { links, .. } = &piece.what {
            writeln!(out, "{} is dealt to {} devices", piece.seen, links.len())?;
        }
    }
    Ok(out)
}

fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}
