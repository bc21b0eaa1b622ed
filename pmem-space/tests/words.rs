//! What types and errors are called, and small conversions: each in a table that says what is right.

use pmem_space::{Attrs, CachingConflict, FirmwareMemory, Fit, Policy, Props, Prot, Usage};

#[test]
fn each_kind_of_firmware_memory_has_its_name_and_its_two_answers() {
    use FirmwareMemory::*;
    for (kind, name, is_memory, is_usable) in [
        (Usable, "usable", true, true),
        (Boot, "boot services", true, true),
        (Unaccepted, "unaccepted", true, true),
        (SpecialPurpose, "soft reserved", true, false),
        (Persistent, "persistent", true, false),
        (Runtime, "runtime services", true, false),
        (AcpiTables, "ACPI data", true, false),
        (AcpiNvs, "ACPI NVS", true, false),
        (Reserved, "reserved", false, false),
        (Unusable, "unusable", false, false),
        (Mmio, "MMIO", false, false),
        (Unknown, "unknown type", false, false),
    ] {
        assert_eq!(kind.to_string(), name);
        assert_eq!((kind.is_memory(), kind.is_usable()), (is_memory, is_usable), "{name}");
    }
}

#[test]
fn attributes_change_one_at_a_time() {
    let screen = Attrs::new(Usage::FRAMEBUF, Prot::RW, Props::WCOMB | Props::PREFETCH).unwrap();
    let other = screen.with_usage(Usage::DATA);
    assert_eq!((other.usage(), other.prot(), other.props()), (Usage::DATA, screen.prot(), screen.props()));
    let other = screen.with_prot(Prot::READ);
    assert_eq!((other.usage(), other.prot(), other.props()), (screen.usage(), Prot::READ, screen.props()));
    assert_eq!(screen.to_string(), "framebuf read+write wcomb+prefetch");
}

#[test]
fn errors_name_the_numbers() {
    let two = Attrs::new(Usage::DATA, Prot::RW, Props::WBACK | Props::UNCACHED).unwrap_err();
    assert_eq!(two, CachingConflict(Props::WBACK | Props::UNCACHED));
    let text = two.to_string();
    assert!(text.contains("wback") && text.contains("uncached"), "{text}");
    let fit = |len, align, boundary| {
        Fit::new(len).and_then(|fit| fit.align(align)).and_then(|fit| match boundary {
            Some(boundary) => fit.boundary(boundary),
            None => Ok(fit),
        })
    };
    for (wrong, said) in [
        (fit(0, 1, None), "length is 0"),
        (fit(8, 3, None), "0x3"),
        (fit(8, 1, Some(6)), "0x6"),
        (fit(0x20, 1, Some(0x10)), "0x20 bytes always cross a boundary of 0x10"),
    ] {
        let text = wrong.unwrap_err().to_string();
        assert!(text.contains(said), "{text}");
    }
    assert_eq!(fit(8, 8, Some(16)).map(|fit| fit.policy(Policy::LastFit)).map(|fit| fit.len()), Ok(8));
}
