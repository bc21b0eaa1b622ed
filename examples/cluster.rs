//! If you lend memory from machine to machine (CXL 3, NTB): two machines as one model, an upper limit for what
//! an allocation may cost, and what happens when the link goes away.

use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Direction, Error, Manager, Mapping, Metric, Owner, Performance,
    Request,
};
use std::error::Error as StdError;
use std::fmt::Write;

const GIB: u64 = 1 << 30;

/// Builds a machine: what its processors see, with the memory of its two sockets.
fn machine(pmem: &mut Manager, name: &str) -> Result<ArenaId, Error> {
    let cpu = pmem.create_arena(format!("{name} cpu"), ArenaType::VIEW)?;
    let memory = |pmem: &mut Manager, socket: u64, cost, latency, bandwidth| {
        let ram = pmem.create_arena(format!("{name} node{socket}"), ArenaType::RAM)?;
        pmem.prime(ram, AddrRange::sized(0, GIB)?, Attrs::ram())?;
        let mapping = Mapping::window(AddrRange::sized(socket * GIB, GIB)?, 0)?;
        let performance = Performance {
            read_latency: Some(latency),
            read_bandwidth: Some(bandwidth),
            ..Performance::default()
        };
        let down = Direction { mapping, metric: Metric::new(cost), performance };
        pmem.connect_asymmetric(cpu, ram, down, Direction::closed())?;
        Ok::<_, Error>(ram)
    };
    memory(pmem, 0, 10, 90, 200_000)?;
    memory(pmem, 1, 21, 150, 120_000)?;
    Ok(cpu)
}

/// Runs the example, and returns its output.
pub fn run() -> Result<String, Box<dyn StdError>> {
    let mut out = String::new();
    let mut pmem = Manager::new();
    let one = machine(&mut pmem, "one")?;
    let other = machine(&mut pmem, "other")?;

    // The link: a window of 2 GiB onto the other machine's memory, at the cost of a fabric.
    let window = AddrRange::sized(64 * GIB, 2 * GIB)?;
    let performance =
        Performance { read_latency: Some(600), read_bandwidth: Some(28_000), ..Performance::default() };
    let across = Direction { mapping: Mapping::window(window, 0)?, metric: Metric::new(100), performance };
    let link = pmem.connect_asymmetric(one, other, across, Direction::closed())?;
    pmem.name_link(link, "fabric")?;
    for distance in pmem.state().distances(one) {
        let name = pmem.state().info(distance.arena).map_or("", |info| &info.name);
        writeln!(out, "{name}: cost {}", distance.metric)?;
    }

    // The cost limit keeps an allocation local, near or remote.
    let memory = |len: u64, most: u32| {
        Request::new(len).of_type(ArenaType::RAM).max_metric(Metric::new(most)).owner(Owner(1))
    };
    let mut held = Vec::new();
    for (what, len, most) in [
        ("local", GIB / 2, 10),
        ("local", GIB, 10),
        ("near", GIB, 21),
        ("remote", GIB, 21),
        ("remote", GIB, 110),
        ("remote", 3 * GIB / 4, 121),
    ] {
        match pmem.alloc(one, &memory(len, most)) {
            Ok(region) => {
                // Where the processor sees it, and whose memory it is.
                let at = pmem.range(region)?;
                let place = pmem.state().resolve(one, at.start()).accepted().ok_or("it leads nowhere")?;
                let whose = pmem.state().info(place.arena).map_or("", |info| &info.name);
                writeln!(out, "{what}, {} MiB for at most {most}: {at}, memory of {whose}", len >> 20)?;
                held.push(region);
            }
            Err(error) => {
                writeln!(out, "{what}, {} MiB for at most {most}: {}", len >> 20, error.named(pmem.state()))?;
            }
        }
    }

    // The link cannot go while something lies behind it.
    let refused = pmem.disconnect(link).err().ok_or("it went with what was behind it")?;
    writeln!(out, "{}", refused.named(pmem.state()))?;
    // Drain it: what fits into this machine is copied here, the rest is given up. A job that ends makes room.
    if let Some(near) = held.iter().find(|region| pmem.range(**region).is_ok_and(|at| at.start() == GIB)) {
        pmem.decref(*near)?;
    }
    let remote: Vec<_> =
        held.into_iter().filter(|region| pmem.range(*region).is_ok_and(|at| window.overlaps(at))).collect();
    for region in remote {
        let len = pmem.range(region)?.len();
        let local = pmem.alloc(one, &memory(len, 21));
        match local {
            Ok(local) => writeln!(out, "{} MiB copied to {}", len >> 20, pmem.range(local)?)?,
            Err(_) => writeln!(out, "{} MiB are given up: no room in this machine", len >> 20)?,
        }
        pmem.unmap(region)?;
    }
    pmem.disconnect(link)?;
    writeln!(out, "the link is gone; one sees {} arenas", pmem.state().distances(one).len())?;
    Ok(out)
}

fn main() -> Result<(), Box<dyn StdError>> {
    print!("{}", run()?);
    Ok(())
}
