//! `memory_hotplug.h`: memory hot-plug as in Linux.

use crate::failure::{EAGAIN, EDEADLK, EINTR, EINVAL, ENOENT, fail};
use crate::memory::{change, configure, lend, memory};
use crate::pmem::{ArenaPtr, DriverPtr, with};
use pmem_uvm::{
    Answer, AutoOnline, BlockState, Event, Feed, FrameRange, HotplugError, Layout, MoveError, NotifierKey,
    OnlineMems, Plug, SharedUvm, Uvm, UvmError, Zone,
};
use std::cell::RefCell;
use std::ffi::{c_int, c_uint, c_ulong, c_void};
use std::sync::{Mutex, PoisonError};

/// `struct notifier_block`.
#[repr(C)]
pub struct NotifierBlock {
    call: Option<unsafe extern "C" fn(*mut Self, c_ulong, *mut c_void) -> c_int>,
    next: *mut Self,
    priority: c_int,
}

/// `struct memory_notify`.
#[repr(C)]
struct MemoryNotify {
    start_pfn: c_ulong,
    nr_pages: c_ulong,
    status_change_nid_normal: c_int,
    status_change_nid: c_int,
}

/// `struct node_notify`.
#[repr(C)]
struct NodeNotify {
    nid: c_int,
}

/// A notifier block of C, called from whichever thread makes a change.
#[derive(Clone, Copy)]
struct Block(*mut NotifierBlock);

// SAFETY: callbacks run one at a time, under the lock on memory, in whichever thread makes a change. Whoever
// registers a block accepts that.
unsafe impl Send for Block {}

impl Block {
    fn key(self) -> NotifierKey {
        NotifierKey(self.0.addr() as u64)
    }

    fn call(self, event: &Event) -> Answer {
        let node = |node: Option<u32>| node.map_or(-1, |node| node as c_int);
        let action = c_ulong::from(event.action());
        // SAFETY: a registered block stays valid until it is unregistered.
        let Some(call) = (unsafe { (*self.0).call }) else { return Answer::Done };
        let answer = match event {
            Event::Memory { range, status_change_nid_normal, status_change_nid, .. } => {
                let mut notify = MemoryNotify {
                    start_pfn: range.start() as c_ulong,
                    nr_pages: range.count() as c_ulong,
                    status_change_nid_normal: node(*status_change_nid_normal),
                    status_change_nid: node(*status_change_nid),
                };
                // SAFETY: the callback gets the block, the action and the structure that the header promises.
                unsafe { call(self.0, action, (&raw mut notify).cast()) }
            }
            Event::Node { nid, .. } => {
                let mut notify = NodeNotify { nid: *nid as c_int };
                // SAFETY: as above.
                unsafe { call(self.0, action, (&raw mut notify).cast()) }
            }
        };
        Answer::from_bits(answer as u32)
    }
}

/// A callback that moves a page from one page frame to another.
type Migrate = unsafe extern "C" fn(c_ulong, c_ulong) -> c_int;

static MIGRATE: Mutex<Option<Migrate>> = Mutex::new(None);

pub(crate) fn migrate(from: u64, to: u64) -> Result<(), MoveError> {
    let Some(migrate) = *MIGRATE.lock().unwrap_or_else(PoisonError::into_inner) else {
        return Err(MoveError::Never);
    };
    // SAFETY: the callback was registered to take two page frame numbers, as the header says.
    match -unsafe { migrate(from as c_ulong, to as c_ulong) } {
        0 => Ok(()),
        EAGAIN => Err(MoveError::Again),
        EINTR => Err(MoveError::Interrupted),
        _ => Err(MoveError::Never),
    }
}

fn status(result: Result<(), HotplugError>) -> c_int {
    result.map_or_else(|error| -fail(error.errno().into(), error), |()| 0)
}

fn frames(start: u64, count: u64) -> Result<FrameRange, HotplugError> {
    FrameRange::new(start, count).map_err(|error| UvmError::from(error).into())
}

/// Converts a range of bytes to pages. It must consist of whole pages.
fn bytes(start: u64, size: u64) -> Result<FrameRange, HotplugError> {
    let shift = memory().uvmexp().pageshift;
    let mask = (1 << shift) - 1;
    for (what, value) in [("start of memory in bytes", start), ("size of memory in bytes", size)] {
        if value & mask != 0 {
            return Err(UvmError::Setting { what, value }.into());
        }
    }
    frames(start >> shift, size >> shift)
}

/// Feeds pages from the RAM that an arena of `pmem.h` sees.
///
/// # Safety
/// `nodes` points to `count` arenas, or `count` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_memory_feed(view: ArenaPtr, nodes: *const ArenaPtr, count: usize) -> DriverPtr {
    let nodes = match count {
        0 => &[],
        _ if nodes.is_null() => {
            fail(EINVAL, format!("nodes is NULL, but nnodes is {count}"));
            return DriverPtr::NULL;
        }
        // SAFETY: the caller guarantees that `nodes` points to `count` arenas.
        _ => unsafe { std::slice::from_raw_parts(nodes, count) },
    };
    let layout =
        (0..).zip(nodes).fold(Layout::new(view.id()), |layout, (node, ram)| layout.node(ram.id(), node));
    let feed = Feed::new(memory().clone(), layout).mover(Box::new(migrate));
    let registered = with(|pmem| pmem.register(Box::new(feed), Feed::<SharedUvm>::subscription()));
    registered.map_or(DriverPtr::NULL, DriverPtr::from)
}

/// Sets the block size in bytes, before anything else uses the memory.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_memory_block_size(bytes: u64) -> c_int {
    -configure(|mut config| {
        if !bytes.is_power_of_two() || bytes < 1 << config.settings.pageshift() || bytes > 1 << 50 {
            return Err(UvmError::Setting { what: "size of a block", value: bytes });
        }
        config.block = bytes;
        Ok(config)
    })
}

/// Sets the callback that moves pages; null if pages cannot be moved.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_memory_migrate(migrate: Option<Migrate>) -> c_int {
    *MIGRATE.lock().unwrap_or_else(PoisonError::into_inner) = migrate;
    0
}

/// One of the two chains of callbacks.
#[derive(Clone, Copy)]
enum Which {
    Memory,
    Node,
}

/// # Safety
/// `block` is null, or points to a `struct notifier_block` that stays valid until it is unregistered.
unsafe fn register(block: *mut NotifierBlock, which: Which) -> c_int {
    if block.is_null() {
        return -fail(EINVAL, "no notifier block");
    }
    // SAFETY: `block` is not null, so the caller guarantees that it points to a notifier block.
    let (call, priority, block) = unsafe { ((*block).call, (*block).priority, Block(block)) };
    if call.is_none() {
        return -fail(EINVAL, "a notifier block without a function");
    }
    let callback = Box::new(move |uvm: &mut Uvm, event: &Event| {
        // Capture the whole block, which is `Send`, and not just the pointer in it, which is not.
        let block = block;
        lend(uvm, || block.call(event))
    });
    status(change(|_, hotplug| match which {
        Which::Memory => hotplug.register_memory(block.key(), priority, callback),
        Which::Node => hotplug.register_node(block.key(), priority, callback),
    }))
}

/// Registers a callback for memory events.
///
/// # Safety
/// `block` is null, or points to a `struct notifier_block` that stays valid until it is unregistered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_register_memory_notifier(block: *mut NotifierBlock) -> c_int {
    // SAFETY: the caller guarantees what `register` asks for.
    unsafe { register(block, Which::Memory) }
}

/// Registers a callback for node events.
///
/// # Safety
/// `block` is null, or points to a `struct notifier_block` that stays valid until it is unregistered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_register_node_notifier(block: *mut NotifierBlock) -> c_int {
    // SAFETY: the caller guarantees what `register` asks for.
    unsafe { register(block, Which::Node) }
}

/// Unregisters a callback for memory events.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_unregister_memory_notifier(block: *mut NotifierBlock) -> c_int {
    status(change(|_, hotplug| hotplug.unregister_memory(Block(block).key())))
}

/// Unregisters a callback for node events.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_unregister_node_notifier(block: *mut NotifierBlock) -> c_int {
    status(change(|_, hotplug| hotplug.unregister_node(Block(block).key())))
}

/// Sets whether memory comes online when it is added, and in which zone.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_memory_auto_online(kind: c_int) -> c_int {
    let policy = match kind {
        0 => AutoOnline::Never,
        kind => match zone(kind) {
            Ok(zone) => AutoOnline::As(zone),
            Err(errno) => return errno,
        },
    };
    status(change(|_, hotplug| {
        hotplug.set_auto_online(policy);
        Ok(())
    }))
}

/// Makes added memory come online, in a zone that depends on how much movable-only memory there is.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_memory_auto_movable(percent: c_uint) -> c_int {
    status(change(|_, hotplug| {
        hotplug.set_auto_online(AutoOnline::Ratio(percent));
        Ok(())
    }))
}

/// Converts an `MMOP_ONLINE*` number to a zone.
fn zone(kind: c_int) -> Result<Zone, c_int> {
    match kind {
        1 | 2 => Ok(Zone::Normal),
        3 => Ok(Zone::Movable),
        _ => Err(-fail(
            EINVAL,
            format!(
                "unknown online type {kind}: expected MMOP_ONLINE, MMOP_ONLINE_KERNEL or MMOP_ONLINE_MOVABLE"
            ),
        )),
    }
}

/// Adds memory. If a block does not come online although it should, it stays offline and the call succeeds, as in
/// Linux; [`pmem_error`](crate::pmem_error) then says why.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_add_memory(node: c_int, start: u64, size: u64) -> c_int {
    let Ok(node) = u32::try_from(node) else { return -fail(EINVAL, format!("node {node} is negative")) };
    status(
        bytes(start, size)
            .and_then(|range| change(|uvm, hotplug| hotplug.add(uvm, &Plug::new(range).node(node))))
            .map(|added| {
                if let Some(why) = added.refused {
                    fail(why.errno().into(), why);
                }
            }),
    )
}

/// Brings blocks online.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_online_pages(pfn: c_ulong, pages: c_ulong, kind: c_int) -> c_int {
    let zone = match zone(kind) {
        Ok(zone) => zone,
        Err(errno) => return errno,
    };
    status(frames(pfn, pages).and_then(|range| change(|uvm, hotplug| hotplug.online(uvm, range, zone))))
}

/// Takes blocks offline.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_offline_pages(pfn: c_ulong, pages: c_ulong) -> c_int {
    status(
        frames(pfn, pages).and_then(|range| change(|uvm, hotplug| hotplug.offline(uvm, range, &mut migrate))),
    )
}

/// Removes blocks that are offline.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_remove_memory(start: u64, size: u64) -> c_int {
    status(bytes(start, size).and_then(|range| change(|uvm, hotplug| hotplug.remove(uvm, range))))
}

/// Takes blocks offline and removes them.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_offline_and_remove_memory(start: u64, size: u64) -> c_int {
    let gone = |range| change(|uvm, hotplug| hotplug.offline_and_remove(uvm, range, &mut migrate));
    status(bytes(start, size).and_then(gone))
}

/// Returns the state of the block at a page frame.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_memory_block_state(pfn: c_ulong) -> c_int {
    match memory().block(pfn).map(|found| found.map(|(_, block)| block.state)) {
        Ok(Some(BlockState::Offline)) => 0,
        Ok(Some(BlockState::Online(Zone::Normal) | BlockState::GoingOffline(Zone::Normal))) => 1,
        Ok(Some(BlockState::Online(Zone::Movable) | BlockState::GoingOffline(Zone::Movable))) => 3,
        Ok(None) => -fail(ENOENT, format!("no block at page {pfn:#x}")),
        Err(error) => -fail(error.errno().into(), error),
    }
}

thread_local! {
    static ONLINE: RefCell<Option<OnlineMems<'static>>> = const { RefCell::new(None) };
}

/// Keeps memory as it is until [`pmem_put_online_mems`].
#[unsafe(no_mangle)]
pub extern "C" fn pmem_get_online_mems() -> c_int {
    match memory().online_mems() {
        Ok(held) => {
            // A thread that is ending has no place left for the guard.
            ONLINE.try_with(|online| *online.borrow_mut() = Some(held)).map_or(-EINVAL, |()| 0)
        }
        Err(error) => -fail(EDEADLK, error),
    }
}

/// Lets memory change again.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_put_online_mems() {
    let _ = ONLINE.try_with(|online| *online.borrow_mut() = None);
}
