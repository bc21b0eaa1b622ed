//! Files by their paths, wherever they are kept.

use super::archive::{Files, below};
use super::folder::{Folder, Links};
use crate::error::ImportError;
use crate::facts::Findings;
use std::path::Path;

/// A machine's `proc` and `sys`: a folder, or an archive that was unpacked in memory.
#[derive(Clone, Debug)]
pub enum Tree {
    /// A folder.
    Folder(Folder),
    /// An archive.
    Archive {
        /// What the archive is called.
        name: String,
        /// What it holds.
        files: Files,
    },
}

impl Tree {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`ImportError::NoSource`] if it is none.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let links = if path == Path::new("/") { Links::Followed } else { Links::Inside };
        Self::folder(path, links)
    }

    pub(super) fn folder(path: &Path, links: Links) -> Result<Self, ImportError> {
        Folder::open(path, links).map(Self::Folder)
    }

    pub(super) fn archive(name: &str, files: Files) -> Self {
        Self::Archive { name: name.to_owned(), files }
    }

    /// Whether it is the machine that this runs on.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Folder(folder) if folder.links() == Links::Followed)
    }

    /// What it is called.
    pub fn name(&self) -> String {
        match self {
            Self::Folder(_) if self.is_live() => "this machine".to_owned(),
            Self::Folder(folder) => folder.dir().display().to_string(),
            Self::Archive { name, .. } => name.clone(),
        }
    }

    /// What a file of it is called in messages.
    pub fn place(&self, path: &str) -> String {
        match self {
            Self::Folder(_) => path.to_owned(),
            Self::Archive { name, .. } => format!("{name}:{path}"),
        }
    }

    /// The folder on disk, where it is one.
    pub fn dir(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder.dir()),
            Self::Archive { .. } => None,
        }
    }

    /// Reads a file that need not be there. What is there but cannot be read is a finding.
    pub fn bytes(&self, path: &str, findings: &mut Findings) -> Option<Vec<u8>> {
        match self {
            Self::Folder(folder) => folder.bytes(path, findings),
            Self::Archive { files, .. } => files.bytes(path),
        }
    }

    /// Reads a text that need not be there. Bytes that are no text are replaced, which parsers then complain of.
    pub fn text(&self, path: &str, findings: &mut Findings) -> Option<String> {
        self.bytes(path, findings).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The names in a folder, links included, in order; none if it is not there.
    pub fn names(&self, path: &str) -> Vec<String> {
        match self {
            Self::Folder(folder) => folder.names(path),
            Self::Archive { files, .. } => files.names(path),
        }
    }

    /// Where a symbolic link leads, as a path below the root; `None` if it is none or leads out of the root.
    pub fn follow(&self, path: &str) -> Option<String> {
        let target = match self {
            Self::Folder(folder) => folder.link(path)?,
            Self::Archive { files, .. } => files.link(path)?,
        };
        below(path, &target)
    }

    /// Whether there is anything at a path.
    pub fn has(&self, path: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.has(path),
            Self::Archive { files, .. } => files.has(path),
        }
    }

    /// Whether there is a regular file at a path.
    pub fn is_file(&self, path: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.is_file(path),
            Self::Archive { files, .. } => files.is_file(path),
        }
    }
}
