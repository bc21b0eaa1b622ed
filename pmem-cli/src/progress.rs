//! What a command is at, on a terminal, while it takes long.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is done sooner says nothing.
const SOON: Duration = Duration::from_secs(2);
/// How often the line is written anew.
const EVERY: Duration = Duration::from_millis(500);

/// A line on standard error that says what is being done, if that takes over two seconds and standard error is a terminal. It is gone before
/// anything else is printed.
pub(crate) struct Progress {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// What is being done; `None` when it is over.
    what: Mutex<Option<String>>,
    turned: Condvar,
}

impl Shared {
    fn what(&self) -> MutexGuard<'_, Option<String>> {
        self.what.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// Begins, if there is a terminal that can take back what it shows.
    pub(crate) fn begin(what: &str) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if is_dumb || !io::stderr().is_terminal() {
            return Self { shared: Arc::default(), thread: None };
        }
        let shared = Arc::new(Shared { what: Mutex::new(Some(what.to_owned())), ..Shared::default() });
        let theirs = Arc::clone(&shared);
        Self { shared, thread: Some(std::thread::spawn(move || show(&theirs))) }
    }

    /// Says what is being done from now on.
    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if let Some(said) = &mut *self.shared.what() {
            *said = what();
        }
    }

    /// Takes the line back, for good.
    pub(crate) fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            *self.shared.what() = None;
            self.shared.turned.notify_all();
            // It has only written to standard error.
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
            // A line of a narrow terminal, taken back by the next one.
            let what: String = what.chars().take(60).collect();
            is_shown |= write!(io::stderr(), "\r\x1b[K{what} … {seconds} s").is_ok();
            wait = EVERY;
        }
    }
    if is_shown {
        drop(write!(io::stderr(), "\r\x1b[K"));
    }
}
