//! Refusals of requests: a status, an errno, and words.

use crate::ffi;
use crate::port::{BROKEN, UNREADABLE};
use alloc::format;
use alloc::string::{String, ToString};
use pmem_arena_abi::{Region, WHY, status};
use pmem_core::Error;
use pmem_drivers::mtrr::CHANGED;

/// A refusal.
pub struct Refused {
    status: u32,
    why: String,
    /// The numbers of registers needed and available, if there are too few.
    registers: Option<(u64, u64)>,
}

impl Refused {
    pub fn new(status: u32, why: &str) -> Self {
        Self { status, why: why.to_string(), registers: None }
    }

    /// Returns the errno of the status, negative.
    pub const fn code(&self) -> i64 {
        match self.status {
            status::FULL | status::MANY => -28,
            status::BUSY => -16,
            status::NOT_ALLOWED => -13,
            status::CHANGED | status::PENDING => -11,
            status::DIFFERS => -5,
            status::ENDED => -19,
            status::NONE => -2,
            status::NOT_YOURS => -1,
            status::NO_MEMORY => -12,
            _ => -22,
        }
    }

    /// Stores the refusal in the structure, and returns the errno.
    pub fn explain(&self, region: &mut Region) -> i64 {
        region.status = self.status;
        if let Some((needed, available)) = self.registers {
            (region.needed, region.available) = (needed as u32, available as u32);
        }
        region.why = [0; WHY];
        // The last byte stays 0 and terminates the text.
        for (to, from) in region.why.iter_mut().take(WHY - 1).zip(self.why.bytes()) {
            *to = from;
        }
        self.code()
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let (status, registers) = match &error {
            Error::Refused { veto, .. } if veto.needed_of.is_some() => (status::FULL, veto.needed_of),
            Error::Refused { veto, .. } if [BROKEN, UNREADABLE].contains(&veto.reason) => {
                (status::DIFFERS, None)
            }
            // No registers can produce this.
            Error::Refused { .. } => (status::WRONG, None),
            Error::Occupied { .. } => (status::BUSY, None),
            Error::Failed { fault, .. } if fault.reason == CHANGED => (status::CHANGED, None),
            Error::Failed { .. } => (status::DIFFERS, None),
            Error::NoRegion(_) => (status::NONE, None),
            _ => (status::WRONG, None),
        };
        let mut why = error.to_string();
        let refused = ffi::last_refused();
        let was_written =
            matches!(&error, Error::Failed { fault, .. } if ![BROKEN, UNREADABLE].contains(&fault.reason));
        if status == status::DIFFERS && was_written && refused.msr != 0 {
            why = format!(
                "processor {} did not accept register {:#x}: it holds {:#x}, not {:#x}",
                refused.cpu, refused.msr, refused.here, refused.there
            );
        }
        Self { status, why, registers }
    }
}
