//! PCI functions, found by walking the folders of `/sys`.

use super::bdf::{Bdf, parse_root};
use super::header::Header;
use super::resource::{PciResource, parse};
use crate::error::Warning;
use crate::number::hex;
use crate::root::Root;
use std::collections::{BTreeMap, BTreeSet};

/// Bridges below bridges that are followed.
const DEEPEST: usize = 64;

/// One PCI function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub bdf: Bdf,
    /// The root bus above it: domain and bus.
    pub root: (u32, u8),
    /// The bridge above it; `None` on a root bus.
    pub parent: Option<Bdf>,
    /// Its folder below the root of the capture.
    pub path: String,
    /// Class, subclass and programming interface.
    pub class: Option<u32>,
    /// Vendor and device.
    pub id: Option<(u16, u16)>,
    /// Its NUMA node; `None` if the source does not say.
    pub numa: Option<u32>,
    /// Its configuration header.
    pub header: Option<Header>,
    /// What Linux assigned to it.
    pub resources: Vec<PciResource>,
}

impl Function {
    /// What it is in a word, by its class (PCI Code and ID Assignment 1.11, section 1).
    pub fn class_name(&self) -> &'static str {
        match self.class.map(|class| class >> 8) {
            Some(0x0100..=0x017f | 0x0181..=0x01ff) => "storage",
            Some(0x0200..=0x02ff) => "network",
            Some(0x0300..=0x03ff) => "display",
            Some(0x0400..=0x04ff) => "multimedia",
            Some(0x0500..=0x05ff) => "memory",
            Some(0x0600) => "host bridge",
            Some(0x0601) => "ISA bridge",
            Some(0x0604) => "PCI bridge",
            Some(0x0607) => "CardBus bridge",
            Some(0x0600..=0x06ff) => "bridge",
            Some(0x0700..=0x07ff) => "communication",
            Some(0x0800..=0x08ff) => "system",
            Some(0x0c03) => "USB",
            Some(0x0c05) => "SMBus",
            Some(0x0c00..=0x0cff) => "serial bus",
            Some(0x1200..=0x12ff | 0x0b00..=0x0bff) => "processor",
            Some(0x0180) => "storage",
            _ => "device",
        }
    }

    /// Whether it hands on what nobody else on its bus decodes (programming interface 01 of a PCI bridge).
    pub fn is_subtractive(&self) -> bool {
        self.class == Some(0x06_0401)
    }
}

/// Where to look next: a folder, the root bus, the bridge above.
struct Visit {
    path: String,
    root: (u32, u8),
    parent: Option<Bdf>,
    depth: usize,
}

/// Reads every PCI function, and the root buses, in order.
pub(crate) fn read_functions(root: &Root, warnings: &mut Vec<Warning>) -> (Vec<Function>, Vec<(u32, u8)>) {
    let mut functions: BTreeMap<Bdf, Function> = BTreeMap::new();
    let mut roots: BTreeSet<(u32, u8)> = BTreeSet::new();
    let mut visits: Vec<Visit> = Vec::new();
    for path in root_folders(root) {
        let Some(bus) = path.rsplit('/').next().and_then(parse_root) else { continue };
        visits.push(Visit { path, root: bus, parent: None, depth: 0 });
    }
    while let Some(visit) = visits.pop() {
        if visit.depth == 0 {
            roots.insert(visit.root);
        }
        for name in root.names(&visit.path) {
            let path = format!("{}/{name}", visit.path);
            if let Some(bus) = parse_root(&name) {
                // A host bridge behind a function, such as a volume management device makes.
                visits.push(Visit { path, root: bus, parent: None, depth: 0 });
            } else if name.contains('.')
                && let Ok(bdf) = name.parse::<Bdf>()
                && visit.depth < DEEPEST
            {
                let function = read_function(root, &path, bdf, &visit, warnings);
                if let Some(other) = functions.get(&bdf) {
                    if other.path != path {
                        warnings
                            .push(Warning::new(&path, format!("{bdf} is also at {}: left out", other.path)));
                    }
                    continue;
                }
                functions.insert(bdf, function);
                visits.push(Visit { path, root: visit.root, parent: Some(bdf), depth: visit.depth + 1 });
            }
        }
    }
    (functions.into_values().collect(), roots.into_iter().collect())
}

/// The folders of root buses: those of `/sys/devices`, and those that the links of `/sys/bus/pci/devices` lead to.
fn root_folders(root: &Root) -> BTreeSet<String> {
    let devices = "sys/devices";
    let mut folders: BTreeSet<String> = root
        .names(devices)
        .into_iter()
        .filter(|name| parse_root(name).is_some())
        .map(|name| format!("{devices}/{name}"))
        .collect();
    let links = "sys/bus/pci/devices";
    for name in root.names(links) {
        let Some(target) = root.follow(&format!("{links}/{name}")) else { continue };
        let parts: Vec<&str> = target.split('/').collect();
        if let Some(i) = parts.iter().position(|part| parse_root(part).is_some()) {
            folders.insert(parts[..=i].join("/"));
        }
    }
    folders
}

fn read_function(root: &Root, path: &str, bdf: Bdf, visit: &Visit, warnings: &mut Vec<Warning>) -> Function {
    let mut number = |file: &str| {
        let path = format!("{path}/{file}");
        let text = root.text(&path, warnings)?;
        let number = hex(text.trim());
        if number.is_none() {
            warnings.push(Warning::line(&path, 1, "no hexadecimal number"));
        }
        number
    };
    let class = number("class").and_then(|class| u32::try_from(class).ok());
    let id = number("vendor")
        .zip(number("device"))
        .and_then(|(v, d)| Some((u16::try_from(v).ok()?, u16::try_from(d).ok()?)));
    let config = format!("{path}/config");
    let header = root.bytes(&config, warnings).and_then(|bytes| match Header::parse(&bytes) {
        Ok(header) => Some(header),
        Err(error) => {
            warnings.push(Warning::new(&config, error.to_string()));
            None
        }
    });
    let is_bridge = header.as_ref().map_or(class.is_some_and(|c| c >> 8 == 0x0604), |h| h.bridge.is_some());
    let resource = format!("{path}/resource");
    let resources = root.text(&resource, warnings);
    let resources = resources.map_or(Vec::new(), |text| parse(&text, &resource, is_bridge, warnings));
    // -1 is how the kernel says that it does not know.
    let numa =
        root.text(&format!("{path}/numa_node"), warnings).and_then(|text| text.trim().parse::<u32>().ok());
    let parent = visit.parent;
    Function { bdf, root: visit.root, parent, path: path.to_owned(), class, id, numa, header, resources }
}
