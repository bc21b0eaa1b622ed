//! Fuzzed device trees and hwloc XML: `cargo xtask fuzz`.
#![no_main]
#![forbid(unsafe_code)]

mod questions;

use libfuzzer_sys::fuzz_target;
use pmem_import::Sources;

/// The names of a tree's properties.
const STRINGS: &[u8] =
    b"reg\0ranges\0dma-ranges\0device_type\0compatible\0status\0#address-cells\0#size-cells\0numa-node-id\0\
distance-matrix\0bus-range\0linux,pci-domain\0reusable\0";

/// Makes a blob with a valid header around any structure block (Devicetree Specification 0.4, section 5.2).
fn blob(structure: &[u8]) -> Vec<u8> {
    let mut structure = structure[..structure.len() & !3].to_vec();
    structure.extend(9u32.to_be_bytes());
    let (length, strings) = (structure.len() as u32, STRINGS.len() as u32);
    let header = [0xd00d_feed, 56 + length + strings, 56, 56 + length, 40, 17, 16, 0, strings, length];
    let mut blob: Vec<u8> = header.iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    blob.extend([0; 16]);
    blob.extend(structure);
    blob.extend(STRINGS);
    blob
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let bytes = match kind & 3 {
        0 => [b"\xd0\x0d\xfe\xed", rest].concat(),
        1 => [b"<topology>", rest, b"</topology>"].concat(),
        _ => blob(rest),
    };
    let mut sources = Sources::default();
    if sources.add_stream("input", &mut &bytes[..]).is_ok() {
        questions::ask(sources);
    }
});
