//! Arm's SMMUs: what they say of faults.

pub mod v2;
pub mod v3;
