//! Events and answers of memory hot-plug, with Linux's numbers (include/linux/memory.h, node.h, notifier.h).

use crate::frame::FrameRange;
use core::fmt;

/// What happens to memory (`MEM_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum MemoryAction {
    /// The memory is online, and its pages can be allocated.
    Online = 1,
    /// The memory is about to go offline, and its free pages are held back. A callback can refuse.
    GoingOffline = 1 << 1,
    /// The memory is offline.
    Offline = 1 << 2,
    /// The memory is about to come online. A callback can refuse.
    GoingOnline = 1 << 3,
    /// The memory does not come online after all. All callbacks get this, even those that never saw `GoingOnline`.
    CancelOnline = 1 << 4,
    /// The memory does not go offline after all. All callbacks get this, even those that never saw `GoingOffline`.
    CancelOffline = 1 << 5,
}

impl MemoryAction {
    /// All actions.
    pub const ALL: [Self; 6] = [
        Self::GoingOnline,
        Self::Online,
        Self::CancelOnline,
        Self::GoingOffline,
        Self::Offline,
        Self::CancelOffline,
    ];
}

/// What happens to a node's memory (`NODE_*`, from Linux 6.17 on).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum NodeAction {
    /// The node is about to get its first memory. A callback can refuse.
    AddingFirstMemory = 1,
    /// The node has got its first memory.
    AddedFirstMemory = 1 << 1,
    /// The node does not get its first memory after all.
    CancelAddingFirstMemory = 1 << 2,
    /// The node is about to lose its last memory. A callback can refuse.
    RemovingLastMemory = 1 << 3,
    /// The node has lost its last memory.
    RemovedLastMemory = 1 << 4,
    /// The node does not lose its last memory after all.
    CancelRemovingLastMemory = 1 << 5,
}

impl NodeAction {
    /// All actions.
    pub const ALL: [Self; 6] = [
        Self::AddingFirstMemory,
        Self::AddedFirstMemory,
        Self::CancelAddingFirstMemory,
        Self::RemovingLastMemory,
        Self::RemovedLastMemory,
        Self::CancelRemovingLastMemory,
    ];
}

/// An event that callbacks receive (`struct memory_notify`, `struct node_notify`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// An event for callbacks registered for memory.
    Memory {
        /// What happens.
        action: MemoryAction,
        /// The page frames (`start_pfn` and `nr_pages`).
        range: FrameRange,
        /// The node whose first or last memory outside [`Zone::Movable`](crate::Zone::Movable) this is
        /// (`status_change_nid_normal`); `None` if it is neither.
        status_change_nid_normal: Option<u32>,
        /// The node whose first or last memory this is (`status_change_nid`); `None` if it is neither.
        status_change_nid: Option<u32>,
    },
    /// An event for callbacks registered for nodes.
    Node {
        /// What happens.
        action: NodeAction,
        /// The node (`nid`).
        nid: u32,
    },
}

impl Event {
    /// Returns the number of the action, which a C callback gets as its second argument.
    #[must_use]
    pub fn action(&self) -> u32 {
        match self {
            Self::Memory { action, .. } => *action as u32,
            Self::Node { action, .. } => *action as u32,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { action, range, status_change_nid, .. } => {
                let name = match action {
                    MemoryAction::Online => "MEM_ONLINE",
                    MemoryAction::GoingOffline => "MEM_GOING_OFFLINE",
                    MemoryAction::Offline => "MEM_OFFLINE",
                    MemoryAction::GoingOnline => "MEM_GOING_ONLINE",
                    MemoryAction::CancelOnline => "MEM_CANCEL_ONLINE",
                    MemoryAction::CancelOffline => "MEM_CANCEL_OFFLINE",
                };
                write!(f, "{name} {range}")?;
                status_change_nid.map_or(Ok(()), |node| write!(f, " node {node}"))
            }
            Self::Node { action, nid } => {
                let name = match action {
                    NodeAction::AddingFirstMemory => "NODE_ADDING_FIRST_MEMORY",
                    NodeAction::AddedFirstMemory => "NODE_ADDED_FIRST_MEMORY",
                    NodeAction::CancelAddingFirstMemory => "NODE_CANCEL_ADDING_FIRST_MEMORY",
                    NodeAction::RemovingLastMemory => "NODE_REMOVING_LAST_MEMORY",
                    NodeAction::RemovedLastMemory => "NODE_REMOVED_LAST_MEMORY",
                    NodeAction::CancelRemovingLastMemory => "NODE_CANCEL_REMOVING_LAST_MEMORY",
                };
                write!(f, "{name} node {nid}")
            }
        }
    }
}

/// A callback's answer (`NOTIFY_*`).
///
/// # Examples
/// ```
/// use pmem_uvm::Answer;
///
/// // NOTIFY_BAD, and notifier_from_errno(-EBUSY).
/// assert_eq!(Answer::Bad.to_bits(), 0x8002);
/// assert_eq!(Answer::from_bits(0x8011), Answer::Errno(16));
/// // NOTIFY_STOP ends the chain without refusing.
/// assert!(Answer::Stop.stops());
/// assert_eq!(Answer::Stop.errno(), 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The callback does not care about this event.
    Done,
    /// The callback agrees.
    Ok,
    /// The callback refuses, with EPERM. The chain stops.
    Bad,
    /// The callback agrees, and the chain stops.
    Stop,
    /// The callback refuses with this error number, from 1 to 4095. The chain stops.
    Errno(u16),
}

const STOP_MASK: u32 = 0x8000;
const MAX_ERRNO: u16 = 4095;

impl Answer {
    /// Returns the answer as C encodes it.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        match self {
            Self::Done => 0,
            Self::Ok => 1,
            Self::Bad => STOP_MASK | 2,
            Self::Stop => STOP_MASK | 1,
            // `u32::from` is not const, hence the cast. The kernel's MAX_ERRNO is the limit.
            Self::Errno(errno) => STOP_MASK | (1 + if errno > MAX_ERRNO { MAX_ERRNO } else { errno } as u32),
        }
    }

    /// Decodes an answer of C. As in Linux, negative numbers are not errors. Numbers above 1 without the stop bit are
    /// taken as [`Self::Ok`].
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        match (bits & STOP_MASK != 0, bits & !STOP_MASK) {
            (false, 0) => Self::Done,
            (false, _) => Self::Ok,
            // Linux does not take a negative number for an error (notifier_to_errno).
            (true, more) if (more as i32) < 2 => Self::Stop,
            (true, 2) => Self::Bad,
            (true, more) if more - 1 > MAX_ERRNO as u32 => Self::Errno(MAX_ERRNO),
            (true, more) => Self::Errno((more - 1) as u16),
        }
    }

    /// Whether the chain stops, so that no later callback is called.
    #[must_use]
    pub const fn stops(self) -> bool {
        self.to_bits() & STOP_MASK != 0
    }

    /// Returns the error number of the answer; 0 if it is not a refusal (`notifier_to_errno`).
    #[must_use]
    pub const fn errno(self) -> u16 {
        match self {
            Self::Done | Self::Ok | Self::Stop => 0,
            Self::Bad => 1,
            Self::Errno(errno) => errno,
        }
    }
}

/// The key of a callback: a number of the host's choice, such as the address of its `notifier_block`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NotifierKey(pub u64);

impl fmt::Display for NotifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "notifier {:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_linuxs() {
        assert_eq!(
            [Answer::Done, Answer::Ok, Answer::Bad, Answer::Stop].map(Answer::to_bits),
            [0, 1, 0x8002, 0x8001]
        );
        assert_eq!(Answer::Errno(16).to_bits(), 0x8011);
        assert_eq!(Answer::Bad.errno(), 1);
        assert_eq!(Answer::Stop.errno(), 0);
        for answer in [Answer::Done, Answer::Ok, Answer::Bad, Answer::Stop, Answer::Errno(12)] {
            assert_eq!(Answer::from_bits(answer.to_bits()), answer);
        }
        assert_eq!(MemoryAction::CancelOffline as u32, 0x20);
        assert_eq!(NodeAction::RemovedLastMemory as u32, 0x10);
    }
}
