//! Finds the device that really made a request whose requester id belongs to no function.

use super::known::{ASKED, Known};
use pmem_import::fault::Requester;
use pmem_import::{Address, Function};
use pmem_iommu::RequesterId;

/// Marvell controllers that send some of their requests as function 1 (Linux: drivers/pci/quirks.c,
/// `quirk_dma_func1_alias`).
const MARVELL: [u16; 15] = [
    0x9120, 0x9123, 0x9125, 0x9128, 0x9130, 0x9172, 0x917a, 0x9182, 0x9183, 0x91a0, 0x9215, 0x9220, 0x9230,
    0x9235, 0x9642,
];
/// Devices that send requests as function 0 (Linux: drivers/pci/quirks.c, `quirk_dma_func0_alias`).
const AS_FIRST: [(u16, u16); 4] = [(0x1180, 0xe832), (0x1180, 0xe476), (0x6766, 0x3d40), (0x6766, 0x3d41)];

fn short(address: Address) -> String {
    format!("{:02x}:{:02x}.{:x}", address.bus, address.device, address.function)
}

/// Describes a function: its name and driver.
fn called(function: &Function) -> String {
    let what = function.title.clone().unwrap_or_else(|| function.class_name().to_owned());
    match &function.driver {
        Some(driver) => format!("{what}, driver {driver}"),
        None => what,
    }
}

fn is_marvell(function: &Function) -> bool {
    let by_id = function.id.is_some_and(|(vendor, device)| vendor == 0x1b4b && MARVELL.contains(&device));
    let by_title = function
        .title
        .as_ref()
        .is_some_and(|title| MARVELL.iter().any(|device| title.contains(&format!("88SE{device:04x}"))));
    by_id || by_title
}

/// Recognises the requester ids that AMD's I/O APICs use, for when no table names them.
pub(super) fn of_amd(address: Address) -> Option<String> {
    let place = match (address.bus, address.device, address.function) {
        (0, 0x14, 0) => "the southbridge's",
        (_, 0, 1) => "a northbridge's",
        _ => return None,
    };
    Some(format!("AMD's interrupt controllers (IOAPIC) ask as BB:00.1 and 00:14.0: this is {place} place"))
}

impl Known<'_> {
    /// Describes in words who made the request.
    pub(super) fn who(&self, who: Requester, xen: bool) -> Vec<String> {
        let (address, mut out) = (who.address, Vec::new());
        let id = RequesterId(address.routing_id());
        for special in
            self.machine.iommu.special.iter().map(|said| said.value).filter(|special| special.source == id)
        {
            let what =
                if special.is_io_apic { "interrupt controller (IOAPIC)" } else { "timer block (HPET)" };
            out.push(format!(
                "{} is whom {what} {} asks as: interrupts, never memory",
                short(address),
                special.handle
            ));
        }
        for alias in
            self.machine.iommu.aliases.iter().map(|said| said.value).filter(|alias| alias.source == id)
        {
            out.push(format!("requests of {} to {} come as {}", alias.first, alias.last, alias.source));
        }
        if let Some(function) = self.machine.functions.at(address) {
            out.push(format!("{ASKED}{address} ({})", called(function)));
        } else if who.is_known {
            out.push(format!("{ASKED}{address}, which the kernel knows"));
        } else {
            out.push(self.nobody(address, xen));
        }
        if let Some(group) = self.machine.iommu.groups.get(&address) {
            let others =
                self.machine.iommu.groups.iter().filter(|(other, own)| *own == group && **other != address);
            let others: Vec<String> = others.map(|(other, _)| short(*other)).collect();
            if !others.is_empty() {
                out.push(format!("it is in group {group} together with {}", others.join(", ")));
            }
        }
        out
    }

    /// Describes a requester id that no source gives to a function.
    fn nobody(&self, address: Address, xen: bool) -> String {
        let functions = &self.machine.functions;
        let on_bus: Vec<&Function> = functions
            .iter()
            .filter(|f| (f.bdf().segment, f.bdf().bus) == (address.segment, address.bus))
            .collect();
        let device: Vec<&Function> =
            on_bus.iter().copied().filter(|f| f.bdf().device == address.device).collect();
        let at = |function: u8| device.iter().copied().find(|f| f.bdf().function == function);
        if address.function == 1
            && let Some(first) = at(0).filter(|first| is_marvell(first))
        {
            return format!(
                "{address} is no function: {} ({}) sends part of its requests as function 1; the kernel must know that alias (pci_add_dma_alias), or the unit refuses it",
                short(first.bdf()),
                called(first)
            );
        }
        if address.function == 0
            && let Some(other) = device.iter().find(|f| f.id.is_some_and(|id| AS_FIRST.contains(&id)))
        {
            return format!(
                "{address} is no function: {} ({}) sends requests as function 0",
                short(other.bdf()),
                called(other)
            );
        }
        if address.function >= 4 && at(0).is_some() && device.iter().all(|f| f.bdf().function < 4) {
            let names: Vec<String> = device.iter().map(|f| short(f.bdf())).collect();
            let xen = if xen {
                format!(
                    "; pci-phantom={:02x}:{:02x},4 has Xen map them with the others",
                    address.bus, address.device
                )
            } else {
                String::new()
            };
            return format!(
                "{address} is no function that is to be seen: beside {} a hidden one of the same device, which its firmware uses{xen}",
                names.join(", ")
            );
        }
        if (address.device, address.function) == (0, 0) && !on_bus.is_empty() {
            let leads = |f: &&Function| {
                f.bdf().segment == address.segment && f.below.is_some_and(|below| below.0 == address.bus)
            };
            let others: Vec<String> = on_bus.iter().map(|f| short(f.bdf())).collect();
            let bridge = functions.iter().find(leads).map_or("the bridge above".to_owned(), |bridge| {
                format!("the bridge {}", short(bridge.bdf()))
            });
            return format!(
                "{address} is not a function: {bridge} uses this id for the devices behind it, {} (a PCI Express to PCI bridge uses its secondary bus and 00.0); all of them must be in its group",
                others.join(" and ")
            );
        }
        if !device.is_empty() {
            let names: Vec<String> = device.iter().map(|f| short(f.bdf())).collect();
            return format!(
                "{address} is no function that a source names; {} is there: an alias, or a hidden function",
                names.join(", ")
            );
        }
        if !on_bus.is_empty() {
            return format!("{ASKED}{address}, which no source names though others of its bus are");
        }
        format!("{ASKED}{address}, which no source names: looked at from the CPUs")
    }
}
