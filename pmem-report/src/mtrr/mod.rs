//! Memory types by MTRRs: what is programmed and what is wrong with it, and the fewest registers for what is wanted.

mod demand;
mod given;
mod plan;
mod show;
mod strips;

pub use demand::{Unmapped, parse_want};
pub use given::{MtrrState, Overrides};
pub use plan::{Demoted, Options, Plan, Write};
pub use show::{FindingReport, RegisterRow, Show};
pub use strips::{Stretch, Strip};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum MtrrError {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The sources, or the registers, do not allow it.
    #[error("{0}")]
    Other(String),
}
