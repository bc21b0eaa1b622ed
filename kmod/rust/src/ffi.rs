//! The C half's functions, as `library.h` has them.

use pmem_arena_abi::{Difference, Image};

unsafe extern "C" {
    pub fn pmem_kernel_alloc(size: u64, align: u64) -> *mut u8;
    pub fn pmem_kernel_free(at: *mut u8, size: u64);
    pub fn pmem_kernel_panic(text: *const u8, len: u64);
    pub fn pmem_kernel_log(text: *const u8, len: u64);
    pub fn pmem_kernel_read(image: *mut Image) -> i64;
    pub fn pmem_kernel_program(from: *const Image, to: *const Image) -> i64;
    pub fn pmem_kernel_refused(difference: *mut Difference);
    pub fn pmem_kernel_told(session: u64, ended: u32);
    pub fn pmem_kernel_bar(device: u64, start: u64, last: u64) -> u32;
}

/// Tells people.
pub fn log(text: &str) {
    // SAFETY: the C half reads `len` bytes, and keeps no pointer.
    unsafe { pmem_kernel_log(text.as_ptr(), text.len() as u64) }
}

/// What has become of the BAR that a claim is over: 0 if it is where it was.
pub fn bar(device: u64, start: u64, last: u64) -> u32 {
    // SAFETY: a plain call.
    unsafe { pmem_kernel_bar(device, start, last) }
}

/// Tells a file how many of its claims have ended.
pub fn told(session: u64, ended: u32) {
    // SAFETY: a plain call.
    unsafe { pmem_kernel_told(session, ended) }
}

/// The register that was last refused.
pub fn last_refused() -> Difference {
    let mut found = Difference { msr: 0, cpu: 0, here: 0, there: 0 };
    // SAFETY: the C half writes one structure, and keeps no pointer.
    unsafe { pmem_kernel_refused(&raw mut found) };
    found
}
