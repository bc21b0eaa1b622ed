//! What is told when memory comes and goes, with Linux's numbers (include/linux/memory.h, node.h, notifier.h).

use crate::frame::FrameRange;
use core::fmt;

/// What happens to memory (`MEM_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum MemoryAction {
    /// It is online; pages of it may be had.
    Online = 1,
    /// It is about to go: nobody gets pages of it any more. May be refused.
    GoingOffline = 1 << 1,
    /// It is offline.
    Offline = 1 << 2,
    /// It is about to come. May be refused.
    GoingOnline = 1 << 3,
    /// It does not come after all; told to everybody, also to those never told that it would.
    CancelOnline = 1 << 4,
    /// It does not go after all; told to everybody likewise.
    CancelOffline = 1 << 5,
}

impl MemoryAction {
    /// All of them.
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
    /// The node is about to get its first memory. May be refused.
    AddingFirstMemory = 1,
    /// It has it.
    AddedFirstMemory = 1 << 1,
    /// It does not get it after all.
    CancelAddingFirstMemory = 1 << 2,
    /// The node is about to lose its last memory. May be refused.
    RemovingLastMemory = 1 << 3,
    /// It has lost it.
    RemovedLastMemory = 1 << 4,
    /// It does not lose it after all.
    CancelRemovingLastMemory = 1 << 5,
}

impl NodeAction {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::AddingFirstMemory,
        Self::AddedFirstMemory,
        Self::CancelAddingFirstMemory,
        Self::RemovingLastMemory,
        Self::RemovedLastMemory,
        Self::CancelRemovingLastMemory,
    ];
}

/// What callbacks are told (`struct memory_notify`, `struct node_notify`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// To callbacks for memory.
    Memory {
        /// What happens.
        action: MemoryAction,
        /// `start_pfn` and `nr_pages`.
        range: FrameRange,
        /// `status_change_nid_normal`: the node whose first or last memory this is that is not only for movable pages.
        status_change_nid_normal: Option<u32>,
        /// `status_change_nid`: the node whose first or last memory this is.
        status_change_nid: Option<u32>,
    },
    /// To callbacks for nodes.
    Node {
        /// What happens.
        action: NodeAction,
        /// `nid`.
        nid: u32,
    },
}

impl Event {
    /// The number of what happens, as the callback's second argument.
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

/// What a callback answers (`NOTIFY_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It does not care.
    Done,
    /// It is content.
    Ok,
    /// No; nobody further down is asked.
    Bad,
    /// Yes; but nobody further down is told.
    Stop,
    /// No, with an error number.
    Errno(u16),
}

const STOP_MASK: u32 = 0x8000;
const MAX_ERRNO: u16 = 4095;

impl Answer {
    /// As C has it.
    pub const fn to_bits(self) -> u32 {
        match self {
            Self::Done => 0,
            Self::Ok => 1,
            Self::Bad => STOP_MASK | 2,
            Self::Stop => STOP_MASK | 1,
            // A `match`, because `u32::from` is not const.
            // No larger than the kernel's MAX_ERRNO.
            Self::Errno(errno) => STOP_MASK | (1 + if errno > MAX_ERRNO { MAX_ERRNO } else { errno } as u32),
        }
    }

    /// From C. Negative numbers are no errors, as in Linux; more than 1 without the bit that stops is taken as [`Self::Ok`].
    pub const fn from_bits(bits: u32) -> Self {
        match (bits & STOP_MASK != 0, bits & !STOP_MASK) {
            (false, 0) => Self::Done,
            (false, _) => Self::Ok,
            // A negative number is no error to Linux (notifier_to_errno).
            (true, more) if (more as i32) < 2 => Self::Stop,
            (true, 2) => Self::Bad,
            (true, more) if more - 1 > MAX_ERRNO as u32 => Self::Errno(MAX_ERRNO),
            (true, more) => Self::Errno((more - 1) as u16),
        }
    }

    /// Whether nobody further down is called.
    pub const fn stops(self) -> bool {
        self.to_bits() & STOP_MASK != 0
    }

    /// The error number that it amounts to, 0 for none (`notifier_to_errno`).
    pub const fn errno(self) -> u16 {
        match self {
            Self::Done | Self::Ok | Self::Stop => 0,
            Self::Bad => 1,
            Self::Errno(errno) => errno,
        }
    }
}

/// Names a callback: a number of the host's, such as the address of its `notifier_block`.
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
