//! Memory hot-plug as in Linux: blocks that are added, brought online, taken offline and removed, and callbacks that
//! are notified and can refuse.
//!
//! Every change of a range has these steps: *begin* asks the callbacks (GOING_…), *commit* carries the change out,
//! and *announce* notifies them (…LINE). *Cancel* takes back what was begun (CANCEL_…). The methods below run all
//! steps at once. A driver over a pmem-core model runs them as the model's change proceeds: prepare, published,
//! abort.

mod block;
mod chain;
mod error;
mod event;
mod policy;
mod transition;

pub use block::{Block, BlockState};
pub use chain::Callback;
pub use error::HotplugError;
pub use event::{Answer, Event, MemoryAction, NodeAction, NotifierKey};
pub use policy::{Added, AutoOnline};
#[cfg(feature = "model")]
pub(crate) use transition::Transition;

use crate::frame::FrameRange;
use crate::map::FrameMap;
use crate::page::{Page, PageState};
use crate::segment::{Plug, Zone};
use crate::uvm::{Migrate, Uvm};
use alloc::vec::Vec;
use chain::Chain;
use core::fmt;
use error::REMOVABLE;

/// Memory blocks and hot-plug callbacks. The memory itself is in the [`Uvm`], which every method takes.
///
/// # Examples
/// Add a DIMM to node 1, and keep it from going offline while a driver uses it:
///
/// ```
/// use pmem_uvm::{Answer, Event, FrameRange, Hotplug, MemoryAction, MoveError, NotifierKey, Plug, Uvm, Zone};
///
/// let mut uvm = Uvm::default();
/// let mut hotplug = Hotplug::new(0x800, &uvm)?;
/// let dimm = FrameRange::new(0x10_0000, 0x1000)?;
/// hotplug.add(&mut uvm, &Plug::new(dimm).node(1))?;
/// hotplug.online(&mut uvm, dimm, Zone::Movable)?;
/// assert_eq!(uvm.uvmexp().free, 0x1000);
///
/// let in_use = |_: &mut Uvm, event: &Event| match event {
///     Event::Memory { action: MemoryAction::GoingOffline, .. } => Answer::Errno(16), // EBUSY
///     _ => Answer::Ok,
/// };
/// hotplug.register_memory(NotifierKey(1), 0, Box::new(in_use))?;
/// let refused = hotplug.offline(&mut uvm, dimm, &mut |_, _| Err(MoveError::Never));
/// assert_eq!(refused.map_err(|error| error.errno()), Err(16));
///
/// hotplug.unregister_memory(NotifierKey(1))?;
/// hotplug.offline(&mut uvm, dimm, &mut |_, _| Err(MoveError::Never))?;
/// hotplug.remove(&mut uvm, dimm)?;
/// assert_eq!(uvm.nsegments(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Hotplug {
    block: u64,
    blocks: FrameMap<Block>,
    memory: Chain,
    nodes: Chain,
    auto_online: AutoOnline,
    /// The nodes and zones of memory that is on its way in.
    arriving: Vec<(u32, Zone)>,
    /// The range that leaves block by block. All of it is held back from the start, so that no page is moved to a
    /// block that leaves later.
    leaving: Option<FrameRange>,
}

impl fmt::Debug for Hotplug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks: Vec<_> = self.blocks.iter().collect();
        f.debug_struct("Hotplug").field("block", &self.block).field("blocks", &blocks).finish_non_exhaustive()
    }
}

impl Hotplug {
    /// Takes over the memory that is plugged, in blocks of `block` pages (blocks are 128 MiB to 2 GiB on x86). A
    /// block that memory fills only in part exists too, but can never go offline.
    ///
    /// # Errors
    /// [`HotplugError::BlockSize`] unless `block` is a power of two of at most 2^40.
    pub fn new(block: u64, uvm: &Uvm) -> Result<Self, HotplugError> {
        if !block.is_power_of_two() || block > 1 << 40 {
            return Err(HotplugError::BlockSize(block));
        }
        let mut hotplug = Self {
            block,
            blocks: FrameMap::new(),
            memory: Chain::default(),
            nodes: Chain::default(),
            auto_online: AutoOnline::default(),
            arriving: Vec::new(),
            leaving: None,
        };
        uvm.segments().for_each(|segment| hotplug.follow(uvm, segment.range()));
        Ok(hotplug)
    }

    /// Updates the blocks that a range touches from what is plugged. Call this after you plug, unplug, online or
    /// offline memory through the [`Uvm`] itself.
    pub fn follow(&mut self, uvm: &Uvm, range: FrameRange) {
        let whole = |frame: u64| FrameRange::new(frame / self.block * self.block, self.block).ok();
        let Some(window) = whole(range.start())
            .zip(whole(range.end() - 1))
            .and_then(|(first, last)| FrameRange::between(first.start(), last.end()))
        else {
            return;
        };
        let old: Vec<u64> = self.blocks.overlapping(window).map(|(at, _)| at.start()).collect();
        for start in old {
            self.blocks.remove(start);
        }
        let mut from = window.start();
        while let Some(rest) = FrameRange::between(from, window.end())
            && let Some(at) = uvm.next_plugged(rest).and_then(whole)
            && let Some((node, zone)) = uvm.place_of(at)
        {
            let state = if uvm.is_in_use(at) { BlockState::Online(zone) } else { BlockState::Offline };
            self.blocks.insert(at, Block { node, state });
            from = at.end();
        }
    }

    /// Splits a range by zones. Blocks that are not online count as normal memory.
    #[cfg(feature = "model")]
    pub(crate) fn zones(&self, range: FrameRange) -> Vec<(FrameRange, Zone)> {
        let mut zones: Vec<(FrameRange, Zone)> = Vec::new();
        let mut from = range.start();
        let mut add = |end: u64, zone: Zone| {
            match (zones.last_mut(), FrameRange::between(from, end)) {
                (Some((last, of)), Some(next)) if *of == zone => {
                    *last = FrameRange::between(last.start(), next.end()).unwrap_or(*last);
                }
                (_, next) => zones.extend(next.map(|next| (next, zone))),
            }
            from = from.max(end);
        };
        let movable = self.blocks.overlapping(range).filter(|(at, _)| self.is_movable(at.start()));
        for (at, _) in movable {
            add(at.start(), Zone::Normal);
            add(at.end().min(range.end()), Zone::Movable);
        }
        add(range.end(), Zone::Normal);
        zones
    }

    /// Cleans up what a panic in a callback left half done.
    pub(crate) fn recover(&mut self, uvm: &mut Uvm) {
        if let Some(range) = self.leaving.take() {
            uvm.unisolate(range);
        }
        let left: Vec<(FrameRange, Zone)> = self
            .blocks
            .iter()
            .filter_map(|(at, block)| match block.state {
                BlockState::GoingOffline(zone) => Some((at, zone)),
                _ => None,
            })
            .collect();
        for (at, zone) in left {
            uvm.unisolate(at);
            self.set_state(at, BlockState::Online(zone));
        }
    }

    /// Returns an upper bound in bytes for the blocks of a range.
    pub(crate) fn bytes_for(&self, range: FrameRange) -> usize {
        self.blocks.bytes_to_fill(range, self.block)
    }

    /// The block size in pages (`block_size_bytes`).
    #[must_use]
    pub fn block_size(&self) -> u64 {
        self.block
    }

    /// Iterates over all blocks in ascending order of address.
    pub fn blocks(&self) -> impl Iterator<Item = (FrameRange, Block)> + '_ {
        self.blocks.iter().map(|(at, block)| (at, *block))
    }

    /// Returns the block of a page frame.
    #[must_use]
    pub fn block(&self, frame: u64) -> Option<(FrameRange, Block)> {
        self.blocks.get(frame).map(|(at, block)| (at, *block))
    }

    /// Registers a callback for memory events (`hotplug_memory_notifier`). Callbacks of higher priority are called
    /// first, equals in the order of registration.
    ///
    /// # Errors
    /// [`HotplugError::Exists`] if the key is registered for memory events already.
    pub fn register_memory(
        &mut self,
        key: NotifierKey,
        priority: i32,
        callback: Callback,
    ) -> Result<(), HotplugError> {
        self.memory.register(key, priority, callback)
    }

    /// Registers a callback for node events (`hotplug_node_notifier`). The order is that of
    /// [`Self::register_memory`].
    ///
    /// # Errors
    /// [`HotplugError::Exists`] if the key is registered for node events already.
    pub fn register_node(
        &mut self,
        key: NotifierKey,
        priority: i32,
        callback: Callback,
    ) -> Result<(), HotplugError> {
        self.nodes.register(key, priority, callback)
    }

    /// Unregisters a callback for memory events.
    ///
    /// # Errors
    /// [`HotplugError::NoNotifier`] if it is not registered.
    pub fn unregister_memory(&mut self, key: NotifierKey) -> Result<(), HotplugError> {
        self.memory.unregister(key)
    }

    /// Unregisters a callback for node events.
    ///
    /// # Errors
    /// [`HotplugError::NoNotifier`] if it is not registered.
    pub fn unregister_node(&mut self, key: NotifierKey) -> Result<(), HotplugError> {
        self.nodes.unregister(key)
    }

    /// Sets the policy for blocks that are added from now on.
    pub fn set_auto_online(&mut self, policy: AutoOnline) {
        self.auto_online = policy;
    }

    /// Adds blocks of memory (`add_memory`) with the properties of `plug`. They stay offline, or come online one by
    /// one as [`Self::set_auto_online`] decides. A block that is refused stays offline, but it is added all the same.
    ///
    /// # Errors
    /// [`HotplugError::Unaligned`], [`HotplugError::BlockExists`], and the errors of [`Uvm::plug`].
    pub fn add(&mut self, uvm: &mut Uvm, plug: &Plug) -> Result<Added, HotplugError> {
        self.recover(uvm);
        let range = plug.range;
        self.check_aligned(range)?;
        if let Some((there, _)) = self.blocks.overlapping(range).next() {
            return Err(HotplugError::BlockExists(there));
        }
        uvm.plug_beside(&plug.offline(), self.bytes_for(range))?;
        for at in self.numbers(range) {
            self.blocks.insert(at, Block { node: plug.node, state: BlockState::Offline });
        }
        let mut added = Added::default();
        let Some(zone) = self.zone_of_added(plug.node, range) else { return Ok(added) };
        for at in self.numbers(range) {
            match self.online(uvm, at, zone) {
                Ok(()) => added.online += 1,
                Err(why) => added.refused = added.refused.or(Some(why)),
            }
        }
        Ok(added)
    }

    /// Returns the zone in which memory that was added to a node comes online; `None` if it stays offline.
    fn zone_of_added(&self, node: u32, range: FrameRange) -> Option<Zone> {
        let percent = match self.auto_online {
            AutoOnline::Never => return None,
            AutoOnline::As(zone) => return Some(zone),
            AutoOnline::Ratio(percent) => percent,
        };
        let fits = |counts: &dyn Fn(u32) -> bool| {
            let online = self.blocks.iter().filter_map(|(at, block)| match block.state {
                BlockState::Online(zone) | BlockState::GoingOffline(zone) if counts(block.node) => {
                    Some((zone, u128::from(at.count())))
                }
                _ => None,
            });
            let (mut movable, mut normal) = (u128::from(range.count()), 0);
            online.for_each(|(zone, pages)| match zone {
                Zone::Movable => movable += pages,
                Zone::Normal => normal += pages,
            });
            movable * 100 <= normal * u128::from(percent)
        };
        let movable = fits(&|other| other == node) && fits(&|_| true);
        Some(if movable { Zone::Movable } else { Zone::Normal })
    }

    /// Brings blocks online, all in one step.
    ///
    /// # Errors
    /// Without notifying anybody: [`HotplugError::Unaligned`], [`HotplugError::NoBlock`], [`HotplugError::State`],
    /// [`HotplugError::Mixed`], and [`HotplugError::Uvm`] where memory must stay as it is, for holes, and for pages that
    /// are not offline. After notifying everybody of the cancellation: [`HotplugError::Refused`].
    pub fn online(&mut self, uvm: &mut Uvm, range: FrameRange, zone: Zone) -> Result<(), HotplugError> {
        self.recover(uvm);
        uvm.check_kept()?;
        let block = self.check_blocks(range, "offline", |state| state == BlockState::Offline)?;
        check_one_node(uvm, range)?;
        uvm.check_online(range)?;
        let step = self.begin_online(uvm, range, block.node, zone)?;
        self.commit(uvm, &step).inspect_err(|_| self.cancel(uvm, &step))?;
        self.set_state(range, BlockState::Online(zone));
        self.announce(uvm, &step);
        Ok(())
    }

    /// Takes blocks offline, all in one step. Pages that are handed out are moved elsewhere, and callbacks may free
    /// pages. A page that cannot be moved now ([`MoveError::Again`](crate::MoveError::Again)) is tried again until
    /// `migrate` moves it, says that it can never be moved, or is interrupted.
    ///
    /// # Errors
    /// Without notifying anybody: [`HotplugError::Unaligned`], [`HotplugError::NoBlock`], [`HotplugError::State`],
    /// [`HotplugError::Mixed`], and [`HotplugError::Uvm`] for holes and for pages that are not managed. After
    /// notifying everybody of the cancellation: [`HotplugError::Refused`], [`HotplugError::Interrupted`], and
    /// [`HotplugError::Uvm`] for a page that cannot be moved.
    pub fn offline(
        &mut self,
        uvm: &mut Uvm,
        range: FrameRange,
        migrate: Migrate<'_>,
    ) -> Result<(), HotplugError> {
        self.recover(uvm);
        uvm.check_kept()?;
        let online = |state| matches!(state, BlockState::Online(_));
        let block = self.check_blocks(range, "online", online)?;
        let BlockState::Online(zone) = block.state else { return Err(HotplugError::NoBlock(range)) };
        check_one_node(uvm, range)?;
        uvm.check_offline(range)?;
        self.take_offline(uvm, range, block.node, zone, migrate)
    }

    /// Takes blocks offline that are online, of one node and zone.
    fn take_offline(
        &mut self,
        uvm: &mut Uvm,
        range: FrameRange,
        node: u32,
        zone: Zone,
        migrate: Migrate<'_>,
    ) -> Result<(), HotplugError> {
        self.set_state(range, BlockState::GoingOffline(zone));
        let begun = self.begin_offline(uvm, range, node, zone, migrate);
        let done = begun.and_then(|step| self.commit(uvm, &step).map(|()| step));
        self.set_state(range, if done.is_ok() { BlockState::Offline } else { BlockState::Online(zone) });
        self.announce(uvm, &done?);
        Ok(())
    }

    /// Removes blocks, all of which must be offline (`remove_memory`): all of them or none.
    ///
    /// # Errors
    /// [`HotplugError::Unaligned`], [`HotplugError::NoBlock`]; [`HotplugError::State`] names a block that is not
    /// offline; [`HotplugError::Uvm`] as [`Uvm::unplug`].
    pub fn remove(&mut self, uvm: &mut Uvm, range: FrameRange) -> Result<(), HotplugError> {
        self.recover(uvm);
        uvm.check_kept()?;
        self.check_aligned(range)?;
        self.check_each(range, REMOVABLE, |state| state == BlockState::Offline)?;
        uvm.unplug(range)?;
        for at in self.numbers(range) {
            self.blocks.remove(at.start());
        }
        Ok(())
    }

    /// Takes every online block of a range offline, then removes all blocks (`offline_and_remove_memory`): all of them
    /// or none. If this fails, blocks that went offline are brought online again.
    ///
    /// # Errors
    /// As [`Self::offline`] and [`Self::remove`].
    pub fn offline_and_remove(
        &mut self,
        uvm: &mut Uvm,
        range: FrameRange,
        migrate: Migrate<'_>,
    ) -> Result<(), HotplugError> {
        self.recover(uvm);
        uvm.check_kept()?;
        self.check_aligned(range)?;
        self.check_each(range, "there", |_| true)?;
        let online: Vec<(FrameRange, u32, Zone)> = self
            .blocks
            .overlapping(range)
            .filter_map(|(at, block)| match block.state {
                BlockState::Online(zone) => Some((at, block.node, zone)),
                _ => None,
            })
            .collect();
        online.iter().try_for_each(|(at, ..)| check_one_node(uvm, *at))?;
        online.iter().try_for_each(|(at, ..)| uvm.check_offline(*at))?;
        // Hold back all blocks before the first one leaves, so that no page is moved into a block that leaves later.
        self.leaving = Some(range);
        let mut gone = 0;
        let stays = |page: Page<'_>| page.state() == PageState::Retired || page.is_own();
        let held = online.iter().try_for_each(|(at, ..)| uvm.hold_free(*at, stays));
        let mut result = held.map_err(HotplugError::from).and_then(|()| {
            online.iter().try_for_each(|(at, node, zone)| {
                self.take_offline(uvm, *at, *node, *zone, migrate).map(|()| gone += 1)
            })
        });
        self.leaving = None;
        if result.is_ok() {
            result = self.remove(uvm, range);
        }
        if result.is_err() {
            uvm.unisolate(range);
            // If a callback refuses to have a block back, it stays offline. Nothing is lost.
            for (at, _, zone) in online[..gone].iter().rev() {
                let _ = self.online(uvm, *at, *zone);
            }
        }
        result
    }

    fn check_aligned(&self, range: FrameRange) -> Result<(), HotplugError> {
        let mask = self.block - 1;
        if range.start() & mask != 0 || range.count() & mask != 0 {
            return Err(HotplugError::Unaligned { range, block: self.block });
        }
        Ok(())
    }

    /// Checks blocks that change together, and returns what they have in common.
    fn check_blocks(
        &self,
        range: FrameRange,
        wanted: &'static str,
        good: impl Fn(BlockState) -> bool,
    ) -> Result<Block, HotplugError> {
        self.check_aligned(range)?;
        self.check_each(range, wanted, good)?;
        let mut blocks = self.blocks.overlapping(range).map(|(_, block)| *block);
        let first = blocks.next().ok_or(HotplugError::NoBlock(range))?;
        if blocks.all(|other| other == first) { Ok(first) } else { Err(HotplugError::Mixed(range)) }
    }

    fn check_each(
        &self,
        range: FrameRange,
        wanted: &'static str,
        good: impl Fn(BlockState) -> bool,
    ) -> Result<(), HotplugError> {
        for at in self.numbers(range) {
            let (_, block) = self.blocks.get(at.start()).ok_or(HotplugError::NoBlock(at))?;
            if !good(block.state) {
                return Err(HotplugError::State { block: at, state: block.state, wanted });
            }
        }
        Ok(())
    }

    /// Iterates over the blocks of an aligned range.
    fn numbers(&self, range: FrameRange) -> impl Iterator<Item = FrameRange> + use<> {
        let block = self.block;
        (0..range.count() / block).filter_map(move |i| FrameRange::new(range.start() + i * block, block).ok())
    }

    /// Splits a range at the borders of blocks.
    fn blocks_of(&self, range: FrameRange) -> impl Iterator<Item = FrameRange> + use<> {
        let block = self.block;
        (range.start() / block..=(range.end() - 1) / block)
            .filter_map(move |number| FrameRange::new(number * block, block).ok()?.intersect(range))
    }

    fn set_state(&mut self, range: FrameRange, state: BlockState) {
        for at in self.numbers(range) {
            if let Some((at, block)) = self.blocks.remove(at.start()) {
                self.blocks.insert(at, Block { state, ..block });
            }
        }
    }

    /// Whether a block's memory is movable-only.
    fn is_movable(&self, frame: u64) -> bool {
        let state = self.blocks.get(frame).map(|(_, block)| block.state);
        matches!(state, Some(BlockState::Online(Zone::Movable) | BlockState::GoingOffline(Zone::Movable)))
    }

    /// Whether a page is held back because its block leaves later.
    pub(crate) fn is_leaving(&self, frame: u64) -> bool {
        self.leaving.is_some_and(|range| range.contains(frame))
    }

    /// Whether a node has pages in use outside a range. If `normal`, movable-only memory does not count.
    fn has_memory(&self, uvm: &Uvm, node: u32, without: FrameRange, normal: bool) -> bool {
        if uvm.has_free_beside(node, normal, without) {
            return true;
        }
        let counts = |frame: u64| !normal || !self.is_movable(frame);
        let segments = uvm.segments().filter(|segment| segment.node() == node);
        segments.flat_map(|segment| segment.range().minus(without)).flatten().any(|part| {
            // One such page is enough, and it is usually the first of a block that is online.
            let used = |frame: u64| {
                use PageState::{Isolated, Offline, Reserved, Retired};
                match uvm.page(frame).map(|page| page.state()) {
                    None | Some(Offline | Reserved | Retired) => false,
                    // A page that is held back is on its way out, unless its block's turn has yet to come.
                    Some(Isolated) => self.is_leaving(frame),
                    Some(_) => true,
                }
            };
            let offline = |at: FrameRange| {
                self.blocks.get(at.start()).is_some_and(|(_, block)| block.state == BlockState::Offline)
            };
            let mut blocks = self.blocks_of(part).filter(|at| !offline(*at) && counts(at.start()));
            blocks.any(|at| at.frames().any(used))
        })
    }
}

/// Checks that memory that changes in one step is of one node.
fn check_one_node(uvm: &Uvm, range: FrameRange) -> Result<(), HotplugError> {
    if uvm.is_of_one_node(range) { Ok(()) } else { Err(HotplugError::Mixed(range)) }
}
