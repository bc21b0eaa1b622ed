//! The kernel module `pmem_arena`, but for its C shim: a manager over the running machine, and the MTRR driver on it.
//!
//! Everything here runs on one thread of the kernel, which the shim starts and calls one function at a time. A panic ends that
//! thread and nothing else: the shim answers every later request with EIO.
#![no_std]

extern crate alloc;

mod ffi;
mod heap;
mod module;
mod port;
