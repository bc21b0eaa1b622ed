//! PCI functions, found by walking the folders of `/sys`.

use crate::capture::Tree;
use crate::facts::{
    BusId, Facts, Finding, Findings, Function, PciResource, PciSource, ResourceKind, SourceLine,
    SourceSummary, Unplaced,
};
use crate::number::{hex, trim};
use pmem_core::AddrRange;
use pmem_pci::{Address, Class, Header, ResizableBar, Sriov, has_hot_plug_slot};
use std::collections::{BTreeMap, BTreeSet};

/// Limit on nested bridges: there are no more buses than this.
const DEEPEST: usize = 256;

/// The files. `{function}` is the folder of each function; names that end in `@` are links whose target
/// is all that matters.
pub(super) const FILES: &[&str] = &[
    "sys/bus/pci/devices/*@",
    "{function}/class",
    "{function}/config",
    "{function}/device",
    "{function}/driver@",
    "{function}/numa_node",
    "{function}/physfn@",
    "{function}/resource",
    "{function}/vendor",
    "{function}/net/*/type",
    "{function}/nvme/*/*/size",
    "{function}/block/*/size",
    "{function}/drm/*/dev",
    "{function}/infiniband/*/node_type",
    "{function}/virtio*/net/*/type",
    "{function}/virtio*/block/*/size",
    "{function}/ata*/host*/target*/*/block/*/size",
    "{function}/host*/target*/*/block/*/size",
];

/// A function's folder, with the root bus and the bridge above it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) path: String,
    pub(crate) address: Address,
    root: BusId,
    parent: Option<Address>,
    /// Names of the files in the folder.
    names: Vec<String>,
}

pub(super) fn read(tree: &Tree, facts: &mut Facts, heard: &mut SourceSummary) {
    let (found, roots) = walk(tree, &mut facts.findings);
    for root in roots {
        facts.pci.roots.entry(root).or_default();
    }
    for function in found {
        let read = read_function(tree, &function, facts);
        facts.pci.functions.insert((PciSource::Sysfs, function.address), read);
        heard.count("PCI function");
    }
}

/// Finds every function's folder, and the root buses, in order.
pub(crate) fn walk(tree: &Tree, findings: &mut Findings) -> (Vec<Found>, BTreeSet<BusId>) {
    let mut functions: BTreeMap<Address, Found> = BTreeMap::new();
    let mut roots: BTreeSet<BusId> = BTreeSet::new();
    // Folders still to visit: path, root bus, the bridge it belongs to, depth.
    let mut visits: Vec<(String, BusId, Option<Address>, usize)> = Vec::new();
    for path in root_folders(tree) {
        let Some(bus) = path.rsplit('/').next().and_then(parse_root) else { continue };
        visits.push((path, bus, None, 0));
    }
    while let Some((folder, root, parent, depth)) = visits.pop() {
        // Links can form cycles, so each root bus is visited once.
        if parent.is_none() && !roots.insert(root) {
            continue;
        }
        let names = tree.names(&folder);
        for name in &names {
            if let Some(bus) = parse_root(name) {
                // A host bridge behind a function, such as Intel's Volume Management Device creates.
                visits.push((format!("{folder}/{name}"), bus, None, depth));
                continue;
            }
            let Some(address) = name.parse::<Address>().ok().filter(|_| name.len() >= 12) else { continue };
            let path = format!("{folder}/{name}");
            if let Some(other) = functions.get(&address) {
                if other.path != path {
                    let text = format!("{address} is also at {}: left out", other.path);
                    findings.push(Finding::whole(tree.place(&path), text));
                }
                continue;
            }
            if depth >= DEEPEST {
                findings.push(Finding::whole(
                    tree.place(&path),
                    "below more bridges than there are buses: left out",
                ));
                continue;
            }
            functions.insert(address, Found { path: path.clone(), address, root, parent, names: Vec::new() });
            visits.push((path, root, Some(address), depth + 1));
        }
        if let Some(function) = parent.and_then(|address| functions.get_mut(&address)) {
            function.names = names;
        }
    }
    (functions.into_values().collect(), roots)
}

/// Parses the name of a root bus's folder: `pci0000:00`.
fn parse_root(name: &str) -> Option<BusId> {
    let (segment, bus) = name.strip_prefix("pci")?.split_once(':')?;
    Some((u32::try_from(hex(segment)?).ok()?, u8::try_from(hex(bus)?).ok()?))
}

/// Folders of root buses: those in `/sys/devices`, and those that links in `/sys/bus/pci/devices` lead to.
fn root_folders(tree: &Tree) -> BTreeSet<String> {
    let devices = "sys/devices";
    let top = tree.names(devices).into_iter().filter(|name| parse_root(name).is_some());
    let mut folders: BTreeSet<String> = top.map(|name| format!("{devices}/{name}")).collect();
    let links = "sys/bus/pci/devices";
    for name in tree.names(links) {
        let link = format!("{links}/{name}");
        // A capture on a file system without links may store their targets as text.
        let target = tree.follow(&link).or_else(|| {
            let text = tree.text(&link, &mut Findings::default())?;
            let at = text.find("devices/")?;
            Some(format!("sys/{}", text[at..].trim()))
        });
        let Some(target) = target else { continue };
        let parts: Vec<&str> = target.split('/').collect();
        if let Some(i) = parts.iter().position(|part| parse_root(part).is_some()) {
            folders.insert(parts[..=i].join("/"));
        }
    }
    folders
}

fn read_function(tree: &Tree, found: &Found, facts: &mut Facts) -> Function {
    let Found { path, address, root, parent, names } = found;
    let has = |file: &str| names.iter().any(|name| name == file);
    let findings = &mut facts.findings;
    let mut number = |file: &str| {
        if !has(file) {
            return None;
        }
        let path = format!("{path}/{file}");
        let text = tree.text(&path, findings)?;
        let number = hex(trim(&text));
        if number.is_none() {
            let place = SourceLine { source: tree.place(&path).into(), line: 1 };
            findings.push(Finding::at(&place, "not read: expected a hexadecimal number"));
        }
        number
    };
    let class = number("class").and_then(|class| u32::try_from(class).ok()).map(Class);
    let id = number("vendor").zip(number("device"));
    let id = id.and_then(|(v, d)| Some((u16::try_from(v).ok()?, u16::try_from(d).ok()?)));
    let config = if has("config") { tree.bytes(&format!("{path}/config"), findings) } else { None };
    let header = config.as_ref().and_then(|bytes| match Header::decode(bytes) {
        Ok(header) => Some(header),
        Err(error) => {
            findings.push(Finding::whole(tree.place(&format!("{path}/config")), error.to_string()));
            None
        }
    });
    let is_bridge = header.as_ref().map_or(class.is_some_and(Class::is_bridge), |h| h.bridge().is_some());
    let resource = format!("{path}/resource");
    let text = if has("resource") { tree.text(&resource, findings) } else { None };
    let place = SourceLine::whole(tree.place(&resource));
    let (resources, unplaced) =
        text.as_ref().map_or_else(Default::default, |text| resources(text, &place, is_bridge, findings));
    // The kernel prints -1 if it does not know the node.
    let numa = if has("numa_node") { tree.text(&format!("{path}/numa_node"), findings) } else { None };
    let numa = numa.and_then(|text| trim(&text).parse::<u32>().ok());
    let target = |file: &str| {
        let target = has(file).then(|| tree.follow(&format!("{path}/{file}")))??;
        target.rsplit('/').next().map(str::to_owned)
    };
    Function {
        address: Some(*address),
        parent: *parent,
        root: Some(*root),
        at: Some(SourceLine::whole(tree.place(path))),
        source: PciSource::Sysfs,
        class: class.or(header.as_ref().map(|header| header.common.class)),
        id: id.or(header.as_ref().map(|header| (header.common.vendor, header.common.device))),
        numa,
        most_virtual: None,
        former: Vec::new(),
        kept: Vec::new(),
        sriov: config.as_deref().and_then(Sriov::find),
        resizable: config.as_deref().into_iter().flat_map(ResizableBar::find_all).collect(),
        command: None,
        hot_plug: config.as_deref().and_then(has_hot_plug_slot).filter(|_| is_bridge),
        below: header
            .as_ref()
            .and_then(|h| h.bridge())
            .map(|b| (b.secondary, b.subordinate))
            .filter(|b| b.0 != 0),
        header,
        physical: target("physfn").and_then(|name| name.parse().ok()),
        lists_windows: is_bridge && text.is_some_and(|text| text.lines().count() > 7),
        resources,
        unplaced,
        driver: target("driver"),
        names: linux_names(tree, path, names),
        title: None,
    }
}

/// Returns Linux's names for a function: network interfaces, disks, graphics cards.
fn linux_names(tree: &Tree, path: &str, names: &[String]) -> Vec<String> {
    let mut out = BTreeSet::new();
    for name in names {
        let folder = format!("{path}/{name}");
        match name.as_str() {
            "net" | "block" | "infiniband" => out.extend(tree.names(&folder)),
            "drm" => out.extend(
                tree.names(&folder)
                    .into_iter()
                    .filter(|name| name.starts_with("card") && !name.contains('-')),
            ),
            "nvme" => {
                for controller in tree.names(&folder) {
                    let disks = tree.names(&format!("{folder}/{controller}"));
                    let own: Vec<String> = disks
                        .into_iter()
                        .filter(|disk| disk.starts_with(&format!("{controller}n")))
                        .collect();
                    if own.is_empty() {
                        out.insert(controller);
                    }
                    out.extend(own);
                }
            }
            _ if name.starts_with("virtio") => {
                for kind in ["net", "block"] {
                    out.extend(tree.names(&format!("{folder}/{kind}")));
                }
            }
            _ if name.starts_with("ata") || name.starts_with("host") => out.extend(disks(tree, &folder, 4)),
            _ => {}
        }
    }
    out.into_iter().collect()
}

/// Returns the disks of a host adapter, which are some folders further down.
fn disks(tree: &Tree, folder: &str, deep: usize) -> Vec<String> {
    let mut out = Vec::new();
    for name in tree.names(folder) {
        let inner = format!("{folder}/{name}");
        let leads_on = ["host", "target", "port-", "end_device-"].iter().any(|begin| name.starts_with(begin));
        let is_unit = name.bytes().filter(|b| *b == b':').count() == 3;
        if name == "block" {
            out.extend(tree.names(&inner));
        } else if deep > 0 && (leads_on || is_unit) {
            out.extend(disks(tree, &inner, deep - 1));
        }
    }
    out
}

/// Flags of a resource (`include/linux/ioport.h`).
const IO: u64 = 0x100;
const MEM: u64 = 0x200;
/// Prefetchable windows: as kernels from 2.6.39 on mark them, and as older ones do.
const PREFETCH: u64 = 0x2000 | 0x1000;
/// Prefetchable BARs: the register's own bit (PCI Local Bus 3.0, 6.2.5.1), the same in all kernels.
const BAR_PREFETCH: u64 = 0x8;
const MEM_64: u64 = 0x10_0000;
const DISABLED: u64 = 0x1000_0000;
const UNSET: u64 = 0x2000_0000;

/// Parses a `resource` file into resources with and without a place. Empty and disabled entries are skipped, broken
/// lines become findings.
fn resources(
    text: &str,
    file: &SourceLine,
    is_bridge: bool,
    findings: &mut Findings,
) -> (Vec<PciResource>, Vec<Unplaced>) {
    let (mut out, mut unplaced) = (Vec::new(), Vec::new());
    for (line, raw) in (1u32..).zip(text.lines()).filter(|(_, raw)| !raw.trim().is_empty()) {
        let at = SourceLine::line(&file.source, line);
        let numbers: Option<Vec<u64>> = raw.split_whitespace().map(hex).collect();
        let Some([start, last, flags]) = numbers.as_deref() else {
            findings.push(Finding::at(&at, "not three hexadecimal numbers"));
            continue;
        };
        if flags & (IO | MEM) == 0 || flags & DISABLED != 0 {
            continue;
        }
        match AddrRange::inclusive(*start, *last) {
            Ok(range) => {
                let (kind, io) = (kind(line - 1, is_bridge), flags & IO != 0);
                let prefetchable = match kind {
                    ResourceKind::Window => !io && flags & PREFETCH != 0,
                    // Reading a ROM has no side effects.
                    ResourceKind::Rom => true,
                    _ => !io && flags & BAR_PREFETCH != 0,
                };
                let wide = Some(flags & MEM_64 != 0);
                // Linux sets the start to 0 when it gives a resource up.
                let again = *start == 0;
                if flags & UNSET == 0 && !again {
                    out.push(PciResource { kind, range, io, prefetchable, wide, open_ended: false, at });
                } else if kind != ResourceKind::Window {
                    let why = if again { "given up" } else { "unset" }.to_owned();
                    let size = Some(range.len());
                    unplaced.push(Unplaced { kind, size, io, prefetchable, wide, why, again, at });
                }
            }
            Err(error) => findings.push(Finding::at(&at, error.to_string())),
        }
    }
    (out, unplaced)
}

/// Kernels without SR-IOV omit its six entries, so a bridge's windows follow the ROM directly.
fn kind(index: u32, is_bridge: bool) -> ResourceKind {
    match u8::try_from(index).unwrap_or(u8::MAX) {
        bar @ 0..=5 => ResourceKind::Bar(bar),
        6 => ResourceKind::Rom,
        vf @ 7..=12 if !is_bridge => ResourceKind::VfBar(vf - 7),
        _ => ResourceKind::Window,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str, is_bridge: bool) -> (Vec<PciResource>, Vec<String>) {
        let mut findings = Findings::default();
        let all = resources(text, &SourceLine::whole("resource"), is_bridge, &mut findings);
        (all.0, findings.finish().iter().map(Finding::to_string).collect())
    }

    #[test]
    fn entries_are_read_by_their_place() {
        let text = "0xc2700000 0xc2703fff 0x0000000000140204\n0x0 0x0 0x0\n0xe000 0xe01f 0x40101\n0x9 0x1 0x200\nwhat\n";
        let (all, findings) = parse(text, false);
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].kind, all[0].io, all[0].prefetchable), (ResourceKind::Bar(0), false, false));
        assert_eq!((all[1].kind, all[1].io), (ResourceKind::Bar(2), true));
        assert_eq!(
            findings,
            [
                "resource:4: range 0x9..0x2 is empty: its end must be above its start",
                "resource:5: not three hexadecimal numbers"
            ]
        );
    }

    #[test]
    fn prefetchable_is_read_alike_of_old_and_new_kernels() {
        for flags in ["0x12120c", "0x14220c"] {
            assert!(parse(&format!("0x1000 0x1fff {flags}\n"), false).0[0].prefetchable, "{flags}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_lines_never_panic(lines in prop::collection::vec("(0x)?[0-9a-f]{0,18} [0-9a-f]{0,17} [0-9a-f]{0,9}", 0..20)) {
            parse(&lines.join("\n"), true);
        }
    }
}
