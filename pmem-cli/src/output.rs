//! Where a command prints, and says on a terminal what it is at.

use crate::progress::Progress;
use std::io::{self, Write};

/// What a command prints goes here.
pub struct Output<'a> {
    out: &'a mut dyn Write,
    progress: Progress,
    /// What is printed goes into a file; else it may come to the terminal that shows what is being done, by a pager, say.
    is_file: bool,
}

impl<'a> Output<'a> {
    /// Prints to `out`, which is on its way to standard output.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            progress: Progress::begin("reading"),
            is_file: std::fs::metadata("/dev/stdout").is_ok_and(|out| out.is_file()),
        }
    }

    /// Says what is being done from now on, where somebody waits for it at a terminal.
    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        self.progress.say(what);
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_file {
            self.progress.end();
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
