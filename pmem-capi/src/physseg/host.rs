//! What the embedding kernel owns.

use std::ffi::{CStr, c_char, c_int, c_ulong, c_void};

/// `struct uvm_physseg_host`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Host {
    pub(super) vm_page_size: usize,
    pub(super) vm_page_phys_addr: usize,
    pub(super) pmseg_size: usize,
    pub(super) physseg_max: c_int,
    pub(super) nfreelist: c_int,
    pub(super) page_shift: c_int,
    npages: *mut c_int,
    page_init_done: *mut bool,
    physmem: *mut c_ulong,
    panic: Option<unsafe extern "C" fn(*const c_char, ...)>,
    pagefree: unsafe extern "C" fn(*mut c_void),
    pdpol_reinit: unsafe extern "C" fn(),
    alloc: unsafe extern "C" fn(usize) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void, usize),
}

// SAFETY: these are addresses and functions of the embedding kernel, which binds them for every thread that calls.
// Serialising the calls is up to the kernel.
unsafe impl Send for Host {}

// SAFETY of the blocks below: `uvm_physseg_bind` asks its caller for a host whose members are what the header says
// for as long as it is bound. The counters are the kernel's, and serialising the calls is up to the kernel.
impl Host {
    /// The size of a sample's pages, as in NetBSD.
    #[cfg(feature = "sample")]
    pub(crate) const SAMPLE_PAGE: usize = 96;

    /// Makes a host whose nodes have no room for a pmap's data.
    #[cfg(feature = "sample")]
    pub(crate) fn sample(
        npages: *mut c_int,
        page_init_done: *mut bool,
        physmem: *mut c_ulong,
        alloc: unsafe extern "C" fn(usize) -> *mut c_void,
        free: unsafe extern "C" fn(*mut c_void, usize),
        pagefree: unsafe extern "C" fn(*mut c_void),
        pdpol_reinit: unsafe extern "C" fn(),
    ) -> Self {
        let (vm_page_size, vm_page_phys_addr, pmseg_size) = (Self::SAMPLE_PAGE, 24, 0);
        let (physseg_max, nfreelist, page_shift) = (32, 4, 12);
        Self {
            vm_page_size,
            vm_page_phys_addr,
            pmseg_size,
            physseg_max,
            nfreelist,
            page_shift,
            npages,
            page_init_done,
            physmem,
            panic: None,
            pagefree,
            pdpol_reinit,
            alloc,
            free,
        }
    }

    pub(super) fn page_init_done(&self) -> bool {
        // SAFETY: see above.
        unsafe { self.page_init_done.read_volatile() }
    }

    pub(super) fn add_npages(&self, pages: usize) {
        // SAFETY: see above.
        unsafe { *self.npages += pages as c_int };
    }

    pub(super) fn sub_npages(&self, pages: usize) {
        // SAFETY: see above.
        unsafe { *self.npages -= pages as c_int };
    }

    pub(super) fn add_physmem(&self, pages: usize) {
        // SAFETY: see above.
        unsafe { *self.physmem += pages as c_ulong };
    }

    pub(super) fn sub_physmem(&self, pages: usize) {
        // SAFETY: see above.
        unsafe { *self.physmem = (*self.physmem).saturating_sub(pages as c_ulong) };
    }

    pub(super) fn pagefree(&self, page: *mut c_void) {
        // SAFETY: see above. The page belongs to a segment.
        unsafe { (self.pagefree)(page) };
    }

    pub(super) fn pdpol_reinit(&self) {
        // SAFETY: see above.
        unsafe { (self.pdpol_reinit)() };
    }

    /// Allocates zeroed memory; null if there is none.
    pub(super) fn alloc_zeroed(&self, bytes: usize) -> *mut c_void {
        // SAFETY: see above. What `alloc` returns has `bytes` bytes.
        unsafe {
            let at = (self.alloc)(bytes);
            if !at.is_null() {
                at.cast::<u8>().write_bytes(0, bytes);
            }
            at
        }
    }

    pub(super) fn free(&self, at: *mut c_void, bytes: usize) {
        // SAFETY: see above. The memory came from `alloc` with this size.
        unsafe { (self.free)(at, bytes) };
    }

    pub(super) fn panic(&self, message: &CStr) -> ! {
        if let Some(panic) = self.panic {
            // SAFETY: see above. The message is an argument, not the format, so a `%` in it does no harm.
            unsafe { panic(c"%s".as_ptr(), message.as_ptr()) };
        }
        std::process::abort()
    }
}
