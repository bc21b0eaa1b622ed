//! The driver's door to the registers.

use crate::ffi::{self, Image};
use alloc::boxed::Box;
use pmem_core::Fault;
use pmem_drivers::mtrr::{Amd, Cap, DefType, Fixed, Port, Setting, Syscfg, Variable, Width};

/// The processors of this machine.
pub struct Kernel {
    width: Width,
    amd: bool,
    /// What the shim reads and is given: not on the stack, and there before it is needed.
    from: Box<Image>,
    to: Box<Image>,
}

impl Kernel {
    pub fn new(width: Width, amd: bool) -> Self {
        let blank = || Box::new(Image::BLANK);
        Self { width, amd, from: blank(), to: blank() }
    }

    /// What the shim has just read, for whoever asks.
    pub fn image(&self) -> &Image {
        &self.from
    }
}

fn fill(image: &mut Image, setting: &Setting) {
    let amd = setting.amd.unwrap_or_default();
    (image.cap, image.def, image.fixed) = (setting.cap.0, setting.def.0, setting.fixed.0);
    (image.syscfg, image.top_mem, image.top_mem2) = (amd.syscfg.0, amd.top_mem, amd.top_mem2);
    let registers = image.base.iter_mut().zip(image.mask.iter_mut());
    for (variable, (base, mask)) in setting.variable().iter().zip(registers) {
        (*base, *mask) = (variable.base, variable.mask);
    }
}

impl Port for Kernel {
    fn read(&mut self, into: &mut Setting) -> Result<(), Fault> {
        // SAFETY: the shim writes one image, and keeps no pointer to it.
        if unsafe { ffi::pmem_shim_read(&raw mut *self.from) } != 0 {
            return Err(Fault::new("processors differ in their MTRRs"));
        }
        let image = &*self.from;
        into.width = self.width;
        (into.cap, into.def, into.fixed) = (Cap(image.cap), DefType(image.def), Fixed(image.fixed));
        for (slot, (base, mask)) in into.variable_mut().iter_mut().zip(image.base.iter().zip(&image.mask)) {
            *slot = Variable { base: *base, mask: *mask };
        }
        into.amd = self.amd.then_some(Amd {
            syscfg: Syscfg(image.syscfg),
            top_mem: image.top_mem,
            top_mem2: image.top_mem2,
        });
        Ok(())
    }

    fn program(&mut self, from: &Setting, to: &Setting) -> Result<(), Fault> {
        fill(&mut self.from, from);
        fill(&mut self.to, to);
        // SAFETY: the shim reads two images, and keeps no pointer to them.
        match unsafe { ffi::pmem_shim_program(&raw const *self.from, &raw const *self.to) } {
            0 => Ok(()),
            -11 => Err(Fault::new(CHANGED)),
            -6 => Err(Fault::new("a processor took neither the new registers nor the old ones again")),
            _ => Err(Fault::new("a processor did not take the registers, and all were put back")),
        }
    }
}

/// What a change between plan and rendezvous is called; the module answers EAGAIN then.
pub const CHANGED: &str = "registers have changed meanwhile";
