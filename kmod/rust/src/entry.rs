//! The functions that the C half calls.

use crate::ffi::log;
use crate::library::Library;
use crate::refused::Refused;
use alloc::boxed::Box;
use alloc::format;
use core::cell::UnsafeCell;
use pmem_arena_abi::{Claim, Difference, Figures, Found, Image, Span};
use pmem_drivers::mtrr::Width;

const EIO: i64 = -5;
const EINVAL: i64 = -22;

struct Cell(UnsafeCell<Option<Box<Library>>>);

// SAFETY: only the C half's one thread enters the functions below that use it, one at a time.
unsafe impl Sync for Cell {}

static LIBRARY: Cell = Cell(UnsafeCell::new(None));

/// Returns the library, for the duration of one call.
fn library() -> &'static mut Option<Box<Library>> {
    // SAFETY: each function that the C half calls does this once. Those functions never run at the same time, and
    // no reference outlives its call.
    unsafe { &mut *LIBRARY.0.get() }
}

/// Builds the manager from what the kernel knows, and takes over the registers.
///
/// # Safety
/// `spans` must point to `count` spans.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_start(width: u32, spans: *const Found, count: u64) -> i64 {
    let Some(width) = u8::try_from(width).ok().and_then(Width::new) else { return EINVAL };
    // SAFETY: the caller guarantees it.
    let spans = unsafe { core::slice::from_raw_parts(spans, count as usize) };
    match Library::new(width, spans) {
        Ok(new) => {
            *library() = Some(Box::new(new));
            0
        }
        Err(error) => {
            log(&format!("not started: {error}"));
            Refused::from(error).code()
        }
    }
}

/// Executes one request on a structure that the C half has copied and checked.
///
/// # Safety
/// `claim` must point to a claim that nothing else borrows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_request(op: u32, claim: *mut Claim) -> i64 {
    let Some(library) = library() else { return EIO };
    // SAFETY: the caller guarantees it.
    let claim = unsafe { &mut *claim };
    let done = match op {
        1 => library.region(&mut claim.region, claim.session),
        2 => library.claim(claim),
        3 => library.set(claim),
        4 => library.release(claim),
        5 => library.plan(claim),
        6 => library.find(claim),
        _ => return EINVAL,
    };
    done.map_or_else(|refused| refused.explain(&mut claim.region), |()| 0)
}

/// Describes one span of an arena.
///
/// # Safety
/// `span` must point to a span that nothing else borrows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_span(span: *mut Span) -> i64 {
    let Some(library) = library() else { return EIO };
    // SAFETY: the caller guarantees it.
    library.span(unsafe { &mut *span }).map_or_else(|refused| refused.code(), |()| 0)
}

/// Writes a text that describes memory types and claims, and returns its length in bytes.
///
/// # Safety
/// `text` must have room for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_dump(text: *mut u8, len: u64) -> i64 {
    let Some(library) = library() else { return EIO };
    let out = match library.dump() {
        Ok(out) => out,
        Err(refused) => return refused.code(),
    };
    let fits = out.len().min(len as usize);
    // SAFETY: this copies `fits` bytes of a local string to the caller's buffer, which has room for them.
    unsafe { core::ptr::copy_nonoverlapping(out.as_ptr(), text, fits) };
    fits as i64
}

/// Gives back what a file holds.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_close(session: u64) -> i64 {
    let Some(library) = library() else { return EIO };
    library.close(session);
    0
}

/// Ends the claims over a function's BARs, and returns how many it still has.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_end(device: u64, state: u32, all: u32) -> i64 {
    let Some(library) = library() else { return EIO };
    library.end(device, state, all != 0) as i64
}

/// Ends claims whose BAR has moved, and retries what could not be given back yet. Returns how many are left.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_settle() -> i64 {
    let Some(library) = library() else { return EIO };
    library.look();
    library.settle() as i64
}

/// Returns the library's figures.
///
/// # Safety
/// `figures` must be writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_figures(figures: *mut Figures) {
    let none = Figures { arenas: 0, regions: 0, pending: 0, ended: 0 };
    let found = library().as_ref().map_or(none, |library| library.figures());
    // SAFETY: the caller guarantees it.
    unsafe { figures.write(found) };
}

/// Gives everything back. Returns how many claims could not be given back.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_stop() -> i64 {
    let place = library();
    let left = place.as_mut().map_or(0, |library| library.stop());
    *place = None;
    left as i64
}

/// Returns whether the registers of two processors differ in effect, and stores the first register in which they do.
/// A pure function.
///
/// # Safety
/// `here` and `there` must point to images, and `difference` must be writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_differ(
    here: *const Image,
    there: *const Image,
    width: u32,
    difference: *mut Difference,
) -> i32 {
    let width = u8::try_from(width).ok().and_then(Width::new).unwrap_or(Width::DEFAULT);
    // SAFETY: the caller guarantees it.
    let (here, there) = unsafe { (&*here, &*there) };
    let Some(found) = here.difference(there, width) else { return 0 };
    // SAFETY: the caller guarantees it.
    unsafe { difference.write(found) };
    1
}
