//! MTRRs and memory maps, from whatever text has them.

mod facts;
mod live;
mod text;

pub use facts::{Entry, Memory, MtrrFacts};

use crate::error::{ImportError, Warning};
use crate::root::Root;
use std::path::Path;

impl MtrrFacts {
    /// Adds what a file says: `/proc/mtrr`, a memory map (e820, EFI, iomem), a kernel's log, a boot log of coreboot or EDK2, or our own
    /// `key: value` form. Lines that are none of these are passed over.
    ///
    /// # Errors
    /// A file that cannot be read, or a line that is broken: the file and the line.
    pub fn add_file(&mut self, path: &Path) -> Result<(), ImportError> {
        let bytes =
            std::fs::read(path).map_err(|error| ImportError::Read { path: path.to_owned(), error })?;
        self.add_text(&String::from_utf8_lossy(&bytes), path)
    }

    /// Reads a machine, live or captured: its registers where it shows them, and its memory map.
    ///
    /// # Errors
    /// A file that is broken.
    pub fn read_machine(root: &Root, warnings: &mut Vec<Warning>) -> Result<Self, ImportError> {
        live::read(root, warnings)
    }
}
