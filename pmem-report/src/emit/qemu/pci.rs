//! The PCI hierarchy, from the host bridges down, CXL host bridges included.

use super::line::Line;
use super::nodes::Nodes;
use crate::topo::{FunctionSummary, Topo};
use crate::units::size;
use pmem_import::CxlMemory;
use std::collections::BTreeSet;

/// What a bridge is, as its position in the hierarchy tells.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Root,
    RootPort,
    Upstream,
    Downstream,
    Conventional,
    /// A host bridge other than the first.
    ExtraRoot,
    /// A CXL host bridge.
    CxlRoot,
    /// A root port of a CXL host bridge.
    CxlPort,
}

/// A CXL host bridge: its UID in CEDT, if it has one, and its first bus.
struct CxlBridge {
    id: Option<u32>,
    bus: u8,
}

/// PCI functions, from the host bridges down.
pub(super) struct Hierarchy<'t> {
    topo: &'t Topo,
    cxl: Vec<CxlBridge>,
    chassis: usize,
}

/// The class code of CXL memory devices (CXL 3.0, section 8.1.12.1).
const CXL_MEMORY: &str = "0x0502";

/// Functions that QEMU has a device for: vendor id, device id, QEMU's name.
const DEVICES: [(&str, &str, &str); 8] = [
    ("0x8086", "0x10d3", "e1000e"),
    ("0x8086", "0x100e", "e1000"),
    ("0x10ec", "0x8139", "rtl8139"),
    ("0x1b36", "0x0010", "nvme"),
    ("0x1af4", "0x1041", "virtio-net-pci"),
    ("0x1af4", "0x1000", "virtio-net-pci"),
    ("0x1af4", "0x1044", "virtio-rng-pci"),
    ("0x1af4", "0x1005", "virtio-rng-pci"),
];

impl<'t> Hierarchy<'t> {
    pub(super) fn of(topo: &'t Topo, cxl: &CxlMemory) -> Self {
        let mut hierarchy = Self { topo, cxl: Vec::new(), chassis: 1 };
        let mut ids: Vec<u32> =
            cxl.windows.iter().flat_map(|window| window.bridges.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        let roots = hierarchy.roots();
        let mut buses: Vec<u8> = roots
            .iter()
            .filter(|bus| is_first_segment(bus) && hierarchy.leads_to_cxl(bus))
            .filter_map(|bus| number_of(bus))
            .collect();
        // QEMU uses the bus number as the UID. Real machines use any UID, so the rest are assigned to the remaining
        // buses.
        let named: Vec<u8> = buses.iter().copied().filter(|bus| ids.contains(&u32::from(*bus))).collect();
        buses.retain(|bus| !named.contains(bus));
        let mut spare =
            (0xc0u8..=0xf8).step_by(8).filter(|bus| !roots.iter().any(|root| number_of(root) == Some(*bus)));
        // A bridge keeps its UID if a real bus has that number. Otherwise it gets the next real bus, then a spare
        // number.
        for id in ids {
            let own = u8::try_from(id).ok().filter(|bus| named.contains(bus));
            let next = || if buses.is_empty() { spare.next() } else { Some(buses.remove(0)) };
            let Some(bus) = own.or_else(next) else { break };
            hierarchy.cxl.push(CxlBridge { id: Some(id), bus });
        }
        hierarchy.cxl.extend(buses.into_iter().map(|bus| CxlBridge { id: None, bus }));
        hierarchy
    }

    pub(super) fn has_cxl(&self) -> bool {
        !self.cxl.is_empty()
    }

    /// Returns the index of the CXL host bridge with this UID.
    pub(super) fn cxl_bridge(&self, id: u32) -> usize {
        self.cxl.iter().position(|bridge| bridge.id == Some(id)).unwrap_or(0)
    }

    /// Returns the root buses that have functions.
    fn roots(&self) -> Vec<String> {
        let tops = self.topo.buses.iter().filter(|bus| bus.above.is_none()).map(|bus| bus.bus.clone());
        tops.filter(|bus| !self.on(bus).is_empty()).collect()
    }

    fn leads_to_cxl(&self, bus: &str) -> bool {
        self.on(bus).iter().any(|function| {
            let is_memory = function.class.as_deref().is_some_and(|class| class.starts_with(CXL_MEMORY));
            is_memory || function.below.as_ref().is_some_and(|below| self.leads_to_cxl(below))
        })
    }

    pub(super) fn options(mut self, nodes: &Nodes<'_>, line: &mut Line) {
        let roots = self.roots();
        let mut slots = self.free_slots();
        let mut taken: BTreeSet<u8> = BTreeSet::new();
        for i in 0..self.cxl.len() {
            let (id, bus) = (self.cxl[i].id, self.cxl[i].bus);
            taken.insert(bus);
            if let Some(id) = id.filter(|id| *id != u32::from(bus)) {
                line.note(format!(
                    "CXL host bridge {id} of the tables is {bus}: QEMU numbers them by their buses"
                ));
            }
            let slot = slots.pop().map_or(String::new(), |slot| format!(",addr={slot:x}"));
            line.option(&format!("-device pxb-cxl,id=cxl.{i},bus=pcie.0{slot},bus_nr={bus}"));
            match roots.iter().find(|root| is_first_segment(root) && number_of(root) == Some(bus)) {
                Some(root) => self.below(line, root, &format!("cxl.{i}"), Place::CxlRoot),
                None => {
                    let chassis = self.chassis;
                    self.chassis += 1;
                    line.option(&format!(
                        "-device cxl-rp,id=b{chassis},chassis={chassis},slot={chassis},port=0,bus=cxl.{i}"
                    ));
                }
            }
        }
        let is_cxl = |bus: &String| {
            is_first_segment(bus) && self.cxl.iter().any(|bridge| number_of(bus) == Some(bridge.bus))
        };
        let others: Vec<&String> = roots.iter().filter(|bus| !is_cxl(bus)).collect();
        for bus in others {
            let Some(first) = number_of(bus) else { continue };
            if first == 0 && is_first_segment(bus) {
                self.below(line, bus, "pcie.0", Place::Root);
                continue;
            }
            if first == 0 || !taken.insert(first) {
                line.note(format!(
                    "{bus}: QEMU's q35 has one segment, in which {first:02x} is another bus: left out"
                ));
                continue;
            }
            if !is_first_segment(bus) {
                line.note(format!("{bus}: QEMU's q35 has one segment, this is a bus of it"));
            }
            let node = self
                .topo
                .buses
                .iter()
                .find(|other| other.bus == *bus)
                .and_then(|bus| nodes.number_of(bus.node?));
            let node = node.map_or(String::new(), |node| format!(",numa_node={node}"));
            let slot = slots.pop().map_or(String::new(), |slot| format!(",addr={slot:x}"));
            let id = format!("pxb{first}");
            line.option(&format!("-device pxb-pcie,id={id},bus=pcie.0{slot},bus_nr={first}{node}"));
            self.below(line, bus, &id, Place::ExtraRoot);
        }
    }

    /// Returns the slots of the first bus that extra host bridges can use, the preferred one last. If the sources
    /// describe a QEMU machine, the slots of its own extra host bridges come first, then unused slots.
    fn free_slots(&self) -> Vec<u8> {
        let slots = |wanted: &dyn Fn(&FunctionSummary) -> bool| -> BTreeSet<u8> {
            let on_first = self.on("0000:00").into_iter().filter(|function| wanted(function));
            on_first.filter_map(|function| Some(slot_of(&function.address)?.0)).collect()
        };
        let is_own = |f: &FunctionSummary| {
            f.vendor.as_deref() == Some("0x1b36") && f.device.as_deref() == Some("0x000b")
        };
        let (own, used) = (slots(&is_own), slots(&|_| true));
        let free = (1..0x1f).rev().filter(|slot| !used.contains(slot));
        let mut all: Vec<u8> = own.iter().copied().chain(free).collect();
        all.reverse();
        all
    }

    fn on(&self, bus: &str) -> Vec<&'t FunctionSummary> {
        let arena = format!("pci {bus}");
        self.topo
            .functions
            .iter()
            .filter(|function| function.bus == arena && function.physical_function.is_none())
            .collect()
    }

    /// Adds the functions on a bus and, through its bridges, everything below.
    fn below(&mut self, line: &mut Line, bus: &str, parent: &str, place: Place) {
        let functions = self.on(bus);
        let kept: Vec<(&FunctionSummary, u8, u8)> = functions
            .iter()
            .filter_map(|function| slot_of(&function.address).map(|(slot, number)| (*function, slot, number)))
            .filter(|(function, slot, _)| self.is_kept(line, function, *slot, place))
            .collect();
        let used: BTreeSet<u8> = kept.iter().map(|(_, slot, _)| *slot).collect();
        // On a conventional bus, QEMU's hot-plug controller occupies slot 0.
        let instead = (1..=31)
            .find(|slot| !used.contains(slot))
            .filter(|_| place == Place::Conventional && used.contains(&0));
        for slot in used {
            let all = || kept.iter().filter(|(_, of, _)| *of == slot);
            let becomes = if slot == 0 { instead.unwrap_or(0) } else { slot };
            if becomes != slot {
                line.note(format!("{bus}: what is in slot 0 is in slot {becomes:#x}"));
            }
            // Software does not look for other functions in a slot whose function 0 is missing.
            let lacks_first = all().all(|(.., number)| *number != 0);
            let is_several = all().count() > 1 || lacks_first;
            let place_of = |number: u8| {
                let multifunction = if is_several && number == 0 { ",multifunction=on" } else { "" };
                format!("bus={parent},addr={becomes:x}.{number}{multifunction}")
            };
            if lacks_first {
                line.note(format!("{bus}:{slot:02x}.0: pci-testdev stands in, so that the others are found"));
                line.option(&format!("-device pci-testdev,{}", place_of(0)));
            }
            for (function, _, number) in all() {
                match &function.below {
                    Some(inner) => self.bridge(line, function, inner, &place_of(*number), place),
                    None => self.device(line, function, &place_of(*number)),
                }
            }
        }
    }

    /// Whether the function must be, and can be, put on QEMU's command line.
    fn is_kept(&self, line: &mut Line, function: &FunctionSummary, slot: u8, place: Place) -> bool {
        // QEMU creates chipset functions and host bridges by itself.
        let is_root = matches!(place, Place::Root | Place::ExtraRoot | Place::CxlRoot);
        let is_host_bridge =
            function.class.as_deref().is_some_and(|class| class.starts_with("0x0600") || class == "0x080700");
        if is_root && is_host_bridge || place == Place::Root && (slot == 0 || slot == 0x1f) {
            return false;
        }
        if matches!(place, Place::ExtraRoot | Place::CxlRoot) && function.below.is_none() {
            line.note(format!("{}: QEMU's extra host bridges take bridges only: left out", function.address));
            return false;
        }
        if matches!(place, Place::RootPort | Place::Downstream | Place::CxlPort) && slot != 0 {
            line.note(format!("{}: below a port QEMU has slot 0 only: left out", function.address));
            return false;
        }
        true
    }

    /// Adds a bridge of the kind that its place requires, and what is behind it.
    fn bridge(&mut self, line: &mut Line, function: &FunctionSummary, inner: &str, at: &str, place: Place) {
        let behind = self.on(inner);
        let are_bridges = !behind.is_empty() && behind.iter().all(|found| found.below.is_some());
        let is_alone = slot_of(&function.address) == Some((0, 0));
        let becomes = match place {
            Place::Root | Place::ExtraRoot => Place::RootPort,
            Place::CxlRoot => Place::CxlPort,
            Place::RootPort | Place::Downstream if is_alone && are_bridges => Place::Upstream,
            Place::Upstream => Place::Downstream,
            Place::RootPort | Place::Downstream | Place::CxlPort | Place::Conventional => Place::Conventional,
        };
        let id = format!("b{}", self.chassis);
        let chassis = self.chassis;
        self.chassis += 1;
        let device = match (becomes, place) {
            (Place::RootPort, _) => format!("pcie-root-port,id={id},chassis={chassis},slot={chassis}"),
            (Place::CxlPort, _) => format!(
                "cxl-rp,id={id},chassis={chassis},slot={chassis},port={}",
                slot_of(&function.address).map_or(0, |(slot, _)| slot)
            ),
            (Place::Upstream, _) => format!("x3130-upstream,id={id}"),
            (Place::Downstream, _) => format!("xio3130-downstream,id={id},chassis={chassis},slot={chassis}"),
            (_, Place::Conventional) => format!("pci-bridge,id={id},chassis_nr={chassis},shpc=off"),
            _ => format!("pcie-pci-bridge,id={id}"),
        };
        line.option(&format!("-device {device},{at}"));
        self.below(line, inner, &id, becomes);
    }

    /// Adds a device, or one that stands in for it.
    fn device(&mut self, line: &mut Line, function: &FunctionSummary, at: &str) {
        let is_it = |known: &&(&str, &str, &str)| {
            function.vendor.as_deref() == Some(known.0) && function.device.as_deref() == Some(known.1)
        };
        if function.class.as_deref().is_some_and(|class| class.starts_with(CXL_MEMORY)) {
            let id = self.chassis;
            self.chassis += 1;
            line.note(format!("{}: no source says how much memory it has: 256 MiB", function.address));
            line.option(&format!("-object memory-backend-ram,id=cm{id},size=256M,share=on"));
            line.option(&format!("-object memory-backend-ram,id=cl{id},size=256M,share=on"));
            line.option(&format!(
                "-device cxl-type3,id=c{id},memdev=cm{id},lsa=cl{id},{}",
                at.replace(",addr=0.0", "")
            ));
            return;
        }
        let known = DEVICES.iter().find(is_it).map(|(.., name)| *name);
        let name = match known {
            Some("nvme") => {
                let id = format!("d{}", self.chassis);
                self.chassis += 1;
                line.option(&format!("-drive if=none,id={id},format=raw,file=null-co://"));
                format!("nvme,drive={id},serial=none")
            }
            Some("virtio-rng-pci") => "virtio-rng-pci".to_owned(),
            Some(network) => format!("{network},romfile="),
            None => {
                let memory = function.bars.iter().filter(|bar| !bar.io && bar.name.starts_with("BAR"));
                let largest = memory.map(|bar| bar.bytes).max().unwrap_or(0);
                line.note(format!(
                    "{}: pci-testdev stands in, its memory {}",
                    function.address,
                    size(largest)
                ));
                // The device has a BAR of 4 KiB in any case.
                if largest > 4096 {
                    // Sources may understate a BAR's size. Round up to a power of two.
                    let bar = largest.checked_next_power_of_two().unwrap_or(1 << 63);
                    format!("pci-testdev,membar={bar}")
                } else {
                    "pci-testdev".to_owned()
                }
            }
        };
        line.option(&format!("-device {name},{at}"));
    }
}

/// Returns the slot and function of an address.
fn slot_of(address: &str) -> Option<(u8, u8)> {
    let (slot, function) = address.rsplit(':').next()?.split_once('.')?;
    Some((u8::from_str_radix(slot, 16).ok()?, function.parse().ok()?))
}

/// Whether a bus is in segment 0.
fn is_first_segment(bus: &str) -> bool {
    bus.starts_with("0000:")
}

/// Returns the number of a bus.
fn number_of(bus: &str) -> Option<u8> {
    bus.split(':').nth(1).and_then(|number| u8::from_str_radix(number, 16).ok())
}
