//! Errors as a number and a message.

pub(crate) use libc::{EAGAIN, EBUSY, EDEADLK, EEXIST, EINTR, EINVAL, EIO, ENOENT, ENOMEM, ENOSPC, EPERM};

use pmem_core::{Error, Holder};
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::fmt::Display;

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Stores an error's message for [`pmem_error`] and returns its number.
pub(crate) fn fail(errno: c_int, why: impl Display) -> c_int {
    let words = CString::new(why.to_string().replace('\0', " ")).unwrap_or_default();
    // A thread that is ending has no place left for the message.
    let _ = LAST.try_with(|last| *last.borrow_mut() = words);
    errno
}

/// As [`fail`], for an error of the model.
pub(crate) fn failed(error: &Error) -> c_int {
    let errno = match error {
        Error::NoArena(_) | Error::NoLink(_) | Error::NoRegion(_) | Error::NoDriver(_) => ENOENT,
        Error::NoWindow { .. } => ENOENT,
        Error::Occupied { by: Holder::Unprimed(_), .. } => ENOENT,
        Error::NoSpace { .. } | Error::NoRoute { .. } | Error::WindowBlocked { .. } => ENOSPC,
        Error::ArenaBusy { .. } | Error::LinkBusy { .. } | Error::Occupied { .. } | Error::Pinned { .. } => {
            EBUSY
        }
        Error::Refused { .. } => EPERM,
        Error::Failed { .. } | Error::Differs { .. } => EIO,
        Error::InCallback => EDEADLK,
        _ => EINVAL,
    };
    fail(errno, error)
}

/// Returns the message of the last error in this thread. It is never null, and valid until the next call.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}
