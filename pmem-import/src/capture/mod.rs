//! Sources: the live machine, folders, archives and single texts.

mod archive;
mod folder;
mod tree;

pub use tree::Tree;

use crate::error::ImportError;
use crate::facts::{Finding, Findings};
use folder::LARGEST_TEXT;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most files of a folder that are read as texts.
const MOST_FILES: usize = 1000;

/// A text in any format that pmem reads, or in none.
#[derive(Clone, Debug)]
pub struct Text {
    /// Its name in messages.
    pub name: Arc<str>,
    /// Its bytes, not yet decoded.
    pub bytes: Vec<u8>,
}

/// Opened sources that describe one machine: file trees as Linux has them, and texts.
///
/// # Examples
///
/// Sources can come from memory as well as from files:
///
/// ```
/// use pmem_import::Sources;
///
/// let mut log: &[u8] = b"reg00: base=0x000000000 (    0MB), size= 2048MB, count=1: write-back\n";
/// let mut sources = Sources::default();
/// sources.add_stream("mtrr.txt", &mut log)?;
/// assert_eq!(&*sources.texts[0].name, "mtrr.txt");
/// assert!(sources.trees.is_empty());
/// # Ok::<(), pmem_import::ImportError>(())
/// ```
#[derive(Debug, Default)]
pub struct Sources {
    /// Folders and archives with `proc` or `sys`.
    pub trees: Vec<Tree>,
    /// Texts, in the order in which they were given.
    pub texts: Vec<Text>,
    /// What is wrong with the sources.
    pub findings: Findings,
}

impl Sources {
    /// Opens sources that describe one machine: folders, tar archives, texts, and `-` for standard input. Archives
    /// and texts may be compressed with gzip. No paths means the live machine.
    ///
    /// # Errors
    /// [`ImportError::NoSource`] if a source holds nothing to read or is too large; [`ImportError::Read`] if it
    /// cannot be read; [`ImportError::Twice`] if it is given twice.
    pub fn open(paths: &[PathBuf]) -> Result<Self, ImportError> {
        let mut sources = Self::default();
        if paths.is_empty() {
            sources.trees.push(Tree::folder(Path::new("/"), folder::Links::Followed)?);
            return Ok(sources);
        }
        let mut seen: BTreeSet<PathBuf> = BTreeSet::new();
        for path in paths {
            let place = if is_stdin(path) {
                path.clone()
            } else {
                path.canonicalize().unwrap_or_else(|_| path.clone())
            };
            if !seen.insert(place) {
                return Err(ImportError::Twice { path: path.clone() });
            }
            sources.add(path)?;
        }
        Ok(sources)
    }

    /// Whether a path is a folder or an archive rather than a text.
    #[must_use]
    pub fn is_tree(path: &Path) -> bool {
        if is_stdin(path) || path.is_dir() {
            return path.is_dir();
        }
        // Do not probe a pipe: what is read from it is gone.
        if !path.is_file() {
            return false;
        }
        let mut begin = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(1 << 16).read_to_end(&mut begin));
        read.is_ok() && archive::is_archive(&begin)
    }

    /// Whether a file is compressed with gzip.
    #[must_use]
    pub fn is_compressed(path: &Path) -> bool {
        let mut begin = [0; 2];
        let read = path.is_file()
            && std::fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut begin).is_ok());
        read && begin == GZIP
    }

    fn add(&mut self, path: &Path) -> Result<(), ImportError> {
        if is_stdin(path) {
            return self.add_stream("standard input", &mut std::io::stdin().lock());
        }
        let there =
            std::fs::metadata(path).map_err(|error| ImportError::Read { path: path.to_owned(), error })?;
        if there.is_dir() {
            return self.add_folder(path);
        }
        let mut file =
            std::fs::File::open(path).map_err(|error| ImportError::Read { path: path.to_owned(), error })?;
        self.add_stream(&path.display().to_string(), &mut file)
    }

    /// Adds a folder: as a tree if it has `proc` or `sys`, and the files at its top as texts.
    fn add_folder(&mut self, path: &Path) -> Result<(), ImportError> {
        let links = if path == Path::new("/") { folder::Links::Followed } else { folder::Links::Inside };
        let tree = Tree::folder(path, links)?;
        let is_tree = tree.has("proc") || tree.has("sys");
        let names = if links == folder::Links::Followed { Vec::new() } else { tree.names("") };
        let mut texts = 0;
        let named: Vec<&String> = names.iter().filter(|name| is_text_name(name)).collect();
        if named.len() > MOST_FILES {
            let text = format!("{} files: only the first {MOST_FILES} are read", named.len());
            self.findings.push(Finding::whole(path.display().to_string(), text));
        }
        for name in named.into_iter().take(MOST_FILES) {
            if !tree.is_file(name) {
                continue;
            }
            if let Some(bytes) = tree.bytes(name, &mut self.findings) {
                let name = Path::new(path).join(name).display().to_string();
                self.texts.push(Text { name: name.into(), bytes });
                texts += 1;
            }
        }
        if !is_tree && texts == 0 {
            let what = "holds neither proc nor sys, nor any text: nothing to read".to_owned();
            return Err(ImportError::NoSource { path: path.to_owned(), what });
        }
        if is_tree {
            self.trees.push(tree);
        }
        Ok(())
    }

    /// Adds an archive or a text, whichever the stream holds.
    ///
    /// # Errors
    /// [`ImportError::NoSource`] if it is too large; [`ImportError::Read`] if it cannot be read or is a
    /// broken archive.
    pub fn add_stream(&mut self, name: &str, stream: &mut dyn Read) -> Result<(), ImportError> {
        let failed = |error| ImportError::Read { path: PathBuf::from(name), error };
        let mut bytes = Vec::new();
        stream.take(LARGEST_TEXT + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > LARGEST_TEXT {
            let what = format!("larger than {LARGEST_TEXT} bytes");
            return Err(ImportError::NoSource { path: PathBuf::from(name), what });
        }
        if archive::is_archive(&bytes) {
            let files = archive::unpack(name, &bytes, &mut self.findings)?;
            let tree = Tree::archive(name, files);
            for name in tree.names("").iter().filter(|name| is_text_name(name) && tree.is_file(name)) {
                if let Some(bytes) = tree.bytes(name, &mut self.findings) {
                    self.texts.push(Text { name: tree.place(name).into(), bytes });
                }
            }
            self.trees.push(tree);
            return Ok(());
        }
        if bytes.starts_with(&GZIP) {
            // A compressed text.
            let mut text = Vec::new();
            let plain = decompressed(&bytes[..]);
            plain.take(LARGEST_TEXT + 1).read_to_end(&mut text).map_err(failed)?;
            if text.len() as u64 > LARGEST_TEXT {
                let what = format!("unpacks to more than {LARGEST_TEXT} bytes");
                return Err(ImportError::NoSource { path: PathBuf::from(name), what });
            }
            bytes = text;
        }
        if bytes.is_empty() {
            self.findings.push(Finding::whole(name, "is empty"));
        }
        self.texts.push(Text { name: name.into(), bytes });
        Ok(())
    }
}

/// The first bytes of gzip data (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Decompresses gzip data.
pub fn decompressed(compressed: impl Read) -> impl Read {
    flate2::read::MultiGzDecoder::new(compressed)
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Whether a file beside `proc` and `sys`, or in a folder of texts, may hold something: not lists of links, nor
/// documents about the capture.
fn is_text_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let other = [".md", ".json", ".tar", ".gz", ".png", ".svg", ".pdf", ".html", ".xml", ".rs", ".c", ".h"];
    !name.starts_with('.') && name != "LINKS.txt" && !other.iter().any(|end| lower.ends_with(end))
}
