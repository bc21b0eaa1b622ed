//! What went wrong, as a number and in words.

use pmem_core::Error;
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::fmt::Display;

pub(crate) const EPERM: c_int = 1;
pub(crate) const ENOENT: c_int = 2;
pub(crate) const EINTR: c_int = 4;
pub(crate) const EIO: c_int = 5;
pub(crate) const EAGAIN: c_int = 11;
pub(crate) const ENOMEM: c_int = 12;
pub(crate) const EBUSY: c_int = 16;
pub(crate) const EEXIST: c_int = 17;
pub(crate) const EINVAL: c_int = 22;
pub(crate) const ENOSPC: c_int = 28;
pub(crate) const EDEADLK: c_int = 35;

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Keeps what went wrong for [`pmem_error`], and returns its number.
pub(crate) fn fail(errno: c_int, why: impl Display) -> c_int {
    let words = CString::new(why.to_string().replace('\0', " ")).unwrap_or_default();
    // A thread that is on its way out has nowhere to keep them.
    let _ = LAST.try_with(|last| *last.borrow_mut() = words);
    errno
}

/// As [`fail`], for an error of the model.
pub(crate) fn failed(error: &Error) -> c_int {
    let errno = match error {
        Error::NoArena(_) | Error::NoLink(_) | Error::NoRegion(_) | Error::NoDriver(_) => ENOENT,
        Error::NoSpace { .. } | Error::NoRoute { .. } | Error::WindowBlocked { .. } => ENOSPC,
        Error::ArenaBusy { .. } | Error::LinkBusy { .. } | Error::Occupied { .. } | Error::Pinned { .. } => {
            EBUSY
        }
        Error::Refused { .. } => EPERM,
        Error::Failed { .. } => EIO,
        Error::InCallback => EDEADLK,
        _ => EINVAL,
    };
    fail(errno, error)
}

/// What went wrong last in this thread, in words.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}
