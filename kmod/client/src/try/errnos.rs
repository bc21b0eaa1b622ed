//! Checks the errno of every refusal, and that a refusal changes nothing.

use crate::{FRAMEBUF, RW, UNCACHED, WBACK, WCOMB, framebuf};
use pmem_arena::{Device, FORCE, Info, Region, Span, status};
use pmem_arena_abi::Windows;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EBADF: i32 = 9;
const EACCES: i32 = 13;
const EFAULT: i32 = 14;
const EBUSY: i32 = 16;
const EINVAL: i32 = 22;
const ENOTTY: i32 = 25;
const ENOSPC: i32 = 28;

const INFO: u32 = 0xa0;
const SPAN: u32 = 0xa1;
const ALLOC: u32 = 0xa3;
const SET: u32 = 0xa4;
const RELEASE: u32 = 0xa5;
const DUMP: u32 = 0xa7;
const WINDOWS: u32 = 0xa8;
/// A number that no command has.
const UNKNOWN: u32 = 0xaf;
/// The size of `struct pmem_arena_text`.
const TEXT: usize = 32;

/// Returns the ioctl number for a structure of this size.
pub const fn command(number: u32, size: u32) -> u32 {
    3 << 30 | size << 16 | (b'P' as u32) << 8 | number
}

const fn size(number: u32) -> usize {
    match number {
        INFO => size_of::<Info>(),
        SPAN => size_of::<Span>(),
        DUMP => TEXT,
        WINDOWS => size_of::<Windows>(),
        _ => size_of::<Region>(),
    }
}

/// Opens the device as root without `CAP_SYS_RAWIO`.
pub fn without_capability() -> Result<String, String> {
    let mut sets = capabilities(None).map_err(|e| e.to_string())?;
    sets.effective.remove(CapabilitySet::SYS_RAWIO);
    sets.permitted.remove(CapabilitySet::SYS_RAWIO);
    set_capabilities(None, sets).map_err(|e| e.to_string())?;
    match Device::open() {
        Err(error) if error.raw_os_error() == Some(EPERM) => Ok("refused".to_owned()),
        other => Err(format!("{other:?}")),
    }
}

/// Waits for a file to appear, and then sends every request. Lockdown must refuse each.
pub fn after(device: &Device, file: &str, start: u64) -> Result<String, String> {
    println!("open");
    io::stdout().flush().map_err(|e| e.to_string())?;
    while !Path::new(file).exists() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut checks = Checks { device, wrong: 0, right: 0 };
    for number in INFO..=WINDOWS {
        let mut asked = bytes(number);
        asked[16..24].copy_from_slice(&start.to_le_bytes());
        asked[24..32].copy_from_slice(&(start + 0xfff).to_le_bytes());
        let sent = device.raw(command(number, size(number) as u32), &mut asked);
        checks.is(&format!("{number:#x} under lockdown"), EPERM, sent);
    }
    if checks.wrong == 0 { Ok("each is refused".to_owned()) } else { Err("some are not refused".to_owned()) }
}

/// Forces a claim over a bound driver's BAR, and then changes it without force.
pub fn set_bound(device: &Device, start: u64, len: u64) -> Result<String, String> {
    let mut claim = Region { flags: FORCE, ..Region::new(start, start + (len - 1), FRAMEBUF, RW, UNCACHED) };
    device.alloc(&mut claim).map_err(|refused| refused.to_string())?;
    claim.flags = 0;
    match device.set(&mut claim) {
        Ok(()) => Err("it was changed".to_owned()),
        Err(refused) => Ok(refused.to_string()),
    }
}

/// Counts checks that succeed and checks that fail.
struct Checks<'d> {
    device: &'d Device,
    wrong: usize,
    right: usize,
}

impl Checks<'_> {
    fn is(&mut self, what: &str, expected: i32, got: io::Result<()>) {
        let code = got.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1));
        if code == expected {
            self.right += 1;
        } else {
            self.wrong += 1;
            println!("KMOD-FAIL errno: {what}: expected {expected}, got {code}");
        }
    }

    fn must(&mut self, what: &str, holds: bool) {
        self.is(what, 0, if holds { Ok(()) } else { Err(io::Error::from_raw_os_error(-2)) });
    }

    fn refused(&mut self, what: &str, (code, why): (i32, u32), asked: &mut Region) -> String {
        let got = self.device.alloc(asked);
        self.is(what, code, got.map_err(|refused| refused.error));
        self.must(&format!("{what}: status {} is {why}", asked.status), asked.status == why);
        asked.why().to_owned()
    }
}

/// Returns a structure as bytes, with valid version and size. A text also gets a valid length, so that the call is
/// not refused for that.
fn bytes(number: u32) -> [u8; 1024] {
    let mut bytes = [0; 1024];
    bytes[..4].copy_from_slice(&1u32.to_le_bytes());
    bytes[4..8].copy_from_slice(&(size(number) as u32).to_le_bytes());
    if number == DUMP {
        bytes[16] = 64;
    }
    bytes
}

pub fn run(device: &Device, start: u64, len: u64, registers: u64) -> Result<String, String> {
    let before = device.regions().map_err(|e| e.to_string())?.len();
    let mut checks = Checks { device, wrong: 0, right: 0 };
    structures(&mut checks);
    addresses(&mut checks, start, len);
    descriptors(&mut checks, start, len)?;
    claims(&mut checks, start, len, registers)?;
    owners(&mut checks, start, len)?;
    many(&mut checks, start)?;
    let after = device.regions().map_err(|e| e.to_string())?.len();
    checks.must("no claim is left", before == after);
    let Checks { wrong, right, .. } = checks;
    if wrong == 0 {
        Ok(format!("errnos: {right} right"))
    } else {
        Err(format!("errnos: {wrong} wrong, {right} right"))
    }
}

fn structures(checks: &mut Checks<'_>) {
    let device = checks.device;
    for number in INFO..=WINDOWS {
        let right = command(number, size(number) as u32);
        for (offset, value) in [(0, 2u32), (0, 0), (4, 0), (4, size(number) as u32 + 8), (4, u32::MAX)] {
            let mut wrong = bytes(number);
            wrong[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            checks.is(&format!("{number:#x}: {value} at {offset}"), EINVAL, device.raw(right, &mut wrong));
        }
        let reserved: &[usize] = match number {
            INFO => &[832, 848],
            SPAN => &[72, 80],
            DUMP => &[24],
            WINDOWS => &[28, 192],
            _ => &[60, 76],
        };
        for offset in reserved {
            let mut wrong = bytes(number);
            wrong[*offset] = 1;
            checks.is(&format!("{number:#x}: reserved at {offset}"), EINVAL, device.raw(right, &mut wrong));
        }
        if !matches!(number, INFO | SPAN | DUMP | WINDOWS) {
            for flags in [2u32, 4, 1 << 31] {
                let mut wrong = bytes(number);
                wrong[36..40].copy_from_slice(&flags.to_le_bytes());
                checks.is(&format!("{number:#x}: flags {flags:#x}"), EINVAL, device.raw(right, &mut wrong));
            }
        }
        for other in [size(number) as u32 + 8, size(number) as u32 - 8, 0] {
            let sent = device.raw(command(number, other), &mut bytes(number));
            checks.is(&format!("{number:#x}: a size of {other}"), ENOTTY, sent);
        }
    }
    checks.is("an unknown command", ENOTTY, device.raw(command(UNKNOWN, 240), &mut bytes(ALLOC)));
    for len in [0u64, 65537] {
        let mut text = bytes(DUMP);
        text[16..24].copy_from_slice(&len.to_le_bytes());
        checks.is(&format!("a text of {len}"), EINVAL, device.raw(command(DUMP, TEXT as u32), &mut text));
    }
    let nowhere = device.raw(command(DUMP, TEXT as u32), &mut bytes(DUMP));
    checks.is("a text to nowhere", EFAULT, nowhere);
}

/// Maps two pages, of which the second is inaccessible, or both are read-only.
fn page(writable: bool) -> Result<usize, String> {
    let flags = MapFlags::PRIVATE;
    // SAFETY: this is a new mapping, which nothing else uses.
    let at =
        unsafe { mmap_anonymous(core::ptr::null_mut(), 8192, ProtFlags::READ | ProtFlags::WRITE, flags) };
    let at = at.map_err(|e| e.to_string())?;
    let structure = bytes(ALLOC);
    // SAFETY: the mapping has room for the structure at its start, and at the end of its first page.
    unsafe {
        core::ptr::copy_nonoverlapping(structure.as_ptr(), at.cast::<u8>(), 1024);
        core::ptr::copy_nonoverlapping(structure.as_ptr(), at.cast::<u8>().add(4096 - 100), 1024);
    }
    let (from, keep) = if writable { (4096, MprotectFlags::empty()) } else { (0, MprotectFlags::READ) };
    // SAFETY: no part of the mapping is borrowed.
    unsafe { mprotect(at.cast::<u8>().add(from).cast(), 8192 - from, keep) }.map_err(|e| e.to_string())?;
    Ok(at.addr())
}

fn addresses(checks: &mut Checks<'_>, start: u64, len: u64) {
    let device = checks.device;
    let (Ok(cut), Ok(read_only)) = (page(true), page(false)) else { return checks.must("pages", false) };
    for number in INFO..=WINDOWS {
        let right = command(number, size(number) as u32);
        let wild = [0, 1, 0x7fff_ffff_f000, 0xffff_8880_0000_0000, usize::MAX - 7];
        for at in wild.into_iter().chain([cut + 4096 - 20, read_only]) {
            checks.is(&format!("{number:#x}: at {at:#x}"), EFAULT, device.raw_at(right, at));
        }
    }
    // This claim would be granted, but its id cannot be written back.
    let Ok(at) = page(true) else { return };
    let claim = framebuf(start, len);
    // SAFETY: the first page of the mapping is writable, and nothing borrows it.
    unsafe { core::ptr::with_exposed_provenance_mut::<Region>(at).write(claim) };
    // SAFETY: as above.
    let kept = unsafe { mprotect(core::ptr::with_exposed_provenance_mut(at), 4096, MprotectFlags::READ) };
    checks.must("a page to be read alone", kept.is_ok());
    checks.is("a claim at memory to be read alone", EFAULT, device.raw_at(command(ALLOC, 240), at));
}

fn descriptors(checks: &mut Checks<'_>, start: u64, len: u64) -> Result<(), String> {
    let looking = Device::open_read_only().map_err(|e| e.to_string())?;
    for number in [ALLOC, SET, RELEASE] {
        let mut claim = bytes(number);
        claim[16..24].copy_from_slice(&start.to_le_bytes());
        claim[24..32].copy_from_slice(&(start + len - 1).to_le_bytes());
        let sent = looking.raw(command(number, 240), &mut claim);
        checks.is(&format!("{number:#x} without write access"), EBADF, sent);
    }
    checks.must("info without write access", looking.info().is_ok());
    checks.must("a plan without write access", looking.plan(&mut framebuf(start, len)).is_ok());
    // A duplicated descriptor keeps the claim until the last copy is closed.
    let first =
        OpenOptions::new().read(true).write(true).open(pmem_arena::DEVICE).map_err(|e| e.to_string())?;
    let second = first.try_clone().map_err(|e| e.to_string())?;
    let (first, second) = (Device::from(first), Device::from(second));
    first.alloc(&mut framebuf(start, len)).map_err(|e| e.to_string())?;
    drop(first);
    let held = checks.device.regions().map_err(|e| e.to_string())?.len();
    checks.must("a passed descriptor still holds", held == 1);
    drop(second);
    let held = checks.device.regions().map_err(|e| e.to_string())?.len();
    checks.must("and gives back when it is closed", held == 0);
    Ok(())
}

fn claims(checks: &mut Checks<'_>, start: u64, len: u64, registers: u64) -> Result<(), String> {
    let wrong = (EINVAL, status::WRONG);
    for (first, len) in [(start, 0x800), (start + 0x800, 0x800)] {
        // The text shows that the range is the reason for the refusal.
        let why = checks.refused("half a page", wrong, &mut framebuf(first, len));
        checks.must("it is for that", why.contains("whole pages"));
    }
    let with = |usage, prot, props| Region::new(start, start + 0xfff, usage, prot, props);
    checks.refused("two modes", wrong, &mut with(FRAMEBUF, RW, WCOMB | UNCACHED));
    checks.refused("an unknown use", wrong, &mut with(0x100, RW, WCOMB));
    checks.refused("an unknown protection", wrong, &mut with(FRAMEBUF, 0x80, WCOMB));
    checks.refused("an unknown property", wrong, &mut with(FRAMEBUF, RW, 0x400));
    let outside = (EINVAL, status::NO_BAR);
    checks.refused("memory", outside, &mut framebuf(0x100_0000, 0x1000));
    checks.refused("more than the BAR", outside, &mut framebuf(start, 2 * len));
    checks.refused("nothing", outside, &mut framebuf(0xffff_ffff_ffff_0000, 0x1000));
    let not_allowed = (EACCES, status::NOT_ALLOWED);
    let why = checks.refused("write back", not_allowed, &mut with(FRAMEBUF, RW, WBACK));
    checks.must("its reason", why.contains("write-back can hang"));
    let why = checks.refused("write combining over registers", not_allowed, &mut framebuf(registers, 0x1000));
    checks.must("its reason", why.contains("not prefetchable"));
    let mut uncached = Region::new(registers, registers + 0xfff, FRAMEBUF, RW, UNCACHED);
    let device = checks.device;
    checks.must(
        "uncached over registers",
        device.alloc(&mut uncached).is_ok() && device.release(&mut uncached).is_ok(),
    );
    let mut forced = Region { flags: FORCE, ..framebuf(registers, 0x1000) };
    // There may be too few registers, which is a different matter.
    let done = device.alloc(&mut forced);
    let what = format!("forced over registers: {} {}", forced.status, forced.why());
    checks.must(&what, done.is_ok() || forced.status == status::FULL);
    if done.is_ok() {
        checks.must("and released", device.release(&mut forced).is_ok());
    }
    Ok(())
}

fn owners(checks: &mut Checks<'_>, start: u64, len: u64) -> Result<(), String> {
    let other = Device::open().map_err(|e| e.to_string())?;
    let mut theirs = framebuf(start, len);
    other.alloc(&mut theirs).map_err(|e| e.to_string())?;
    let why = checks.refused("what another file holds", (EBUSY, status::BUSY), &mut framebuf(start, 0x2000));
    checks.must("by whom", why.contains(&format!("is held by process {}", std::process::id())));
    let device = checks.device;
    let code = |done: Result<(), pmem_arena::Refused>| done.map_err(|refused| refused.error);
    checks.is("to set another file's", EPERM, code(device.set(&mut theirs.clone())));
    checks.is("to release another file's", EPERM, code(device.release(&mut theirs.clone())));
    checks.is("to release what is not there", ENOENT, code(device.release(&mut Region { id: 77, ..theirs })));
    checks.is("to release it", 0, code(other.release(&mut theirs)));
    checks.is("to release it twice", ENOENT, code(other.release(&mut theirs)));
    checks.is("to set it afterwards", ENOENT, code(other.set(&mut theirs)));
    Ok(())
}

fn many(checks: &mut Checks<'_>, start: u64) -> Result<(), String> {
    let other = Device::open().map_err(|e| e.to_string())?;
    for page in 0..256u64 {
        let at = start + page * 0x1000;
        let mut one = Region::new(at, at + 0xfff, FRAMEBUF, RW, UNCACHED);
        other.alloc(&mut one).map_err(|refused| format!("claim {page}: {refused}"))?;
    }
    let at = start + 0x10_0000;
    let mut one = Region::new(at, at + 0xfff, FRAMEBUF, RW, UNCACHED);
    checks.refused("one claim more than 256", (ENOSPC, status::MANY), &mut one);
    let info = checks.device.info().map_err(|e| e.to_string())?;
    checks.must("256 are held", info.regions == 256);
    Ok(())
}
