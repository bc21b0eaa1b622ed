//! The policy for blocks that are added.

use super::HotplugError;
use crate::segment::Zone;

/// Whether blocks come online when they are added, and in which zone (Linux's `auto_online_blocks`, `online_policy`
/// and `auto_movable_ratio`; Documentation/admin-guide/mm/memory-hotplug.rst).
///
/// # Examples
/// Up to about three times as much movable-only memory as other memory:
///
/// ```
/// use pmem_uvm::{AutoOnline, FrameRange, Hotplug, Plug, Uvm, Zone};
///
/// let mut uvm = Uvm::default();
/// uvm.plug(&Plug::new(FrameRange::new(0, 0x200)?))?;
/// let mut hotplug = Hotplug::new(0x200, &uvm)?;
/// hotplug.set_auto_online(AutoOnline::Ratio(301));
///
/// let added = hotplug.add(&mut uvm, &Plug::new(FrameRange::new(0x1000, 0x600)?))?;
/// assert_eq!((added.online, uvm.zone(0x1000)), (3, Some(Zone::Movable)));
/// // One more block would exceed the ratio.
/// hotplug.add(&mut uvm, &Plug::new(FrameRange::new(0x2000, 0x200)?))?;
/// assert_eq!(uvm.zone(0x2000), Some(Zone::Normal));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoOnline {
    /// Blocks stay offline until [`Hotplug::online`](super::Hotplug::online).
    #[default]
    Never,
    /// Blocks come online in this zone.
    As(Zone),
    /// Blocks come online as movable-only memory, as long as such memory, including these blocks, is at most this
    /// percentage of the other memory, both on their node and overall. Otherwise they come online as normal memory.
    /// Linux's default is 301.
    Ratio(u32),
}

/// The result of adding blocks, all of which are there now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// The number of blocks that came online.
    pub online: u64,
    /// Why the first of the remaining blocks did not come online; `None` if none was refused.
    pub refused: Option<HotplugError>,
}
