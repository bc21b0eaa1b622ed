//! The kernel module's pure C code, over simulated processors that record what they execute. Each processor is a
//! thread with its own registers.
//!
//! A processor checks each instruction itself. It records those that are illegal at that moment in
//! [`Cpu::violations`].

pub mod bridge;

use pmem_arena_abi::{Difference, Image};
use pmem_mtrr::Width;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_ulong};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `IA32_MTRR_DEF_TYPE`.
pub const DEF: u32 = 0x2ff;
/// The enable bit (E) of DEF_TYPE, and the valid bit (V) of each mask register.
pub const ON: u64 = 1 << 11;
/// The bit CD of CR0, which disables caches.
pub const CD: u64 = 1 << 30;
/// The bit NW of CR0.
pub const NW: u64 = 1 << 29;
/// The bit PGE of CR4, which enables global pages.
pub const PGE: u64 = 1 << 7;

/// An instruction that a processor executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// RDMSR, with the register.
    Read(u32),
    /// WRMSR, with the register, the value, and whether the processor accepted it.
    Write(u32, u64, bool),
    /// MOV to CR0, with the value.
    Cr0(u64),
    /// MOV to CR4, with the value.
    Cr4(u64),
    /// CR3 is written with its own value.
    Cr3,
    /// WBINVD.
    Wbinvd,
}

/// A simulated processor.
#[derive(Clone, Debug, Default)]
pub struct Cpu {
    /// The model-specific registers that exist, with their values.
    pub msrs: BTreeMap<u32, u64>,
    /// The value of CR0.
    pub cr0: u64,
    /// The value of CR4.
    pub cr4: u64,
    /// The executed instructions, each with its time on a clock that all processors share.
    pub trace: Vec<(u64, Op)>,
    /// The indices of MSR writes that the processor refuses, from 0.
    pub refuses: Vec<usize>,
    /// The indices of MSR writes that the processor accepts without changing the register.
    pub ignores: Vec<usize>,
    /// The number of MSR writes so far.
    pub writes: usize,
    /// The instructions that were illegal at their time, in words.
    pub violations: Vec<String>,
}

static CLOCK: AtomicU64 = AtomicU64::new(0);

/// Advances the clock that all processors share, and returns the time.
pub fn tick() -> u64 {
    CLOCK.fetch_add(1, Ordering::SeqCst)
}

thread_local! {
    static HERE: RefCell<Cpu> = RefCell::default();
}

/// Does some work as a processor. Returns the processor afterwards, with the result.
pub fn on<T>(cpu: Cpu, work: impl FnOnce() -> T) -> (Cpu, T) {
    HERE.set(cpu);
    let done = work();
    (HERE.take(), done)
}

impl Cpu {
    /// Creates a processor with `variable` variable registers, all disabled, and with MTRRs and caches enabled.
    #[must_use]
    pub fn new(variable: u32) -> Self {
        let mut msrs = BTreeMap::from([(0xfe, 0x500 | u64::from(variable)), (DEF, 0xc06)]);
        msrs.extend(FIXED.map(|msr| (msr, 0x0606_0606_0606_0606)));
        msrs.extend((0..2 * variable).map(|n| (0x200 + n, 0)));
        Self { msrs, cr0: 0x8005_0033, cr4: PGE | 0x20, ..Self::default() }
    }

    fn tell(&mut self, op: Op) {
        self.trace.push((tick(), op));
    }

    fn writes_msr(&mut self, msr: u32, value: u64) -> bool {
        let taken = !self.refuses.contains(&self.writes);
        let ignored = self.ignores.contains(&self.writes);
        self.writes += 1;
        self.tell(Op::Write(msr, value, taken));
        if self.cr0 & CD == 0 || self.cr0 & NW != 0 {
            self.violations.push(format!("{msr:#x} is written with caches on"));
        }
        if self.cr4 & PGE != 0 {
            self.violations.push(format!("{msr:#x} is written with global pages on"));
        }
        if msr != DEF && self.msrs.get(&DEF).is_some_and(|def| def & ON != 0) && self.refuses.is_empty() {
            self.violations.push(format!("{msr:#x} is written with MTRRs on"));
        }
        let is_base = (0x200..0x250).contains(&msr) && msr.is_multiple_of(2);
        if is_base && self.msrs.get(&(msr + 1)).is_some_and(|mask| mask & ON != 0) && self.refuses.is_empty()
        {
            self.violations.push(format!("{msr:#x} is written while its register is on"));
        }
        match self.msrs.get_mut(&msr) {
            Some(register) if taken => {
                *register = if ignored { *register } else { value };
                true
            }
            _ => false,
        }
    }

    /// Returns the executed instructions without reads.
    #[must_use]
    pub fn told(&self) -> Vec<Op> {
        self.trace.iter().map(|(_, op)| *op).filter(|op| !matches!(op, Op::Read(_))).collect()
    }
}

/// The fixed-range registers.
pub const FIXED: [u32; 11] = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];

fn here<T>(work: impl FnOnce(&mut Cpu) -> T) -> T {
    HERE.with_borrow_mut(work)
}

/// The C code's RDMSR.
///
/// # Safety
/// `value` must be writable.
#[unsafe(no_mangle)]
unsafe extern "C" fn msr_read(msr: u32, value: *mut u64) -> c_int {
    let found = here(|cpu| {
        cpu.tell(Op::Read(msr));
        cpu.msrs.get(&msr).copied()
    });
    let Some(found) = found else { return -5 };
    // SAFETY: the caller guarantees it.
    unsafe { value.write(found) };
    0
}

#[unsafe(no_mangle)]
extern "C" fn msr_write(msr: u32, value: u64) -> c_int {
    if here(|cpu| cpu.writes_msr(msr, value)) { 0 } else { -5 }
}

#[unsafe(no_mangle)]
extern "C" fn cr0_get() -> c_ulong {
    here(|cpu| cpu.cr0)
}

#[unsafe(no_mangle)]
extern "C" fn cr0_set(value: c_ulong) {
    here(|cpu| {
        cpu.tell(Op::Cr0(value));
        cpu.cr0 = value;
    });
}

#[unsafe(no_mangle)]
extern "C" fn cr4_get() -> c_ulong {
    here(|cpu| cpu.cr4)
}

#[unsafe(no_mangle)]
extern "C" fn cr4_set(value: c_ulong) {
    here(|cpu| {
        cpu.tell(Op::Cr4(value));
        cpu.cr4 = value;
    });
}

#[unsafe(no_mangle)]
extern "C" fn cr3_reload() {
    here(|cpu| cpu.tell(Op::Cr3));
}

#[unsafe(no_mangle)]
extern "C" fn wbinvd_here() {
    here(|cpu| cpu.tell(Op::Wbinvd));
}

#[unsafe(no_mangle)]
extern "C" fn cpu_relax() {
    std::thread::yield_now();
}

/// The library's rule for equal registers, as the kernel's C code calls it.
///
/// # Safety
/// `here` and `there` must point to images, and `difference` must be writable.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmem_arena_differ(
    here: *const Image,
    there: *const Image,
    width: u32,
    difference: *mut Difference,
) -> c_int {
    let width = u8::try_from(width).ok().and_then(Width::new).unwrap_or(Width::DEFAULT);
    // SAFETY: the caller guarantees it.
    let found = unsafe { (*here).difference(&*there, width) };
    let Some(found) = found else { return 0 };
    // SAFETY: the caller guarantees it.
    unsafe { difference.write(found) };
    1
}

/// C's `struct shape`: which registers processors have.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The number of variable registers.
    pub variable: u32,
    /// The width of physical addresses in bits.
    pub width: u32,
    /// Whether there are AMD's registers.
    pub is_amd: bool,
}

/// C's `struct meeting`: what processors share in a rendezvous.
#[repr(C)]
#[derive(Debug)]
pub struct Meeting {
    from: *const Image,
    to: *const Image,
    counts: [c_int; 5],
}

// SAFETY: threads share it as the kernel's processors do, through C's atomics. The images are only read.
unsafe impl Sync for Meeting {}

/// C's `struct place`: what a rendezvous stores for each processor.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What the processor holds.
    pub here: Image,
    /// How it differed when it arrived.
    pub differed: Difference,
    /// What it refused.
    pub refused: Difference,
}

impl Place {
    /// An empty place.
    pub const BLANK: Self = Self { here: Image::BLANK, differed: NONE, refused: NONE };
}

/// No difference.
pub const NONE: Difference = Difference { msr: 0, cpu: 0, here: 0, there: 0 };

/// C's `struct written`: what the module has written.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Written {
    variable: u64,
    fixed: u32,
    def: bool,
    former: Image,
    value: Image,
    /// What the registers held when the module was loaded.
    pub load: Image,
}

impl Written {
    /// Nothing written yet.
    pub const BLANK: Self = Self {
        variable: 0,
        fixed: 0,
        def: false,
        former: Image::BLANK,
        value: Image::BLANK,
        load: Image::BLANK,
    };

    /// Records a change.
    pub fn note(&mut self, from: &Image, to: &Image) {
        // SAFETY: all three structures are valid references.
        unsafe { written_note(self, from, to) }
    }

    /// Returns the registers to write in order to give everything back; `None` if nothing needs to be written.
    #[must_use]
    pub fn back(&self, now: &Image) -> Option<Image> {
        let mut to = Image::BLANK;
        // SAFETY: all three structures are valid references.
        unsafe { written_back(self, now, &raw mut to) }.then_some(to)
    }
}

unsafe extern "C" {
    static mut shape: Shape;
    static meeting_size: u64;
    static place_size: u64;
    static written_size: u64;
    static shape_size: u64;

    fn registers_read(image: *mut Image) -> u32;
    fn registers_write(now: *const Image, to: *const Image) -> u32;
    fn written_note(written: *mut Written, from: *const Image, to: *const Image);
    fn written_back(written: *const Written, now: *const Image, to: *mut Image) -> bool;
    fn meeting_begin(meeting: *mut Meeting, from: *const Image, to: *const Image);
    fn meet(meeting: *mut Meeting, place: *mut Place, cpu: u32, count: c_int, is_first: bool);
    fn meeting_result(meeting: *const Meeting) -> c_int;
}

/// Returns the sizes of the shared structures, in Rust and in C.
#[must_use]
pub fn sizes() -> [(usize, u64); 4] {
    // SAFETY: these are constants.
    unsafe {
        [
            (size_of::<Meeting>(), meeting_size),
            (size_of::<Place>(), place_size),
            (size_of::<Written>(), written_size),
            (size_of::<Shape>(), shape_size),
        ]
    }
}

/// Sets which registers exist, until the guard is dropped. Tests run in parallel, so this takes a lock.
pub fn shaped(new: Shape) -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    let guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: everything that calls C holds the lock.
    unsafe { shape = new };
    guard
}

/// Reads the current processor's registers with the C code. Returns its result with the image.
#[must_use]
pub fn read() -> (u32, Image) {
    let mut image = Image::BLANK;
    // SAFETY: the structure is local.
    (unsafe { registers_read(&raw mut image) }, image)
}

/// Writes the current processor's registers with the C code, and returns its result.
#[must_use]
pub fn write(now: &Image, to: &Image) -> u32 {
    // SAFETY: both structures are valid references.
    unsafe { registers_write(now, to) }
}

/// The result of a rendezvous.
#[derive(Debug)]
pub struct Met {
    /// 0 or a negative errno.
    pub result: c_int,
    /// The processors, with their places.
    pub cpus: Vec<(Cpu, Place)>,
    /// The time when each processor left.
    pub left: Vec<u64>,
}

/// Runs a rendezvous, with a thread for each processor. The first processor is the boot processor if `has_first`.
pub fn rendezvous(cpus: Vec<Cpu>, from: Option<&Image>, to: &Image, has_first: bool) -> Met {
    let mut meeting = Meeting { from: std::ptr::null(), to: std::ptr::null(), counts: [0; 5] };
    let from = from.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the structure is local, and the images outlive it.
    unsafe { meeting_begin(&raw mut meeting, from, to) };
    let count = cpus.len();
    let shared = &meeting;
    let done: Vec<(Cpu, Place, u64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(cpus)
            .map(|(n, cpu)| {
                scope.spawn(move || {
                    let mut place = Place::BLANK;
                    let at = std::ptr::from_ref(shared).cast_mut();
                    let first = has_first && n == 0;
                    // SAFETY: the meeting outlives the threads, and only atomics change it. The place belongs to
                    // this thread.
                    let work = || unsafe { meet(at, &raw mut place, n, count as c_int, first) };
                    let (cpu, ()) = on(cpu, work);
                    (cpu, place, tick())
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    // SAFETY: the structure is local.
    let result = unsafe { meeting_result(&raw const meeting) };
    let left = done.iter().map(|(.., at)| *at).collect();
    Met { result, cpus: done.into_iter().map(|(cpu, place, _)| (cpu, place)).collect(), left }
}
