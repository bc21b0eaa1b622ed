//! The kernel module `pmem_arena`, but for its C half: a manager over the running machine, and the MTRR driver on it.
//!
//! Everything here but [`entry::pmem_arena_differ`], which is pure, runs on one thread of the kernel, which the C half starts and calls one
//! function at a time. A panic ends that thread and nothing else: the C half gives back what was written, and answers every later
//! request with EIO.
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
