//! Registers, entries, commands and records: what real ones say, and that writing what was read gives the same.

use pmem_iommu::RequesterId;
use pmem_iommu::amd::event::AddressOf;
use pmem_iommu::amd::{Code, Command, DeviceEntry, Event, Flags, Mode, registers as amd};
use pmem_iommu::smmu::{v2, v3};
use pmem_iommu::table::{Access, ArmStage2, Entry, Format, Leaf};
use pmem_iommu::vtd::fault::ReasonKind;
use pmem_iommu::vtd::registers::{self as vtd, Capability, ExtendedCapability};
use pmem_iommu::vtd::{Context, Descriptor, Fault, Granularity, Kind, Reason, Root, Status};
use proptest::prelude::*;

#[test]
fn registers_of_real_units_are_read() {
    // As Linux prints them of client units.
    let cap = Capability(0x01c0_000c_4066_0462);
    assert_eq!((cap.domains(), cap.width(), cap.large_pages()), (256, 39, 3));
    assert_eq!((3..=5).filter(|levels| cap.walks(*levels)).collect::<Vec<_>>(), [4]);
    assert_eq!((cap.faults(), cap.invalidates_pages(), cap.caches_absent()), ((0x400, 1), false, false));
    let cap = Capability(0x00d2_008c_4066_0462);
    assert_eq!((cap.faults(), cap.invalidates_pages(), cap.most_pages()), ((0x400, 1), true, 18));
    let ecap = ExtendedCapability(0x00f0_50da);
    assert_eq!((ecap.has_queue(), ecap.remaps_interrupts(), ecap.passes_through()), (true, true, true));
    assert_eq!((ecap.invalidation(), ecap.is_coherent(), ecap.has_ats()), (0x500, false, false));
}

#[test]
fn entries_have_the_bits_of_the_specification() {
    let id = RequesterId::new(0x3b, 0x1f, 6);
    assert_eq!((id.to_string().as_str(), id.0), ("3b:1f.6", 0x3bfe));
    assert_eq!((Root::at(0x1000, id), Context::at(0x2000, id)), (0x13b0, 0x2fe0));
    let context =
        Context { kind: Kind::Translated { table: 0x5000, levels: 4, ats: false }, domain: 7, silent: false };
    assert_eq!(context.encode(4), [0x5001, 0x702]);
    let passed = Context { kind: Kind::Passed, domain: 1, silent: true };
    assert_eq!(passed.encode(3), [0b1011, 0x101]);
    assert_eq!(vtd::translation_command(Some(0x12)), 0xa003_0012_0000_0000);
    assert_eq!(vtd::page_command(0x12, 0x4000, 2, false), (0x4042, 0xb003_0012_0000_0000));
    assert_eq!(vtd::context_command(), 0xa000_0000_0000_0000);
    // Two that Linux printed: identity, and a guest's tables with page requests.
    let identity = DeviceEntry([0x6000_0000_0000_0003, 0, 0, 0]);
    assert_eq!(
        (identity.mode(), identity.permits(), identity.has_guest()),
        (Some(Mode::Passed), (true, true), (false, false))
    );
    assert_eq!(DeviceEntry([0x7190_0000_0000_0003, 0, 0, 0]).has_guest(), (true, true));
    let translated = DeviceEntry::new(Mode::Translated { table: 0x7000, levels: 3 }, 9);
    assert_eq!(translated.0, [0x6000_0000_0000_7603, 9, 0, 0]);
    assert_eq!(DeviceEntry::refused().interrupts(), None);
    assert_eq!(DeviceEntry::refused().permits(), (false, false));
    assert_eq!(amd::device_table(0x10_0000, 65536), 0x10_01ff);
    assert_eq!(amd::buffer(0x20_0000, amd::LEAST_ORDER), 0x0800_0000_0020_0000);
    let all = Command::Pages { domain: 2, first: 0, shift: 64, tables: true };
    assert_eq!(all.encode(), [0x3000_0002_0000_0000, 0x7fff_ffff_ffff_f003]);
}

#[test]
fn what_faults_say_is_read() {
    // `DRHD: handling fault status reg 302`.
    assert_eq!(
        (Status(0x302).first(), Status(0x302).overflowed(), Status(0x100).first()),
        (Some(3), false, None)
    );
    assert_eq!(Reason(0x25).about(), ReasonKind::Interrupt);
    assert_eq!(
        [1, 2, 4, 6, 0xc, 0x71, 0x85].map(|n| Reason(n).about()),
        [
            ReasonKind::Bus,
            ReasonKind::Requester,
            ReasonKind::Width,
            ReasonKind::Address,
            ReasonKind::Table,
            ReasonKind::Address,
            ReasonKind::Address
        ]
    );
    let interrupt = Fault::decode([0x8800 << 48, 1 << 63 | 0x25 << 32 | 0x6405]).unwrap();
    assert_eq!((interrupt.index(), interrupt.source.to_string().as_str()), (Some(0x8800), "64:00.5"));
    // `IO_PAGE_FAULT device=42:00.0 domain=0x005e address=… flags=0x0050`: present, and not permitted to be read.
    let event = Event::decode([0x2050_005e_0000_4200, 0xffff_c000]).unwrap();
    assert_eq!((event.code.name(), event.domain, event.source.bus()), ("IO_PAGE_FAULT", 0x5e, 0x42));
    assert!(event.flags.was_present() && event.flags.was_forbidden() && !event.flags.is_write());
    assert_eq!(Flags(0x50).to_string(), "0x0050 PR PE");
    assert_eq!(
        (Flags(0xa00).kind(), Code(7).address(), Code(1).address()),
        (5, AddressOf::Unit, AddressOf::Innocent)
    );
    assert_eq!(Code::named("IOTLB_INV_TIMEOUT"), Some(Code(7)));
    assert_eq!((Code::named("UNKNOWN"), Event::decode([0, 0])), (None, None));
    let smmu = v3::Event([0x0000_0180_0000_0010, 0x0000_0201_0000_0000, 0xffff_e040, 0]);
    assert_eq!(
        (smmu.name(), smmu.stream(), smmu.class(), smmu.is_read()),
        ("F_TRANSLATION", 0x180, v3::Class::Input, false)
    );
    assert_eq!((v3::Event([2, 0, 0, 0]).has_address(), smmu.has_address()), (false, true));
    let bank = v2::Fault { status: 0x8000_0402, syndrome: 0x7_0091, stream: 0x9000 };
    assert_eq!(
        (bank.text(), bank.is_write(), bank.bank(), bank.stream_id()),
        ("nothing is mapped there", true, 7, 0x9000)
    );
    // Two functions behind a bridge come as one stream.
    assert_eq!(v3::requesters(0x11, 0x100, 1, 0x11, 0x1ff)[..2], [0x100, 0x300]);
}

fn id() -> impl Strategy<Value = RequesterId> {
    any::<u16>().prop_map(RequesterId)
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        id in id(), domain: u16, page in any::<u64>().prop_map(|n| n & 0x000f_ffff_ffff_f000), reason: u8, read: bool, ats: bool,
        levels in 3u8..=5, order in 0u8..=48, shift in 12u32..=64, value: u32, pasid in prop::option::of(0u32..1 << 20), code in 1u8..16, flags in 0u16..1 << 12,
    ) {
        let root = Root { contexts: (!read).then_some(page) };
        prop_assert_eq!(Root::decode(root.encode()), root);
        let context = Context { kind: Kind::Translated { table: page, levels, ats }, domain, silent: read };
        prop_assert_eq!(Context::decode(context.encode(levels)), Some(context));
        let fault = Fault { source: id, reason: Reason(reason), read, address_type: levels - 3, address: page, pasid };
        prop_assert_eq!(Fault::decode(fault.encode()), Some(fault));
        for descriptor in [
            Descriptor::Context { of: Granularity::Selective, domain, source: id },
            Descriptor::Translations { of: Granularity::Selective, domain, address: page, order, leaves_alone: read },
            Descriptor::Interrupts,
            Descriptor::Wait { address: page | 8, value },
        ] {
            prop_assert_eq!(Descriptor::decode(descriptor.encode()), Some(descriptor));
        }
        let first = if shift == 64 { 0 } else { page & !((1 << shift) - 1) };
        for command in [
            Command::Wait { address: page | 8, value: value.into() },
            Command::Device(id),
            Command::Pages { domain, first, shift, tables: read },
            Command::DevicePages { id, first, shift },
            Command::Interrupts(id),
            Command::All,
        ] {
            prop_assert_eq!(Command::decode(command.encode()), Some(command));
        }
        let event = Event { code: Code(code), source: id, domain: pasid.unwrap_or(domain.into()), flags: Flags(flags), address: page | 0x123 };
        prop_assert_eq!(Event::decode(event.encode()), Some(event));
        let entry = DeviceEntry::new(Mode::Translated { table: page, levels }, domain);
        prop_assert_eq!((entry.mode(), entry.domain()), (Some(Mode::Translated { table: page, levels }), domain));
    }
}

#[test]
fn a_fault_of_an_old_smmu_tells_reads_from_writes() {
    // FSYNR0.WNR is bit 4.
    let fault = |syndrome| v2::Fault { status: 2, syndrome, stream: 0 };
    assert_eq!((fault(0x11).is_write(), fault(0x7_0001).is_write()), (true, false));
}

#[test]
fn an_entry_of_arm_whose_access_flag_is_clear_lets_nothing_through() {
    let format = ArmStage2::new(39, 40, true).unwrap();
    let leaf = Leaf { target: 0x8020_0000, shift: 21, access: Access::BOTH };
    let entry = format.leaf(2, leaf);
    assert_eq!(format.decode(2, entry), Entry::Leaf(leaf));
    assert_eq!(format.decode(2, entry & !(1 << 10)), Entry::Absent);
    // The same entry is no page: pages have bit 1 set.
    assert_eq!(format.decode(1, entry), Entry::Malformed);
}
