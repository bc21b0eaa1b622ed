//! The driver's port to the registers.

use crate::ffi;
use alloc::boxed::Box;
use pmem_arena_abi::Image;
use pmem_core::Fault;
use pmem_drivers::mtrr::{CHANGED, Port, Setting, Width};

/// The processors of this machine.
pub struct Kernel {
    width: Width,
    /// The images that the C half reads and writes. They are allocated beforehand and not on the stack, which is
    /// small.
    from: Box<Image>,
    to: Box<Image>,
}

impl Kernel {
    pub fn new(width: Width) -> Self {
        let blank = || Box::new(Image::BLANK);
        Self { width, from: blank(), to: blank() }
    }
}

impl Port for Kernel {
    fn read(&mut self, into: &mut Setting) -> Result<(), Fault> {
        // SAFETY: the C half writes one image, and keeps no pointer to it.
        match unsafe { ffi::pmem_kernel_read(&raw mut *self.from) } {
            0 => {}
            -6 => return Err(Fault::new(BROKEN)),
            _ => return Err(Fault::new(UNREADABLE)),
        }
        self.from.put(self.width, into);
        Ok(())
    }

    fn program(&mut self, from: &Setting, to: &Setting) -> Result<(), Fault> {
        self.from.take(from);
        self.to.take(to);
        // SAFETY: the C half reads two images, and keeps no pointer to them.
        match unsafe { ffi::pmem_kernel_program(&raw const *self.from, &raw const *self.to) } {
            0 => Ok(()),
            -11 => Err(Fault::new(CHANGED)),
            -6 => Err(Fault::new("a processor accepted neither the new registers nor the old ones")),
            _ => Err(Fault::new("a processor did not accept the registers; all were restored")),
        }
    }
}

/// The reason of a fault while the boot processor holds neither the new registers nor the old ones, until it holds
/// the old ones again.
pub const BROKEN: &str =
    "the boot processor refused register values; the module keeps restoring the old ones";

/// The reason of a fault when a register cannot be read.
pub const UNREADABLE: &str = "a register cannot be read";
