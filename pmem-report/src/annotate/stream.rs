//! Explains a text that arrives piece by piece, such as a log that is still being written.

use super::{AnnotateError, Annotated};
use pmem_import::Machine;

/// Explains a text piece by piece. Beyond the first MiB it keeps only one byte per line. What the beginning of the text
/// says about the machine applies to all of it.
///
/// # Examples
///
/// Line numbers continue from piece to piece:
///
/// ```
/// use pmem_import::{Machine, Sources};
/// use pmem_report::annotate::Annotator;
///
/// let mut iomem: &[u8] = b"00100000-7fffffff : System RAM\n";
/// let mut sources = Sources::default();
/// sources.add_stream("iomem", &mut iomem)?;
/// let mut machine = Machine::read(&mut sources)?;
///
/// let mut annotator = Annotator::new(&mut machine, None);
/// annotator.explain(b"usb 1-1: new device\n")?;
/// let report = annotator.explain(b"edac: error at 0x12345680\n")?;
/// assert_eq!(report.notes[0].line, 2);
/// assert_eq!(annotator.lines(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Annotator<'m> {
    machine: &'m mut Machine,
    from: Option<String>,
    /// The lines explained so far: a boot log has its memory map at the beginning. Beyond [`HEAD`] bytes only empty
    /// lines are kept, so that line numbers stay right.
    before: Vec<u8>,
    /// The number of lines explained so far.
    line: u32,
    said: Vec<String>,
}

/// How many bytes of a text are kept to identify its machine.
const HEAD: usize = 1 << 20;

impl<'m> Annotator<'m> {
    /// Explains with a machine, as seen from an arena or a device (see [`Machine::viewer`]); `None` is the system bus.
    pub const fn new(machine: &'m mut Machine, from: Option<String>) -> Self {
        Self { machine, from, before: Vec::new(), line: 0, said: Vec::new() }
    }

    /// Explains the next piece, which must consist of whole lines. Line numbers count from the beginning of the text.
    /// General remarks are reported only once.
    ///
    /// # Errors
    /// Returns [`AnnotateError`] if the viewer names nothing, or if the machine that the text describes cannot be built.
    pub fn explain(&mut self, piece: &[u8]) -> Result<Annotated, AnnotateError> {
        let text = [&self.before[..], piece].concat();
        let mut report = Annotated::behind(self.machine, self.from.as_deref(), &text, self.line)?;
        report.about.retain(|about| !self.said.contains(about));
        self.said.extend(report.about.iter().cloned());
        if self.line > 0 {
            report.sources.unseen.clear();
        }
        let lines = count(piece);
        self.line = self.line.saturating_add(lines);
        if self.before.len() + piece.len() <= HEAD {
            self.before = text;
        } else {
            self.before.resize(self.before.len() + lines as usize, b'\n');
        }
        Ok(report)
    }

    /// The number of lines explained so far.
    #[must_use]
    pub const fn lines(&self) -> u32 {
        self.line
    }
}

/// Counts the complete lines.
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

    /// Lines keep their numbers, and the text's own map counts, however much has come before.
    #[test]
    fn a_long_text_keeps_its_lines() {
        let filler = "nothing of interest in this line, which is long enough\n".repeat(HEAD / 40);
        let mut machine = machine();
        let mut annotator = Annotator::new(&mut machine, None);
        annotator.explain(LOG.as_bytes()).unwrap();
        for piece in [&filler, &filler] {
            assert!(annotator.explain(piece.as_bytes()).unwrap().notes.is_empty());
        }
        assert!(annotator.before.len() < 2 * HEAD);
        let before = annotator.lines();
        let report = annotator.explain(b"\nat 0x90000010\n").unwrap();
        let notes: Vec<(u32, &str)> =
            report.notes.iter().map(|note| (note.line, note.text.as_str())).collect();
        assert_eq!(notes.len(), 1);
        assert_eq!(notes[0].0, before + 2);
        assert!(notes[0].1.starts_with("0000:00:02.0 BAR 0"), "{notes:?}");
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
