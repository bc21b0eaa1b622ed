//! The fault records of Arm's SMMUs.

pub mod v2;
pub mod v3;
