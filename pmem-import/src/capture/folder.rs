//! A folder with a machine's files: `/` or a capture. Nothing outside a capture is ever read.

use crate::error::ImportError;
use crate::facts::{Finding, Findings};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Limit for files of `/proc` and `/sys`; none that is read here comes near it.
const LARGEST: u64 = 64 << 20;
/// Limit for texts beside them, which may be long logs.
pub(super) const LARGEST_TEXT: u64 = 1 << 30;

/// Whether symbolic links may lead out of the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// They may: the folder is the machine itself.
    Followed,
    /// They may not: the folder is a capture.
    Inside,
}

/// A folder that holds a machine's `proc` and `sys`.
///
/// A capture that cannot hold symbolic links lists them in `LINKS.txt`: per line a path, a tab, and any text.
#[derive(Clone, Debug)]
pub struct Folder {
    dir: PathBuf,
    links: Links,
    opened: Arc<OwnedFd>,
    /// By folder: names of links that `LINKS.txt` lists.
    listed: BTreeMap<PathBuf, Vec<String>>,
}

impl Folder {
    pub(super) fn open(dir: &Path, links: Links) -> Result<Self, ImportError> {
        let no_source = |what: String| ImportError::NoSource { path: dir.to_owned(), what };
        if !dir.is_dir() {
            return Err(no_source("not a folder".to_owned()));
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let opened =
            rustix::fs::open(dir, flags, Mode::empty()).map_err(|error| no_source(error.to_string()))?;
        let mut folder =
            Self { dir: dir.to_owned(), links, opened: Arc::new(opened), listed: BTreeMap::new() };
        let list = folder.bytes("LINKS.txt", &mut Findings::default()).unwrap_or_default();
        for line in String::from_utf8_lossy(&list).lines() {
            let path = Path::new(line.split('\t').next().unwrap_or(""));
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
                && path.starts_with("sys")
            {
                folder.listed.entry(parent.to_owned()).or_default().push(name.to_owned());
            }
        }
        Ok(folder)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn links(&self) -> Links {
        self.links
    }

    /// Opens a path without waiting, even if it is a pipe.
    fn open_at(&self, path: &str) -> std::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let path = if path.is_empty() { "." } else { path };
        if self.links == Links::Followed {
            return Ok(File::from(rustix::fs::openat(&*self.opened, path, flags, Mode::empty())?));
        }
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&*self.opened, path, flags, Mode::empty(), inside) {
            Ok(file) => Ok(File::from(file)),
            Err(rustix::io::Errno::NOSYS) => self.open_checked(path, flags),
            Err(error) => Err(error.into()),
        }
    }

    /// Fallback for kernels without openat2: the resolved path must lie in the folder.
    fn open_checked(&self, path: &str, flags: OFlags) -> std::io::Result<File> {
        let (root, place) = (self.dir.canonicalize()?, self.dir.join(path).canonicalize()?);
        if !place.starts_with(root) {
            return Err(rustix::io::Errno::XDEV.into());
        }
        Ok(File::from(rustix::fs::open(place, flags, Mode::empty())?))
    }

    pub(super) fn bytes(&self, path: &str, findings: &mut Findings) -> Option<Vec<u8>> {
        let file = match self.open_at(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            // A path through a file instead of a folder.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOTDIR.raw_os_error()) => {
                return None;
            }
            Err(error) => {
                findings.push(Finding::whole(path, explain(&error)));
                return None;
            }
        };
        let there = file.metadata().ok();
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            findings.push(Finding::whole(path, "not a regular file: left out"));
            return None;
        }
        // Reserves the file's size, plus one byte that detects growth: captures have tens of thousands of files.
        let size = there.map_or(0, |there| there.len().min(LARGEST));
        let mut bytes = Vec::with_capacity(size as usize + 1);
        let most = if path.contains('/') { LARGEST } else { LARGEST_TEXT };
        match file.take(most + 1).read_to_end(&mut bytes) {
            Ok(read) if read as u64 > most => {
                findings.push(Finding::whole(path, format!("larger than {most} bytes: left out")));
                None
            }
            Ok(_) => Some(bytes),
            Err(error) => {
                findings.push(Finding::whole(path, error.to_string()));
                None
            }
        }
    }

    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = self.open_at(path).ok().and_then(|folder| rustix::fs::Dir::new(folder).ok());
        let mut names: Vec<String> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned))
            .filter(|name| name != "." && name != "..")
            .collect();
        names.extend(self.listed.get(Path::new(path)).into_iter().flatten().cloned());
        names.sort();
        names.dedup();
        names
    }

    pub(super) fn link(&self, path: &str) -> Option<String> {
        // Goes through the enclosing folder, which is opened like everything else, so no link on the
        // path leads outside.
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.open_at(folder).ok()?;
        let target = rustix::fs::readlinkat(folder, name, Vec::new()).ok()?;
        target.to_str().ok().map(str::to_owned)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.open_at(path).is_ok()
    }

    pub(super) fn is_file(&self, path: &str) -> bool {
        self.open_at(path).is_ok_and(|file| file.metadata().is_ok_and(|there| there.is_file()))
    }
}

fn explain(error: &std::io::Error) -> String {
    if error.raw_os_error() == Some(rustix::io::Errno::XDEV.raw_os_error()) {
        "a link leads out of the capture: left out".to_owned()
    } else {
        error.to_string()
    }
}
