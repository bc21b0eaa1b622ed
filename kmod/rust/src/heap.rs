//! The allocator and the panic handler.

use crate::ffi;
use core::alloc::{GlobalAlloc, Layout};
use core::fmt::{self, Write};
use core::panic::PanicInfo;

struct Kernel;

#[global_allocator]
static HEAP: Kernel = Kernel;

// SAFETY: the C half returns memory of at least the requested size and alignment, or null, and takes back what it
// returned.
unsafe impl GlobalAlloc for Kernel {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the call has no preconditions; the C half accepts every size and alignment.
        unsafe { ffi::pmem_kernel_alloc(layout.size() as u64, layout.align() as u64) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller returns memory from `alloc`, with the same layout.
        unsafe { ffi::pmem_kernel_free(at, layout.size() as u64) }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut text = Line { bytes: [0; 120], len: 0 };
    // A text that is too long is cut.
    let _ = match info.location() {
        Some(place) => write!(text, "{}:{}", place.file(), place.line()),
        None => text.write_str("an unknown place"),
    };
    // SAFETY: the text lives until the thread ends, which happens in this call.
    unsafe { ffi::pmem_kernel_panic(text.bytes.as_ptr(), text.len as u64) };
    // SAFETY: never reached, because the call above does not return. objtool checks every path through the code,
    // and does not know that.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}

/// A text in a fixed buffer, since there may be no memory for a heap.
struct Line {
    bytes: [u8; 120],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (to, from) in self.bytes.iter_mut().skip(self.len).zip(text.bytes()) {
            *to = from;
            self.len += 1;
        }
        Ok(())
    }
}
