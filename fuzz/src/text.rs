//! Every reader of texts, over fuzzed and mutated real texts: `cargo xtask fuzz`.
#![no_main]
#![forbid(unsafe_code)]

mod questions;

use libfuzzer_sys::fuzz_target;
use pmem_import::{Iommu, Sources};
use pmem_report::bad::BadRam;
use pmem_report::iommu::IommuRefused;
use pmem_report::plug::PlugReport;

fuzz_target!(|data: &[u8]| {
    let (faults, bad) = (pmem_import::fault::faults(data), BadRam::of(data));
    assert!(faults.iter().all(|fault| fault.line <= fault.last_line) && bad.pages.len() as u64 <= bad.count);
    let _ = IommuRefused::of(&Iommu::default(), &pmem_import::refused::refusals(data));
    let _ = PlugReport::of(&pmem_import::plug::plugs(data));
    let mut sources = Sources::default();
    if sources.add_stream("input", &mut &data[..]).is_ok() {
        questions::ask(sources);
    }
});
