//! Tries the module pmem_arena out, in the kernel that `cargo xtask kmod test` boots.

use pmem_arena::{Device, Info, Region, Span};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

const FRAMEBUF: u32 = 0x10;
const RW: u32 = 3;
const WCOMB: u32 = 4;

/// Numbers that look random, and are the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

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

fn run(args: &[String]) -> Result<String, String> {
    let device = Device::open().map_err(|error| format!("{}: {error}", pmem_arena::DEVICE))?;
    match args.first().map(String::as_str) {
        Some("info") => {
            let info = device.info().map_err(|e| e.to_string())?;
            let (memory, stack) = (info.most_memory, info.most_stack);
            Ok(format!("{} claims, at most {memory} bytes of memory and {stack} of stack", info.regions))
        }
        Some("dump") => device.dump().map_err(|e| e.to_string()),
        Some("spans") => {
            let spans = device.spans().map_err(|e| e.to_string())?;
            let lines: Vec<String> =
                spans.iter().map(|s| format!("{} {:#x}-{:#x}", s.name(), s.start, s.last)).collect();
            Ok(lines.join("\n"))
        }
        // hold START LEN: until the process is ended.
        Some("hold") => {
            let (start, len) = (number(args.get(1))?, number(args.get(2))?);
            let mut region = Region::new(start, start + (len - 1), FRAMEBUF, RW, WCOMB);
            device.alloc(&mut region).map_err(|refused| refused.to_string())?;
            println!("held");
            std::io::stdout().flush().map_err(|e| e.to_string())?;
            loop {
                std::thread::sleep(Duration::from_secs(1000));
            }
        }
        // refuse START LEN: prints why.
        Some("refuse") => {
            let (start, len) = (number(args.get(1))?, number(args.get(2))?);
            let mut region = Region::new(start, start + (len - 1), FRAMEBUF, RW, WCOMB);
            match device.alloc(&mut region) {
                Ok(()) => Err("it was granted".to_owned()),
                Err(refused) => Ok(format!("needs {} of {}: {refused}", region.needed, region.available)),
            }
        }
        Some("cycles") => cycles(&device, number(args.get(1))?, number(args.get(2))?, number(args.get(3))?),
        Some("fuzz") => fuzz(&device, number(args.get(1))?),
        _ => {
            Err("info, dump, spans, hold START LEN, refuse START LEN, cycles N START LEN, fuzz N".to_owned())
        }
    }
}

/// Claims, changes and releases at random within a BAR.
fn cycles(device: &Device, count: u64, start: u64, len: u64) -> Result<String, String> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut held: Vec<Region> = Vec::new();
    let (mut granted, mut refused) = (0, 0);
    for _ in 0..count {
        match random.below(3) {
            0 => {
                let size = 0x1000 << random.below(9);
                let at = start + random.below(len / size) * size;
                let mut region = Region::new(at, at + (size - 1), FRAMEBUF, RW, 1 << random.below(4));
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

/// Calls that no sane program makes: wrong sizes, versions, numbers, pointers, ranges.
fn fuzz(device: &Device, count: u64) -> Result<String, String> {
    let mut random = Random(0x1234_5678_9abc_def1);
    let sizes = [size_of::<Info>(), size_of::<Span>(), size_of::<Region>(), 24].map(|size| size as u32);
    let (mut accepted, mut refused) = (0u64, 0u64);
    for _ in 0..count {
        let number = 0xa0 + random.below(9) as u32;
        let right = match number {
            0xa0 => sizes[0],
            0xa1 => sizes[1],
            0xa7 => sizes[3],
            _ => sizes[2],
        };
        let size = if random.below(8) == 0 { random.below(900) as u32 } else { right };
        let command = 3 << 30 | size << 16 | u32::from(b'P') << 8 | number;
        let done = if random.below(16) == 0 {
            let wild = [0, 1, 0xfff, 0xffff_8880_0000_0000, usize::MAX - 7, 0xffff_ffff_8100_0000];
            device.raw_at(command, wild[random.below(wild.len() as u64) as usize])
        } else {
            let mut bytes = [0u8; 1024];
            for chunk in bytes.chunks_mut(8) {
                let value = match random.below(6) {
                    0 => random.next(),
                    1 => u64::MAX,
                    2 => random.below(64) << random.below(48),
                    3 => 0xfd00_0000 + (random.below(0x2000) << 12),
                    4 => 0xfd00_0fff + (random.below(0x2000) << 12),
                    _ => 0,
                };
                chunk.copy_from_slice(&value.to_le_bytes()[..chunk.len()]);
            }
            if random.below(8) != 0 {
                bytes[..4].copy_from_slice(&1u32.to_le_bytes());
                bytes[4..8].copy_from_slice(&size.to_le_bytes());
            }
            if number == 0xa7 {
                // Never into memory of our own: the kernel would be right to write there.
                let wild = [0u64, 8, u64::MAX, 0xffff_8880_0000_0000, 0xffff_ffff_8100_0000];
                bytes[8..16].copy_from_slice(&wild[random.below(5) as usize].to_le_bytes());
            }
            device.raw(command, &mut bytes)
        };
        if done.is_ok() { accepted += 1 } else { refused += 1 }
    }
    Ok(format!("fuzz {count}: accepted {accepted}, refused {refused}"))
}
