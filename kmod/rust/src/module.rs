//! The manager, and what requests do with it.

use crate::ffi::{self, Found, Info, Region, Span};
use crate::port::{CHANGED, Kernel};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::fmt::Write;
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, DriverId, Error, Manager, Mapping, Metric, Owner, Props, Prot, RegionId,
    Released, Request, Scope, Subscription, Usage,
};
use pmem_drivers::mtrr::{Cap, MemType, Mtrr, Policy, Port, Setting, Unmapped, Width};

const EPERM: i64 = -1;
const ENOENT: i64 = -2;
const EIO: i64 = -5;
const EAGAIN: i64 = -11;
const EBUSY: i64 = -16;
const EINVAL: i64 = -22;
const ENOSPC: i64 = -28;

/// Claims at once: what bounds the memory of one request.
const MOST_REGIONS: usize = 256;
/// Spans of the machine that are taken in.
const MOST_SPANS: usize = 256;

struct Module {
    manager: Manager,
    port: Kernel,
    /// What it last read.
    setting: Box<Setting>,
    driver: DriverId,
    pci: ArenaId,
    /// Every claim: whose it is, and where.
    claims: Vec<(u64, RegionId)>,
}

struct Cell(UnsafeCell<Option<Box<Module>>>);

// SAFETY: only the shim's one thread enters the functions below, one at a time.
unsafe impl Sync for Cell {}

static MODULE: Cell = Cell(UnsafeCell::new(None));

/// The module, for the length of one call.
fn module() -> &'static mut Option<Box<Module>> {
    // SAFETY: called once in each of the functions that the shim calls, and those never at the same time; no reference outlives
    // its call.
    unsafe { &mut *MODULE.0.get() }
}

fn log(text: &str) {
    // SAFETY: the shim reads `len` bytes, and keeps no pointer.
    unsafe { ffi::pmem_shim_log(text.as_ptr(), text.len() as u64) }
}

/// Builds the manager from what the kernel knows, and takes the registers over.
///
/// # Safety
/// `spans` is `count` spans.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_start(width: u32, amd: u32, spans: *const Found, count: u64) -> i64 {
    let Some(width) = u8::try_from(width).ok().and_then(Width::new) else { return EINVAL };
    // SAFETY: the caller's promise.
    let spans = unsafe { core::slice::from_raw_parts(spans, (count as usize).min(MOST_SPANS)) };
    match start(width, amd != 0, spans) {
        Ok(new) => {
            *module() = Some(new);
            0
        }
        Err(error) => {
            log(&format!("not started: {error}"));
            code(&error)
        }
    }
}

fn start(width: Width, amd: bool, spans: &[Found]) -> Result<Box<Module>, Error> {
    let mut manager = Manager::new();
    let view = manager.create_arena("system", ArenaType::VIEW)?;
    let ram = manager.create_arena("ram", ArenaType::RAM)?;
    let pci = manager.create_arena("pci", ArenaType::PCI)?;
    let reserved = manager.create_arena("reserved", ArenaType::ROM)?;
    for (arena, kind, attrs) in [
        (ram, 1, Attrs::ram()),
        (pci, 4, bus()),
        // Nobody knows what it is; it stays as it is.
        (reserved, 2, Attrs::default().with_prot(Prot::RW)),
    ] {
        let mut windows = Vec::new();
        for found in spans.iter().filter(|found| found.kind == kind) {
            let Ok(range) = AddrRange::inclusive(found.start, found.last) else { continue };
            // What is not taken in could be taken for nothing, so nothing may be left out.
            manager.prime(arena, range, attrs)?;
            windows.push((range, range.start()));
        }
        if !windows.is_empty() {
            manager.connect(view, arena, Mapping::windows(windows)?, Metric::new(1))?;
        }
    }
    // Memory may be added where nothing is yet.
    let policy = Policy { unmapped: Unmapped::Keep, ..Policy::default() };
    let driver = Box::new(Mtrr::new(Kernel::new(width, amd), view, policy));
    let driver = manager.register(driver, Subscription::new([Scope::View(view)]))?;
    let setting = Box::new(Setting::new(width, Cap(0)));
    let port = Kernel::new(width, amd);
    Ok(Box::new(Module { manager, port, setting, driver, pci, claims: Vec::new() }))
}

/// What a PCI bus is primed with: nothing is said of caching, so that the registers stay as they are.
fn bus() -> Attrs {
    let device = Attrs::new(Usage::DEVREGS, Prot::RWX, Props::PREFETCH);
    device.unwrap_or_default()
}

/// The errno of an error.
fn code(error: &Error) -> i64 {
    match error {
        Error::Refused { veto, .. } if veto.needed_of.is_some() => ENOSPC,
        Error::Refused { .. } => EBUSY,
        Error::Failed { fault, .. } if fault.reason == CHANGED => EAGAIN,
        Error::Failed { .. } => EIO,
        Error::NoRegion(_) => ENOENT,
        Error::Occupied { .. } => EBUSY,
        _ => EINVAL,
    }
}

/// Carries out one request on a structure that the shim has copied, and checked the version and size of.
///
/// # Safety
/// `arg` is the structure of `op`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_request(op: u32, arg: *mut u8, session: u64) -> i64 {
    let Some(module) = module() else { return EIO };
    match op {
        // SAFETY: the caller's promise, for each structure.
        0 => module.info(unsafe { &mut *arg.cast::<Info>() }),
        1 => module.span(unsafe { &mut *arg.cast::<Span>() }),
        2 => module.region(unsafe { &mut *arg.cast::<Region>() }, session),
        3..=7 => {
            // SAFETY: as above.
            let region = unsafe { &mut *arg.cast::<Region>() };
            let done = match op {
                3 => module.claim(region, session),
                4 => module.set(region, session),
                5 => module.release(region, session),
                7 => module.find(region, session),
                _ => module.plan(region),
            };
            done.map_or_else(|error| explain(region, &error), |()| 0)
        }
        _ => EINVAL,
    }
}

/// Why a request is refused.
enum Refused {
    /// By the manager or the driver.
    Error(Error),
    /// By the module, with an errno.
    Plain(i64, &'static str),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Puts the reason into the structure, and gives the errno.
fn explain(region: &mut Region, refused: &Refused) -> i64 {
    let mut text = String::new();
    let code = match refused {
        Refused::Plain(code, why) => {
            text.push_str(why);
            *code
        }
        Refused::Error(error) => {
            if let Error::Refused { veto, .. } = error
                && let Some((needed, available)) = veto.needed_of
            {
                (region.needed, region.available) = (needed as u32, available as u32);
            }
            // A string takes every text.
            let _ = write!(text, "{error}");
            code(error)
        }
    };
    region.why = [0; ffi::WHY];
    // The last byte stays zero.
    for (to, from) in region.why.iter_mut().take(ffi::WHY - 1).zip(text.bytes()) {
        *to = from;
    }
    code
}

impl Module {
    /// Reads the registers.
    fn read(&mut self) -> Option<&Setting> {
        self.port.read(&mut self.setting).ok()?;
        Some(&self.setting)
    }

    fn info(&mut self, info: &mut Info) -> i64 {
        let Some(setting) = self.read() else { return EIO };
        info.width = u32::from(setting.width.bits());
        info.variable = setting.variable().len() as u32;
        info.arenas = self.manager.state().arenas().count() as u32;
        info.regions = self.claims.len() as u32;
        // SAFETY: plain calls.
        unsafe {
            info.cpus = ffi::pmem_shim_cpus();
            info.most_stack = ffi::pmem_shim_most_stack();
            info.most_memory = ffi::pmem_shim_most_memory();
        }
        let image = self.port.image();
        (info.cap, info.def, info.fixed) = (image.cap, image.def, image.fixed);
        (info.base, info.mask) = (image.base, image.mask);
        0
    }

    fn span(&mut self, span: &mut Span) -> i64 {
        let mut left = span.index;
        for (_, info, arena) in self.manager.state().arenas() {
            for (range, primed) in arena.spans() {
                if left > 0 {
                    left -= 1;
                    continue;
                }
                span.name = [0; 32];
                for (to, from) in span.name.iter_mut().take(31).zip(info.name.bytes()) {
                    *to = from;
                }
                span.kind = u32::from(info.kind.bits());
                (span.start, span.last) = (range.start(), range.last());
                span.prot = u32::from(primed.attrs.prot().bits());
                span.props = u32::from(primed.attrs.props().bits());
                return 0;
            }
        }
        ENOENT
    }

    fn region(&mut self, out: &mut Region, session: u64) -> i64 {
        let Some((owner, id)) = self.claims.get(out.index as usize).copied() else { return ENOENT };
        let (Ok(range), Ok(attrs)) = (self.manager.range(id), self.manager.attrs(id)) else { return EIO };
        out.id = id.to_raw();
        (out.start, out.last) = (range.start(), range.last());
        out.flags = if owner == session { ffi::MINE } else { 0 };
        out.usage = u32::from(attrs.usage().bits());
        out.prot = u32::from(attrs.prot().bits());
        out.props = u32::from(attrs.props().bits());
        0
    }

    /// What is asked for, in the manager's words.
    fn request(region: &Region) -> Result<(AddrRange, Request), Refused> {
        const WRONG: Refused = Refused::Plain(EINVAL, "no range of whole pages");
        let range = AddrRange::inclusive(region.start, region.last).map_err(|_| WRONG)?;
        if region.start & 0xfff != 0 || region.last & 0xfff != 0xfff {
            return Err(WRONG);
        }
        let attrs = attrs(region)?;
        let request = Request::exactly(range).usage(attrs.usage()).prot(attrs.prot()).props(attrs.props());
        Ok((range, request))
    }

    fn claim(&mut self, region: &mut Region, session: u64) -> Result<(), Refused> {
        if self.claims.len() >= MOST_REGIONS {
            return Err(Refused::Plain(ENOSPC, "as many regions are held as the module allows"));
        }
        let (range, request) = Self::request(region)?;
        // Before anything changes: room to note it.
        if self.claims.try_reserve(1).is_err() {
            return Err(Refused::Plain(-12, "no memory"));
        }
        let id = self.manager.alloc(self.pci, &request.owner(Owner(session)))?;
        self.claims.push((session, id));
        region.id = id.to_raw();
        log(&format!("{range} is {}", Self::words(region)));
        Ok(())
    }

    fn words(region: &Region) -> &'static str {
        match attrs(region).ok().and_then(pmem_drivers::mtrr::wish) {
            Some(kind) => MemType::name(kind),
            None => "as it was",
        }
    }

    fn mine(&self, region: &Region, session: u64) -> Result<(usize, RegionId), Refused> {
        let place = self.claims.iter().position(|(_, id)| id.to_raw() == region.id);
        let place = place.ok_or(Refused::Plain(ENOENT, "no such region"))?;
        match self.claims.get(place) {
            Some((owner, id)) if *owner == session => Ok((place, *id)),
            _ => Err(Refused::Plain(EPERM, "another file holds that region")),
        }
    }

    fn find(&mut self, region: &mut Region, session: u64) -> Result<(), Refused> {
        let (_, id) = self.mine(region, session)?;
        let range = self.manager.range(id)?;
        (region.start, region.last) = (range.start(), range.last());
        Ok(())
    }

    fn set(&mut self, region: &mut Region, session: u64) -> Result<(), Refused> {
        let (_, id) = self.mine(region, session)?;
        self.manager.set(id, attrs(region)?)?;
        if let Ok(range) = self.manager.range(id) {
            (region.start, region.last) = (range.start(), range.last());
            log(&format!("{range} is {}", Self::words(region)));
        }
        Ok(())
    }

    fn release(&mut self, region: &mut Region, session: u64) -> Result<(), Refused> {
        let (place, id) = self.mine(region, session)?;
        self.give_back(place, id)
    }

    fn give_back(&mut self, place: usize, id: RegionId) -> Result<(), Refused> {
        let range = self.manager.range(id).ok();
        let released = self.manager.decref(id)?;
        // Zero is final: it is nobody's any more, and what is left to do is tried again with each change.
        self.claims.swap_remove(place);
        if matches!(released, Released::Condemned { .. }) && !self.reclaim() {
            return Err(Refused::Plain(EAGAIN, "it is given back, but its registers could not be changed yet"));
        }
        if let Some(range) = range {
            log(&format!("{range} is released"));
        }
        Ok(())
    }

    fn dump(&mut self) -> Option<String> {
        let mut out = String::new();
        let setting = self.read()?;
        let default = setting.default_kind().map_or("?", MemType::name);
        // A string takes every text.
        let _ = writeln!(out, "default {default}, {} variable registers", setting.variable().len());
        for (span, what) in setting.map() {
            let _ = writeln!(out, "{span} {}", what.kind().map_or("undefined", MemType::name));
        }
        for (owner, id) in &self.claims {
            if let (Ok(range), Ok(attrs)) = (self.manager.range(*id), self.manager.attrs(*id)) {
                let _ = writeln!(out, "region {range} {attrs} of file {owner}");
            }
        }
        Some(out)
    }

    /// Tries a few times to let go of what was given back; whether all of it is gone. What the registers changed to meanwhile is read
    /// again each time.
    fn reclaim(&mut self) -> bool {
        (0..8).any(|_| self.manager.reclaim().is_empty())
    }

    fn plan(&mut self, region: &mut Region) -> Result<(), Refused> {
        let (_, request) = Self::request(region)?;
        let pci = self.pci;
        self.manager.rehearse(|plan| plan.alloc(pci, &request))?;
        let setting = self.read().ok_or(Refused::Plain(EIO, "processors differ"))?;
        region.available = setting.variable().len() as u32;
        Ok(())
    }
}

/// The attributes in a structure; bits that nobody knows are refused.
fn attrs(region: &Region) -> Result<Attrs, Refused> {
    const WRONG: Refused = Refused::Plain(EINVAL, "no such usage, protection or properties");
    let byte = |bits: u32| u8::try_from(bits).map_err(|_| WRONG);
    let usage = Usage::from_bits(byte(region.usage)?).ok_or(WRONG)?;
    let prot = Prot::from_bits(byte(region.prot)?).ok_or(WRONG)?;
    let props = Props::from_bits(byte(region.props)?).ok_or(WRONG)?;
    Attrs::new(usage, prot, props | Props::PREFETCH).map_err(|_| Refused::Plain(EINVAL, "two caching modes"))
}

/// Writes what there is as a text; gives its length.
///
/// # Safety
/// `text` is `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_dump(text: *mut u8, len: u64) -> i64 {
    let Some(module) = module() else { return EIO };
    let Some(out) = module.dump() else { return EIO };
    let fits = out.len().min(len as usize);
    // SAFETY: `fits` bytes of a string of ours, into as many of the caller's.
    unsafe { core::ptr::copy_nonoverlapping(out.as_ptr(), text, fits) };
    fits as i64
}

/// Gives back what a file held.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_close(session: u64) -> i64 {
    let Some(module) = module() else { return EIO };
    let mut result = 0;
    while let Some(place) = module.claims.iter().position(|(owner, _)| *owner == session) {
        let Some((_, id)) = module.claims.get(place).copied() else { break };
        if module.give_back(place, id).is_err() {
            // Should it not even have been let go of: it is not looked at again.
            module.claims.retain(|(_, other)| *other != id);
            result = EBUSY;
            log("a region is given back, but its registers could not be changed yet");
        }
    }
    result
}

/// Programs everything again.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_resync() -> i64 {
    let Some(module) = module() else { return EIO };
    module.manager.resync(module.driver).map_or_else(|error| code(&error), |()| 0)
}

/// Gives everything back.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_stop() -> i64 {
    let held: Vec<u64> = module().iter().flat_map(|module| module.claims.iter().map(|(owner, _)| *owner)).collect();
    let result = held.into_iter().fold(0, |worst, owner| pmem_arena_close(owner).min(worst));
    if let Some(module) = module()
        && !module.reclaim()
    {
        log("some registers could not be given back: they stay");
    }
    *module() = None;
    result
}
