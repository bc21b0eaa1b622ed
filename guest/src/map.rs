//! Registers and memory, mapped into this program.

use rustix::fs::OFlags;
use rustix::mm::{MapFlags, ProtFlags, mmap};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Maps `bytes` of a file from `offset` on, both whole pages; physical memory that way is mapped uncached (mem(4), O_SYNC).
fn map(path: &Path, offset: u64, bytes: usize) -> Result<*mut u8, String> {
    let said = |error: String| format!("{}: {offset:#x}: {error}", path.display());
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::SYNC.bits().cast_signed())
        .open(path)
        .map_err(|e| said(e.to_string()))?;
    // SAFETY: the kernel chooses where; nothing of this program is there.
    let at = unsafe {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        mmap(std::ptr::null_mut(), bytes, prot, MapFlags::SHARED, &file, offset)
    };
    at.map(<*mut _>::cast).map_err(|e| said(e.to_string()))
}

/// Registers of 4 bytes.
pub fn registers(path: &Path, offset: u64, bytes: usize) -> Result<&'static [AtomicU32], String> {
    let at = map(path, offset, bytes)?;
    // SAFETY: the mapping is `bytes` long, begins with a page, and stays as long as this program does; whatever a device does there,
    // each word is read and written as a whole.
    Ok(unsafe { std::slice::from_raw_parts(at.cast(), bytes / 4) })
}

/// Memory that devices read and write as well.
pub fn memory(path: &Path, offset: u64, bytes: usize) -> Result<&'static [AtomicU64], String> {
    let at = map(path, offset, bytes)?;
    // SAFETY: as above.
    Ok(unsafe { std::slice::from_raw_parts(at.cast(), bytes / 8) })
}
