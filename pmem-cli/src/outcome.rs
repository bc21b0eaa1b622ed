//! How a command ends.

use pmem_import::ImportError;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 0: done.
    Done,
    /// 1: the command failed, or something is wrong or different.
    Failed,
    /// 2: the command line makes no sense.
    Usage,
    /// 3: done, and the answer is no.
    No,
    /// 4: done, and the answer is not proven.
    NotProven,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An argument makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A source cannot be read.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The output cannot be written.
    #[error("output: {0}")]
    Output(#[from] std::io::Error),
    /// The output cannot be encoded as JSON.
    #[error("output: {0}")]
    Json(#[from] serde_json::Error),
    /// A file cannot be read or written.
    #[error("{}: {}", path.display(), pmem_import::explain(error))]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// Any other failure.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// Makes the failure for a file that cannot be read or written.
    pub(crate) fn file(path: &Path, error: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), error }
    }

    /// Returns the exit status.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Usage(_) | Self::Import(ImportError::Twice { .. }) => Status::Usage,
            _ => Status::Failed,
        }
    }
}
