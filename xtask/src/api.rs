//! Keeps lists of what each published library offers, so that a review sees when an interface changes.

use crate::packages::PACKAGES;
use crate::run::{Result, cargo, check, output, root};
use std::fs;
use std::process::Command;

/// Compares each library's interface with its list under `api`, or writes the lists.
pub fn run(write: bool) -> Result {
    let folder = root().join("api");
    // Another compiler may write its JSON in another format, or show some items differently.
    let (compiler, made_by) = (output("rustc", Command::new("rustc").arg("-V"))?, folder.join("rustc.txt"));
    let before = fs::read_to_string(&made_by).unwrap_or_default();
    if !write && before != compiler {
        eprintln!(
            "== interfaces: skipped: the lists were made with {}, this is {}",
            before.trim(),
            compiler.trim()
        );
        return Ok(());
    }
    let mut differs = Vec::new();
    // The command is not a library, whatever its modules offer each other.
    for name in PACKAGES.into_iter().filter(|name| *name != "pmem-cli") {
        let mut doc = cargo();
        // rustdoc's JSON is unstable; this makes the stable compiler write it anyway.
        doc.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", root().join("target/api"));
        doc.args(["rustdoc", "--quiet", "--lib", "--all-features", "--package", name, "--"]);
        doc.args(["-Zunstable-options", "--output-format", "json", "--cap-lints", "allow"]);
        check(&format!("interface of {name}"), &mut doc)?;
        let json = root().join("target/api/doc").join(format!("{}.json", name.replace('-', "_")));
        let api = public_api::Builder::from_rustdoc_json(json)
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(true)
            .omit_auto_derived_impls(true)
            .build()
            .map_err(|error| format!("{name}: {error}"))?;
        let (path, text) = (folder.join(format!("{name}.txt")), api.to_string());
        if write {
            fs::create_dir_all(&folder)
                .and_then(|()| fs::write(&path, &text))
                .map_err(|error| error.to_string())?;
        } else if fs::read_to_string(&path).unwrap_or_default() != text {
            differs.push(name);
        }
    }
    if write {
        return fs::write(&made_by, compiler).map_err(|error| format!("{}: {error}", made_by.display()));
    }
    if differs.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the interface of {} differs from its list under api/: run `cargo xtask api --write`; a breaking change needs a new version (CONTRIBUTING.md)",
        differs.join(", ")
    ))
}
