//! Where a machine's files are: `/`, or the folder of a capture.

use crate::error::{ImportError, Warning};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// No file of `/proc` or `/sys` that is read here comes near this.
const LARGEST: u64 = 64 << 20;

/// A folder that holds a machine's `proc` and `sys`.
///
/// A capture that cannot hold symbolic links lists them in `LINKS.txt`: a path, a tab, and anything.
#[derive(Clone, Debug)]
pub struct Root {
    dir: PathBuf,
    /// By folder: the names of links that the capture only lists.
    links: BTreeMap<PathBuf, Vec<String>>,
}

impl Root {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`ImportError::NoRoot`] if it is none.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, ImportError> {
        let dir = dir.into();
        if !dir.is_dir() {
            return Err(ImportError::NoRoot { path: dir });
        }
        let mut links: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
        for line in fs::read_to_string(dir.join("LINKS.txt")).unwrap_or_default().lines() {
            let path = Path::new(line.split('\t').next().unwrap_or(""));
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
                && path.starts_with("sys")
            {
                links.entry(parent.to_owned()).or_default().push(name.to_owned());
            }
        }
        Ok(Self { dir, links })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads a file that need not be there. What is there but cannot be read is a warning.
    pub fn bytes(&self, path: &str, warnings: &mut Vec<Warning>) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let place = self.dir.join(path);
        if place.metadata().is_ok_and(|there| !there.is_file()) {
            warnings.push(Warning::new(path, "no regular file: left out"));
            return None;
        }
        let file = match File::open(place) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                warnings.push(Warning::new(path, error.to_string()));
                return None;
            }
        };
        match file.take(LARGEST + 1).read_to_end(&mut bytes) {
            Ok(read) if read as u64 > LARGEST => {
                warnings.push(Warning::new(path, format!("larger than {LARGEST} bytes: left out")));
                None
            }
            Ok(_) => Some(bytes),
            Err(error) => {
                warnings.push(Warning::new(path, error.to_string()));
                None
            }
        }
    }

    /// Reads a text that need not be there. Bytes that are no text are replaced, which parsers then complain of.
    pub fn text(&self, path: &str, warnings: &mut Vec<Warning>) -> Option<String> {
        self.bytes(path, warnings).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The names in a folder, links included, in order; none if it is not there.
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.dir.join(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.extend(self.links.get(Path::new(path)).into_iter().flatten().cloned());
        names.sort();
        names.dedup();
        names
    }

    /// Where a symbolic link leads, as a path below the root; `None` if it is none or leads out of the root.
    pub fn follow(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.dir.join(path)).ok()?;
        let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
        parts.pop();
        for part in target.components() {
            match part {
                std::path::Component::ParentDir => drop(parts.pop()?),
                std::path::Component::Normal(name) => parts.push(name.to_str()?.to_owned()),
                std::path::Component::CurDir => {}
                _ => return None,
            }
        }
        Some(parts.join("/"))
    }

    /// Whether there is anything at a path.
    pub fn has(&self, path: &str) -> bool {
        self.dir.join(path).exists()
    }
}
