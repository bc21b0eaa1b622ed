//! The size of pages, and how many colours and free lists there are.

use crate::error::UvmError;

/// What never changes while pages are managed.
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
    /// Pages of this many bytes (`uvm_setpagesize`).
    ///
    /// # Errors
    /// [`UvmError::Setting`] unless it is a power of two from 512 bytes to 1 GiB.
    pub fn pagesize(self, bytes: u64) -> Result<Self, UvmError> {
        if !bytes.is_power_of_two() || !(1 << 9..=1 << 30).contains(&bytes) {
            return Err(UvmError::Setting { what: "page size", value: bytes });
        }
        Ok(Self { pageshift: bytes.trailing_zeros(), ..self })
    }

    /// This many colours.
    ///
    /// # Errors
    /// [`UvmError::Setting`] unless it is a power of two from 1 to 64.
    pub fn colours(self, colours: u32) -> Result<Self, UvmError> {
        if !colours.is_power_of_two() || colours > 64 {
            return Err(UvmError::Setting { what: "number of colours", value: colours.into() });
        }
        Ok(Self { colours, ..self })
    }

    /// This many free lists.
    ///
    /// # Errors
    /// [`UvmError::Setting`] if there is to be none.
    pub fn free_lists(self, free_lists: u8) -> Result<Self, UvmError> {
        if free_lists == 0 {
            return Err(UvmError::Setting { what: "number of free lists", value: 0 });
        }
        Ok(Self { free_lists, ..self })
    }

    /// How many colours there are.
    pub fn colours_of(self) -> u32 {
        self.colours
    }

    /// How many free lists there are.
    pub fn free_lists_of(self) -> u8 {
        self.free_lists
    }

    /// The size of a page as a power of two.
    pub fn pageshift(self) -> u32 {
        self.pageshift
    }
}
