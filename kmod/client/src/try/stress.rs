//! Random requests from eight threads, each with its own file, for a given time. Reports how they ended.

use crate::random::Random;
use pmem_arena::{Device, Refused, Region, status};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const THREADS: u64 = 8;

/// How often each request ended in which way.
type Counts = BTreeMap<String, u64>;

pub fn run(seconds: u64, seed: u64, start: u64, len: u64) -> Result<String, String> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            std::thread::spawn(move || one(end, seed.wrapping_mul(THREADS).wrapping_add(thread), start, len))
        })
        .collect();
    let mut all = Counts::new();
    for thread in threads {
        let counts = thread.join().map_err(|_| "a thread ended")??;
        for (what, count) in counts {
            *all.entry(what).or_default() += count;
        }
    }
    let strange: Vec<&String> = all.keys().filter(|what| what.contains("?")).collect();
    let text: Vec<String> = all.iter().map(|(what, count)| format!("{what} {count}")).collect();
    let text = format!("stress of seed {seed}: {}", text.join(", "));
    if strange.is_empty() { Ok(text) } else { Err(format!("{text}; not explained: {strange:?}")) }
}

/// Describes how a request ended, with a `?` if nothing explains that.
fn outcome(op: &str, region: &Region, refused: &Refused) -> String {
    let word = match region.status {
        status::FULL => "full",
        status::MANY => "many",
        status::BUSY if region.why().contains("is held by") => "held by another",
        status::NOT_ALLOWED => "not allowed",
        status::CHANGED => "changed",
        status::PENDING => "pending",
        _ => return format!("{op}: {refused}?"),
    };
    format!("{op}: {word}")
}

fn one(end: Instant, seed: u64, start: u64, len: u64) -> Result<Counts, String> {
    let device = Device::open().map_err(|error| error.to_string())?;
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d);
    let mut counts = Counts::new();
    let mut held: Vec<Region> = Vec::new();
    let mut count = |what: String| *counts.entry(what).or_default() += 1;
    while Instant::now() < end {
        let pick = random.below(held.len().max(1) as u64) as usize;
        match random.below(8) {
            0 | 1 if held.len() < 24 => {
                let mut region = random.region(start, len);
                match device.alloc(&mut region) {
                    Ok(()) => {
                        held.push(region);
                        count("claim: granted".to_owned());
                    }
                    Err(refused) => count(outcome("claim", &region, &refused)),
                }
            }
            2 if !held.is_empty() => {
                held[pick].props = 1 << random.below(4);
                match device.set(&mut held[pick]) {
                    Ok(()) => count("set: granted".to_owned()),
                    Err(refused) => count(outcome("set", &held[pick], &refused)),
                }
            }
            3 if !held.is_empty() => {
                let mut region = held.swap_remove(pick);
                match device.release(&mut region) {
                    Ok(()) => count("release: done".to_owned()),
                    Err(refused) => count(outcome("release", &region, &refused)),
                }
            }
            4 => {
                let mut region = crate::framebuf(start, len);
                match device.plan(&mut region) {
                    Ok(()) => count("plan: granted".to_owned()),
                    Err(refused) => count(outcome("plan", &region, &refused)),
                }
            }
            5 => match device.dump() {
                Ok(_) => count("dump: done".to_owned()),
                Err(error) => count(format!("dump: {error}?")),
            },
            6 => match device.info() {
                Ok(_) => count("info: done".to_owned()),
                Err(error) => count(format!("info: {error}?")),
            },
            _ => match device.regions() {
                Ok(_) => count("regions: done".to_owned()),
                Err(error) => count(format!("regions: {error}?")),
            },
        }
    }
    // Closing the file gives the remaining claims back.
    Ok(counts)
}
