//! The C half's functions, as declared in `library.h`.

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

/// Writes a line to the kernel log.
pub fn log(text: &str) {
    // SAFETY: the C half reads `len` bytes, and keeps no pointer.
    unsafe { pmem_kernel_log(text.as_ptr(), text.len() as u64) }
}

/// Returns what happened to the BAR under a claim, as a [`pmem_arena_abi::state`]; 0 if it is where it was.
pub fn bar(device: u64, start: u64, last: u64) -> u32 {
    // SAFETY: the call has no preconditions.
    unsafe { pmem_kernel_bar(device, start, last) }
}

/// Tells a file how many of its claims have ended.
pub fn told(session: u64, ended: u32) {
    // SAFETY: the call has no preconditions.
    unsafe { pmem_kernel_told(session, ended) }
}

/// Returns the register that was refused last.
pub fn last_refused() -> Difference {
    let mut found = Difference { msr: 0, cpu: 0, here: 0, there: 0 };
    // SAFETY: the C half writes one structure, and keeps no pointer.
    unsafe { pmem_kernel_refused(&raw mut found) };
    found
}
