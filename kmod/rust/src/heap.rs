//! Memory, and the end of the thread.

use crate::ffi;
use core::alloc::{GlobalAlloc, Layout};
use core::fmt::{self, Write};
use core::panic::PanicInfo;

struct Kernel;

#[global_allocator]
static HEAP: Kernel = Kernel;

// SAFETY: the C half gives memory of at least the size and alignment asked for, or null, and takes back what it gave.
unsafe impl GlobalAlloc for Kernel {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: a plain call; the C half accepts every size and alignment.
        unsafe { ffi::pmem_kernel_alloc(layout.size() as u64, layout.align() as u64) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller gives back what `alloc` gave, with the same layout.
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
    // SAFETY: the text lives until the thread ends, which is in this call.
    unsafe { ffi::pmem_kernel_panic(text.bytes.as_ptr(), text.len as u64) };
    // SAFETY: it is never reached, for that does not return. objtool, which walks every way through the code, need not know it.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}

/// A text without a heap: there may be no memory.
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
