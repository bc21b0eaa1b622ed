//! The memory that `uvm_page.h` and `memory_hotplug.h` are about: one in a process, made when it is first needed.

use crate::failure::{EBUSY, EDEADLK, EEXIST, EINVAL, ENOENT, ENOMEM, fail};
use crate::host::CHost;
use pmem_uvm::{Hotplug, HotplugError, Settings, SharedUvm, Uvm, UvmError};
use std::cell::Cell;
use std::ffi::c_int;
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

/// What can be set before there is memory.
#[derive(Clone, Copy)]
pub(crate) struct Config {
    pub(crate) settings: Settings,
    /// The size of a block in bytes.
    pub(crate) block: u64,
}

static CONFIG: Mutex<Option<Config>> = Mutex::new(None);
static MEMORY: OnceLock<SharedUvm> = OnceLock::new();

thread_local! {
    /// In a callback: what the thread has locked already, and may use.
    static HELD: Cell<*mut Uvm> = const { Cell::new(ptr::null_mut()) };
}

/// Changes what can be set before there is memory.
pub(crate) fn configure(change: impl FnOnce(Config) -> Result<Config, UvmError>) -> c_int {
    let mut config = CONFIG.lock().unwrap_or_else(PoisonError::into_inner);
    if MEMORY.get().is_some() {
        return fail(EBUSY, "too late: another function was called before");
    }
    let old = config.unwrap_or(Config { settings: Settings::default(), block: 128 << 20 });
    match change(old) {
        Ok(new) => {
            *config = Some(new);
            0
        }
        Err(error) => fail(EINVAL, error),
    }
}

/// The memory of this process.
pub(crate) fn memory() -> &'static SharedUvm {
    MEMORY.get_or_init(|| {
        let config = CONFIG.lock().unwrap_or_else(PoisonError::into_inner);
        let Config { settings, block } =
            config.unwrap_or(Config { settings: Settings::default(), block: 128 << 20 });
        let pages = (block >> settings.pageshift()).max(1);
        let mut uvm = Uvm::new(settings);
        uvm.set_host(Box::new(CHost(settings.pageshift())));
        // Both sizes are powers of two, so the quotient is one.
        SharedUvm::new(uvm, pages).unwrap_or_else(|_| std::process::abort())
    })
}

/// Calls `run` with all pages; from within a callback with those that its thread has locked.
pub(crate) fn with_uvm<T>(run: impl FnOnce(&mut Uvm) -> T) -> T {
    let held = HELD.replace(ptr::null_mut());
    if held.is_null() {
        // A notifier's callback was lent its pages; of others (zero, wake_pagedaemon, migrate) the header says that they may not.
        return memory().with(run).unwrap_or_else(|_| {
            use std::io::Write;
            let _ = writeln!(
                std::io::stderr(),
                "panic: a page function called from zero(), wake_pagedaemon() or migrate()"
            );
            std::process::abort()
        });
    }
    // SAFETY: `lend` put it there for as long as its callback runs, in this thread, and nobody uses it meanwhile; it was taken out
    // above, so that it is not used twice at once.
    let result = run(unsafe { &mut *held });
    HELD.set(held);
    result
}

/// Runs a callback of C, which may use the pages that its thread has locked.
pub(crate) fn lend<T>(uvm: &mut Uvm, run: impl FnOnce() -> T) -> T {
    let outer = HELD.replace(uvm);
    let result = run();
    HELD.set(outer);
    result
}

/// Whether this thread is in a callback that was lent what is locked.
fn is_lent() -> bool {
    !HELD.get().is_null()
}

/// Whether this thread has memory locked, in any callback, or keeps it as it is: it may not wait for who may want it.
pub(crate) fn is_here() -> bool {
    is_lent() || MEMORY.get().is_some_and(SharedUvm::is_here)
}

/// Brings memory or takes it away; not from within a callback.
pub(crate) fn change<T>(
    run: impl FnOnce(&mut Uvm, &mut Hotplug) -> Result<T, HotplugError>,
) -> Result<T, HotplugError> {
    if is_lent() {
        return Err(HotplugError::InCallback);
    }
    memory().hotplug(run)?
}

/// The number of what went wrong; the words are kept.
pub(crate) fn failed(error: &UvmError) -> c_int {
    let errno = match error {
        UvmError::NoPages { .. }
        | UvmError::NoFit { .. }
        | UvmError::TimedOut
        | UvmError::Storage { .. }
        | UvmError::NotZeroed { .. } => ENOMEM,
        UvmError::Page { .. } | UvmError::Unmovable { .. } | UvmError::Lent { .. } => EBUSY,
        UvmError::Overlap { .. } => EEXIST,
        UvmError::NotPlugged(_) | UvmError::NoSegment(_) | UvmError::NoArea(_) => ENOENT,
        UvmError::InCallback => EDEADLK,
        _ => EINVAL,
    };
    fail(errno, error)
}
