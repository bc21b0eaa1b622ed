//! Simulated processors.

use super::port::{CHANGED, Port};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use pmem_core::Fault;
use pmem_mtrr::{DefType, MemType, Setting, Variable, Write, regs};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One register write that a processor accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The processor, counted from 0.
    pub cpu: usize,
    /// The register and its new value.
    pub write: Write,
}

/// Simulated processors that trace every write, refuse illegal values as KVM does (`kvm_mtrr_valid`), and fail on
/// demand.
///
/// Clones refer to the same processors.
///
/// # Examples
///
/// ```
/// use pmem_drivers::mtrr::{Cap, FakeCpus, Port, Setting, Width};
///
/// let setting = Setting::new(Width::DEFAULT, Cap::new(8, true, true));
/// let mut cpus = FakeCpus::new(4, setting);
/// assert_eq!(cpus.settings().len(), 4);
/// // Programming what the processors hold already writes nothing.
/// cpus.program(&setting, &setting).map_err(|fault| fault.reason)?;
/// assert!(cpus.trace().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FakeCpus(Arc<Mutex<Cpus>>);

#[derive(Debug)]
struct Cpus {
    cpus: Vec<Setting>,
    trace: Vec<Written>,
    /// The number of the write after which the next one fails.
    fails_after: Option<usize>,
    writes: usize,
}

impl FakeCpus {
    /// Creates `count` processors (at least one) that all hold `setting`.
    #[must_use]
    pub fn new(count: usize, setting: Setting) -> Self {
        let cpus = vec![setting; count.max(1)];
        Self(Arc::new(Mutex::new(Cpus { cpus, trace: Vec::new(), fails_after: None, writes: 0 })))
    }

    fn lock(&self) -> MutexGuard<'_, Cpus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what each processor holds.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        self.lock().cpus.clone()
    }

    /// Returns the writes since the last call, in order.
    #[must_use]
    pub fn trace(&self) -> Vec<Written> {
        core::mem::take(&mut self.lock().trace)
    }

    /// Changes registers of some processors, unknown to the driver.
    pub fn meddle(&self, mut change: impl FnMut(usize, &mut Setting)) {
        self.lock().cpus.iter_mut().enumerate().for_each(|(cpu, setting)| change(cpu, setting));
    }

    /// Makes one write fail, after `writes` more writes. Later ones succeed again.
    pub fn fail_after(&self, writes: usize) {
        let mut cpus = self.lock();
        cpus.fails_after = Some(cpus.writes + writes);
    }
}

/// Returns whether a processor accepts a value: memory types 2, 3 and 7 and reserved bits are illegal.
fn is_legal(setting: &Setting, Write { msr, value }: Write) -> bool {
    match msr {
        regs::DEF_TYPE => DefType(value).kind().is_some() && DefType(value).reserved() == 0,
        0x200..0x250 => {
            let there = (msr as usize - 0x200) / 2 < setting.variable().len();
            let (base, mask) = if msr % 2 == 0 { (value, 0) } else { (0, value) };
            let variable = Variable { base, mask };
            let sound = msr % 2 == 1 || MemType::from_bits((value & 0xff) as u8).is_some();
            there && sound && variable.reserved(setting.width) == (0, 0)
        }
        _ if regs::FIXED.contains(&msr) => {
            value.to_le_bytes().iter().all(|byte| MemType::from_bits(byte & !pmem_mtrr::Fixed::MEM).is_some())
        }
        _ => false,
    }
}

impl Cpus {
    fn write(&mut self, cpu: usize, write: Write) -> Result<(), Fault> {
        self.writes += 1;
        if self.fails_after.is_some_and(|after| self.writes > after) {
            self.fails_after = None;
            return Err(Fault::new("a processor did not take a value"));
        }
        let Some(setting) = self.cpus.get_mut(cpu) else { return Ok(()) };
        if !is_legal(setting, write) || !setting.set(write.msr, write.value) {
            return Err(Fault::new("general protection fault"));
        }
        self.trace.push(Written { cpu, write });
        Ok(())
    }
}

impl Port for FakeCpus {
    fn read(&mut self, into: &mut Setting) -> Result<(), Fault> {
        let cpus = self.lock();
        let Some(first) = cpus.cpus.first() else { return Err(Fault::new("no processor")) };
        into.clone_from(first);
        Ok(())
    }

    fn program(&mut self, from: &Setting, to: &Setting) -> Result<(), Fault> {
        let mut cpus = self.lock();
        if cpus.cpus.first().is_none_or(|boot| boot.difference(from).is_some()) {
            return Err(Fault::new(CHANGED));
        }
        // The trace allocates, unlike a real port: it is for tests to read.
        let count = cpus.cpus.len();
        for cpu in 0..count {
            let held = cpus.cpus.get(cpu).copied().unwrap_or(*from);
            for write in held.writes(to) {
                if let Err(fault) = cpus.write(cpu, write) {
                    for back in 0..=cpu {
                        let now = cpus.cpus.get(back).copied().unwrap_or(*from);
                        for write in now.writes(from) {
                            cpus.write(back, write)?;
                        }
                    }
                    return Err(fault);
                }
            }
        }
        Ok(())
    }
}
