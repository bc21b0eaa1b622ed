//! Settings of a manager: the page size, the number of colours, and the number of free lists.

use crate::error::UvmError;

/// Settings that stay fixed for as long as a [`Uvm`](crate::Uvm) lives.
///
/// # Examples
/// A machine with pages of 16 KiB, a cache with eight page colours, and one free list each for DRAM and for slower
/// memory:
///
/// ```
/// use pmem_uvm::{Settings, Uvm};
///
/// let settings = Settings::default().pagesize(16 << 10)?.colours(8)?.free_lists(2)?;
/// let uvm = Uvm::new(settings);
/// assert_eq!(uvm.settings().pageshift(), 14);
/// assert!(Settings::default().pagesize(6000).is_err(), "not a power of two");
/// # Ok::<(), pmem_uvm::UvmError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pageshift: u32,
    colours: u32,
    free_lists: u8,
}

impl Default for Settings {
    /// Pages of 4 KiB, one colour, four free lists.
    fn default() -> Self {
        Self { pageshift: 12, colours: 1, free_lists: 4 }
    }
}

impl Settings {
    /// Sets the page size in bytes (`uvm_setpagesize`).
    ///
    /// # Errors
    /// [`UvmError::Setting`] unless it is a power of two from 512 bytes to 1 GiB.
    pub fn pagesize(self, bytes: u64) -> Result<Self, UvmError> {
        if !bytes.is_power_of_two() || !(1 << 9..=1 << 30).contains(&bytes) {
            return Err(UvmError::Setting { what: "page size", value: bytes });
        }
        Ok(Self { pageshift: bytes.trailing_zeros(), ..self })
    }

    /// Sets the number of page colours.
    ///
    /// # Errors
    /// [`UvmError::Setting`] unless it is a power of two from 1 to 64.
    pub fn colours(self, colours: u32) -> Result<Self, UvmError> {
        if !colours.is_power_of_two() || colours > 64 {
            return Err(UvmError::Setting { what: "number of colours", value: colours.into() });
        }
        Ok(Self { colours, ..self })
    }

    /// Sets the number of free lists; they are numbered from 0.
    ///
    /// # Errors
    /// [`UvmError::Setting`] if it is zero.
    pub fn free_lists(self, free_lists: u8) -> Result<Self, UvmError> {
        if free_lists == 0 {
            return Err(UvmError::Setting { what: "number of free lists", value: 0 });
        }
        Ok(Self { free_lists, ..self })
    }

    /// The number of page colours.
    #[must_use]
    pub fn colours_of(self) -> u32 {
        self.colours
    }

    /// The number of free lists.
    #[must_use]
    pub fn free_lists_of(self) -> u8 {
        self.free_lists
    }

    /// The base-2 logarithm of the page size in bytes.
    #[must_use]
    pub fn pageshift(self) -> u32 {
        self.pageshift
    }
}
