//! Capturing a machine: everything that an import reads, in one file.

use crate::error::{ImportError, Warning};
use crate::root::Root;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// What a capture holds.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// Files written.
    pub files: usize,
    /// Symbolic links written.
    pub links: usize,
    /// What could not be read.
    pub warnings: Vec<Warning>,
}

/// Files of `/proc`. Command line and network are left alone: they hold secrets and addresses of people.
const PROC: &[&str] = &["iomem", "ioports", "meminfo", "mtrr", "version"];

/// Files of a NUMA node, a memory block, a PCI function.
const NODE: &[&str] = &["cpulist", "cpumap", "distance", "meminfo"];
const NODES: &[&str] =
    &["online", "possible", "has_cpu", "has_memory", "has_normal_memory", "has_generic_initiator"];
const ACCESS: &[&str] = &["read_latency", "write_latency", "read_bandwidth", "write_bandwidth"];
const FUNCTION: &[&str] =
    &["class", "config", "device", "enable", "local_cpulist", "numa_node", "resource", "vendor"];

/// The capability whose body is the serial number of a device (PCI Express Base 6.0, 7.9.3).
const SERIAL_NUMBER: u16 = 0x0003;

/// Folders below folders that are followed.
const DEEPEST: usize = 64;

/// Writes a capture of the machine under `root`, a tar file that unpacks to a folder for [`Root::open`].
///
/// Serial numbers and MAC addresses are left out: of PCI configuration space the serial number capability is zeroed;
/// vital product data, DMI and network devices are not read.
///
/// # Errors
/// [`ImportError::Read`] if `out` cannot be written; what cannot be read is a warning.
pub fn gather(root: &Root, out: &Path) -> Result<Gathered, ImportError> {
    let failed = |error| ImportError::Read { path: out.to_owned(), error };
    // What a link leads to is written, and the link stays.
    let place = std::fs::canonicalize(out).unwrap_or_else(|_| out.to_owned());
    if place.metadata().is_ok_and(|there| !there.is_file()) {
        // A pipe or a device is written to as it is.
        let file = File::options().write(true).open(&place).map_err(failed)?;
        return write_all(root, file).map(|(gathered, _)| gathered).map_err(failed);
    }
    // Written beside its place under a name of its own, then put there: a failure leaves no half of a file.
    let dir = place.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let partial = tempfile::Builder::new().permissions(mode).tempfile_in(dir).map_err(failed)?;
    let (gathered, _) = write_all(root, partial.as_file()).map_err(failed)?;
    partial.persist(&place).map_err(|error| failed(error.error))?;
    Ok(gathered)
}

/// Writes everything into `file`.
fn write_all<W: Write>(root: &Root, file: W) -> std::io::Result<(Gathered, W)> {
    let mut gatherer = Gatherer { root, tar: tar::Builder::new(file), gathered: Gathered::default() };
    gatherer.all()?;
    let mut file = gatherer.tar.into_inner()?;
    file.flush()?;
    Ok((gatherer.gathered, file))
}

struct Gatherer<'r, W: Write> {
    root: &'r Root,
    tar: tar::Builder<W>,
    gathered: Gathered,
}

impl<W: Write> Gatherer<'_, W> {
    fn all(&mut self) -> std::io::Result<()> {
        self.files("proc", PROC)?;
        let nodes = "sys/devices/system/node";
        self.files(nodes, NODES)?;
        for node in self.names(nodes, "node") {
            let dir = format!("{nodes}/{node}");
            self.files(&dir, NODE)?;
            for block in self.names(&dir, "memory") {
                self.link(&format!("{dir}/{block}"), &format!("../../memory/{block}"))?;
            }
            for class in ["access0", "access1"] {
                let initiators = format!("{dir}/{class}/initiators");
                self.files(&initiators, ACCESS)?;
                for initiator in self.names(&initiators, "node") {
                    self.link(&format!("{initiators}/{initiator}"), &format!("../../../{initiator}"))?;
                }
            }
        }
        let blocks = "sys/devices/system/memory";
        self.files(blocks, &["block_size_bytes"])?;
        for block in self.names(blocks, "memory") {
            self.files(&format!("{blocks}/{block}"), &["phys_index", "state"])?;
        }
        self.functions()
    }

    /// The functions, and for each the link by which its root bus is found again.
    fn functions(&mut self) -> std::io::Result<()> {
        let mut warnings = Vec::new();
        let (functions, _) = crate::pci::read_functions(self.root, &mut warnings);
        for function in functions.iter().take(1 << 16) {
            if function.path.split('/').count() > DEEPEST {
                continue;
            }
            self.files(&function.path, FUNCTION)?;
            let up = "../../../..";
            self.link(&format!("sys/bus/pci/devices/{}", function.bdf), &format!("{up}/{}", function.path))?;
        }
        Ok(())
    }

    /// The names in a folder that are a prefix and a number.
    fn names(&self, dir: &str, prefix: &str) -> Vec<String> {
        let numbered = |name: &String| {
            name.strip_prefix(prefix).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        };
        self.root.names(dir).into_iter().filter(numbered).collect()
    }

    fn files(&mut self, dir: &str, names: &[&str]) -> std::io::Result<()> {
        for name in names {
            let path = format!("{dir}/{name}");
            let Some(mut bytes) = self.root.bytes(&path, &mut self.gathered.warnings) else { continue };
            if *name == "config" {
                clear_serial_number(&mut bytes);
            }
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            self.tar.append_data(&mut header, &path, &bytes[..])?;
            self.gathered.files += 1;
        }
        Ok(())
    }

    fn link(&mut self, path: &str, target: &str) -> std::io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        self.tar.append_link(&mut header, path, target)?;
        self.gathered.links += 1;
        Ok(())
    }
}

/// Zeroes the serial number in a function's extended configuration space.
fn clear_serial_number(config: &mut [u8]) {
    let mut offset = 0x100;
    // There is room for no more capabilities than this; a list that loops ends here too.
    for _ in 0..960 {
        let Some(header) = config.get(offset..offset + 4) else { return };
        let header = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        if header == 0 || header == u32::MAX {
            return;
        }
        if (header & 0xffff) as u16 == SERIAL_NUMBER
            && let Some(serial) = config.get_mut(offset + 4..offset + 12)
        {
            serial.fill(0);
        }
        offset = (header >> 20) as usize;
        if offset < 0x100 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serial_number_is_zeroed_and_nothing_else() {
        let mut config = vec![0xabu8; 4096];
        config[0x100..0x104].copy_from_slice(&0x1401_0001u32.to_le_bytes());
        config[0x140..0x144].copy_from_slice(&0x0001_0003u32.to_le_bytes());
        let before = config.clone();
        clear_serial_number(&mut config);
        assert_eq!(config[0x144..0x14c], [0; 8]);
        config[0x144..0x14c].copy_from_slice(&before[0x144..0x14c]);
        assert_eq!(config, before);
    }

    #[test]
    fn a_list_of_capabilities_that_loops_ends() {
        let mut config = vec![0u8; 4096];
        config[0x100..0x104].copy_from_slice(&0x1001_0001u32.to_le_bytes());
        clear_serial_number(&mut config);
        clear_serial_number(&mut config[..0x101]);
    }
}
