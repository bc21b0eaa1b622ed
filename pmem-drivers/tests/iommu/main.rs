//! Units that are not there beside the model: devices try, between any two writes, what they may have been let do before or after a change.

mod limits;
mod machine;
mod middle;
mod random;
mod unit;
