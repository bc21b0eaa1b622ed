//! The memory of `uvm_page.h` and `memory_hotplug.h`. There is one per process, made when it is first needed.

use crate::failure::{EBUSY, EDEADLK, EEXIST, EINVAL, ENOENT, ENOMEM, fail};
use crate::host::CHost;
use pmem_uvm::{Hotplug, HotplugError, Settings, SharedUvm, Uvm, UvmError};
use std::cell::Cell;
use std::ffi::c_int;
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Settings that can be changed only before the memory is made.
#[derive(Clone, Copy)]
pub(crate) struct Config {
    pub(crate) settings: Settings,
    /// The block size in bytes.
    pub(crate) block: u64,
}

static CONFIG: Mutex<Option<Config>> = Mutex::new(None);
static MEMORY: OnceLock<SharedUvm> = OnceLock::new();

thread_local! {
    /// While a callback runs: the manager that this thread has locked and lends to it. Otherwise null.
    static HELD: Cell<*mut Uvm> = const { Cell::new(ptr::null_mut()) };
}

/// Changes the settings; fails once the memory is made.
pub(crate) fn configure(change: impl FnOnce(Config) -> Result<Config, UvmError>) -> c_int {
    let mut config = CONFIG.lock().unwrap_or_else(PoisonError::into_inner);
    if MEMORY.get().is_some() {
        return fail(EBUSY, "too late: settings can only be changed before any other function is called");
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

/// Returns the memory of this process.
pub(crate) fn memory() -> &'static SharedUvm {
    MEMORY.get_or_init(|| {
        let config = CONFIG.lock().unwrap_or_else(PoisonError::into_inner);
        let Config { settings, block } =
            config.unwrap_or(Config { settings: Settings::default(), block: 128 << 20 });
        let pages = (block >> settings.pageshift()).max(1);
        let mut uvm = Uvm::new(settings);
        uvm.set_host(Box::new(CHost(settings.pageshift())));
        // Both sizes are powers of two, so their quotient is one too.
        SharedUvm::new(uvm, pages).unwrap_or_else(|_| std::process::abort())
    })
}

/// Calls `run` with all pages. From within a notifier's callback, these are the pages that its thread has locked.
pub(crate) fn with_uvm<T>(run: impl FnOnce(&mut Uvm) -> T) -> T {
    let held = HELD.replace(ptr::null_mut());
    if held.is_null() {
        // Only notifiers are lent the pages. The header forbids the other callbacks (zero, wake_pagedaemon, migrate)
        // to get here.
        return memory().with(run).unwrap_or_else(|_| {
            use std::io::Write;
            let _ = writeln!(
                std::io::stderr(),
                "panic: a page function called from zero(), wake_pagedaemon() or migrate()"
            );
            std::process::abort()
        });
    }
    // SAFETY: `lend` stored the pointer for as long as its callback runs, in this thread, and does not use the
    // manager meanwhile. It was taken out above, so it is not used twice at once.
    let result = run(unsafe { &mut *held });
    HELD.set(held);
    result
}

/// Runs a callback of C that may use the pages its thread has locked.
pub(crate) fn lend<T>(uvm: &mut Uvm, run: impl FnOnce() -> T) -> T {
    let outer = HELD.replace(uvm);
    let result = run();
    HELD.set(outer);
    result
}

/// Whether this thread is in a callback that was lent the pages.
fn is_lent() -> bool {
    !HELD.get().is_null()
}

/// Whether this thread has the memory locked, in any callback, or keeps it as it is. It must not wait for anybody who
/// might want the memory.
pub(crate) fn is_here() -> bool {
    is_lent() || MEMORY.get().is_some_and(SharedUvm::is_here)
}

/// Runs a change that brings memory or takes it away. Fails from within a callback.
pub(crate) fn change<T>(
    run: impl FnOnce(&mut Uvm, &mut Hotplug) -> Result<T, HotplugError>,
) -> Result<T, HotplugError> {
    if is_lent() {
        return Err(HotplugError::InCallback);
    }
    memory().hotplug(run)?
}

/// Stores an error's message and returns its number.
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
