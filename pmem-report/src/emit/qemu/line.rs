//! A command line, and what is said of it.

use std::fmt::Write;

/// Options in order, and comments.
#[derive(Default)]
pub(super) struct Line {
    notes: Vec<String>,
    options: Vec<String>,
}

impl Line {
    /// Adds an option.
    pub(super) fn option(&mut self, option: &str) {
        self.options.push(option.to_owned());
    }

    /// Says what could not be carried over, once.
    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(super) fn print(self) -> String {
        let mut out = String::new();
        for note in &self.notes {
            let _ = writeln!(out, "# {note}");
        }
        let _ = writeln!(out, "qemu-system-x86_64 \\\n  {}", self.options.join(" \\\n  "));
        out
    }
}

/// A size as QEMU takes it.
pub(super) fn bytes(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{}M", bytes >> 20) } else { bytes.to_string() }
}
