//! `uvm_page.h`: the page functions of uvm(9).

use crate::failure::{EINVAL, ENOENT, fail};
use crate::host::{HOST, PageHost, host};
use crate::memory::{change, configure, failed, memory, with_uvm};
use pmem_uvm::{
    Caller, FrameRange, PageFlags, PageInfo, PageList, PageListRequest, PageOwner, PageRequest, PgaFlags,
    Plug, Reserves, Settings, Strategy, Uvm, UvmError, Wait,
};
use std::ffi::{c_int, c_uint, c_void};
use std::ptr;
use std::sync::PoisonError;
use std::time::Duration;

/// `paddr_t`: a page frame number or an address in bytes, depending on the function.
pub(crate) type Paddr = usize;
/// `struct vm_page *`: the page frame number plus one, not an address.
type PagePtr = *mut c_void;

/// Ends the process where a kernel would panic.
fn fatal(what: &str, why: impl std::fmt::Display) -> ! {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "panic: {what}: {why}");
    std::process::abort()
}

fn must<T>(what: &str, result: Result<T, UvmError>) -> T {
    result.unwrap_or_else(|error| fatal(what, error))
}

fn frame_of(what: &str, page: PagePtr) -> u64 {
    let frame = page.addr().checked_sub(1);
    frame.map_or_else(|| fatal(what, "no page"), |frame| frame as u64)
}

fn page_ptr(frame: u64) -> PagePtr {
    ptr::without_provenance_mut(frame as usize + 1)
}

pub(crate) fn status(result: Result<(), UvmError>) -> c_int {
    result.map_or_else(|error| failed(&error), |()| 0)
}

pub(crate) fn frames(start: Paddr, end: Paddr) -> Result<FrameRange, UvmError> {
    Ok(FrameRange::new(start as u64, end.saturating_sub(start) as u64)?)
}

/// Binds the services that only the kernel can provide.
///
/// # Safety
/// `host` is null, or points to a `struct uvm_page_host` whose callbacks meet the header's terms for good.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_uvm_page_bind(host: *const PageHost) -> c_int {
    if host.is_null() {
        return fail(EINVAL, "host is NULL");
    }
    // SAFETY: `host` is not null, so the caller guarantees that it points to a host.
    let bound = unsafe { host.read() };
    let Ok(colours) = u32::try_from(bound.ncolors) else {
        return fail(EINVAL, "a negative number of colours");
    };
    let Ok(lists) = u8::try_from(bound.nfreelist) else {
        return fail(EINVAL, "nfreelist must be from 0 to 255");
    };
    let status = configure(|mut config| {
        let default = Settings::default();
        let colours = if colours > 0 { colours } else { default.colours_of() };
        let lists = if lists > 0 { lists } else { default.free_lists_of() };
        config.settings = config.settings.colours(colours)?.free_lists(lists)?;
        Ok(config)
    });
    if status == 0 {
        *HOST.lock().unwrap_or_else(PoisonError::into_inner) = Some(bound);
    }
    status
}

/// Sets the page size in bytes (`uvm_setpagesize`).
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_setpagesize(bytes: usize) -> c_int {
    configure(|mut config| {
        config.settings = config.settings.pagesize(bytes as u64)?;
        Ok(config)
    })
}

/// Runs something that hot-plug must not interfere with. Fails from within a callback.
pub(crate) fn alone<T>(run: impl FnOnce(&mut Uvm) -> Result<T, UvmError>) -> Result<T, UvmError> {
    change(|uvm, _| Ok(run(uvm))).map_err(|_| UvmError::InCallback)?
}

/// Runs a change to the memory that is there, as hot-plug does: not while somebody keeps it as it is. The blocks are
/// updated.
pub(crate) fn beside(
    range: FrameRange,
    run: impl FnOnce(&mut Uvm) -> Result<(), UvmError>,
) -> Result<(), UvmError> {
    let done = change(|uvm, hotplug| {
        let done = run(uvm);
        if done.is_ok() {
            hotplug.follow(uvm, range);
        }
        Ok(done)
    });
    done.map_err(|_| UvmError::InCallback)?
}

/// Plugs the page frames `start..end`, of which `avail_start..avail_end` are available.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_page_plug(
    start: Paddr,
    end: Paddr,
    avail_start: Paddr,
    avail_end: Paddr,
    list: c_int,
    node: c_int,
) -> c_int {
    let (Ok(list), Ok(node)) = (u8::try_from(list), u32::try_from(node)) else {
        return fail(EINVAL, format!("free list {list} or node {node} is out of range"));
    };
    let plugged = frames(start, end).and_then(|range| {
        let avail = if avail_start == avail_end { None } else { Some(frames(avail_start, avail_end)?) };
        beside(range, |uvm| uvm.plug(&Plug::new(range).avail(avail).free_list(list).node(node)).map(|_| ()))
    });
    status(plugged)
}

/// Unplugs page frames that nobody has.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_page_unplug(start: Paddr, end: Paddr) -> c_int {
    status(frames(start, end).and_then(|range| beside(range, |uvm| uvm.unplug(range))))
}

/// Retires bad pages.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_page_retire(start: Paddr, end: Paddr) -> c_int {
    status(frames(start, end).and_then(|range| beside(range, |uvm| uvm.retire(range))))
}

/// Sets how many pages are kept back, and when the page daemon is woken.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_page_reserves(pagedaemon: u64, kernel: u64, freemin: u64, freetarg: u64) {
    with_uvm(|uvm| uvm.set_reserves(Reserves { pagedaemon, kernel, freemin, freetarg }));
}

/// Sets how many pages of a node are kept back, and when the page daemon is woken for it.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_node_reserves(
    node: c_uint,
    pagedaemon: u64,
    kernel: u64,
    freemin: u64,
    freetarg: u64,
) {
    with_uvm(|uvm| uvm.set_node_reserves(node, Reserves { pagedaemon, kernel, freemin, freetarg }));
}

/// Reads the counters of a node.
///
/// # Safety
/// `out` is valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_uvm_node(node: c_uint, out: *mut [u64; 13]) -> c_int {
    let Some(n) = with_uvm(|uvm| uvm.node_counters(node)) else {
        return fail(ENOENT, format!("node {node} never had memory"));
    };
    let Reserves { pagedaemon, kernel, freemin, freetarg } = n.reserves;
    let values = [
        n.physmem,
        n.npages,
        n.free,
        n.zeropages,
        n.cached,
        n.movable,
        n.reserved,
        n.retired,
        n.offline,
        pagedaemon,
        kernel,
        freemin,
        freetarg,
    ];
    // SAFETY: the caller guarantees that `out` is valid for writes. `struct pmem_uvm_node` is 13 words.
    unsafe { out.write(values) };
    0
}

/// Reads the counters.
///
/// # Safety
/// `out` is valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_uvm_exp(out: *mut [u64; 29]) {
    let e = memory().uvmexp();
    let values = [
        e.pagesize,
        e.pagemask,
        e.pageshift.into(),
        e.ncolors.into(),
        e.npages,
        e.free,
        e.paging,
        e.wired,
        e.reserve_pagedaemon,
        e.reserve_kernel,
        e.freemin,
        e.freetarg,
        e.zeropages,
        e.colorhit,
        e.colormiss,
        e.pga_zerohit,
        e.pga_zeromiss,
        e.cpuhit,
        e.cpumiss,
        e.pdwoke,
        e.physmem,
        e.cached,
        e.isolated,
        e.loaned,
        e.reserved,
        e.retired,
        e.offline,
        e.failed,
        e.movable,
    ];
    // SAFETY: the caller guarantees that `out` is valid for writes. `struct pmem_uvmexp` is 29 words.
    unsafe { out.write(values) };
}

fn owner(object: *mut c_void, offset: i64, anon: *mut c_void) -> PageOwner {
    let offset = offset as u64;
    match (object.addr() as u64, anon.addr() as u64) {
        (0, 0) => PageOwner::None,
        (key, 0) => PageOwner::Object { key, offset },
        (0, key) => PageOwner::Anon { key, offset },
        _ => fatal("uvm_pagealloc", "an object and an anon at once"),
    }
}

/// Hands out a page; null if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_pagealloc_strat(
    object: *mut c_void,
    offset: i64,
    anon: *mut c_void,
    flags: c_int,
    strategy: c_int,
    list: c_int,
) -> PagePtr {
    let owner = owner(object, offset, anon);
    let list = u8::try_from(list).unwrap_or(u8::MAX);
    let strategy = match strategy {
        0 => Strategy::Normal,
        1 => Strategy::Only(list),
        2 => Strategy::Fallback(list),
        3 => Strategy::Numa,
        _ => fatal("uvm_pagealloc", "no such strategy"),
    };
    // SAFETY: the host was bound with callbacks that meet the header's terms.
    let daemon = host().and_then(|host| host.is_pagedaemon).is_some_and(|is| unsafe { is() });
    // SAFETY: as above.
    let node = host().and_then(|host| host.node).map_or(0, |node| unsafe { node() });
    let caller = if daemon { Caller::PageDaemon } else { Caller::Anybody };
    let flags = PgaFlags::from_bits_truncate(flags as u32);
    let request = PageRequest::new().owner(owner).flags(flags).strategy(strategy).caller(caller);
    let request = request.node(node);
    match with_uvm(|uvm| uvm.pagealloc(&request)) {
        Ok(frame) => page_ptr(frame),
        Err(error) => {
            failed(&error);
            ptr::null_mut()
        }
    }
}

/// Gives a page to another object.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_pagerealloc(page: PagePtr, object: *mut c_void, offset: i64) {
    let frame = frame_of("uvm_pagerealloc", page);
    let owner = owner(object, offset, ptr::null_mut());
    must("uvm_pagerealloc", with_uvm(|uvm| uvm.pagerealloc(frame, owner)));
}

/// Frees a page.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_pagefree(page: PagePtr) {
    let frame = frame_of("uvm_pagefree", page);
    must("uvm_pagefree", with_uvm(|uvm| uvm.pagefree(frame)));
}

/// Wires a page.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_pagewire(page: PagePtr) {
    let frame = frame_of("uvm_pagewire", page);
    must("uvm_pagewire", with_uvm(|uvm| uvm.pagewire(frame)));
}

/// Unwires a page.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_pageunwire(page: PagePtr) {
    let frame = frame_of("uvm_pageunwire", page);
    must("uvm_pageunwire", with_uvm(|uvm| uvm.pageunwire(frame)));
}

/// Lends a page once more.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_pageloan(page: PagePtr) -> c_int {
    let frame = frame_of("uvm_loan", page);
    status(with_uvm(|uvm| uvm.pageloan(frame)))
}

/// Returns one loan of a page.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_pageunloan(page: PagePtr) -> c_int {
    let frame = frame_of("uvm_unloan", page);
    status(with_uvm(|uvm| uvm.pageunloan(frame)))
}

fn info(what: &str, page: PagePtr) -> PageInfo {
    let frame = frame_of(what, page);
    let info = with_uvm(|uvm| uvm.page(frame).map(|page| page.info()));
    info.unwrap_or_else(|| fatal(what, format!("no memory is plugged at page {frame:#x}")))
}

/// Returns a page's flags.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_page_flags(page: PagePtr) -> c_int {
    info("uvm_page_flags", page).flags.bits().into()
}

/// Sets and clears flags of an allocated page.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_page_setflags(page: PagePtr, set: c_int, clear: c_int) {
    let frame = frame_of("uvm_page_setflags", page);
    let flags = |bits: c_int| PageFlags::from_bits_truncate(bits as u8);
    must("uvm_page_setflags", with_uvm(|uvm| uvm.set_flags(frame, flags(set), flags(clear))));
}

/// Returns a page's owner: an object or an anon, and the offset. What does not apply is null or 0.
///
/// # Safety
/// `object`, `anon` and `offset` are valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_uvm_page_owner(
    page: PagePtr,
    object: *mut *mut c_void,
    anon: *mut *mut c_void,
    offset: *mut i64,
) {
    let (is_object, is_anon, at) = match info("uvm_page_owner", page).owner {
        PageOwner::None => (0, 0, 0),
        PageOwner::Object { key, offset } => (key, 0, offset),
        PageOwner::Anon { key, offset } => (0, key, offset),
    };
    // SAFETY: the caller guarantees that all three are valid for writes. The keys are the addresses that were passed
    // in as the owner.
    unsafe {
        object.write(ptr::with_exposed_provenance_mut(is_object as usize));
        anon.write(ptr::with_exposed_provenance_mut(is_anon as usize));
        offset.write(at as i64);
    }
}

/// Returns a page's address in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_page_phys(page: PagePtr) -> Paddr {
    let shift = memory().uvmexp().pageshift;
    (frame_of("VM_PAGE_TO_PHYS", page) << shift) as Paddr
}

/// Returns the page at an address; null if nothing is plugged there.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_phys_page(address: Paddr) -> PagePtr {
    let frame = address as u64 >> memory().uvmexp().pageshift;
    if memory().snapshot().find(frame).is_some() { page_ptr(frame) } else { ptr::null_mut() }
}

/// `struct pmem_pglist`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct CList {
    /// The first page frame plus one; 0 for an empty list.
    first: u64,
    runs: u64,
    pages: u64,
}

impl From<PageList> for CList {
    fn from(list: PageList) -> Self {
        let (first, runs, pages) = list.into_raw();
        Self { first: first.map_or(0, |first| first + 1), runs, pages }
    }
}

impl CList {
    fn list(self) -> PageList {
        PageList::from_raw(self.first.checked_sub(1), self.runs, self.pages)
    }
}

/// Converts a request in bytes to one in page frames.
pub(crate) fn request(
    size: usize,
    low: Paddr,
    high: Paddr,
    align: Paddr,
    boundary: Paddr,
    runs: c_int,
) -> Result<PageListRequest, UvmError> {
    let shift = memory().uvmexp().pageshift;
    let up = |bytes: usize| (bytes as u64).div_ceil(1 << shift);
    let not = |what, value: usize| UvmError::Constraint { what, value: value as u64 };
    if boundary != 0 && (!boundary.is_power_of_two() || boundary < size || boundary < 1 << shift) {
        return Err(not("boundary", boundary));
    }
    if align != 0 && !align.is_power_of_two() {
        return Err(not("alignment", align));
    }
    let align = align.max(1 << shift);
    let low = up(low).next_multiple_of(align as u64 >> shift);
    let window = FrameRange::new(low, (high as u64 >> shift).saturating_sub(low))?;
    let runs = u64::try_from(runs).map_err(|_| not("number of runs", 0))?;
    let request = PageListRequest::new(up(size))?.window(window).align(align as u64 >> shift)?.runs(runs)?;
    if boundary == 0 { Ok(request) } else { request.boundary(boundary as u64 >> shift) }
}

/// Hands out a list of pages.
///
/// # Safety
/// `list` is valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_uvm_pglistalloc(
    size: usize,
    low: Paddr,
    high: Paddr,
    align: Paddr,
    boundary: Paddr,
    list: *mut CList,
    runs: c_int,
    waitok: c_int,
) -> c_int {
    let millis = host().map_or(0, |host| host.wait_ms);
    let wait = match (waitok, millis) {
        (0, _) => Wait::no(),
        (_, 0) => Wait::at_most(Duration::from_secs(10)),
        (_, millis) => Wait::at_most(Duration::from_millis(millis.into())),
    };
    let allocated = request(size, low, high, align, boundary, runs).and_then(|request| {
        // A callback cannot wait: nobody else can free pages until it returns.
        match memory().pglistalloc(&request, &wait) {
            Err(UvmError::InCallback) => with_uvm(|uvm| uvm.pglistalloc(&request)),
            done => done,
        }
    });
    match allocated {
        Ok(pages) => {
            // SAFETY: the caller guarantees that `list` is valid for writes.
            unsafe { list.write(pages.into()) };
            0
        }
        Err(error) => failed(&error),
    }
}

/// Gives a list back.
///
/// # Safety
/// `list` points to a list from [`pmem_uvm_pglistalloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_uvm_pglistfree(list: *mut CList) {
    // SAFETY: the caller guarantees that `list` points to a list.
    let pages = unsafe { list.replace(CList::default()) };
    with_uvm(|uvm| {
        let (runs, count) =
            uvm.runs(&pages.list()).fold((0, 0), |(runs, count), run| (runs + 1, count + run.count()));
        if (runs, count) != (pages.runs, pages.pages) {
            fatal(
                "uvm_pglistfree",
                format!("the list should have {} pages, but only {count} are left", pages.pages),
            );
        }
        uvm.pglistfree(pages.list());
    });
}

/// Gives part of a list back.
///
/// # Safety
/// `list` points to a list from [`pmem_uvm_pglistalloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_uvm_pglistfree_part(list: *mut CList, page: PagePtr, count: usize) -> c_int {
    let start = frame_of("uvm_pglistfree", page);
    // SAFETY: the caller guarantees that `list` points to a list.
    let mut pages = unsafe { list.read() }.list();
    let freed = FrameRange::new(start, count as u64)
        .map_err(UvmError::from)
        .and_then(|part| with_uvm(|uvm| uvm.pglistfree_part(&mut pages, part)));
    // SAFETY: as above.
    unsafe { list.write(pages.into()) };
    status(freed)
}

/// Returns a list's first page; null if the list is empty.
///
/// # Safety
/// `list` points to a list from [`pmem_uvm_pglistalloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_uvm_pglist_first(list: *const CList) -> PagePtr {
    // SAFETY: the caller guarantees that `list` points to a list.
    let list = unsafe { list.read() };
    ptr::without_provenance_mut(list.first as usize)
}

/// Returns the next page in a list; null after the last.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_uvm_pglist_next(_: *const CList, page: PagePtr) -> PagePtr {
    let frame = frame_of("uvm_pglist_next", page);
    let next = with_uvm(|uvm: &mut Uvm| uvm.next_in_list(frame));
    next.map_or(ptr::null_mut(), page_ptr)
}
