//! What an address that a device uses can tell.

use super::known::Known;
use crate::units;
use crate::units::size;
use pmem_import::ReservedKind;
use pmem_iommu::INTERRUPTS;
use pmem_iommu::amd::{HYPER_TRANSPORT, LINK_INTERRUPTS};
use pmem_iommu::smmu::v3;
use pmem_iommu::vtd::fault::ReasonKind;

/// The number of bits that an address needs.
const fn bits(address: u64) -> u32 {
    u64::BITS - address.leading_zeros()
}

/// Undoes the sign extension with which old kernels print addresses above 52 bits.
pub(super) const fn without_sign(address: u64) -> u64 {
    if address >> 52 == 0xfff { address & 0xff_ffff_ffff } else { address }
}

/// Tells what an address in HyperTransport's reserved range is; `None` outside the range.
pub(super) fn hyper_transport(address: u64) -> Option<String> {
    if LINK_INTERRUPTS.contains(&address) {
        return Some(
            "0xfdf8000000..0xfdf9000000 are interrupts and ends of interrupts (HyperTransport): no memory"
                .to_owned(),
        );
    }
    HYPER_TRANSPORT.contains(&address).then(|| {
        "0xfd00000000..0x10000000000 is HyperTransport's: no mapping may use it, and no memory is there"
            .to_owned()
    })
}

/// Recognises a write to the doorbell of an Arm GIC ITS by its page offset.
pub(super) fn interrupt_of_arm(address: u64, is_write: bool) -> Option<String> {
    (is_write && address & 0xfff == v3::TRANSLATER).then(|| {
        format!(
            "a write to offset 0x40 of a page is an interrupt (GITS_TRANSLATER of an ITS, at {:#x}, or the page that the host chose for it): its mapping is missing, and no memory is meant",
            address & !0xfff
        )
    })
}

/// Explains why the kernel refused a DMA transfer.
pub(super) fn too_far(address: u64, bytes: u64, mask: u64, limit: u64, bounced: bool) -> Vec<String> {
    let last = address.saturating_add(bytes.saturating_sub(1));
    let mut out = vec![format!(
        "no IOMMU translates here: the address is one of memory, needs {} bits, and the device names {}",
        bits(last),
        bits(mask)
    )];
    if address >> 47 == 1 && bits(mask) < 48 {
        out.push("47 bits and more are no place in memory of most machines: a kernel's virtual address that was cut to 48 bits (a buffer on a stack, say) looks so".to_owned());
    }
    if limit > 0 && last > limit {
        out.push(format!("its bus reaches up to {limit:#x}"));
    }
    if last <= mask && (limit == 0 || last <= limit) {
        out.push("the device can name all of it: the check was wrong, or something else is".to_owned());
    }
    if bounced {
        out.push(
            "the bounce buffer itself lies too far: swiotlb must be below what the device names".to_owned(),
        );
    }
    out
}

impl Known<'_> {
    /// Whether firmware reserves the address for devices.
    pub(super) fn is_reserved(&self, address: u64) -> bool {
        self.machine.iommu.reserved.iter().any(|said| said.value.range.contains(address))
    }

    /// Tells what is known about an address that a device used. `page` is set if the record gives only the page, not
    /// the bytes in it.
    pub(super) fn device_address(&self, address: u64, about: ReasonKind, page: bool) -> Vec<String> {
        let mut out = Vec::new();
        let reserved = &self.machine.iommu.reserved;
        for said in reserved.iter().filter(|said| said.value.range.contains(address)) {
            let (range, what) = (
                said.value.range,
                match said.value.kind {
                    ReservedKind::Direct | ReservedKind::DirectRelaxable => {
                        "firmware has devices share memory there, so that it must be mapped as it is (RMRR, IVMD)"
                    }
                    ReservedKind::Msi => "it is kept for interrupts",
                    ReservedKind::Other => "no mapping may use it",
                },
            );
            out.push(format!("it lies in {}: {what}", units::range(range.start(), range.last())));
        }
        if out.is_empty() {
            // The nearest reserved range is often mistaken for the culprit, so say by how much the address misses it.
            let distance = |range: pmem_core::AddrRange| {
                range.start().saturating_sub(address).max(address.saturating_sub(range.last()))
            };
            let near = reserved.iter().map(|said| said.value.range).min_by_key(|range| distance(*range));
            if let Some(range) = near.filter(|range| distance(*range) < 1 << 20) {
                let (which, by) = if address < range.start() {
                    ("below", range.start() - address)
                } else {
                    ("above", address - range.last())
                };
                out.push(format!(
                    "{}, which firmware has devices share, does not contain it: it is {by:#x} {which}",
                    units::range(range.start(), range.last())
                ));
            }
        }
        if about == ReasonKind::Bus || about == ReasonKind::Requester {
            return out;
        }
        if address == 0 || page && address < 0x1000 {
            out.push(
                "Linux gives no device the address 0: a descriptor that holds 0, unset or freed".to_owned(),
            );
        } else if address < 1 << 20 {
            out.push("below 1 MiB is what firmware uses, to play old devices for USB ones say, until a driver has them".to_owned());
        } else if INTERRUPTS.contains(&address) {
            out.push(
                "0xfee00000..0xfef00000 are interrupts: no mapping may use it, and no memory is meant"
                    .to_owned(),
            );
        } else if (0xf000_0000..1 << 32).contains(&address) && !self.is_reserved(address) {
            out.push("close below 4 GiB is where Linux begins to give out device addresses, downward: a normal one, and no place in memory".to_owned());
        } else if bits(address) >= 47 {
            out.push(format!("{} bits: a device address given out downward from 2^48, or a kernel's virtual address that was cut; which of them, this does not tell", bits(address)));
        }
        if about == ReasonKind::Width {
            out.push(format!("{address:#x} needs {} bits: no mapping could help", bits(address)));
        }
        let width =
            self.machine.iommu.units.iter().filter_map(|unit| unit.value.capability).map(|c| c.width()).min();
        if let Some(width) = width.filter(|width| bits(address) > *width) {
            out.push(format!(
                "a unit of this machine takes {width} bits: {} and above are beyond it",
                size(1 << width.min(63))
            ));
        }
        out
    }
}
