//! The model: what there is, and what can be asked of it. Nothing here decides a change.

mod arena;
mod check;
mod distance;
mod edit;
mod frozen;
mod ids;
mod reach;
mod record;
mod resolve;
mod shelf;
mod state;
mod table;
mod topology;
mod view;
mod working;

pub use arena::{Arena, Span, SpanState};
pub use check::Broken;
pub use edit::Edit;
pub use frozen::Distance;
pub use reach::{Difference, Image};
pub use record::{Alias, Leg, Pin, Placement, Record, Role, Seat};
pub use resolve::{Hop, OwnedResolution, Place, Resolution, Walk, Why};
pub use state::State;
pub use topology::{ArenaInfo, Direction, Link};
pub use view::{Piece, What};

pub(crate) use arena::Memory;
pub(crate) use ids::{Ids, InUse};
pub(crate) use table::{Home, MAX_REFS};
pub(crate) use view::Sight;
pub(crate) use working::Working;
