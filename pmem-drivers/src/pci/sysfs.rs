//! Configuration space through Linux's files: `/sys/bus/pci/devices/*/config`.

use super::port::Port;
use pmem_core::Fault;
use pmem_pci::Address;
use std::format;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The configuration space of a Linux machine.
///
/// Writing requires root and a kernel that is not locked down; under lockdown writes fail. The kernel's resource
/// tree does not follow these writes. Use `pmem pci windows` if it should.
#[derive(Clone, Debug)]
pub struct SysfsConfig {
    root: PathBuf,
}

impl SysfsConfig {
    /// Uses the files below a root folder, which is `/` on a running system.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// Opens a function's file. Returns `None` if there is no such function.
    fn open(&self, function: Address, writes: bool) -> Result<Option<File>, Fault> {
        let path = self.root.join(format!("sys/bus/pci/devices/{function}/config"));
        match OpenOptions::new().read(true).write(writes).open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(_) => Err(Fault::new("cannot open configuration space: run as root")),
        }
    }
}

const SHORT: Fault = Fault::new("cannot read all of configuration space: run as root");

impl Port for SysfsConfig {
    fn read(&mut self, function: Address, offset: u16, width: u8) -> Result<u32, Fault> {
        let Some(file) = self.open(function, false)? else {
            return Ok(u32::MAX >> (32 - 8 * u32::from(width.clamp(1, 4))));
        };
        let mut bytes = [0; 4];
        let part = bytes.get_mut(..usize::from(width)).ok_or(SHORT)?;
        file.read_exact_at(part, offset.into()).map_err(|_| SHORT)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn write(&mut self, function: Address, offset: u16, width: u8, value: u32) -> Result<(), Fault> {
        let Some(file) = self.open(function, true)? else { return Ok(()) };
        let bytes = value.to_le_bytes();
        let part = bytes.get(..usize::from(width)).ok_or(SHORT)?;
        // A single call, because the kernel then writes the register at once.
        let written = file.write_at(part, offset.into());
        match written {
            Ok(len) if len == part.len() => Ok(()),
            _ => Err(Fault::new("cannot write configuration space: a locked-down kernel refuses it")),
        }
    }
}
