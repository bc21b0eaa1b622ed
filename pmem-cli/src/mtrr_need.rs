//! Whether an MTRR is needed at all: most users of write combining get it from the PAT.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

/// The file in which the kernel lists memory types of mappings (`Documentation/arch/x86/pat.rst`).
const MAPPED: &str = "sys/kernel/debug/x86/pat_memtype_list";

/// Tells what makes an MTRR unnecessary for write combining over a range; `None` if nothing does. `root` is `/` on a
/// live machine.
pub(crate) fn instead(root: &Path, range: &RangeInclusive<u64>) -> Option<String> {
    if is_mapped(root, range) {
        return Some("it is mapped write combining by the PAT already: no MTRR is needed".to_owned());
    }
    let (device, bar, driver) = bar_of(root, range)?;
    let has_pat = fs::read_to_string(root.join("proc/cpuinfo")).is_ok_and(|text| {
        text.lines()
            .find(|line| line.starts_with("flags"))
            .is_some_and(|line| line.split(' ').any(|f| f == "pat"))
    });
    let file = format!("sys/bus/pci/devices/{device}/resource{bar}_wc");
    if !has_pat || !root.join(&file).exists() {
        return None;
    }
    let driver = driver.map_or_else(
        || format!("its driver by ioremap_wc, a program by mapping /{file}"),
        |name| format!("its driver {name} by ioremap_wc (ask it), a program by mapping /{file}"),
    );
    Some(format!(
        "an MTRR may be unnecessary: with the PAT, a mapping that asks for write combining gets it: {driver}"
    ))
}

/// Whether existing mappings make the whole range write-combining.
fn is_mapped(root: &Path, range: &RangeInclusive<u64>) -> bool {
    let text = fs::read_to_string(root.join(MAPPED)).unwrap_or_default();
    // Example: `PAT: [mem 0x00000000d0000000-0x00000000e0000000] write-combining`
    let mut spans: Vec<(u64, u64)> = text
        .lines()
        .filter_map(|line| line.split_once("[mem ")?.1.split_once("] write-combining"))
        .filter_map(|(span, _)| span.split_once('-'))
        .filter_map(|(start, end)| Some((hex(start)?, hex(end)?)))
        .collect();
    spans.sort_unstable();
    let mut next = *range.start();
    for (start, end) in spans {
        if start <= next {
            next = next.max(end);
        }
    }
    next > *range.end()
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

/// Returns the function whose BAR contains the range, the BAR's number, and the function's driver.
fn bar_of(root: &Path, range: &RangeInclusive<u64>) -> Option<(String, usize, Option<String>)> {
    let devices = fs::read_dir(root.join("sys/bus/pci/devices")).ok()?.flatten();
    devices.into_iter().find_map(|entry| {
        let text = fs::read_to_string(entry.path().join("resource")).ok()?;
        let holds = |line: &str| {
            let mut words = line.split_whitespace().map(hex);
            let (start, last, flags) = (words.next()??, words.next()??, words.next()??);
            // Bit 9 is IORESOURCE_MEM (linux/ioport.h).
            Some(flags & 0x200 != 0 && start <= *range.start() && last >= *range.end())
        };
        let bar = text.lines().take(6).position(|line| holds(line) == Some(true))?;
        let driver = fs::read_link(entry.path().join("driver")).ok();
        let driver = driver.and_then(|to| Some(to.file_name()?.to_string_lossy().into_owned()));
        Some((entry.file_name().to_string_lossy().into_owned(), bar, driver))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(flags: &str, wc: bool) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("sys/bus/pci/devices/0000:00:02.0");
        fs::create_dir_all(&device).unwrap();
        fs::create_dir_all(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/cpuinfo"), format!("processor : 0\nflags\t\t: {flags}\n")).unwrap();
        let lines = "0x00000000000060a0 0x00000000000060bf 0x0000000000040101\n\
            0x00000000d0000000 0x00000000dfffffff 0x000000000014220c\n";
        fs::write(device.join("resource"), lines).unwrap();
        if wc {
            fs::write(device.join("resource1_wc"), "").unwrap();
        }
        root
    }

    const BAR: RangeInclusive<u64> = 0xd000_0000..=0xdfff_ffff;

    #[test]
    fn a_prefetchable_bar_has_a_file_to_map() {
        let root = machine("fpu pat", true);
        let said = instead(root.path(), &BAR).unwrap();
        assert!(said.contains("/sys/bus/pci/devices/0000:00:02.0/resource1_wc"), "{said}");
        std::os::unix::fs::symlink(
            "../drivers/i915",
            root.path().join("sys/bus/pci/devices/0000:00:02.0/driver"),
        )
        .unwrap();
        assert!(instead(root.path(), &BAR).unwrap().contains("driver i915"));
        assert_eq!(instead(root.path(), &(0xd000_0000..=0xe000_0fff)), None, "more than the BAR");
        assert_eq!(instead(root.path(), &(0x60a0..=0x60bf)), None, "ports are no memory");
    }

    #[test]
    fn without_a_pat_or_the_file_there_is_nothing() {
        assert_eq!(instead(machine("fpu pat", false).path(), &BAR), None);
        assert_eq!(instead(machine("fpu patx", true).path(), &BAR), None);
    }

    #[test]
    fn what_is_mapped_so_needs_nothing() {
        let root = machine("fpu pat", true);
        let file = root.path().join(MAPPED);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let list = "PAT memtype list:\n\
            PAT: [mem 0x00000000d0000000-0x00000000d8000000] write-combining\n\
            PAT: [mem 0x00000000d8000000-0x00000000e0000000] write-combining\n";
        fs::write(&file, list).unwrap();
        assert!(instead(root.path(), &BAR).unwrap().contains("already"));
        assert!(
            !instead(root.path(), &(0xd000_0000..=0xe000_0000)).is_some_and(|said| said.contains("already"))
        );
        fs::write(&file, list.replace("d8000000]", "d7fff000]")).unwrap();
        assert!(!instead(root.path(), &BAR).unwrap().contains("already"), "a page is not");
    }
}
