//! What the C half calls.

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

/// The library, for the length of one call.
fn library() -> &'static mut Option<Box<Library>> {
    // SAFETY: called once in each of the functions that the C half calls, and those never at the same time; no reference outlives
    // its call.
    unsafe { &mut *LIBRARY.0.get() }
}

/// Builds the manager from what the kernel knows, and takes the registers over.
///
/// # Safety
/// `spans` is `count` spans.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_start(width: u32, spans: *const Found, count: u64) -> i64 {
    let Some(width) = u8::try_from(width).ok().and_then(Width::new) else { return EINVAL };
    // SAFETY: the caller's promise.
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

/// Carries out one request on a structure that the C half has copied and checked.
///
/// # Safety
/// `claim` is one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_request(op: u32, claim: *mut Claim) -> i64 {
    let Some(library) = library() else { return EIO };
    // SAFETY: the caller's promise.
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

/// One span of an arena.
///
/// # Safety
/// `span` is one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_span(span: *mut Span) -> i64 {
    let Some(library) = library() else { return EIO };
    // SAFETY: the caller's promise.
    library.span(unsafe { &mut *span }).map_or_else(|refused| refused.code(), |()| 0)
}

/// Writes what there is as a text; gives its length.
///
/// # Safety
/// `text` is `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_dump(text: *mut u8, len: u64) -> i64 {
    let Some(library) = library() else { return EIO };
    let out = match library.dump() {
        Ok(out) => out,
        Err(refused) => return refused.code(),
    };
    let fits = out.len().min(len as usize);
    // SAFETY: `fits` bytes of a string of ours, into as many of the caller's.
    unsafe { core::ptr::copy_nonoverlapping(out.as_ptr(), text, fits) };
    fits as i64
}

/// Gives back what a file held.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_close(session: u64) -> i64 {
    let Some(library) = library() else { return EIO };
    library.close(session);
    0
}

/// Ends the claims over a function's BARs.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_end(device: u64, state: u32, all: u32) -> i64 {
    let Some(library) = library() else { return EIO };
    library.end(device, state, all != 0) as i64
}

/// Tries again what could not be done yet, and ends claims whose BAR is elsewhere; how much is left.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_settle() -> i64 {
    let Some(library) = library() else { return EIO };
    library.look();
    library.settle() as i64
}

/// What there is.
///
/// # Safety
/// `figures` is one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_figures(figures: *mut Figures) {
    let none = Figures { arenas: 0, regions: 0, pending: 0, ended: 0 };
    let found = library().as_ref().map_or(none, |library| library.figures());
    // SAFETY: the caller's promise.
    unsafe { figures.write(found) };
}

/// Gives everything back.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_arena_stop() -> i64 {
    let place = library();
    let left = place.as_mut().map_or(0, |library| library.stop());
    *place = None;
    left as i64
}

/// Whether two processors' registers have different effects; the first register by which. Pure.
///
/// # Safety
/// `here` and `there` are images, `difference` is one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_arena_differ(
    here: *const Image,
    there: *const Image,
    width: u32,
    difference: *mut Difference,
) -> i32 {
    let width = u8::try_from(width).ok().and_then(Width::new).unwrap_or(Width::DEFAULT);
    // SAFETY: the caller's promise.
    let (here, there) = unsafe { (&*here, &*there) };
    let Some(found) = here.difference(there, width) else { return 0 };
    // SAFETY: the caller's promise.
    unsafe { difference.write(found) };
    1
}
