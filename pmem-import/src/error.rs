//! What can be wrong with a source.

use std::fmt;
use std::path::PathBuf;

/// Why nothing could be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The root folder is not there, or is no folder.
    #[error("{path}: not a folder")]
    NoRoot {
        /// Which.
        path: PathBuf,
    },
    /// A file that is needed cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}{}: {what}", At(*line))]
    Parse {
        /// Which.
        path: PathBuf,
        /// In which line, from 1; 0 if it is about the file as a whole.
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

struct At(usize);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, ":{}", self.0) }
    }
}

/// Something in the sources that is broken, missing, or at odds with something else; the rest was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file, below the root folder, and the line where there is one.
    pub source: String,
    /// What is wrong, and with what.
    pub text: String,
}

impl Warning {
    /// Makes a warning about a file as a whole, or about several.
    pub fn new(source: impl Into<String>, text: impl Into<String>) -> Self {
        Self { source: source.into(), text: text.into() }
    }

    /// Makes a warning about a line, counted from 1.
    pub fn line(source: &str, line: usize, text: impl Into<String>) -> Self {
        Self::new(format!("{source}:{line}"), text)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.text)
    }
}
