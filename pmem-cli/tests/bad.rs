//! Bad memory: what settings that keep it from being used really do.

use std::process::Command;

/// Returns what `pmem ram bad` prints about a text.
fn bad(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("said.txt");
    std::fs::write(&file, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pmem")).args(["ram", "bad"]).arg(file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_setting_of_half_pages_loses_the_other_halves() {
    for (setting, is_whole) in
        [("memmap=4K$0x1000", true), ("memmap=4K$0x1800", false), ("memmap=0x1800$0x1000", false)]
    {
        let said = bad(&format!("{setting}\n"));
        assert!(said.contains("is kept from being used"), "{said}");
        assert_eq!(!said.contains("is not of whole pages"), is_whole, "{said}");
    }
}
