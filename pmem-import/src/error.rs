//! Errors that stop an import.

use std::fmt;
use std::path::PathBuf;

/// Why nothing could be imported. Smaller problems are [`Finding`](crate::Finding)s.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A source holds nothing that pmem reads, is too large, or is not the folder that it should be.
    #[error("{path}: {what}")]
    NoSource {
        /// The source, as the caller named it.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A source is given twice.
    #[error("{path}: given twice")]
    Twice {
        /// The source, as the caller named it.
        path: PathBuf,
    },
    /// A file that the import needs cannot be read.
    #[error("{path}: {}", explain(error))]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        error: std::io::Error,
    },
    /// A file does not have the format that it should have.
    #[error("{path}{}: {what}", At(*line))]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1; 0 if the error concerns the whole file.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// The model refuses what the source says.
    #[error("{what}: {error}")]
    Model {
        /// What was being built: an arena, a bridge, a node.
        what: String,
        /// The model's reason.
        error: Box<pmem_core::Error>,
    },
}

/// Describes an I/O error in words, with a hint where there is a remedy.
#[must_use]
pub fn explain(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::PermissionDenied {
        return "permission denied: try again as root (sudo)".to_owned();
    }
    error.to_string()
}

struct At(usize);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, ":{}", self.0) }
    }
}
