//! From sources to a machine.

use crate::capture::Sources;
use crate::error::ImportError;
use crate::facts::Facts;
use crate::machine::Machine;
use crate::model::build;
use crate::read::read;
use crate::settle::{MtrrFacts, settle};
use std::path::PathBuf;

impl Facts {
    /// Reads what sources say, each with its place, before anything is decided; and what of it is about memory types.
    #[must_use]
    pub fn read(sources: &mut Sources) -> (Self, MtrrFacts) {
        let mut facts = read(sources);
        let mtrr = MtrrFacts::settle(&mut facts);
        (facts, mtrr)
    }
}

impl Machine {
    /// Reads a machine from sources, and builds the model of what they say.
    ///
    /// # Errors
    /// [`ImportError`] when there is nothing to build on; everything less is a finding.
    pub fn read(sources: &mut Sources) -> Result<Self, ImportError> {
        let mut facts = read(sources);
        let mut machine = build(settle(&mut facts))?;
        machine.heard = facts.heard;
        Ok(machine)
    }

    /// The same with what is known of memory types.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_with_mtrr(sources: &mut Sources) -> Result<(Self, MtrrFacts), ImportError> {
        let mut facts = read(sources);
        let mtrr = MtrrFacts::settle(&mut facts);
        let mut machine = build(settle(&mut facts))?;
        machine.heard = facts.heard;
        Ok((machine, mtrr))
    }

    /// Opens sources of one machine, and reads it: see [`Sources::open`].
    ///
    /// # Errors
    /// As [`Sources::open`] and [`read`](Self::read).
    pub fn open(paths: &[PathBuf]) -> Result<Self, ImportError> {
        Self::read(&mut Sources::open(paths)?)
    }
}
