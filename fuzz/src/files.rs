//! Every reader of files, with a machine's files of fuzzed content: `cargo xtask fuzz`.
#![no_main]
#![forbid(unsafe_code)]

mod questions;

use libfuzzer_sys::fuzz_target;
use pmem_import::Sources;

/// The files of a machine, one for each kind that is read.
const PATHS: [&str; 34] = [
    "sys/firmware/acpi/tables/DMAR",
    "sys/firmware/acpi/tables/IVRS",
    "proc/iomem",
    "proc/ioports",
    "proc/meminfo",
    "proc/mtrr",
    "proc/cpuinfo",
    "sys/devices/system/memory/block_size_bytes",
    "sys/devices/system/node/online",
    "sys/devices/system/node/node0/cpulist",
    "sys/devices/system/node/node0/cpumap",
    "sys/devices/system/node/node0/distance",
    "sys/devices/system/node/node0/meminfo",
    "sys/devices/system/node/node0/memory1/state",
    "sys/devices/system/node/node0/memory_side_cache/index1/size",
    "sys/devices/system/node/node0/access0/initiators/read_bandwidth",
    "sys/devices/system/node/node2/cpulist",
    "sys/devices/system/node/node2/distance",
    "sys/devices/system/node/node2/memory1/state",
    "sys/devices/virtual/memory_tiering/memory_tier4/nodelist",
    "sys/firmware/memmap/0/start",
    "sys/firmware/memmap/0/end",
    "sys/firmware/memmap/0/type",
    "sys/devices/pci0000:00/0000:00:01.0/config",
    "sys/devices/pci0000:00/0000:00:01.0/resource",
    "sys/devices/pci0000:00/0000:00:01.0/class",
    "sys/devices/pci0000:00/0000:00:01.0/numa_node",
    "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/config",
    "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/resource",
    "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/vendor",
    "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/device",
    "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/sriov_numvfs",
    "proc/version",
    "dmesg",
];

/// Parses repeated `[file, length low, length high, content]` into an archive.
fn archive(mut data: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    while let [file, low, high, rest @ ..] = data {
        let length = (usize::from(*low) | usize::from(*high) << 8).min(rest.len());
        let (content, rest) = rest.split_at(length);
        let mut header = tar::Header::new_ustar();
        header.set_size(length as u64);
        header.set_mode(0o644);
        let path = PATHS[usize::from(*file) % PATHS.len()];
        tar.append_data(&mut header, path, content).expect("memory takes everything");
        data = rest;
    }
    tar.into_inner().expect("memory takes everything")
}

fuzz_target!(|data: &[u8]| {
    let mut sources = Sources::default();
    if sources.add_stream("input.tar", &mut &archive(data)[..]).is_ok() {
        questions::ask(sources);
    }
});
