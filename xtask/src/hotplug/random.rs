//! Random machines and events from a seed: compares the prediction of each with what the kernel does.

use super::Judge;
use super::predictor::{Event, check, check_boot};
use super::session::{Card, Mode, Session};
use super::state::{State, parse};
use crate::kmod::test::Ready;
use crate::run::Result;

const MIB: u64 = 1 << 20;
/// The number of events on each machine.
const EVENTS: u32 = 5;

/// Random numbers from a seed (Marsaglia's xorshift).
struct Numbers(u32);

impl Numbers {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % end.max(1)
    }

    /// A card present at boot is small, so that it gets a place. One that is plugged in later may be too large
    /// for the room.
    fn card(&mut self, most: u32) -> Card {
        let size = MIB << self.below(most);
        if self.below(2) == 0 && size <= 64 * MIB { Card::Memory(size) } else { Card::Empty(size) }
    }
}

/// A port to plug cards into.
struct Port {
    /// QEMU's name for its bus.
    bus: String,
    /// The device number on bus 0, and the device number of the port behind the switch there, if any.
    at: (u8, Option<u8>),
    card: Option<(String, Card)>,
}

impl Port {
    fn address(&self, state: &State) -> String {
        let (device, below) = self.at;
        let root = format!("0000:00:{device:02x}.0");
        let Some(port) = below else { return root };
        let secondary = |name: &str| state.get(name).map_or(0, super::state::Function::secondary);
        let upstream = format!("0000:{:02x}:00.0", secondary(&root));
        format!("0000:{:02x}:{port:02x}.0", secondary(&upstream))
    }
}

/// Makes a machine: QEMU's arguments, and its ports.
fn machine(numbers: &mut Numbers) -> (Vec<String>, Vec<Port>) {
    let (mut arguments, mut ports) = (Vec::new(), Vec::new());
    let mut add = |text: String| arguments.extend(["-device".to_owned(), text]);
    for device in 4..6 + numbers.below(2) as u8 {
        add(format!(
            "pcie-root-port,id=p{device},chassis={device},slot={device},bus=pcie.0,addr={device:#x}"
        ));
        if numbers.below(2) == 0 {
            ports.push(Port { bus: format!("p{device}"), at: (device, None), card: None });
            continue;
        }
        add(format!("x3130-upstream,id=u{device},bus=p{device}"));
        for port in 0..2 + numbers.below(2) as u8 {
            let slot = u32::from(device) * 8 + u32::from(port);
            add(format!(
                "xio3130-downstream,id=d{slot},bus=u{device},chassis={slot},slot={slot},addr={port:#x}"
            ));
            ports.push(Port { bus: format!("d{slot}"), at: (device, Some(port)), card: None });
        }
    }
    for (n, port) in ports.iter_mut().enumerate() {
        if numbers.below(3) == 0 {
            let (id, card) = (format!("cold{n}"), numbers.card(6));
            arguments.extend(card.arguments(&id, &port.bus));
            port.card = Some((id, card));
        }
    }
    (arguments, ports)
}

/// Makes the arguments of a machine with switches below switches, some of whose ports take no cards.
fn deep_machine(numbers: &mut Numbers) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut slot = 0;
    let mut buses: Vec<(String, u32)> = Vec::new();
    let device = |text: String| ["-device".to_owned(), text];
    let mut port = |kind: &str, bus: &str, at: u32, hot_plug: bool| {
        slot += 1;
        let hot_plug = if hot_plug { "on" } else { "off" };
        (
            format!("p{slot}"),
            format!("{kind},id=p{slot},chassis={slot},slot={slot},bus={bus},addr={at:#x},hotplug={hot_plug}"),
        )
    };
    for at in 4..6 + numbers.below(2) {
        let (bus, text) = port("pcie-root-port", "pcie.0", at, numbers.below(3) > 0);
        arguments.extend(device(text));
        buses.push((bus, 0));
    }
    let mut next = 0;
    while let Some((bus, depth)) = buses.get(next).cloned() {
        next += 1;
        if depth < 2 && numbers.below(depth + 2) == 0 {
            arguments.extend(device(format!("x3130-upstream,id=u{bus},bus={bus}")));
            for at in 0..1 + numbers.below(3) {
                let (below, text) = port("xio3130-downstream", &format!("u{bus}"), at, numbers.below(3) > 0);
                arguments.extend(device(text));
                buses.push((below, depth + 1));
            }
        } else if numbers.below(2) == 0 {
            arguments.extend(numbers.card(6).arguments(&format!("c{bus}"), &bus));
        }
    }
    arguments
}

/// Boots a machine whose firmware assigns no addresses, and checks what the kernel makes of it.
pub fn boot(ready: &Ready, judge: &mut Judge, mode: Mode, seed: u32) -> Result {
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9) | 1);
    let mut arguments = deep_machine(&mut numbers);
    arguments.extend(["-bios".to_owned(), "qboot.rom".to_owned()]);
    let mut session = Session::boot(ready, &format!("bare-{}-{seed}", mode.name()), mode, &arguments)?;
    let wrong = check_boot(&mut session)?;
    judge.none("a boot without firmware's addresses", &wrong);
    Ok(())
}

/// Plays events on a machine, and checks each against its prediction.
pub fn play(ready: &Ready, judge: &mut Judge, mode: Mode, seed: u32) -> Result {
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9) | 1);
    let (arguments, mut ports) = machine(&mut numbers);
    let mut session = Session::boot(ready, &format!("random-{}-{seed}", mode.name()), mode, &arguments)?;
    for n in 0..EVENTS {
        let state = parse(&session.ok("state")?);
        let chosen = numbers.below(ports.len() as u32) as usize;
        let Some(port) = ports.get_mut(chosen) else { break };
        let address = port.address(&state);
        let event = match (numbers.below(7), port.card.take()) {
            (6, card) => {
                port.card = card;
                Event::Anew { port: format!("0000:00:{:02x}.0", port.at.0) }
            }
            (0, card) => {
                port.card = card;
                Event::Rescan
            }
            (1, None) => Event::RescanBus { port: address },
            (_, Some((id, card))) => Event::Unplug { id, card, port: address },
            (_, None) => {
                let (id, card) = (format!("hot{n}"), numbers.card(13));
                port.card = Some((id.clone(), card));
                Event::Plug { id, card, bus: port.bus.clone(), port: address }
            }
        };
        let wrong = check(&mut session, mode, &event)?;
        judge.none(&format!("{event:?}"), &wrong);
    }
    Ok(())
}
