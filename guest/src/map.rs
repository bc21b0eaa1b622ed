//! Maps registers and memory into this program.

use rustix::fs::OFlags;
use rustix::mm::{MapFlags, ProtFlags, mmap};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Maps `bytes` of a file from `offset` on; both are whole pages. Physical memory is mapped uncached this way
/// (mem(4), O_SYNC).
fn map(path: &Path, offset: u64, bytes: usize) -> Result<*mut u8, String> {
    let said = |error: String| format!("{}: {offset:#x}: {error}", path.display());
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::SYNC.bits().cast_signed())
        .open(path)
        .map_err(|e| said(e.to_string()))?;
    // SAFETY: the kernel chooses the address, so nothing of this program is there.
    let at = unsafe {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        mmap(std::ptr::null_mut(), bytes, prot, MapFlags::SHARED, &file, offset)
    };
    at.map(<*mut _>::cast).map_err(|e| said(e.to_string()))
}

/// Maps 4-byte registers.
pub fn registers(path: &Path, offset: u64, bytes: usize) -> Result<&'static [AtomicU32], String> {
    let at = map(path, offset, bytes)?;
    // SAFETY: the mapping is `bytes` long, begins at a page, and lasts as long as this program. Whatever a
    // device does there, each word is read and written as a whole.
    Ok(unsafe { std::slice::from_raw_parts(at.cast(), bytes / 4) })
}

/// Maps memory that devices access too.
pub fn memory(path: &Path, offset: u64, bytes: usize) -> Result<&'static [AtomicU64], String> {
    let at = map(path, offset, bytes)?;
    // SAFETY: as above.
    Ok(unsafe { std::slice::from_raw_parts(at.cast(), bytes / 8) })
}
