//! Carries out verbs on a plan.

use super::command::Verb;
use super::names::{Names, name_of};
use pmem_core::{Constraints, Error, Plan, RegionId};

/// Carries out verbs on a plan, and returns their output. The message of an error goes into `wrong`, with the
/// script's names in place of ids.
pub(super) fn carry_out(
    plan: &mut Plan<'_>,
    names: &mut Names,
    verbs: &[Verb],
    wrong: &mut Option<String>,
) -> Result<String, Error> {
    let mut out = String::new();
    for verb in verbs {
        match carry_out_one(plan, names, verb) {
            Ok(text) => out.push_str(&text),
            Err(Wrong::Name(name)) => {
                *wrong = Some(name);
                return Err(Error::Abandoned);
            }
            Err(Wrong::Model(error)) => {
                // Translate now: the names of regions that this change created are dropped together with it.
                *wrong = Some(names.translate(&error.to_string(), Vec::new()));
                return Err(error);
            }
        }
    }
    Ok(out)
}

/// The reason why a verb failed.
enum Wrong {
    Name(String),
    Model(Error),
}

impl From<String> for Wrong {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self::Model(error)
    }
}

fn carry_out_one(plan: &mut Plan<'_>, names: &mut Names, verb: &Verb) -> Result<String, Wrong> {
    match verb {
        Verb::Arena { name, kind } => {
            if names.arenas.contains_key(name) {
                return Err(Wrong::Name(format!("there is an arena {name:?} already")));
            }
            names.arenas.insert(name.clone(), plan.create_arena(name, *kind)?);
        }
        Verb::Rename { arena, name } => {
            let id = names.arena(arena)?;
            plan.name_arena(id, name)?;
            names.arenas.remove(arena);
            names.arenas.insert(name.clone(), id);
        }
        Verb::Remove { arena } => {
            plan.remove_arena(names.arena(arena)?)?;
            names.arenas.remove(arena);
        }
        Verb::Connect { name, left, right, to_right, to_left } => {
            let (left, right) = (names.arena(left)?, names.arena(right)?);
            let id = plan.connect_asymmetric(left, right, to_right.clone(), to_left.clone())?;
            names.links.insert(name.clone(), id);
        }
        Verb::Disconnect { link } => plan.disconnect(names.link(link)?)?,
        Verb::Prime { arena, range, attrs } => plan.prime(names.arena(arena)?, *range, *attrs)?,
        Verb::Seal { arena, range } => plan.seal(names.arena(arena)?, *range)?,
        Verb::Unseal { arena, range } => plan.unseal(names.arena(arena)?, *range)?,
        Verb::Retire { arena, range } => drop(plan.retire(names.arena(arena)?, *range)?),
        Verb::Unprime { arena, range } => plan.unprime(names.arena(arena)?, *range)?,
        Verb::Alloc { name, arena, request } => {
            let region = plan.alloc(names.arena(arena)?, request)?;
            names.regions.insert(name.clone(), region);
            return Ok(made(plan, names, name, region)?);
        }
        Verb::Floor { link, way, piece, floor } => plan.set_floor(names.link(link)?, *way, *piece, *floor)?,
        Verb::Metric { link, way, metric } => plan.set_metric(names.link(link)?, *way, *metric)?,
        Verb::Map { name, arena, region, spot } => {
            let (arena, region) = (names.arena(arena)?, names.region(region)?);
            // Without constraints, a region that is mapped already is shared; with constraints it gets another
            // alias.
            let anywhere = *spot == Constraints::anywhere();
            let region = if anywhere { plan.map(arena, region)? } else { plan.map_at(arena, region, spot)? };
            if name_of(&names.regions, region).is_none() {
                names.regions.insert(name.clone(), region);
            }
            return Ok(made(plan, names, name, region)?);
        }
        Verb::Set { region, set } => {
            let region = names.region(region)?;
            let attrs = set.over(plan.attrs(region)?).map_err(Error::from)?;
            plan.set(region, attrs)?;
        }
        Verb::Pin { region, pin } => plan.set_pin(names.region(region)?, *pin)?,
        Verb::Own { region, owner } => plan.set_owner(names.region(region)?, *owner)?,
        Verb::Incref { region } => plan.incref(names.region(region)?)?,
        Verb::Decref { region } => plan.decref(names.region(region)?)?,
        Verb::Relocate { moves } => {
            let moves: Result<Vec<_>, String> =
                moves.iter().map(|(r, to)| Ok((names.region(r)?, *to))).collect();
            plan.relocate_all(&moves?)?;
        }
        Verb::Resize { region, len } => plan.resize(names.region(region)?, *len)?,
        Verb::Park { region } => plan.park(names.region(region)?)?,
        Verb::Unpark { region, spot } => {
            let id = names.region(region)?;
            plan.unpark(id, spot)?;
            return Ok(made(plan, names, region, id)?);
        }
    }
    Ok(String::new())
}

fn made(plan: &Plan<'_>, names: &Names, name: &str, region: RegionId) -> Result<String, Error> {
    let placement = plan.placement(region)?;
    let range = plan.range(region)?;
    Ok(format!("{name} = {} {range}\n", names.of_arena(placement.arena)))
}
