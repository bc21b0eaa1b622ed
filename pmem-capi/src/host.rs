//! Services that only the kernel can provide for its pages.

use pmem_uvm::{Host, NodeCounters, Uvmexp};
use std::ffi::{c_int, c_uint};
use std::sync::{Mutex, PoisonError};

/// An address in bytes.
type Paddr = usize;

/// `struct uvm_page_host`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct PageHost {
    pub(crate) zero: Option<unsafe extern "C" fn(Paddr)>,
    pub(crate) wake_pagedaemon: Option<unsafe extern "C" fn()>,
    pub(crate) is_pagedaemon: Option<unsafe extern "C" fn() -> bool>,
    pub(crate) wait_ms: c_uint,
    pub(crate) ncolors: c_int,
    pub(crate) nfreelist: c_int,
    pub(crate) node: Option<unsafe extern "C" fn() -> c_uint>,
}

pub(crate) static HOST: Mutex<Option<PageHost>> = Mutex::new(None);

/// Returns the bound host, if any.
pub(crate) fn host() -> Option<PageHost> {
    *HOST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The host's callbacks, as the manager's [`Host`]. The number is the page shift.
pub(crate) struct CHost(pub(crate) u32);

impl Host for CHost {
    fn zero(&mut self, frame: u64) -> bool {
        let Some(zero) = host().and_then(|host| host.zero) else { return false };
        // SAFETY: the host was bound with callbacks that meet the header's terms. Nobody else has the page at this
        // moment.
        unsafe { zero((frame << self.0) as Paddr) };
        true
    }

    fn wake_pagedaemon_of(&mut self, _: u32, _: &NodeCounters) {
        self.wake();
    }

    fn wake_pagedaemon(&mut self, _: &Uvmexp) {
        self.wake();
    }
}

impl CHost {
    fn wake(&self) {
        if let Some(wake) = host().and_then(|host| host.wake_pagedaemon) {
            // SAFETY: the host was bound with callbacks that meet the header's terms.
            unsafe { wake() };
        }
    }
}
