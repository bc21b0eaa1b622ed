//! Measures a claim and its release, next to the same range through `/proc/mtrr` in the same kernel.

use pmem_arena::Device;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FILE: &str = "/proc/mtrr";

fn write(text: &str) -> Result<(), String> {
    let mut file = OpenOptions::new().write(true).open(FILE).map_err(|e| format!("{FILE}: {e}"))?;
    file.write_all(text.as_bytes()).map_err(|e| format!("{FILE}: {text}: {e}"))
}

/// Adds and removes the range through the kernel's own interface.
fn by_proc(start: u64, len: u64) -> Result<(), String> {
    write(&format!("base={start:#x} size={len:#x} type=write-combining"))?;
    let shown = std::fs::read_to_string(FILE).map_err(|e| e.to_string())?;
    let line =
        shown.lines().find(|line| line.contains(&format!("base=0x{start:09x}"))).ok_or("it was not added")?;
    let number = line.trim_start_matches("reg").split(':').next().unwrap_or("");
    write(&format!("disable={}", number.trim_start_matches('0').parse().unwrap_or(0)))
}

fn by_claim(device: &Device, start: u64, len: u64) -> Result<(), String> {
    let mut region = crate::framebuf(start, len);
    device.alloc(&mut region).map_err(|refused| refused.to_string())?;
    device.release(&mut region).map_err(|refused| refused.to_string())
}

pub fn run(device: &Device, count: u64, start: u64, len: u64) -> Result<String, String> {
    let timed = |work: &dyn Fn() -> Result<(), String>| {
        let begin = Instant::now();
        work().map(|()| begin.elapsed())
    };
    let (mut ours, mut theirs, mut info, mut meets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // Alternate, so that background load affects both.
    for _ in 0..count {
        ours.push(timed(&|| by_claim(device, start, len))?);
        theirs.push(timed(&|| by_proc(start, len))?);
        let seen = device.info().map_err(|e| e.to_string())?;
        meets.push(Duration::from_nanos(seen.rendezvous));
        info.push(timed(&|| device.info().map(drop).map_err(|e| e.to_string()))?);
    }
    let middle = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_micros()
    };
    let (ours, theirs, info, meet) =
        (middle(&mut ours), middle(&mut theirs), middle(&mut info), middle(&mut meets));
    let (busy, worst) = info_beside_others(device, start, len)?;
    let ratio = ours as f64 / theirs as f64;
    Ok(format!(
        "times: claim and release {ours} us, of which a rendezvous is {meet} us; by /proc/mtrr {theirs} us: {ratio:.2} times; \
         info {info} us, beside seven others that ask all the time {busy} us, at most {worst} us"
    ))
}

/// Measures `info` while one thread keeps changing registers and six keep planning. Returns the median and the
/// maximum in microseconds.
fn info_beside_others(device: &Device, start: u64, len: u64) -> Result<(u128, u128), String> {
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while running.load(Ordering::Relaxed) {
                drop(by_claim(device, start, len));
            }
        });
        for _ in 0..6 {
            scope.spawn(|| {
                while running.load(Ordering::Relaxed) {
                    drop(device.plan(&mut crate::framebuf(start, len)));
                }
            });
        }
        let mut times = Vec::new();
        let mut failed = None;
        for _ in 0..100 {
            let begin = Instant::now();
            if let Err(error) = device.info() {
                failed = Some(error.to_string());
            }
            times.push(begin.elapsed().as_micros());
        }
        running.store(false, Ordering::Relaxed);
        times.sort_unstable();
        failed.map_or(Ok((times[50], times[99])), Err)
    })
}
