//! Arenas for an emulator's other address spaces, with windows to the system bus.

use super::{Builder, model};
use crate::error::ImportError;
use crate::machine::{AddressSpaces, UNMEASURED};
use pmem_core::{ArenaType, Attrs, Direction, Mapping};

/// The most address spaces that an arena's name lists.
const NAMED: usize = 3;

impl Builder<'_> {
    /// Creates an arena for each view that differs from the CPUs'.
    pub(super) fn add_views(&mut self) -> Result<Vec<AddressSpaces>, ImportError> {
        let settled = self.settled;
        let mut all = Vec::new();
        for seen in &settled.views {
            let mut spaces = AddressSpaces {
                names: seen.names.clone(),
                arena: self.system,
                at: seen.at.clone(),
                is_empty: seen.is_empty(),
                through: None,
            };
            if !seen.is_system {
                let mut names: Vec<&str> = seen.names.iter().map(|(name, _)| name.as_str()).collect();
                names.dedup();
                let more = names.len().saturating_sub(NAMED);
                let listed = names[..names.len() - more].join(", ");
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let name = format!("FlatView #{} ({listed}{more})", seen.number);
                let arena = model(&name, self.manager.create_arena(&name, ArenaType::VIEW))?;
                let inward = match seen.windows.is_empty() {
                    true => Ok(Mapping::Closed),
                    false => Mapping::windows(seen.windows.iter().copied()),
                };
                let inward = inward.unwrap_or_else(|error| {
                    self.find(&seen.at, format!("{name}: {error}"));
                    Mapping::Closed
                });
                let inward = Direction::new(inward, UNMEASURED);
                let link = self.manager.connect_asymmetric(arena, self.system, inward, Direction::closed());
                self.link_names.insert(model(&name, link)?, format!("{name} to the system bus"));
                for (range, label) in &seen.own {
                    let primed = self.prime_rest(arena, *range, Attrs::default());
                    let claimed = primed.and_then(|()| self.claim(arena, *range, Attrs::default(), label));
                    self.attempt(&seen.at, label, claimed);
                }
                if seen.through.is_some() {
                    self.unknown_ways.insert(arena);
                }
                (spaces.arena, spaces.through) = (arena, seen.through.clone());
            }
            all.push(spaces);
        }
        Ok(all)
    }
}
