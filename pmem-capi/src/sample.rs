//! Segments behind the C interface, for benchmarks: a host made here, and the calls to measure.

use crate::physseg::{
    Host, uvm_physseg_bind, uvm_physseg_find, uvm_physseg_get_pg, uvm_physseg_init, uvm_physseg_init_seg,
    uvm_physseg_plug, uvm_physseg_unplug,
};
use std::alloc::Layout;
use std::ffi::{c_int, c_ulong, c_void};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

static ONE: Mutex<()> = Mutex::new(());
static mut NPAGES: c_int = 0;
static mut PAGE_INIT_DONE: bool = false;
static mut PHYSMEM: c_ulong = 0;

/// The page frame of the one segment plugged at boot, far from all others.
const BOOT: usize = 1 << 40;

/// A host whose pages nobody hands out. Only one exists at a time.
pub struct Sample {
    /// The first page frame of each segment.
    plugged: Vec<u64>,
    pages: u64,
    _one: MutexGuard<'static, ()>,
}

extern "C" fn pagefree(_: *mut c_void) {}

extern "C" fn reinit() {}

extern "C" fn alloc(bytes: usize) -> *mut c_void {
    match Layout::from_size_align(bytes, 16) {
        // SAFETY: the layout is not empty, because `bytes` is not 0.
        Ok(layout) if bytes > 0 => unsafe { std::alloc::alloc(layout).cast() },
        _ => ptr::null_mut(),
    }
}

/// # Safety
/// `at` came from [`alloc`] with this size.
unsafe extern "C" fn free(at: *mut c_void, bytes: usize) {
    if let Ok(layout) = Layout::from_size_align(bytes, 16) {
        // SAFETY: the caller guarantees that `at` came from `alloc` with this size.
        unsafe { std::alloc::dealloc(at.cast(), layout) };
    }
}

impl Sample {
    /// Plugs segments of `pages` pages each at these page frames, while the page allocator is running.
    ///
    /// # Panics
    /// If the host or a segment is refused: samples are for tests and benchmarks.
    pub fn new(starts: impl Iterator<Item = u64>, pages: u64) -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let host = Host::sample(
            &raw mut NPAGES,
            &raw mut PAGE_INIT_DONE,
            &raw mut PHYSMEM,
            alloc,
            free,
            pagefree,
            reinit,
        );
        // SAFETY: everything the host consists of lives for good, and the lock says that nobody else uses it. The
        // segment is new, and gets memory for its one page, which stays.
        unsafe {
            PAGE_INIT_DONE = false;
            uvm_physseg_bind(&host);
            uvm_physseg_init();
            let mut boot = ptr::null_mut();
            assert!(uvm_physseg_plug(BOOT, 1, &mut boot), "nothing is there");
            uvm_physseg_init_seg(boot, vec![0u64; Host::SAMPLE_PAGE / 8].leak().as_mut_ptr().cast());
            PAGE_INIT_DONE = true;
        }
        let sample = Self { plugged: starts.collect(), pages, _one: one };
        sample.plugged.iter().for_each(|start| assert!(sample.plug(*start, pages), "nothing is there"));
        sample
    }

    /// `uvm_physseg_find`: returns the index of a page frame in its segment.
    #[inline]
    #[must_use]
    pub fn find(&self, frame: u64) -> Option<u64> {
        let mut offset = 0;
        // SAFETY: `offset` is valid for writes.
        let found = unsafe { uvm_physseg_find(frame as usize, &mut offset) };
        (!found.is_null()).then_some(offset as u64)
    }

    /// `uvm_physseg_find` and `uvm_physseg_get_pg`: returns the address of a page frame's page.
    #[inline]
    #[must_use]
    pub fn page(&self, frame: u64) -> Option<usize> {
        let mut offset = 0;
        // SAFETY: `offset` is valid for writes, and the segment that was found has that page.
        unsafe {
            let found = uvm_physseg_find(frame as usize, &mut offset);
            (!found.is_null()).then(|| uvm_physseg_get_pg(found, offset).addr())
        }
    }

    /// `uvm_physseg_plug`.
    #[must_use]
    pub fn plug(&self, start: u64, pages: u64) -> bool {
        // SAFETY: a null pointer means that no handle is written.
        unsafe { uvm_physseg_plug(start as usize, pages as usize, ptr::null_mut()) }
    }

    /// `uvm_physseg_unplug`.
    #[must_use]
    pub fn unplug(&self, start: u64, pages: u64) -> bool {
        // SAFETY: nobody uses the pages.
        unsafe { uvm_physseg_unplug(start as usize, pages as usize) }
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        for start in &self.plugged {
            // A segment that was cut in the middle is in two parts now.
            if !self.unplug(*start, self.pages) {
                for frame in *start..*start + self.pages {
                    let _ = self.unplug(frame, 1);
                }
            }
        }
    }
}
