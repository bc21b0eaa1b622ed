//! The output of a command, with a progress line on a terminal.

use crate::progress::Progress;
use std::io::{self, Write};

/// The destination of everything that a command prints.
pub struct Output<'a> {
    out: &'a mut dyn Write,
    progress: Progress,
    /// Whether standard output is a file. Otherwise the output may reach the terminal that shows the progress line, for
    /// instance through a pager.
    is_file: bool,
}

impl<'a> Output<'a> {
    /// Prints to `out`, which must lead to standard output.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            progress: Progress::begin("reading"),
            is_file: std::fs::metadata("/dev/stdout").is_ok_and(|out| out.is_file()),
        }
    }

    /// Changes the progress line.
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
