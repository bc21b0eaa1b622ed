//! Installs the command with its manual pages and completions.

use crate::run::{Result, cargo, check, output, root};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Where shells look for completions, relative to the prefix.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/pmem"),
    ("zsh", "share/zsh/site-functions/_pmem"),
    ("fish", "share/fish/vendor_completions.d/pmem.fish"),
];

/// Installs below a prefix, such as `/usr/local` or `~/.local`.
pub fn run(prefix: &Path) -> Result {
    check("the command", cargo().args(["build", "--release", "--locked", "--package", "pmem-cli"]))?;
    let built = root().join("target/release/pmem");
    let bin = prefix.join("bin/pmem");
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("{path}: {error}")
    };
    let write = |path: &Path, bytes: &[u8]| {
        let folder = path.parent().unwrap_or(prefix);
        fs::create_dir_all(folder).map_err(failed(folder))?;
        fs::write(path, bytes).map_err(failed(path))
    };
    fs::create_dir_all(prefix.join("bin")).map_err(failed(&bin))?;
    fs::copy(&built, &bin).map_err(failed(&bin))?;
    let pages = prefix.join("share/man/man1");
    check("manual pages", Command::new(&built).args(["man", "--to"]).arg(&pages))?;
    for (shell, place) in COMPLETIONS {
        let text = output("completions", Command::new(&built).args(["completions", shell]))?;
        write(&prefix.join(place), text.as_bytes())?;
    }
    eprintln!("{}, its pages in {}, completions for bash, zsh and fish", bin.display(), pages.display());
    Ok(())
}
