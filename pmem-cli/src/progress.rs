//! The progress line on a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Commands that take less time show no progress.
const SOON: Duration = Duration::from_secs(2);
/// The time between updates of the line.
const EVERY: Duration = Duration::from_millis(500);

/// A line on standard error that shows what a command is doing, if that takes over two seconds and standard error is a
/// terminal. It is erased before anything else is printed.
pub(crate) struct Progress {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// What is being done; `None` once the command is done.
    what: Mutex<Option<String>>,
    turned: Condvar,
}

impl Shared {
    fn what(&self) -> MutexGuard<'_, Option<String>> {
        self.what.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// Starts the line, if the terminal can erase it.
    pub(crate) fn begin(what: &str) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if is_dumb || !io::stderr().is_terminal() {
            return Self { shared: Arc::default(), thread: None };
        }
        let shared = Arc::new(Shared { what: Mutex::new(Some(what.to_owned())), ..Shared::default() });
        let theirs = Arc::clone(&shared);
        Self { shared, thread: Some(std::thread::spawn(move || show(&theirs))) }
    }

    /// Changes what the line says.
    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if let Some(said) = &mut *self.shared.what() {
            *said = what();
        }
    }

    /// Erases the line for good.
    pub(crate) fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            *self.shared.what() = None;
            self.shared.turned.notify_all();
            // A panic there could only concern writing to standard error.
            drop(thread.join());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

fn show(shared: &Shared) {
    let begun = Instant::now();
    let mut wait = SOON;
    let mut is_shown = false;
    let mut what = shared.what();
    while what.is_some() {
        what = shared.turned.wait_timeout(what, wait).unwrap_or_else(PoisonError::into_inner).0;
        let seconds = begun.elapsed().as_secs();
        if let Some(what) = what.as_deref().filter(|_| begun.elapsed() >= SOON) {
            // Keep it short enough for a narrow terminal, so that the next update can erase it.
            let what: String = what.chars().take(60).collect();
            is_shown |= write!(io::stderr(), "\r\x1b[K{what} … {seconds} s").is_ok();
            wait = EVERY;
        }
    }
    if is_shown {
        drop(write!(io::stderr(), "\r\x1b[K"));
    }
}
