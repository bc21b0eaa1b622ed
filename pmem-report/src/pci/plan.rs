//! Where something can be placed, what must be stopped for it, and what changes; or why it does not fit.

use super::linux::Linux;
use super::parts::{Names, Part, Placement, Range, WindowChange, changed_windows, placement};
use crate::sources::{Read, Warning};
use crate::units::Addr;
use crate::units::size;
use pmem_import::PciTree;
use pmem_pci::BusRange;
use pmem_pci::certificate::{self, Ground, Reason};
use pmem_pci::linux::{Event, Rules};
use pmem_pci::plan::{Goal, Plan, Verdict};
use pmem_pci::steps::Step;
use pmem_pci::tree::{Index, Slot, Space, WindowKind};
use serde::Serialize;

/// The room for a future card below a port without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Headroom {
    /// The port.
    pub port: String,
    /// The bytes that its memory and prefetchable windows forward now, in hexadecimal.
    pub before: String,
    /// The bytes that they forward under the plan, in hexadecimal.
    pub after: String,
    /// `before` in words.
    #[serde(skip)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub before_words: String,
    /// `after` in words.
    #[serde(skip)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub after_words: String,
}

/// The cost of a plan. The parts count in this order: an earlier part outweighs all later ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CostParts {
    /// The weight of the functions that must be stopped: 5 for each that has a driver or whose driver is not known, 1
    /// for each that has none, 1 for each bridge, 0 for what was asked about or is quiesced.
    pub weight: u64,
    /// The bytes, in hexadecimal, that windows with something live behind them forward only before or only after the
    /// change.
    pub live_bytes: String,
    /// The depth of the topmost bridge that gets another window or other bus numbers: 0 on a root bus; null if none
    /// does.
    pub topmost: Option<u32>,
    /// The room below all ports without a card under the plan, in bytes, in hexadecimal.
    pub headroom: String,
    /// The room below the port that has least, in bytes, in hexadecimal.
    pub least_headroom: String,
    /// The number of register writes.
    pub writes: u64,
}

/// A write to a function's configuration space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Write {
    /// The function.
    pub function: String,
    /// The offset in configuration space, in hexadecimal.
    pub offset: String,
    /// The width of the write in bytes.
    pub width: u8,
    /// The value, in hexadecimal.
    pub value: String,
}

/// A resource that needs an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UnplacedBar {
    /// The function.
    pub function: String,
    /// `0` to `5`, `rom`, `vf0` to `vf5`.
    pub bar: String,
    /// The size in bytes, in hexadecimal.
    pub size: String,
}

/// A naturally aligned range that a resource could occupy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AlignedPlace {
    /// The first CPU address.
    pub start: Addr,
    /// The last CPU address, inclusive.
    pub end: Addr,
    /// The functions that occupy it and must stay; empty if it is free.
    pub blockers: Vec<String>,
}

/// Proof that something does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Obstacle {
    /// The root bus.
    #[serde(rename = "where")]
    pub at: String,
    /// `io` or `mem`.
    pub kind: String,
    /// The largest usable part of the host bridge's apertures; null if there is none.
    pub range: Option<Range>,
    /// The bytes, in hexadecimal, that are not occupied by anything that must stay.
    pub free: String,
    /// The resources that need a range of this size or a larger one.
    pub needs: Vec<UnplacedBar>,
    /// All aligned ranges of this size.
    pub slots: Vec<AlignedPlace>,
    /// The argument in words.
    pub says: String,
}

/// The answer to a placement request.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlacementPlan {
    /// `fits`, `fits-with-quiesce` (functions must be stopped), `no`, `not-proven` or `nothing-wrong`.
    pub verdict: String,
    /// The functions that must be stopped.
    pub quiesced: Vec<String>,
    /// The cost of the plan; null if nothing fits.
    pub cost: Option<CostParts>,
    /// The room below each topmost port without a card.
    pub headroom: Vec<Headroom>,
    /// The resources that get an address or another one.
    pub placements: Vec<Placement>,
    /// The bridge windows and bus numbers that change.
    pub windows: Vec<WindowChange>,
    /// Prefetchable resources that go into a non-prefetchable window for lack of room.
    pub demoted: Vec<Part>,
    /// Optional resources that get no address.
    pub left_out: Vec<Part>,
    /// Whether the weight (`cost.weight`) is proven minimal: all lighter alternatives were examined. The other parts of
    /// the cost are not proven. False if the search ran out of its budget.
    pub least: bool,
    /// What the plan assumes because no source says it.
    pub assumed: Vec<String>,
    /// The register writes, in order. Every intermediate state is legal, so the order must be kept.
    pub writes: Vec<Write>,
    /// Why it does not fit.
    pub why: Vec<Obstacle>,
    /// What would fit instead, or without stopping anything.
    pub suggestions: Vec<String>,
    /// What the kernel makes of the request by itself; null if its version is not known, or if it is not asked to do
    /// anything.
    pub linux: Option<Linux>,
    /// What was read of each source.
    pub read: Vec<Read>,
    /// What is odd in the sources.
    pub warnings: Vec<Warning>,
}

impl PlacementPlan {
    /// Turns the planner's verdict into a report.
    ///
    /// # Examples
    ///
    /// The log of a graphics card whose BAR 1 found no space. There is room once the prefetchable window above it
    /// grows:
    ///
    /// ```
    /// use pmem_import::{Machine, Sources};
    /// use pmem_pci::Budget;
    /// use pmem_pci::plan::plan;
    /// use pmem_report::pci::{PlacementGoal, PlacementPlan, PlacementRequest};
    ///
    /// let mut log: &[u8] = b"\
    /// pci_bus 0000:00: root bus resource [mem 0x80000000-0xdfffffff window]
    /// pci_bus 0000:00: root bus resource [mem 0x400000000-0x7ffffffff window]
    /// pci_bus 0000:00: root bus resource [bus 00-ff]
    /// pci 0000:00:1c.0: [8086:1927] type 01 class 0x060400 PCIe Root Port
    /// pci 0000:00:1c.0: PCI bridge to [bus 01]
    /// pci 0000:00:1c.0:   bridge window [mem 0x80000000-0x801fffff]
    /// pci 0000:00:1c.0:   bridge window [mem 0x400000000-0x4001fffff 64bit pref]
    /// pci 0000:01:00.0: [10de:1234] type 00 class 0x030000 PCIe Endpoint
    /// pci 0000:01:00.0: BAR 0 [mem 0x80000000-0x800fffff]
    /// pci 0000:01:00.0: BAR 1 [mem size 0x40000000 64bit pref]: can't assign; no space
    /// ";
    /// let mut sources = Sources::default();
    /// sources.add_stream("dmesg", &mut log)?;
    /// let machine = Machine::read(&mut sources)?;
    ///
    /// let request = PlacementRequest { wishes: vec![PlacementGoal::AllFailed], ..PlacementRequest::default() };
    /// let goal = request.goal(&machine.pci).map_err(|error| error.to_string())?;
    /// let verdict = plan(&goal, &mut Budget::steps(1_000_000));
    /// let report = PlacementPlan::of(&machine.pci, &goal, &verdict, Vec::new(), Vec::new());
    /// assert_eq!(report.verdict, "fits");
    /// assert_eq!(report.placements[0].start.0, 0x4_0000_0000);
    /// assert_eq!((report.windows[0].bridge.as_str(), report.windows[0].kind.as_str()), ("0000:00:1c.0", "pref"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of(
        known: &PciTree,
        goal: &Goal,
        verdict: &Verdict,
        read: Vec<Read>,
        warnings: Vec<Warning>,
    ) -> Self {
        let mut out = Self {
            verdict: String::new(),
            quiesced: Vec::new(),
            cost: None,
            headroom: Vec::new(),
            placements: Vec::new(),
            windows: Vec::new(),
            demoted: Vec::new(),
            left_out: Vec::new(),
            least: false,
            assumed: Vec::new(),
            writes: Vec::new(),
            why: Vec::new(),
            suggestions: Vec::new(),
            linux: None,
            read,
            warnings,
        };
        // If a host bridge is said to forward everything, RAM must lie somewhere in that, and no source says where.
        let boundless = goal.place.iter().find(|(index, _)| {
            goal.tree.functions.get(*index).is_some_and(|f| known.boundless.contains(&f.root))
        });
        match verdict {
            Verdict::Fits(_) | Verdict::FitsWithQuiesce(_) if boundless.is_some() => {
                out.verdict = "not-proven".to_owned();
                out.assumed.push(
                    "where memory lies in what the host bridge forwards: a whole log, or /proc/iomem, says it"
                        .to_owned(),
                );
            }
            Verdict::Fits(plan) if goal.place.is_empty() && goal.extra.is_empty() => {
                let short = known.numberless.iter().find(|(bridge, (first, last))| {
                    let buses = goal.tree.functions.get(*bridge).and_then(|f| f.bridge.as_ref()?.buses);
                    buses.is_none_or(|(from, to)| to - from < last - first)
                });
                match short {
                    None if known.numberless.is_empty() => out.verdict = "nothing-wrong".to_owned(),
                    None => out.fill(known, goal, plan, "fits"),
                    Some((bridge, (first, last))) => {
                        let name = goal_names(known, goal).function(*bridge);
                        out.verdict = "no".to_owned();
                        out.suggestions = vec![format!(
                            "{name} needs {} bus numbers, and not so many are free behind the port above it: others would have to be renumbered",
                            last.saturating_sub(*first).saturating_add(1)
                        )];
                    }
                }
            }
            Verdict::Fits(plan) => out.fill(known, goal, plan, "fits"),
            Verdict::FitsWithQuiesce(plan) => out.fill(known, goal, plan, "fits-with-quiesce"),
            Verdict::No(keys) => {
                // A missing aperture proves nothing if the apertures are only guessed.
                let guessed = |(index, slot): &(Index, Slot)| {
                    let function = goal.tree.functions.get(*index);
                    let space = function.and_then(|f| Some((f.root, f.resource(*slot)?.space)));
                    space.is_some_and(|space| known.guessed.contains(&space))
                };
                // A resource of unknown size was planned with the largest size that it can have, so a failure proves
                // nothing.
                let unmeasured = !known.unmeasured.is_empty();
                let names = goal_names(known, goal);
                if let Some((index, _)) = keys.iter().find(|key| guessed(key)) {
                    out.verdict = "not-proven".to_owned();
                    let root = goal.tree.functions.get(*index).and_then(|f| goal.tree.roots.get(f.root));
                    let bus = root
                        .map_or(String::new(), |root| format!("{:04x}:{:02x}", root.segment, root.buses.0));
                    out.assumed.push(format!(
                        "what the host bridge of bus {bus} forwards; add a complete log or /proc/iomem"
                    ));
                } else if unmeasured {
                    out.verdict = "not-proven".to_owned();
                    out.assumed.push(
                        "how large some registers are, which a dump of configuration space alone does not say"
                            .to_owned(),
                    );
                } else {
                    out.verdict = "no".to_owned();
                    out.why = why(&names, goal, keys);
                }
            }
            Verdict::NotProven(_) => out.verdict = "not-proven".to_owned(),
        }
        out
    }

    /// Adds what a version of Linux makes of an event.
    #[must_use]
    pub fn with_linux(
        mut self,
        known: &PciTree,
        goal: &Goal,
        kernel: &str,
        rules: &Rules,
        event: Event,
    ) -> Self {
        self.linux = Some(Linux::of(&goal_names(known, goal), goal, kernel, rules, event));
        self
    }

    /// Fills in what a plan changes, and what it assumes.
    fn fill(&mut self, known: &PciTree, goal: &Goal, plan: &Plan, verdict: &str) {
        let names = Names::of(known, &plan.tree);
        self.writes = plan
            .steps
            .iter()
            .map(|step| Write {
                function: names.function(step.function),
                offset: format!("{:#x}", step.offset),
                width: step.width,
                value: format!("{:#x}", step.value),
            })
            .collect();
        self.verdict = verdict.to_owned();
        self.least = plan.least;
        let unknown = |step: &Step| -> Option<String> {
            let name = names.function(step.function);
            let is_bar = |slot: &Slot| matches!(slot, Slot::Bar(n) if matches!(step.offset, o if o == 0x10 + 4 * u16::from(*n)));
            let unnamed = known.unnamed.iter().any(|(index, slot)| *index == step.function && is_bar(slot));
            if known.ways.contains(&step.function) {
                Some(format!("which bridges the {name} is"))
            } else if known.nameless.contains(&step.function) {
                Some(format!("where the {name} is"))
            } else if unnamed {
                Some(format!("which BARs of {name} are which"))
            } else {
                None
            }
        };
        let mut unsaid: Vec<String> = plan.steps.iter().filter_map(unknown).collect();
        unsaid.sort_unstable();
        unsaid.dedup();
        if !unsaid.is_empty() {
            // An incomplete list of writes would be worse than none.
            self.writes.clear();
        }
        let unknown = plan.steps.iter().filter(|step| step.offset == 4 && step.before.is_none());
        let mut guessed: Vec<Index> = unknown.map(|step| step.function).collect();
        guessed.sort_unstable();
        guessed.dedup();
        self.assumed =
            unsaid.into_iter().map(|what| format!("{what} is not said: the writes are left out")).collect();
        let commands = guessed
            .iter()
            .map(|index| format!("{}: what its command register holds is not said", names.function(*index)));
        if !self.writes.is_empty() {
            self.assumed.extend(commands);
        }
        let led = goal
            .place
            .iter()
            .flat_map(|(index, _)| goal.tree.above(*index))
            .filter(|i| known.led.contains(i));
        let led: std::collections::BTreeSet<Index> = led.collect();
        self.assumed.extend(led.into_iter().map(|bridge| {
            let buses = plan.tree.functions.get(bridge).and_then(|f| f.bridge.as_ref()?.buses);
            format!(
                "that {} leads to bus {:02x}, which no source says",
                names.function(bridge),
                buses.map_or(0, |b| b.0)
            )
        }));
        let through_unknown = |(index, _): &(Index, Slot)| {
            goal.tree.above(*index).find(|above| known.ways.contains(above) || known.unsaid.contains(above))
        };
        let mut ways: Vec<Index> = goal.place.iter().filter_map(through_unknown).collect();
        ways.sort_unstable();
        ways.dedup();
        self.assumed.extend(ways.iter().map(|way| {
            let name = names.function(*way);
            if known.ways.contains(way) {
                format!(
                    "that nothing else is behind the {name}, of which no source says which bridges that are"
                )
            } else {
                format!("that nothing else is behind {name}, of which no source says what it forwards")
            }
        }));
        self.quiesced = plan.quiesced.iter().map(|index| names.function(*index)).collect();
        for (index, function) in plan.tree.functions.iter().enumerate() {
            let had = goal.old.functions.get(index);
            for resource in &function.resources {
                let before = had.and_then(|had| had.resource(resource.slot));
                let changed = before.is_none_or(|b| b.at != resource.at || b.size != resource.size);
                if let Some(span) = resource.span().filter(|_| changed) {
                    self.placements.push(placement(&names, function.root, index, resource, span));
                }
            }
        }
        self.windows = changed_windows(&names, &goal.old, &plan.tree);
        let rooms = plan.cost.headroom.iter().map(|room| {
            let before = room.memory.0.saturating_add(room.prefetchable.0);
            let after = room.memory.1.saturating_add(room.prefetchable.1);
            (names.function(room.port), before, after)
        });
        self.headroom = rooms
            .map(|(port, before, after)| Headroom {
                port,
                before: format!("{before:#x}"),
                after: format!("{after:#x}"),
                before_words: size(before),
                after_words: size(after),
            })
            .collect();
        let after = |h: &pmem_pci::cost::Headroom| h.memory.1.saturating_add(h.prefetchable.1);
        let rooms = || plan.cost.headroom.iter().map(after);
        self.cost = Some(CostParts {
            weight: plan.cost.weight,
            live_bytes: format!("{:#x}", plan.cost.live_bytes),
            topmost: plan.cost.topmost,
            headroom: format!("{:#x}", rooms().fold(0, u64::saturating_add)),
            least_headroom: format!("{:#x}", rooms().min().unwrap_or(0)),
            writes: plan.cost.writes,
        });
        // A resource that has no prefetchable window above it could not have been anywhere else, so it lost nothing.
        let could = |(index, _): &&(Index, Slot)| {
            let above = plan.tree.functions.get(*index).and_then(|f| plan.tree.functions.get(f.parent?));
            above.and_then(|above| above.window(WindowKind::Prefetchable)?.span).is_some()
        };
        self.demoted = plan.demoted.iter().filter(could).map(|key| names.part(*key)).collect();
        self.left_out = plan.left_out.iter().map(|key| names.part(*key)).collect();
    }
}

fn goal_names<'k>(known: &'k PciTree, goal: &'k Goal) -> Names<'k> {
    Names::of(known, &goal.tree)
}

fn why(names: &Names<'_>, goal: &Goal, keys: &[(Index, Slot)]) -> Vec<Obstacle> {
    certificate::why(goal, keys).iter().map(|reason| one_reason(names, reason)).collect()
}

/// Describes why resources below one root bus do not fit.
fn one_reason(names: &Names<'_>, reason: &Reason) -> Obstacle {
    let root = names.tree.roots.get(reason.root);
    let bus = root.map_or(String::new(), |root| format!("{:04x}:{:02x}", root.segment, root.buses.0));
    let seen = |span: BusRange| Range::of(names.to_cpu(reason.root, reason.space, span));
    let needs: Vec<UnplacedBar> = reason
        .needs
        .iter()
        .filter_map(|key| {
            let Part { function, bar } = names.part(*key);
            let size = names.tree.functions.get(key.0)?.resource(key.1)?.size;
            Some(UnplacedBar { function, bar, size: format!("{size:#x}") })
        })
        .collect();
    let slots: Vec<AlignedPlace> = reason
        .places
        .iter()
        .map(|place| {
            let Range { start, end } = seen(place.span);
            let blockers =
                place.blockers.iter().filter_map(|side| side.function).map(|index| names.function(index));
            AlignedPlace { start, end, blockers: blockers.collect() }
        })
        .collect();
    let free = slots.iter().filter(|slot| slot.blockers.is_empty()).count();
    let (size, all) = (size(reason.size), slots.len());
    let says = match reason.ground {
        Ground::TooFewPlaces if all == 0 => {
            format!("no aligned range of {size} lies in what the host bridge and the windows forward")
        }
        Ground::TooFewPlaces => format!(
            "aligned ranges of {size}: {} needed; of {all}{}, {free} are free",
            needs.len(),
            if reason.more { " (the first that are listed)" } else { "" }
        ),
        Ground::TooFewBytes => format!("more bytes are wanted than the {:#x} that are free", reason.free),
        Ground::Exhausted => format!(
            "{free} of {all} aligned places of {size} are free, but in every order something else that must lie beside it has none"
        ),
    };
    let largest = reason.room.iter().copied().max_by_key(|span| span.len());
    let kind = match reason.space {
        Space::Io => "io",
        Space::Memory => "mem",
    };
    Obstacle {
        at: bus,
        kind: kind.to_owned(),
        range: largest.map(seen),
        free: format!("{:#x}", reason.free),
        needs,
        slots,
        says,
    }
}
