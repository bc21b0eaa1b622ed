//! The Rust library of the kernel module `pmem_arena`: a manager for the running machine, with the MTRR driver.
//!
//! The C half starts one kernel thread and runs everything here on it, one function at a time. Only
//! [`entry::pmem_arena_differ`], which is pure, can run elsewhere. A panic ends that thread and nothing else. The C
//! half then gives back what was written, and answers all later requests with EIO.
#![no_std]

extern crate alloc;

mod claims;
mod entry;
mod ffi;
mod heap;
mod library;
mod machine;
mod policy;
mod port;
mod refused;
