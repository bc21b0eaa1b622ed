//! A text that comes piece by piece, such as a log that is followed.

use super::{AnnotateError, Annotated};
use pmem_import::Machine;

/// Explains a text piece by piece, in memory that does not grow with it: what its beginning says of the machine counts for all of it.
pub struct Annotator<'m> {
    machine: &'m mut Machine,
    from: Option<String>,
    /// Whole lines that were explained before, at most [`HEAD`] bytes of them: a boot's log has the map at its beginning.
    head: Vec<u8>,
    /// Lines that were explained before.
    line: u32,
    said: Vec<String>,
}

/// How much of a text is kept to know its machine by.
const HEAD: usize = 1 << 20;

impl<'m> Annotator<'m> {
    /// Explains with a machine, as seen from an arena or a device (see [`Machine::viewer`]).
    pub const fn new(machine: &'m mut Machine, from: Option<String>) -> Self {
        Self { machine, from, head: Vec::new(), line: 0, said: Vec::new() }
    }

    /// Explains the next piece, which is of whole lines. Lines of the report count from the beginning of the text; what the explanations
    /// rest on is said once.
    ///
    /// # Errors
    /// [`AnnotateError`].
    pub fn explain(&mut self, piece: &[u8]) -> Result<Annotated, AnnotateError> {
        let known = count(&self.head);
        let text = [&self.head[..], piece].concat();
        let before = self.line.saturating_sub(known);
        let mut report = Annotated::piece(self.machine, self.from.as_deref(), &text, known, before)?;
        report.about.retain(|about| !self.said.contains(about));
        self.said.extend(report.about.iter().cloned());
        if self.line > 0 {
            report.sources.unseen.clear();
        }
        self.line += count(piece);
        if self.head.len() < HEAD {
            let end = text[..text.len().min(HEAD)].iter().rposition(|byte| *byte == b'\n');
            self.head = text[..end.map_or(0, |end| end + 1)].to_vec();
        }
        Ok(report)
    }

    /// Lines that have been explained.
    pub const fn lines(&self) -> u32 {
        self.line
    }
}

/// Lines that end.
fn count(text: &[u8]) -> u32 {
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(lines).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmem_import::{Sources, Text};

    const LOG: &str = "BIOS-e820: [mem 0x0000000000000000-0x000000007fffffff] usable\n\
        BIOS-e820: [mem 0x00000000e0000000-0x00000000efffffff] reserved\n\
        one at 0x10000000\n\
        pci 0000:00:02.0: BAR 0: assigned [mem 0x90000000-0x90ffffff]\n\
        another at 0x90000010\n\
        AMD-Vi: Event logged [IO_PAGE_FAULT device=00:02.0 domain=0x0011 address=0x10000000 flags=0x0020]\n\
        a third at 0xe0000000\n";

    fn machine() -> Machine {
        let bytes = b"00000000-3fffffff : System RAM\n".to_vec();
        let texts = vec![Text { name: "iomem".into(), bytes }];
        Machine::read(&mut Sources { texts, ..Sources::default() }).unwrap()
    }

    /// What is said of a text in pieces is what is said of it whole, wherever behind its map it is cut.
    #[test]
    fn pieces_are_explained_as_the_whole_is() {
        let whole = Annotated::of(&mut machine(), None, LOG.as_bytes()).unwrap();
        let notes = |report: &Annotated| -> Vec<(u32, String)> {
            report.notes.iter().map(|note| (note.line, note.text.clone())).collect()
        };
        assert_eq!(whole.faults.len(), 1);
        assert!(notes(&whole).len() >= 5);
        let lines: Vec<&str> = LOG.split_inclusive('\n').collect();
        for cut in 4..lines.len() {
            let mut machine = machine();
            let mut annotator = Annotator::new(&mut machine, None);
            let first = annotator.explain(lines[..cut].concat().as_bytes()).unwrap();
            let mut both = notes(&first);
            let mut faults = first.faults.clone();
            let mut about = first.about.clone();
            for line in &lines[cut..] {
                let next = annotator.explain(line.as_bytes()).unwrap();
                both.extend(notes(&next));
                faults.extend(next.faults.clone());
                about.extend(next.about);
            }
            assert_eq!(
                (both, faults, about),
                (notes(&whole), whole.faults.clone(), whole.about.clone()),
                "{cut}"
            );
            assert_eq!(annotator.lines(), 7);
        }
    }
}
