//! What tests across crates share.

use std::path::PathBuf;

/// The folder of this package.
#[must_use]
pub fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The corpus of real machines; `None`, and a word about it, if `PMEM_CORPUS` is not set.
#[must_use]
pub fn corpus() -> Option<PathBuf> {
    let Some(dir) = std::env::var_os("PMEM_CORPUS") else {
        println!("skipped: no corpus (PMEM_CORPUS is not set)");
        return None;
    };
    let dir = PathBuf::from(dir);
    // Tests run in their package's folder; a relative path is meant from the workspace's.
    let dir = if dir.is_absolute() { dir } else { here().join("..").join(dir) };
    assert!(dir.is_dir(), "PMEM_CORPUS: {} is no folder", dir.display());
    Some(dir)
}

/// Unpacks one of our own captures.
#[must_use]
pub fn captured(name: &str) -> tempfile::TempDir {
    let path = here().join("machines").join(format!("{name}.tar.gz"));
    let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    unpack(flate2::read::GzDecoder::new(file))
}

/// Unpacks a tar file to a folder of its own.
pub fn unpack(tar: impl std::io::Read) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    tar::Archive::new(tar).unpack(dir.path()).expect("a sound archive");
    dir
}
