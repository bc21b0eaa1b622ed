//! Memory types by MTRRs: what is programmed, what is wrong with it, and the fewest registers for the types you want.

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
    /// The request makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The sources do not say enough, or the registers do not allow it.
    #[error("{0}")]
    Other(String),
}
