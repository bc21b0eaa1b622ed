//! Names of PCI vendors and devices, from the system's `pci.ids`.

use std::collections::BTreeMap;

/// Where systems keep the list.
const PLACES: &[&str] = &[
    "/usr/share/misc/pci.ids",
    "/usr/share/hwdata/pci.ids",
    "/usr/share/pci.ids",
    "/usr/local/share/pciids/pci.ids",
    "/var/lib/pciutils/pci.ids",
];

/// Names of PCI vendors and devices.
///
/// # Examples
///
/// ```
/// use pmem_import::PciIds;
///
/// let ids = PciIds::parse("8086  Intel Corporation\n\t1533  I210 Gigabit Network Connection\n");
/// assert_eq!(ids.name((0x8086, 0x1533)).as_deref(), Some("Intel Corporation I210 Gigabit Network Connection"));
/// assert_eq!(ids.name((0x8086, 0x9999)).as_deref(), Some("Intel Corporation 9999"));
/// assert_eq!(ids.name((0x10de, 0x0001)), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct PciIds {
    vendors: BTreeMap<u16, String>,
    devices: BTreeMap<(u16, u16), String>,
}

impl PciIds {
    /// Reads the system's list, or the list that the environment variable `PMEM_PCI_IDS` names; empty if
    /// there is none.
    #[must_use]
    pub fn of_system() -> Self {
        let text = match std::env::var_os("PMEM_PCI_IDS") {
            Some(place) => std::fs::read(place).ok(),
            None => PLACES.iter().find_map(|place| std::fs::read(place).ok()),
        };
        let text = text.unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&text))
    }

    /// Parses a list. Vendors begin in the first column, their devices after one tab, subsystems after two. Parsing
    /// stops where the classes begin.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut ids = Self::default();
        let mut vendor = None;
        let entry = |line: &str| {
            let (number, name) = line.split_at_checked(4)?;
            let number = u16::from_str_radix(number, 16).ok()?;
            Some((number, name.strip_prefix("  ")?.trim().to_owned()))
        };
        for line in text.lines().take_while(|line| !line.starts_with("C ")) {
            if line.starts_with("\t\t") {
                continue;
            }
            if let Some(device) = line.strip_prefix('\t') {
                if let (Some(vendor), Some((device, name))) = (vendor, entry(device)) {
                    ids.devices.insert((vendor, device), name);
                }
            } else if let Some((number, name)) = entry(line) {
                vendor = Some(number);
                ids.vendors.insert(number, name);
            }
        }
        ids
    }

    /// Returns the names of vendor and device. A device without a name is shown by its id; `None` if the
    /// vendor is unknown.
    #[must_use]
    pub fn name(&self, (vendor, device): (u16, u16)) -> Option<String> {
        let of = self.vendors.get(&vendor)?;
        Some(match self.devices.get(&(vendor, device)) {
            Some(name) => format!("{of} {name}"),
            None => format!("{of} {device:04x}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_called_as_the_list_says() {
        let ids = PciIds::parse(
            "# a comment\n8086  Intel Corporation\n\t1521  I350 Gigabit\n\t\t8086 0001  sub\n1af4  Red Hat\nC 00  Unclassified\n\t00  x\n",
        );
        assert_eq!(ids.name((0x8086, 0x1521)).as_deref(), Some("Intel Corporation I350 Gigabit"));
        assert_eq!(ids.name((0x1af4, 0x1041)).as_deref(), Some("Red Hat 1041"));
        assert_eq!(ids.name((0, 0)), None);
    }
}
