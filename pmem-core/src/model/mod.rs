//! The model: what exists, and what you can ask about it. Nothing in here decides on a change.

mod arena;
mod check;
mod diff;
mod distance;
mod dot;
mod edit;
mod exits;
mod frozen;
mod ids;
mod names;
mod nearest;
mod overlay;
mod piece;
mod place;
mod reach;
mod record;
mod resolve;
mod shelf;
mod state;
mod survey;
mod table;
mod topology;
mod view;
mod walk;
mod working;

pub use arena::{Arena, PrimedSpan, SpanState};
pub use check::Broken;
pub use diff::Difference;
pub use dot::Dot;
pub use edit::Edit;
pub use frozen::Distance;
pub use nearest::{Nearest, Route};
pub use piece::{ViewPiece, ViewTarget};
pub use place::{DeadEnd, Hop, Place};
pub use reach::Image;
pub use record::{Alias, Location, Pin, Placement, RegionRecord, Role, WindowId};
pub use resolve::{OwnedResolution, Resolution};
pub use state::State;
pub use topology::{ArenaInfo, Direction, Link};

pub use walk::Walk;

pub(crate) use arena::{Kept, Memory};
pub(crate) use ids::Ids;
pub(crate) use survey::Look;
pub(crate) use table::{Home, MAX_REFS};
pub(crate) use working::Working;
