//! Every reader of texts, over texts that libFuzzer makes up or makes of real ones: `cargo xtask fuzz`.
#![no_main]
#![forbid(unsafe_code)]

mod questions;

use libfuzzer_sys::fuzz_target;
use pmem_import::Sources;

fuzz_target!(|data: &[u8]| {
    let mut sources = Sources::default();
    if sources.add_stream("input", &mut &data[..]).is_ok() {
        questions::ask(sources);
    }
});
