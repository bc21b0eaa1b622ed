//! Runs every script of tests/scripts: what it renders as is what it says. `PMEM_REWRITE=1` rewrites them.

use std::fs;

#[test]
fn every_script_has_the_output_that_it_says() {
    let dir = pmem_tests::here().join("scripts");
    let mut scripts: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(scripts.len() >= 10, "the scripts are in {}", dir.display());
    let mut wrong = Vec::new();
    for path in scripts {
        let text = fs::read_to_string(&path).unwrap();
        let run = pmem_script::run(&text);
        if std::env::var_os("PMEM_REWRITE").is_some() {
            fs::write(&path, run.rendered).unwrap();
        } else if run.rendered != text {
            wrong.push(format!("{}: {:?}", path.display(), run.failures));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
