//! The tables of a unit's domains.

use super::port::Port;
use super::refuse::{fault, veto};
use super::task::{Span, Stage, Target, Task};
use super::unit::{PASSED, Unit};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use pmem_core::{AddrRange, Fault, LinkId, Mismatch, Placement, Veto};
use pmem_iommu::table::{Format, Invalidate, PageTable, TableError, TableMemory};

/// A domain's number and table.
pub(super) struct Held<F> {
    pub(super) number: u16,
    pub(super) table: PageTable<F>,
    /// The page size of the model, in bytes.
    pub(super) page: u64,
    /// Invalidations that the unit has not received yet.
    pending: Vec<Invalidate>,
}

/// All domains of a unit.
pub(super) struct Domains<F>(BTreeMap<LinkId, Held<F>>);

impl<F> Default for Domains<F> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<F: Format + Clone + Send> Domains<F> {
    pub(super) fn get(&self, domain: LinkId) -> Option<&Held<F>> {
        self.0.get(&domain)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.0.keys().copied()
    }

    /// Opens a domain with an empty table and a free number.
    pub(super) fn open<U: Unit<Format = F>>(
        &mut self,
        unit: &mut U,
        domain: LinkId,
        page: u64,
    ) -> Result<(), Veto> {
        let taken: BTreeSet<u16> = self.0.values().map(|held| held.number).collect();
        let count = unit.domains();
        let is_free = |number: &u16| !taken.contains(number) && u32::from(*number) < count;
        let full = || {
            Veto::new("the unit has no free domain number")
                .needs(u64::from(PASSED) + taken.len() as u64 + 2, count.into())
        };
        let number = (PASSED + 1..=u16::MAX).find(is_free).ok_or_else(full)?;
        let format = unit.format().clone();
        let table = PageTable::new(format, unit.port_mut().memory_mut());
        let table = table.map_err(|error| Veto { range: None, ..veto(&error, AddrRange::ALL) })?;
        self.0.insert(domain, Held { number, table, page, pending: Vec::new() });
        Ok(())
    }

    /// Closes a domain, whose table no requester uses any more, and frees the table.
    pub(super) fn close<M: TableMemory>(&mut self, memory: &mut M, domain: LinkId) {
        if let Some(held) = self.0.remove(&domain) {
            held.table.dissolve(memory);
        }
    }

    /// Returns what the table holds for a mapped region now.
    pub(super) fn had<M: TableMemory>(&self, memory: &M, placement: &Placement) -> Option<(LinkId, Span)> {
        let (alias, range) = (placement.record.alias()?, placement.seat.range()?);
        let held = self.0.get(&alias.link)?;
        let range = range.rounded(held.page);
        Some((alias.link, Span { range, target: held.at(memory, range.start())? }))
    }

    /// Counts the tables that a task needs after the one before it, in ascending order. Also reserves room to
    /// record the tables that it unlinks.
    pub(super) fn prepare<M: TableMemory>(
        &mut self,
        memory: &mut M,
        task: &Task,
        before: Option<&Task>,
    ) -> Result<usize, Veto> {
        let Some(held) = self.0.get_mut(&task.domain) else { return Ok(0) };
        let (first, last) = (task.range.start(), task.range.last());
        let between = task.at(Stage::Between);
        let refused = |error| veto(&error, task.range);
        let mut tables = 0;
        if task.old.is_some() && between != task.old {
            if !task.is_whole {
                tables += held.table.on(memory).tables_to_change(first, last).map_err(refused)?;
            }
            // Up to one table for each 2 MiB, and one more for each level at both ends.
            let levels = usize::from(held.table.format().levels());
            let room = usize::try_from((last - first) >> 21).unwrap_or(usize::MAX);
            held.table.make_room(room.saturating_add(2 * levels));
        }
        if let Some((target, access)) = task.new {
            tables += match between {
                None => {
                    let after = before.filter(|before| before.domain == task.domain);
                    let after = after.map(|before| before.range.last());
                    held.table.on(memory).tables_to_map(first, last, target, access, after)
                }
                Some(_) if task.is_whole => Ok(0),
                Some(_) => held.table.on(memory).tables_to_change(first, last),
            }
            .map_err(refused)?;
        }
        Ok(tables)
    }

    /// Reserves room to record the invalidations of `tasks` tasks in a domain.
    pub(super) fn make_room(&mut self, domain: LinkId, tasks: usize) {
        if let Some(held) = self.0.get_mut(&domain) {
            held.pending.reserve(tasks);
        }
    }

    /// Writes what a task requires in a stage, unless the table holds it already.
    pub(super) fn write<U: Unit<Format = F>>(
        &mut self,
        unit: &mut U,
        task: &Task,
        stage: Stage,
    ) -> Result<(), Fault> {
        let caches_absent = unit.caches_absent();
        let Some(held) = self.0.get_mut(&task.domain) else { return Ok(()) };
        let (first, last) = (task.range.start(), task.range.last());
        let memory = unit.port_mut().memory_mut();
        let has = held.at(memory, first).map(|(_, access)| access);
        let mut walker = held.table.on(memory);
        let (done, is_new) = match (has, task.at(stage)) {
            (None, None) => return Ok(()),
            (Some(has), Some((_, access))) if has == access => return Ok(()),
            (None, Some((target, access))) => (walker.map(first, last, target, access), true),
            (Some(_), None) => (walker.unmap(first, last), false),
            (Some(_), Some((_, access))) => (walker.protect(first, last, access), false),
        };
        let forget = done.map_err(|error| fault(&error, task.range))?;
        // A new mapping needs no invalidation, unless the unit cached that it was absent, or tables were replaced.
        if !is_new || caches_absent || forget.tables {
            held.pending.push(forget);
        }
        Ok(())
    }

    /// Sends the pending invalidations to the unit, and then frees unlinked tables.
    pub(super) fn forget<U: Unit<Format = F>>(&mut self, unit: &mut U) -> Result<(), Fault> {
        for held in self.0.values_mut().filter(|held| !held.pending.is_empty()) {
            unit.forget(held.number, &held.pending)?;
            held.pending.clear();
            held.table.release(unit.port_mut().memory_mut());
        }
        Ok(())
    }

    /// Removes empty tables from all domains, and frees them.
    pub(super) fn prune<U: Unit<Format = F>>(&mut self, unit: &mut U) -> Result<(), Fault> {
        for held in self.0.values_mut() {
            let width = held.table.format().width();
            let done = held.table.on(unit.port_mut().memory_mut()).prune(0, u64::MAX >> (64 - width.min(64)));
            let forget = done.map_err(|error| fault(&error, AddrRange::ALL))?;
            if forget.tables {
                held.pending.push(forget);
            }
        }
        self.forget(unit)
    }

    /// Removes all mappings from a table that no request uses.
    pub(super) fn empty<M: TableMemory>(&mut self, memory: &mut M, domain: LinkId) -> Result<(), TableError> {
        let Some(held) = self.0.get_mut(&domain) else { return Ok(()) };
        let mut pieces = Vec::new();
        held.table.each(memory, 0, u64::MAX, &mut |mapped| {
            pieces.push((mapped.first, mapped.first + ((1 << mapped.leaf.shift) - 1)));
        })?;
        for (first, last) in pieces {
            held.pending.push(held.table.on(memory).unmap(first, last)?);
        }
        Ok(())
    }

    /// Returns the first difference between a table and what it should hold.
    pub(super) fn verify<M: TableMemory>(
        &self,
        memory: &M,
        domain: LinkId,
        wanted: &[Span],
    ) -> Result<(), Mismatch> {
        let wrong = |reason, range| Mismatch { reason, range, wanted_found: None };
        let Some(held) = self.0.get(&domain) else { return Err(wrong("a domain has no table", None)) };
        let mut left = wanted.iter().copied().peekable();
        let mut found = Ok(());
        // Pages and wanted spans both ascend, but their boundaries differ: compare them piece by piece.
        let listed = held.table.each(memory, 0, u64::MAX, &mut |mapped| {
            let (mut at, mut target) = (mapped.first, mapped.leaf.target);
            let last = at + ((1 << mapped.leaf.shift) - 1);
            while found.is_ok() {
                let here = AddrRange::inclusive(at, last).ok();
                let Some(span) = left.peek_mut().filter(|span| span.range.start() <= at) else {
                    found = Err(wrong("something is mapped that the model does not have", here));
                    return;
                };
                let (to, access) = span.target;
                if span.range.start() != at || to != target || access != mapped.leaf.access {
                    let reason = "a mapping differs from the model";
                    let wanted_found = (to != target).then_some((to, target));
                    found = Err(Mismatch { wanted_found, ..wrong(reason, here) });
                    return;
                }
                let end = span.range.last().min(last);
                let done = end - at + 1;
                match AddrRange::inclusive(end.saturating_add(1), span.range.last()) {
                    Ok(rest) if end < span.range.last() => {
                        *span = Span { range: rest, target: (to + done, access) };
                    }
                    _ => drop(left.next()),
                }
                if end == last {
                    return;
                }
                (at, target) = (end + 1, target + done);
            }
        });
        listed
            .map_err(|error| Mismatch { reason: fault(&error, AddrRange::ALL).reason, ..wrong("", None) })?;
        found?;
        match left.next() {
            Some(span) => Err(wrong("a mapping of the model is missing", Some(span.range))),
            None => Ok(()),
        }
    }
}

impl<F: Format> Held<F> {
    /// Returns where an address leads.
    fn at<M: TableMemory>(&self, memory: &M, at: u64) -> Option<Target> {
        let found = self.table.lookup(memory, at)?;
        Some((found.leaf.target + (at - found.first), found.leaf.access))
    }
}
