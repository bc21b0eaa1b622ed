//! Tests the module `pmem_arena` in the kernel that `cargo xtask kmod test` boots.

mod errnos;
mod fuzz;
mod random;
mod stress;
mod times;

use pmem_arena::{Device, FORCE, Region, state};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

const FRAMEBUF: u32 = 0x10;
const RW: u32 = 3;
const WBACK: u32 = 2;
const WCOMB: u32 = 4;
const UNCACHED: u32 = 8;

const USAGE: &str = "\
info | dump | spans | regions
hold START LEN [force]: until it is ended; says when the claim ends with its device
refuse START LEN [PROPS]: why a claim is refused
cycles N START LEN | fuzz N | stress SECONDS SEED START LEN
setbound START LEN: a forced claim cannot be changed without force
nocap: opens without the capability
after FILE START: opens, waits for the file, then asks for everything
errnos START LEN REGISTERS: each refusal; REGISTERS is a BAR that is not prefetchable
times N START LEN: claims and releases, beside the same by /proc/mtrr";

fn number(text: Option<&String>) -> Result<u64, String> {
    let text = text.ok_or("a number is missing")?;
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text} is no number"))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            println!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// Returns a claim for write-combining.
fn framebuf(start: u64, len: u64) -> Region {
    Region::new(start, start + (len - 1), FRAMEBUF, RW, WCOMB)
}

fn run(args: &[String]) -> Result<String, String> {
    if args.first().is_some_and(|word| word == "nocap") {
        return errnos::without_capability();
    }
    let device = Device::open().map_err(|error| format!("{}: {error}", pmem_arena::DEVICE))?;
    let text = |e: std::io::Error| e.to_string();
    let at = |n: usize| number(args.get(n));
    match args.first().map(String::as_str) {
        Some("info") => {
            let info = device.info().map_err(text)?;
            let (memory, stack) = (info.most_memory, info.most_stack);
            let mut out =
                format!("{} claims, at most {memory} bytes of memory and {stack} of stack", info.regions);
            out += &format!(", {} pending, {} ended, {} mended", info.pending, info.ended, info.mended);
            if info.differ > 0 {
                let (cpu, msr, has, boot) =
                    (info.differ_cpu, info.differ_msr, info.differ_has, info.differ_boot);
                out += &format!(", processor {cpu} holds {has:#x} in register {msr:#x}, not {boot:#x}");
            }
            Ok(out)
        }
        Some("dump") => device.dump().map_err(text),
        Some("spans") => {
            let spans = device.spans().map_err(text)?;
            let lines: Vec<String> =
                spans.iter().map(|s| format!("{} {:#x}-{:#x}", s.name(), s.start, s.last)).collect();
            Ok(lines.join("\n"))
        }
        Some("regions") => {
            let regions = device.regions().map_err(text)?;
            let line =
                |r: &Region| format!("{:#x}-{:#x} {} process {}", r.start, r.last, words(r.state), r.holder);
            Ok(regions.iter().map(line).collect::<Vec<_>>().join("\n"))
        }
        Some("hold") => hold(&device, at(1)?, at(2)?, args.get(3).is_some_and(|word| word == "force")),
        Some("refuse") => {
            let (start, len) = (at(1)?, at(2)?);
            let mut region = framebuf(start, len);
            if args.len() > 3 {
                region.props = at(3)? as u32;
            }
            match device.alloc(&mut region) {
                Ok(()) => Err("it was granted".to_owned()),
                Err(refused) => Ok(format!("needs {} of {}: {refused}", region.needed, region.available)),
            }
        }
        Some("cycles") => cycles(&device, at(1)?, at(2)?, at(3)?),
        Some("fuzz") => fuzz::run(&device, at(1)?),
        Some("stress") => stress::run(at(1)?, at(2)?, at(3)?, at(4)?),
        Some("errnos") => errnos::run(&device, at(1)?, at(2)?, at(3)?),
        Some("after") => errnos::after(&device, args.get(1).map_or("", String::as_str), at(2)?),
        Some("setbound") => errnos::set_bound(&device, at(1)?, at(2)?),
        Some("times") => times::run(&device, at(1)?, at(2)?, at(3)?),
        _ => Err(USAGE.to_owned()),
    }
}

/// Returns a claim's state as a word.
fn words(what: u32) -> &'static str {
    match what {
        state::HELD => "held",
        state::PENDING => "pending",
        state::BOUND => "bound",
        state::REMOVED => "removed",
        state::MOVED => "moved",
        _ => "?",
    }
}

fn hold(device: &Device, start: u64, len: u64, force: bool) -> Result<String, String> {
    let mut region = framebuf(start, len);
    region.flags = if force { FORCE } else { 0 };
    device.alloc(&mut region).map_err(|refused| refused.to_string())?;
    let say = |text: &str| {
        println!("{text}");
        std::io::stdout().flush().map_err(|e| e.to_string())
    };
    say("held")?;
    let mut told = false;
    loop {
        match device.wait(Duration::from_secs(1)) {
            Ok(true) if !told => {
                let mine = device.regions().map_err(|e| e.to_string())?;
                let mine = mine.iter().find(|claim| claim.id == region.id);
                say(&format!("ended: {}", mine.map_or("?", |claim| words(claim.state))))?;
                told = true;
            }
            Ok(true) => std::thread::sleep(Duration::from_secs(1)),
            Ok(false) => {}
            Err(error) => {
                say(&format!("stopped: {error}"))?;
                loop {
                    std::thread::park();
                }
            }
        }
    }
}

/// Makes, changes and releases random claims within a BAR.
fn cycles(device: &Device, count: u64, start: u64, len: u64) -> Result<String, String> {
    let mut random = random::Random::new(0x9e37_79b9_7f4a_7c15);
    let mut held: Vec<Region> = Vec::new();
    let (mut granted, mut refused) = (0, 0);
    for _ in 0..count {
        match random.below(3) {
            0 => {
                let mut region = random.region(start, len);
                match device.alloc(&mut region) {
                    Ok(()) => {
                        granted += 1;
                        held.push(region);
                    }
                    Err(_) => refused += 1,
                }
            }
            1 if !held.is_empty() => {
                let i = random.below(held.len() as u64) as usize;
                held[i].props = 1 << random.below(4);
                if device.set(&mut held[i]).is_err() {
                    refused += 1;
                }
            }
            _ if !held.is_empty() => {
                let i = random.below(held.len() as u64) as usize;
                let mut region = held.swap_remove(i);
                device.release(&mut region).map_err(|refused| format!("release: {refused}"))?;
            }
            _ => {}
        }
    }
    for mut region in held {
        device.release(&mut region).map_err(|refused| format!("release: {refused}"))?;
    }
    Ok(format!("cycles {count}: granted {granted}, refused {refused}"))
}
