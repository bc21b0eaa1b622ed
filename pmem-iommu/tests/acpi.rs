//! Tables of real machines, beside what another reader makes of them; and cut, bent and senseless ones.

use pmem_iommu::acpi::dmar::{Scope, ScopeKind, Structure};
use pmem_iommu::acpi::ivrs::{Block, Device};
use pmem_iommu::acpi::{AcpiError, Dmar, Header, Ivrs};
use proptest::prelude::*;
use std::fmt::Write;
use std::path::PathBuf;

/// The bytes of what `acpidump` prints.
fn bytes(text: &str) -> Vec<u8> {
    let lines = text.lines().filter_map(|line| Some(line.trim().split_once(": ")?.1));
    // The characters follow after two blanks.
    let hex = lines.map(|line| line.split("  ").next().unwrap_or(line));
    hex.flat_map(|line| line.split_whitespace()).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn head(name: &str, header: &Header) -> String {
    let text = |bytes: &[u8]| {
        let text: String =
            bytes.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
        text.trim().to_owned()
    };
    let sum = if header.checksum_is_right { "ok" } else { "wrong" };
    let (length, revision) = (header.length, header.revision);
    let (oem, table) = (text(&header.oem), text(&header.oem_table));
    format!("{name} length={length:#x} revision={revision} checksum={sum} oem=\"{oem}\" table=\"{table}\"\n")
}

fn scopes(out: &mut String, scopes: &[Scope]) {
    for scope in scopes {
        let kind = match scope.kind {
            ScopeKind::Endpoint => "ep",
            ScopeKind::Bridge => "bridge",
            ScopeKind::IoApic => "ioapic",
            ScopeKind::Hpet => "hpet",
            ScopeKind::Acpi => "acpins",
            ScopeKind::Other(_) => "other",
        };
        let path: Vec<String> =
            scope.path.iter().map(|(device, function)| format!("{device:02x}.{function:x}")).collect();
        writeln!(out, "  {kind} id={} bus={:02x} path={}", scope.id, scope.bus, path.join(">")).unwrap();
    }
}

fn dmar_fields(dmar: &Dmar) -> String {
    let mut out = head("DMAR", &dmar.header);
    writeln!(out, "haw={} flags={:02x}", dmar.width, dmar.flags).unwrap();
    for structure in &dmar.structures {
        match structure {
            Structure::Unit(unit) => {
                let (flags, size, segment, base) = (unit.flags, unit.size, unit.segment, unit.base);
                writeln!(out, "DRHD flags={flags:02x} size={size} seg={segment} base={base:#x}").unwrap();
                scopes(&mut out, &unit.scopes);
            }
            Structure::Reserved(found) => {
                writeln!(out, "RMRR seg={} {:#x}-{:#x}", found.segment, found.first, found.last).unwrap();
                scopes(&mut out, &found.scopes);
            }
            Structure::Ats(found) => {
                writeln!(out, "ATSR flags={:02x} seg={}", found.flags, found.segment).unwrap();
                scopes(&mut out, &found.scopes);
            }
            Structure::Cache(found) => {
                writeln!(out, "SATC flags={:02x} seg={}", found.flags, found.segment).unwrap();
                scopes(&mut out, &found.scopes);
            }
            Structure::Integrated(found) => {
                writeln!(out, "SIDP seg={}", found.segment).unwrap();
                scopes(&mut out, &found.scopes);
            }
            Structure::Affinity { base, domain } => {
                writeln!(out, "RHSA base={base:#x} pxm={domain}").unwrap();
            }
            Structure::Named { number, name } => {
                writeln!(out, "ANDD dev={number} name={}", String::from_utf8_lossy(name)).unwrap();
            }
            Structure::Unknown { kind, length } => writeln!(out, "type {kind} len {length}").unwrap(),
        }
    }
    out
}

fn ivrs_fields(ivrs: &Ivrs) -> String {
    let mut out = head("IVRS", &ivrs.header);
    let bit = u8::from;
    writeln!(
        out,
        "ivinfo={:08x} va={} pa={} gva={} htats={} efrsup={} dmaremap={}",
        ivrs.info,
        ivrs.virtual_width(),
        ivrs.physical_width(),
        ivrs.guest_width(),
        bit(ivrs.reserves_ats()),
        bit(ivrs.has_features()),
        bit(ivrs.asks_for_protection()),
    )
    .unwrap();
    for block in &ivrs.blocks {
        match block {
            Block::Unit(unit) => {
                write!(
                    out,
                    "IVHD{:x} flags={:02x} dev={:04x} cap={:x} base={:#x} seg={} info={:04x} attr={:08x}",
                    unit.kind,
                    unit.flags,
                    unit.id.0,
                    unit.capability,
                    unit.base,
                    unit.segment,
                    unit.info,
                    unit.attributes
                )
                .unwrap();
                unit.features.into_iter().for_each(|features| write!(out, " efr={features:#x}").unwrap());
                out.push('\n');
                unit.devices.iter().for_each(|found| device(&mut out, found));
            }
            Block::Memory(memory) => writeln!(
                out,
                "IVMD{:x} flags={:02x} dev={:04x} aux={:04x} start={:#x} len={:#x}",
                memory.kind, memory.flags, memory.id.0, memory.last.0, memory.start, memory.length
            )
            .unwrap(),
            Block::Unknown { kind, length } => writeln!(out, "type 0x{kind:x} len {length}").unwrap(),
        }
    }
    out
}

fn device(out: &mut String, device: &Device) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    match device {
        Device::Padding => writeln!(out, "  pad"),
        Device::All { set } => writeln!(out, "  all set={set:02x}"),
        Device::Select { id, set } => writeln!(out, "  select {id} set={set:02x}"),
        Device::Start { id, set } => writeln!(out, "  range {id} set={set:02x}"),
        Device::End { id, set } => writeln!(out, "  end {id} set={set:02x}"),
        Device::Alias { id, set, source } => writeln!(out, "  alias {id} set={set:02x} ->{source}"),
        Device::AliasStart { id, set, source } => writeln!(out, "  aliasrange {id} set={set:02x} ->{source}"),
        Device::Extended { id, set, extended, start } => {
            writeln!(
                out,
                "  {} {id} set={set:02x} ext={extended:08x}",
                if *start { "extrange" } else { "extselect" }
            )
        }
        Device::Special { handle, source, set, variety } => {
            let kind = if *variety == 1 { "ioapic" } else { "hpet" };
            writeln!(out, "  special {kind} handle={handle} src={source} set={set:02x}")
        }
        Device::Acpi { id, cid, hid, format, uid, .. } => {
            let cid: String = cid.iter().map(|byte| format!("{byte:02x}")).collect();
            let uid = uid.escape_ascii().to_string();
            writeln!(out, "  hid {id} hid={} cid={cid} uidf={format} uid=b'{uid}'", text(hid))
        }
        Device::Unknown { kind } => writeln!(out, "  type {kind:#x}"),
    }
    .unwrap();
}

/// The corpus of real machines; a relative path is meant from the workspace's folder.
fn corpus() -> Option<PathBuf> {
    let corpus = PathBuf::from(std::env::var_os("PMEM_CORPUS")?);
    Some(std::env::current_dir().unwrap().join("..").join(corpus))
}

#[test]
fn tables_of_real_machines_say_what_another_reader_reads() {
    let Some(corpus) = corpus() else { return };
    let mut read = 0;
    for entry in std::fs::read_dir(corpus.join("iommu/tables")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ext| ext != "hex") {
            continue;
        }
        let expected = std::fs::read_to_string(path.with_extension("fields")).unwrap();
        let table = bytes(&std::fs::read_to_string(&path).unwrap());
        let fields = match Dmar::decode(&table) {
            Ok(dmar) => dmar_fields(&dmar),
            Err(AcpiError::Signature(_)) => ivrs_fields(&Ivrs::decode(&table).unwrap()),
            Err(error) => panic!("{}: {error}", path.display()),
        };
        assert_eq!(fields.trim(), expected.trim(), "{}", path.display());
        read += 1;
    }
    assert!(read >= 17);
    for (file, units) in
        [("Dell_PowerEdge_PowerEdge_R820_E5985CCBA349/dmar.dat", 4), ("qemu-x86/q35/DMAR.dmar", 1)]
    {
        let dmar = Dmar::decode(&std::fs::read(corpus.join("acpi").join(file)).unwrap()).unwrap();
        assert_eq!(dmar.units().count(), units, "{file}");
    }
    for file in ["Supermicro_H8_H8DGU_57ED146F2C3C/ivrs.dat", "qemu-x86/q35/IVRS.ivrs"] {
        let ivrs = Ivrs::decode(&std::fs::read(corpus.join("acpi").join(file)).unwrap()).unwrap();
        assert_eq!(ivrs.units().len(), 1, "{file}");
    }
}

/// A table with a right checksum.
fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut out = signature.to_vec();
    out.extend((48 + body.len() as u32).to_le_bytes());
    out.extend([1, 0]);
    out.extend(*b"PMEM  TEST    ");
    out.resize(48, 0);
    out[36] = 38;
    out.extend(body);
    out[9] = out.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    out
}

#[test]
fn a_length_that_cannot_be_is_named() {
    let unit = |length: u8| vec![0, 0, length, 0, 1, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0];
    let dmar = Dmar::decode(&table(b"DMAR", &unit(16))).unwrap();
    assert!(dmar.header.checksum_is_right && dmar.width == 39);
    assert_eq!(
        dmar.units().map(|unit| (unit.base, unit.last())).collect::<Vec<_>>(),
        [(0xfed9_0000, 0xfed9_0fff)]
    );
    for length in [0, 3, 12, 17] {
        let wrong = AcpiError::Structure { offset: 48, length: usize::from(length) };
        assert_eq!(Dmar::decode(&table(b"DMAR", &unit(length))), Err(wrong));
    }
    // A scope of no length would never end.
    let mut scoped = unit(22);
    scoped.extend([1, 0, 0, 0, 0, 0]);
    assert_eq!(Dmar::decode(&table(b"DMAR", &scoped)), Err(AcpiError::Structure { offset: 64, length: 0 }));
    let whole = table(b"DMAR", &unit(16));
    assert_eq!(Dmar::decode(&whole[..60]), Err(AcpiError::Short { length: 64, bytes: 60 }));
    assert_eq!(Ivrs::decode(&whole), Err(AcpiError::Signature(*b"DMAR")));
}

proptest! {
    #[test]
    fn nothing_that_is_read_panics(body in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..300) {
        for signature in [b"DMAR", b"IVRS"] {
            let table = table(signature, &body);
            let table = &table[..cut.min(table.len())];
            let _ = (Dmar::decode(table), Ivrs::decode(table));
        }
    }
}
