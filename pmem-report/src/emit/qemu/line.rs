//! A QEMU command line under construction.

use std::fmt::Write;

/// QEMU options in order, and the comments that precede them.
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

    /// Adds a comment on what could not be carried over, unless it is there already.
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

/// Formats a size as QEMU takes it.
pub(super) fn bytes(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{}M", bytes >> 20) } else { bytes.to_string() }
}
