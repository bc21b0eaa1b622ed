//! A range on its way into or out of use: begin, commit, announce; or cancel.

use super::{Event, Hotplug, HotplugError, MemoryAction, NodeAction};
use crate::error::UvmError;
use crate::frame::FrameRange;
use crate::page::PageState;
use crate::segment::Zone;
use crate::uvm::{Migrate, MoveError, Uvm};

/// The direction of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    Online,
    Offline,
}

/// A change that was begun and that nobody refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transition {
    pub(crate) course: Course,
    pub(crate) range: FrameRange,
    zone: Zone,
    of_node: u32,
    /// The node whose first or last memory this is.
    node: Option<u32>,
    /// The node whose first or last memory outside the movable zone this is.
    node_normal: Option<u32>,
}

impl Hotplug {
    /// Asks all callbacks whether a range may come online.
    pub(crate) fn begin_online(
        &mut self,
        uvm: &mut Uvm,
        range: FrameRange,
        node: u32,
        zone: Zone,
    ) -> Result<Transition, HotplugError> {
        let step = self.transition(uvm, Course::Online, range, node, zone);
        let asked = self.ask(uvm, &step, NodeAction::AddingFirstMemory, MemoryAction::GoingOnline);
        asked.inspect_err(|_| self.cancel(uvm, &step))?;
        self.arriving.push((node, zone));
        Ok(step)
    }

    /// Holds a range back, asks all callbacks whether it may go, and moves away the pages that are handed out.
    pub(crate) fn begin_offline(
        &mut self,
        uvm: &mut Uvm,
        range: FrameRange,
        node: u32,
        zone: Zone,
        migrate: Migrate<'_>,
    ) -> Result<Transition, HotplugError> {
        let step = self.transition(uvm, Course::Offline, range, node, zone);
        let held_already = self.is_leaving(range.start());
        uvm.hold_free(range, |page| match page.state() {
            PageState::Retired | PageState::Offline => true,
            PageState::Isolated => held_already,
            _ => page.is_own(),
        })?;
        let asked = self.ask(uvm, &step, NodeAction::RemovingLastMemory, MemoryAction::GoingOffline);
        let moved = asked.and_then(|()| move_all(uvm, range, migrate));
        moved.map(|()| step).inspect_err(|_| self.cancel(uvm, &step))
    }

    /// Carries out what was begun.
    pub(crate) fn commit(&mut self, uvm: &mut Uvm, step: &Transition) -> Result<(), HotplugError> {
        match step.course {
            Course::Online => Ok(uvm.online_as(step.range, step.zone)?),
            Course::Offline => {
                uvm.offline_isolated(step.range);
                Ok(())
            }
        }
    }

    /// Notifies all callbacks that the change is done. Their answers no longer matter.
    pub(crate) fn announce(&mut self, uvm: &mut Uvm, step: &Transition) {
        let (of_node, of_memory) = match step.course {
            Course::Online => (NodeAction::AddedFirstMemory, MemoryAction::Online),
            Course::Offline => (NodeAction::RemovedLastMemory, MemoryAction::Offline),
        };
        self.arrived(step);
        if let Some(nid) = step.node {
            self.nodes.call(uvm, &Event::Node { action: of_node, nid }, &mut |_| ());
        }
        self.memory.call(uvm, &step.event(of_memory), &mut |_| ());
    }

    /// Forgets that a range was on its way in.
    fn arrived(&mut self, step: &Transition) {
        if step.course == Course::Online
            && let Some(at) = self.arriving.iter().position(|of| *of == (step.of_node, step.zone))
        {
            self.arriving.remove(at);
        }
    }

    /// Notifies all callbacks that the change does not happen, and lets go of what was held back.
    pub(crate) fn cancel(&mut self, uvm: &mut Uvm, step: &Transition) {
        let (of_node, of_memory) = match step.course {
            Course::Online => (NodeAction::CancelAddingFirstMemory, MemoryAction::CancelOnline),
            Course::Offline => (NodeAction::CancelRemovingLastMemory, MemoryAction::CancelOffline),
        };
        if step.course == Course::Offline {
            // Let go first: a callback that hears of the cancellation may allocate these pages again.
            uvm.unisolate(step.range);
        }
        self.arrived(step);
        self.memory.call(uvm, &step.event(of_memory), &mut |_| ());
        if let Some(nid) = step.node {
            self.nodes.call(uvm, &Event::Node { action: of_node, nid }, &mut |_| ());
        }
    }

    fn transition(&self, uvm: &Uvm, course: Course, range: FrameRange, node: u32, zone: Zone) -> Transition {
        // Another range of the same change may already be the node's first memory.
        let arrives = |normal: bool| {
            let counts = |of: &(u32, Zone)| of.0 == node && !(normal && of.1 == Zone::Movable);
            course == Course::Online && self.arriving.iter().any(counts)
        };
        let first = |normal: bool| !arrives(normal) && !self.has_memory(uvm, node, range, normal);
        let alone = first(false);
        let normal = zone == Zone::Normal && first(true);
        let (of_node, node, node_normal) = (node, alone.then_some(node), normal.then_some(node));
        Transition { course, range, zone, of_node, node, node_normal }
    }

    fn ask(
        &mut self,
        uvm: &mut Uvm,
        step: &Transition,
        of_node: NodeAction,
        of_memory: MemoryAction,
    ) -> Result<(), HotplugError> {
        let node = step.node.map(|nid| Event::Node { action: of_node, nid });
        for event in node.into_iter().chain([step.event(of_memory)]) {
            let chain = if let Event::Node { .. } = event { &mut self.nodes } else { &mut self.memory };
            // Nobody else gets what a callback frees in a range that goes offline.
            let mut after = |uvm: &mut Uvm| {
                if step.course == Course::Offline {
                    uvm.hold_more(step.range);
                }
            };
            let (last, answer) = chain.call(uvm, &event, &mut after);
            if let (Some(by), errno @ 1..) = (last, answer.errno()) {
                return Err(HotplugError::Refused { by, event, errno });
            }
        }
        Ok(())
    }
}

impl Transition {
    fn event(&self, action: MemoryAction) -> Event {
        let (status_change_nid, status_change_nid_normal) = (self.node, self.node_normal);
        Event::Memory { action, range: self.range, status_change_nid_normal, status_change_nid }
    }
}

/// Moves pages until all are moved or one can never be moved.
fn move_all(uvm: &mut Uvm, range: FrameRange, migrate: Migrate<'_>) -> Result<(), HotplugError> {
    loop {
        let mut why = None;
        let moved = uvm.move_away(range, &mut |from, to| {
            let moved = migrate(from, to);
            why = moved.err();
            moved
        });
        match (moved, why) {
            (Ok(()), _) => return Ok(()),
            (Err(UvmError::Unmovable { .. }), Some(MoveError::Again)) => {}
            (Err(_), Some(MoveError::Interrupted)) => return Err(HotplugError::Interrupted),
            (Err(error), _) => return Err(error.into()),
        }
    }
}
