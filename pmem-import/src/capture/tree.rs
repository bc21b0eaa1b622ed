//! Access to files by path, wherever they are kept.

use super::archive::{Files, below};
use super::folder::{Folder, Links};
use crate::error::ImportError;
use crate::facts::Findings;
use std::path::Path;

/// A machine's `proc` and `sys`: a folder, or an archive unpacked in memory.
#[derive(Clone, Debug)]
pub enum Tree {
    /// A folder.
    Folder(Folder),
    /// An archive.
    Archive {
        /// The archive's name.
        name: String,
        /// Its files.
        files: Files,
    },
}

impl Tree {
    /// Opens a folder. `/` is the live machine; any other folder is a capture, whose links may not lead outside.
    ///
    /// # Errors
    /// [`ImportError::NoSource`] if it is not a folder, or cannot be opened.
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

    /// Whether it is the live machine.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Folder(folder) if folder.links() == Links::Followed)
    }

    /// Returns its name for messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Folder(_) if self.is_live() => "this machine".to_owned(),
            Self::Folder(folder) => folder.dir().display().to_string(),
            Self::Archive { name, .. } => name.clone(),
        }
    }

    /// Returns a file's name for messages.
    #[must_use]
    pub fn place(&self, path: &str) -> String {
        match self {
            Self::Folder(_) => path.to_owned(),
            Self::Archive { name, .. } => format!("{name}:{path}"),
        }
    }

    /// Returns the folder on disk; `None` for an archive.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder.dir()),
            Self::Archive { .. } => None,
        }
    }

    /// Reads a file. Returns `None` if it does not exist; a file that exists but cannot be read becomes a finding.
    pub fn bytes(&self, path: &str, findings: &mut Findings) -> Option<Vec<u8>> {
        match self {
            Self::Folder(folder) => folder.bytes(path, findings),
            Self::Archive { files, .. } => files.bytes(path),
        }
    }

    /// Reads a text file, like [`bytes`](Self::bytes). Invalid UTF-8 becomes replacement characters,
    /// which parsers then reject.
    pub fn text(&self, path: &str, findings: &mut Findings) -> Option<String> {
        self.bytes(path, findings).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the names in a folder, links included, sorted; empty if the folder does not exist.
    #[must_use]
    pub fn names(&self, path: &str) -> Vec<String> {
        match self {
            Self::Folder(folder) => folder.names(path),
            Self::Archive { files, .. } => files.names(path),
        }
    }

    /// Returns where a symbolic link leads, as a path below the root; `None` if it is no link or leads outside.
    #[must_use]
    pub fn follow(&self, path: &str) -> Option<String> {
        let target = match self {
            Self::Folder(folder) => folder.link(path)?,
            Self::Archive { files, .. } => files.link(path)?,
        };
        below(path, &target)
    }

    /// Whether anything exists at a path.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.has(path),
            Self::Archive { files, .. } => files.has(path),
        }
    }

    /// Whether a regular file exists at a path.
    #[must_use]
    pub fn is_file(&self, path: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.is_file(path),
            Self::Archive { files, .. } => files.is_file(path),
        }
    }
}
