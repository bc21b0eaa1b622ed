//! Why nothing could be imported.

use std::fmt;
use std::path::PathBuf;

/// Why nothing could be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A source is not there, or is nothing that can be read as one.
    #[error("{path}: {what}")]
    NoSource {
        /// The source.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// A source is given twice.
    #[error("{path}: given twice")]
    Twice {
        /// The source.
        path: PathBuf,
    },
    /// A file that is needed cannot be read.
    #[error("{path}: {}", explain(error))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}{}: {what}", At(*line))]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 if it is about the file as a whole.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// The model refuses what the source says.
    #[error("{what}: {error}")]
    Model {
        /// What was being built.
        what: String,
        /// Why not.
        error: Box<pmem_core::Error>,
    },
}

/// Says in words what the system refused, and what helps.
pub fn explain(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::PermissionDenied {
        return "permission denied: root can (sudo)".to_owned();
    }
    error.to_string()
}

struct At(usize);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, ":{}", self.0) }
    }
}
