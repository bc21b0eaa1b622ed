//! The raw registers of one processor.

use crate::VARIABLE;
use crate::layout::structures;
use pmem_mtrr::{Amd, Cap, DefType, Fixed, Setting, Syscfg, Variable, Width};

structures! {
    /// The registers of one processor.
    Image = "pmem_image" {
        /// `IA32_MTRRCAP`.
        cap: u64,
        /// `IA32_MTRR_DEF_TYPE`.
        def: u64,
        /// The fixed-range registers.
        fixed: [u64; 11],
        /// `IA32_MTRR_PHYSBASEn`.
        base: [u64; VARIABLE],
        /// `IA32_MTRR_PHYSMASKn`.
        mask: [u64; VARIABLE],
        /// AMD's `SYSCFG`. This and the next two are 0 on other processors.
        syscfg: u64,
        /// AMD's `TOP_MEM`.
        top_mem: u64,
        /// AMD's `TOP_MEM2`.
        top_mem2: u64,
    }

    /// A register in which two processors differ.
    Difference = "pmem_difference" {
        /// The number of the register (MSR); 0 if there is no difference.
        msr: u32,
        /// The processor.
        cpu: u32,
        /// What the register holds.
        here: u64,
        /// What the register should hold.
        there: u64,
    }
}

impl Image {
    /// An image with all registers 0.
    pub const BLANK: Self = Self {
        cap: 0,
        def: 0,
        fixed: [0; 11],
        base: [0; VARIABLE],
        mask: [0; VARIABLE],
        syscfg: 0,
        top_mem: 0,
        top_mem2: 0,
    };

    /// Copies the image into a setting.
    pub fn put(&self, width: Width, into: &mut Setting) {
        into.width = width;
        (into.cap, into.def, into.fixed) = (Cap(self.cap), DefType(self.def), Fixed(self.fixed));
        for (slot, (base, mask)) in into.variable_mut().iter_mut().zip(self.base.iter().zip(&self.mask)) {
            *slot = Variable { base: *base, mask: *mask };
        }
        let (syscfg, top_mem, top_mem2) = (Syscfg(self.syscfg), self.top_mem, self.top_mem2);
        into.amd = Some(Amd { syscfg, top_mem, top_mem2 });
    }

    /// Copies a setting into the image.
    pub fn take(&mut self, setting: &Setting) {
        let amd = setting.amd.unwrap_or_default();
        (self.cap, self.def, self.fixed) = (setting.cap.0, setting.def.0, setting.fixed.0);
        (self.syscfg, self.top_mem, self.top_mem2) = (amd.syscfg.0, amd.top_mem, amd.top_mem2);
        let registers = self.base.iter_mut().zip(self.mask.iter_mut());
        for (variable, (base, mask)) in setting.variable().iter().zip(registers) {
            (*base, *mask) = (variable.base, variable.mask);
        }
    }

    /// Returns the first register in which two images differ in effect ([`Setting::difference`]).
    #[must_use]
    pub fn difference(&self, other: &Self, width: Width) -> Option<Difference> {
        let setting = |image: &Self| {
            let mut setting = Setting::new(width, Cap(image.cap));
            image.put(width, &mut setting);
            setting
        };
        let found = setting(self).difference(&setting(other))?;
        Some(Difference { msr: found.msr, cpu: 0, here: found.here, there: found.there })
    }
}
