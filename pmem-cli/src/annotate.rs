//! `pmem annotate`: explains a text line by line as it arrives.

use crate::args::Args;
use crate::source::{open, styles};
use crate::{Failure, Output, Status, file};
use pmem_import::{Sources, is_wide};
use pmem_report::annotate::{AnnotateError, Annotator};
use pmem_report::text;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// The longest time that a line waits for others to be explained together with it.
const WHILE: Duration = Duration::from_millis(500);
/// The approximate size limit of a piece, in bytes.
const PIECE: usize = 16 << 20;
/// The bytes read at a time.
const CHUNK: usize = 1 << 16;

impl From<AnnotateError> for Failure {
    fn from(error: AnnotateError) -> Self {
        match error {
            AnnotateError::Viewer(text) => Self::Usage(text),
            AnnotateError::Import(error) => Self::Import(error),
        }
    }
}

/// Explains texts. Folders and archives among `words` are sources of the machine.
pub(crate) fn annotate(
    args: &Args,
    from: Option<&str>,
    words: &[PathBuf],
    out: &mut Output<'_>,
) -> Result<Status, Failure> {
    let (sources, mut texts): (Vec<PathBuf>, Vec<PathBuf>) =
        words.iter().cloned().partition(|word| Sources::is_tree(word));
    if texts.is_empty() {
        texts.push(PathBuf::from("-"));
    }
    file::standard_once(texts.iter().chain(&args.root).chain(&args.net))?;
    let mut machine = open(args, &sources)?;
    for path in &texts {
        let mut annotator = Annotator::new(&mut machine, from.map(str::to_owned));
        let failed = |error: io::Error| Failure::file(path, error);
        if args.json {
            let mut all = Vec::new();
            text_of(path).and_then(|mut text| text.read_to_end(&mut all)).map_err(failed)?;
            let mut report = pmem_report::json(&annotator.explain(&all)?);
            if texts.len() > 1 {
                report["text"] = path.display().to_string().into();
            }
            writeln!(out, "{report:#}")?;
            continue;
        }
        let mut pieces = Pieces::of(text_of(path).map_err(failed)?);
        while let Some(piece) = pieces.next().map_err(failed)? {
            let before = annotator.lines();
            let report = annotator.explain(&piece)?;
            text::annotated(&report, &piece, before, &styles(args.color), out)?;
            out.flush()?;
        }
    }
    Ok(Status::Done)
}

fn text_of(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    if file::is_standard(path) {
        return Ok(Box::new(io::stdin()));
    }
    let file = std::fs::File::open(path)?;
    Ok(if Sources::is_compressed(path) { Box::new(pmem_import::decompressed(file)) } else { Box::new(file) })
}

/// Splits a text into pieces of whole lines: what arrives within a while, or as much as is allowed at once.
struct Pieces {
    chunks: Receiver<io::Result<Vec<u8>>>,
    held: Vec<u8>,
    /// The end of the last complete line in `held`.
    end: usize,
    is_over: bool,
}

impl Pieces {
    fn of(mut text: Box<dyn Read + Send>) -> Self {
        // The bound is small on purpose: a text that arrives faster than it is explained has to wait.
        let (send, chunks) = sync_channel(16);
        std::thread::spawn(move || {
            loop {
                let mut chunk = vec![0; CHUNK];
                let read = match text.read(&mut chunk) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read.map(|len| {
                        chunk.truncate(len);
                        chunk
                    }),
                };
                let is_last = read.as_ref().map_or(true, Vec::is_empty);
                // Stop if nobody receives any more, or if this was the last chunk.
                if send.send(read).is_err() || is_last {
                    return;
                }
            }
        });
        Self { chunks, held: Vec::new(), end: 0, is_over: false }
    }

    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        // The time at which the first waiting line arrived.
        let mut since = Instant::now();
        while !self.is_over {
            let chunk = if self.end == 0 {
                self.chunks.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.chunks.recv_timeout(WHILE.saturating_sub(since.elapsed()))
            };
            match chunk {
                Ok(Ok(chunk)) => {
                    self.is_over = chunk.is_empty();
                    let line = chunk.iter().rposition(|byte| *byte == b'\n');
                    if let Some(line) = line {
                        if self.end == 0 {
                            since = Instant::now();
                        }
                        self.end = self.held.len() + line + 1;
                    }
                    self.held.extend(chunk);
                    if self.held.len() < PIECE {
                        continue;
                    }
                }
                // Explain what came before an error, then report the error.
                Ok(Err(error)) if self.held.is_empty() => return Err(error),
                Ok(Err(error)) => {
                    let (send, chunks) = sync_channel(1);
                    drop(send.send(Err(error)));
                    self.chunks = chunks;
                    self.end = 0;
                    return Ok(Some(std::mem::take(&mut self.held)));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.is_over = true,
            }
            // Line ends in UTF-16 can be found only in the whole text.
            if self.end > 0 && !self.is_over && !is_wide(&self.held) {
                let rest = self.held.split_off(self.end);
                self.end = 0;
                return Ok(Some(std::mem::replace(&mut self.held, rest)));
            }
            if is_wide(&self.held) {
                self.end = 0;
            }
        }
        let last = std::mem::take(&mut self.held);
        Ok((!last.is_empty()).then_some(last))
    }
}
