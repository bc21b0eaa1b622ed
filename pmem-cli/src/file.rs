//! Files named on the command line; `-` is standard input or output.

use crate::Failure;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Whether a path means standard input or output.
pub(crate) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Refuses standard input as more than one source.
pub(crate) fn standard_once<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) -> Result<(), Failure> {
    if paths.into_iter().filter(|path| is_standard(path)).count() > 1 {
        return Err(Failure::Usage("standard input can be used only once, but - is given twice".to_owned()));
    }
    Ok(())
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let result = if is_standard(path) {
        io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(path).map(|all| bytes = all)
    };
    result.map(|()| bytes).map_err(|error| Failure::file(path, error))
}

/// Creates a file and writes it, or writes to `out` for `-`.
pub(crate) fn write(
    path: &Path,
    out: &mut dyn Write,
    print: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    if is_standard(path) {
        return Ok(print(out)?);
    }
    let failed = |error| Failure::file(path, error);
    let mut written = BufWriter::new(std::fs::File::create(path).map_err(failed)?);
    print(&mut written).and_then(|()| written.flush()).map_err(failed)
}
