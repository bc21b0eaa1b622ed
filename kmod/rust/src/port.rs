//! The driver's door to the registers.

use crate::ffi::{self, Image};
use pmem_core::Fault;
use pmem_drivers::mtrr::{Amd, Cap, DefType, Fixed, Port, Setting, Syscfg, Variable, Width};

/// The processors of this machine.
#[derive(Clone, Copy)]
pub struct Kernel {
    pub width: Width,
    pub amd: bool,
}

impl Kernel {
    fn setting(self, image: &Image) -> Setting {
        let mut setting = Setting::new(self.width, Cap(image.cap));
        setting.def = DefType(image.def);
        setting.fixed = Fixed(image.fixed);
        for (slot, (base, mask)) in setting.variable_mut().iter_mut().zip(image.base.iter().zip(&image.mask)) {
            *slot = Variable { base: *base, mask: *mask };
        }
        if self.amd {
            setting.amd =
                Some(Amd { syscfg: Syscfg(image.syscfg), top_mem: image.top_mem, top_mem2: image.top_mem2 });
        }
        setting
    }
}

pub fn image(setting: &Setting) -> Image {
    let amd = setting.amd.unwrap_or_default();
    let mut image = Image {
        cap: setting.cap.0,
        def: setting.def.0,
        fixed: setting.fixed.0,
        base: [0; ffi::VARIABLE],
        mask: [0; ffi::VARIABLE],
        syscfg: amd.syscfg.0,
        top_mem: amd.top_mem,
        top_mem2: amd.top_mem2,
    };
    for (variable, (base, mask)) in
        setting.variable().iter().zip(image.base.iter_mut().zip(image.mask.iter_mut()))
    {
        (*base, *mask) = (variable.base, variable.mask);
    }
    image
}

impl Port for Kernel {
    fn read(&mut self) -> Result<Setting, Fault> {
        let mut read = image(&Setting::new(self.width, Cap(0)));
        // SAFETY: the shim writes one image, and keeps no pointer to it.
        match unsafe { ffi::pmem_shim_read(&raw mut read) } {
            0 => Ok(self.setting(&read)),
            _ => Err(Fault::new("processors differ in their MTRRs")),
        }
    }

    fn program(&mut self, from: &Setting, to: &Setting) -> Result<(), Fault> {
        let (from, to) = (image(from), image(to));
        // SAFETY: the shim reads two images, and keeps no pointer to them.
        match unsafe { ffi::pmem_shim_program(&raw const from, &raw const to) } {
            0 => Ok(()),
            -11 => Err(Fault::new(CHANGED)),
            _ => Err(Fault::new("a processor did not take the registers, and all were put back")),
        }
    }
}

/// What a change between plan and rendezvous is called; the module answers EAGAIN then.
pub const CHANGED: &str = "registers have changed meanwhile";
