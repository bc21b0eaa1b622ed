//! Captures a machine: packs every file that an import reads into one tar file.
//!
//! A capture is the union of the readers' `FILES`, so it never lacks what an import of it would read. A pattern is
//! a path below the root. `*` stands for any part of a name, and `{function}` for the folder of each PCI function.
//! A name that ends in `@` is a link or a folder; only its name or target matters.

use crate::capture::Tree;
use crate::error::ImportError;
use crate::facts::{Finding, Findings};
use crate::read::{FILE_READERS, walk_functions};
use pmem_pci::{extended_capabilities, id};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Summary of a capture.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// Number of files written.
    pub files: usize,
    /// Number of symbolic links written.
    pub links: usize,
    /// What could not be read.
    pub findings: Vec<Finding>,
}

/// Writes a capture of a machine: a tar file that [`Machine::open`](crate::Machine::open) reads like
/// the machine itself.
///
/// Identifying data is left out. In PCI configuration space, the serial number capability is zeroed. In
/// `/proc/cpuinfo`, lines with serial numbers are dropped. Interfaces named after their MAC address are skipped.
/// Vital product data is not read, and of DMI only maker and model are.
///
/// # Errors
/// [`ImportError::Read`] if `out` cannot be written. Files that cannot be read become findings.
pub fn gather(tree: &Tree, out: &Path) -> Result<Gathered, ImportError> {
    let failed = |error| ImportError::Read { path: out.to_owned(), error };
    // If `out` is a symbolic link, its target is written and the link stays.
    let place = std::fs::canonicalize(out).unwrap_or_else(|_| out.to_owned());
    if place.metadata().is_ok_and(|there| !there.is_file()) {
        // A pipe or a device is written to directly: it cannot be replaced by a rename.
        let file = File::options().write(true).open(&place).map_err(failed)?;
        return write_all(tree, file).map_err(failed);
    }
    // Written to a temporary file beside `out`, then renamed: a failure leaves no partial capture behind.
    let dir = place.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let partial = tempfile::Builder::new().permissions(mode).tempfile_in(dir).map_err(failed)?;
    let gathered = write_all(tree, partial.as_file()).map_err(failed)?;
    partial.persist(&place).map_err(|error| failed(error.error))?;
    Ok(gathered)
}

/// Writes all files and links into `file`.
fn write_all(tree: &Tree, file: impl Write) -> std::io::Result<Gathered> {
    let mut findings = Findings::default();
    let paths = paths(tree, &mut findings);
    let mut tar = tar::Builder::new(file);
    let mut gathered = Gathered::default();
    for (path, is_link) in paths {
        if is_link {
            let target = link_target(tree, &path);
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            tar.append_link(&mut header, &path, target)?;
            gathered.links += 1;
            continue;
        }
        let Some(mut bytes) = tree.bytes(&path, &mut findings) else { continue };
        if matches!(path.as_str(), "proc/iomem" | "proc/ioports") && hides_addresses(&bytes) {
            findings.push(Finding::whole(path.as_str(), "addresses are hidden (all zeros): gather as root"));
        }
        if path.ends_with("/config") {
            clear_serial_number(&mut bytes);
        } else if path == "proc/cpuinfo" {
            bytes = without_serial(&bytes);
        }
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, &path, &bytes[..])?;
        gathered.files += 1;
    }
    tar.into_inner()?.flush()?;
    gathered.findings = findings.finish();
    Ok(gathered)
}

/// Whether the kernel hid every address of a listing, as it does from users other than root.
fn hides_addresses(listing: &[u8]) -> bool {
    let lines = listing.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut ranges = lines.filter_map(|line| line.split(|byte| *byte == b':').next()).peekable();
    ranges.peek().is_some() && ranges.all(|range| range.iter().all(|byte| b" 0-".contains(byte)))
}

/// A link's target, relative to the link's folder. A folder that stands in for a link becomes a link to itself:
/// only its name matters.
fn link_target(tree: &Tree, path: &str) -> String {
    let target = tree.follow(path).unwrap_or_else(|| path.to_owned());
    let own: Vec<&str> = path.split('/').collect();
    let target: Vec<&str> = target.split('/').collect();
    let shared = own
        .iter()
        .zip(&target)
        .take_while(|(a, b)| a == b)
        .count()
        .min(own.len() - 1)
        .min(target.len().saturating_sub(1));
    let up = std::iter::repeat_n("..", own.len() - 1 - shared);
    up.chain(target[shared..].iter().copied()).collect::<Vec<_>>().join("/")
}

/// Every path that a reader reads, and whether it is a link.
fn paths(tree: &Tree, findings: &mut Findings) -> BTreeSet<(String, bool)> {
    let mut out = BTreeSet::new();
    let patterns: BTreeSet<&str> =
        FILE_READERS.iter().flat_map(|reader| reader.files.iter().copied()).collect();
    let of_functions: Vec<&str> =
        patterns.iter().filter_map(|pattern| pattern.strip_prefix("{function}/")).collect();
    for pattern in patterns.iter().filter(|pattern| !pattern.starts_with('{')) {
        expand(tree, "", pattern, &mut out);
    }
    for folder in walk_functions(tree, findings) {
        let names: BTreeSet<String> = tree.names(&folder).into_iter().collect();
        for pattern in &of_functions {
            let first = pattern.split('/').next().unwrap_or("").trim_end_matches('@');
            // Most functions have few of these files, so patterns whose first part is absent are skipped.
            if first.contains('*') || names.contains(first) {
                expand(tree, &folder, pattern, &mut out);
            }
        }
    }
    out
}

fn expand(tree: &Tree, folder: &str, pattern: &str, out: &mut BTreeSet<(String, bool)>) {
    let (first, rest) = pattern.split_once('/').map_or((pattern, None), |(first, rest)| (first, Some(rest)));
    let (name, is_link) = first.strip_suffix('@').map_or((first, false), |name| (name, true));
    let below = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    let many = name.contains('*');
    let names = if many {
        tree.names(folder).into_iter().filter(|n| fits(n, name) && !is_mac_name(n)).collect()
    } else {
        vec![name.to_owned()]
    };
    for name in names {
        let path = below(&name);
        match rest {
            Some(rest) => expand(tree, &path, rest, out),
            None if is_link => {
                // A capture may only list a link by name; it exists if its folder names it.
                if many || tree.names(folder).contains(&name) {
                    out.insert((path, true));
                }
            }
            None => {
                if tree.is_file(&path) {
                    out.insert((path, false));
                }
            }
        }
    }
}

/// Whether a name matches a pattern with at most one `*`. In `node*` the star stands for a number; a leading `*`
/// matches anything.
fn fits(name: &str, pattern: &str) -> bool {
    let Some((begin, end)) = pattern.split_once('*') else { return name == pattern };
    let Some(middle) = name.strip_prefix(begin).and_then(|rest| rest.strip_suffix(end)) else { return false };
    !middle.is_empty() && (begin.is_empty() || middle.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether an interface is named after its MAC address: `enx001122334455` (systemd.net-naming-scheme(7)).
fn is_mac_name(name: &str) -> bool {
    let digits = name
        .split_at_checked(3)
        .filter(|(kind, _)| kind.is_ascii() && kind.ends_with('x'))
        .map(|(_, digits)| digits);
    digits.is_some_and(|digits| digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Zeroes the serial number in a function's extended configuration space.
fn clear_serial_number(config: &mut [u8]) {
    let places: Vec<usize> = extended_capabilities(config)
        .filter(|capability| capability.id == id::SERIAL_NUMBER)
        .map(|capability| capability.offset)
        .collect();
    for offset in places {
        if let Some(serial) = config.get_mut(offset + 4..offset + 12) {
            serial.fill(0);
        }
    }
}

/// The text of `/proc/cpuinfo` without serial numbers, which some processors report.
fn without_serial(cpuinfo: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(cpuinfo);
    let kept = text
        .split_inclusive('\n')
        .filter(|line| !line.trim_start().to_ascii_lowercase().starts_with("serial"));
    kept.collect::<String>().into_bytes()
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
        assert_eq!(
            without_serial(b"processor : 0\nSerial\t\t: 1234\nModel : x\n"),
            b"processor : 0\nModel : x\n"
        );
    }

    #[test]
    fn a_list_of_capabilities_that_loops_ends() {
        let mut config = vec![0u8; 4096];
        config[0x100..0x104].copy_from_slice(&0x1001_0001u32.to_le_bytes());
        clear_serial_number(&mut config);
        clear_serial_number(&mut config[..0x101]);
    }

    #[test]
    fn patterns_fit_numbered_names() {
        assert!(
            fits("node12", "node*") && fits("eth0", "*") && !fits("nodes", "node*") && !fits("node", "node*")
        );
    }

    #[test]
    fn listings_of_zeros_hide_their_addresses() {
        assert!(hides_addresses(b"00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n"));
        assert!(hides_addresses(b"0000-0000 : dma1\n"));
        assert!(!hides_addresses(b"00000000-00000000 : dead\n00001000-0009ffff : System RAM\n"));
        assert!(!hides_addresses(b""));
    }

    #[test]
    fn interfaces_named_for_their_address_are_known() {
        assert!(is_mac_name("enx001122aabbcc") && is_mac_name("wlx001122334455"));
        assert!(
            !["eth0", "enp0s31f6", "enx", "enx00112233445", "éx001122334455"].into_iter().any(is_mac_name)
        );
    }

    /// Whatever a reader reads of a capture, its capture holds too: nothing of `FILES` is lost on the way.
    #[test]
    fn a_capture_of_a_capture_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = dir.path().join("m").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        write("proc/cpuinfo", "address sizes : 46 bits physical, 48 bits virtual\n");
        write("proc/iomem", "00001000-0009ffff : System RAM\n");
        write("sys/firmware/memmap/0/start", "0x0\n");
        write("sys/firmware/memmap/0/end", "0xfff\n");
        write("sys/firmware/memmap/0/type", "System RAM\n");
        write("sys/devices/system/node/node0/cpulist", "0\n");
        write("sys/devices/system/node/node0/memory0/x", "");
        write("sys/devices/pci0000:00/0000:00:02.0/class", "0x020000\n");
        write("sys/devices/pci0000:00/0000:00:02.0/net/eth0/type", "1\n");
        let first = dir.path().join("first.tar");
        let gathered = gather(&Tree::open(&dir.path().join("m")).unwrap(), &first).unwrap();
        assert_eq!((gathered.files, gathered.links, gathered.findings.len()), (8, 1, 0));
        let sources = crate::Sources::open(std::slice::from_ref(&first)).unwrap();
        let second = dir.path().join("second.tar");
        gather(&sources.trees[0], &second).unwrap();
        assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
    }
}
