//! What the kernel and the registers of a guest have for every PCI function.

use std::collections::BTreeMap;

/// The first and the last address, both inclusive.
pub type Range = (u64, u64);

/// One function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// The first 64 bytes of its configuration space.
    pub config: Vec<u8>,
    /// The lines of its `resource` file: where the kernel's map has each resource; `None` if it has no place.
    pub resources: Vec<Option<Range>>,
}

/// All functions, by address.
pub type State = BTreeMap<String, Function>;

/// Returns the line of a resource by its name: six BARs, the ROM, six BARs of virtual functions, then a
/// bridge's windows.
pub fn line(name: &str) -> Option<usize> {
    match name {
        "rom" => Some(6),
        "io" => Some(13),
        "mem" => Some(14),
        "pref" => Some(15),
        bar => bar.parse().ok().filter(|n| *n < 6),
    }
}

/// Parses the output of the guest's `state` command.
pub fn parse(text: &str) -> State {
    let mut out = State::new();
    let mut last = String::new();
    let number = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["function", name, config] => {
                last = (*name).to_owned();
                let bytes = (0..config.len() / 2).filter_map(|i| config.get(2 * i..2 * i + 2));
                let config = bytes.filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
                out.insert(last.clone(), Function { config, resources: Vec::new() });
            }
            ["resource", start, end, flags] => {
                let (Some(start), Some(end), Some(flags)) = (number(start), number(end), number(flags))
                else {
                    continue;
                };
                // Memory or ports with a place: a start of 0 means none.
                let placed = flags & 0x300 != 0 && flags & 0x2000_0000 == 0 && start != 0;
                if let Some(function) = out.get_mut(&last) {
                    function.resources.push(placed.then_some((start, end)));
                }
            }
            _ => {}
        }
    }
    out
}

impl Function {
    /// Returns where the kernel's map has a resource.
    pub fn at(&self, name: &str) -> Option<Range> {
        self.resources.get(line(name)?).copied().flatten()
    }

    /// Returns `true` for a PCI bridge.
    pub fn is_bridge(&self) -> bool {
        self.config.get(0x0e).is_some_and(|kind| kind & 0x7f == 1)
    }

    /// Returns the bus below a bridge.
    pub fn secondary(&self) -> u8 {
        self.config.get(0x19).copied().unwrap_or(0)
    }

    /// Returns what the registers of a memory window forward, worked out from the bytes alone.
    pub fn registers(&self, name: &str) -> Option<Range> {
        let word = |at: usize| {
            let byte = |at: usize| self.config.get(at).copied().map_or(0, u64::from);
            byte(at) | byte(at + 1) << 8
        };
        let double = |at: usize| word(at) | word(at + 2) << 16;
        let at = if name == "pref" { 0x24 } else { 0x20 };
        let is_wide = name == "pref" && word(at) & 0xf == 1;
        let upper = |at: usize| if is_wide { double(at) << 32 } else { 0 };
        let first = (word(at) & 0xfff0) << 16 | upper(0x28);
        let last = (word(at + 2) & 0xfff0) << 16 | 0xf_ffff | upper(0x2c);
        (first <= last).then_some((first, last))
    }
}

/// Lists the differences between functions that both states have, except those named in `but`.
pub fn differences(before: &State, after: &State, but: &[&str]) -> Vec<String> {
    let mut out = Vec::new();
    for (name, had) in before.iter().filter(|(name, _)| !but.contains(&name.as_str())) {
        match after.get(name) {
            Some(has) if has.resources == had.resources => {}
            Some(has) => out.push(format!("{name}: {:x?} before, {:x?} after", had.resources, has.resources)),
            None => out.push(format!("{name} is gone")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_worked_out_from_the_bytes() {
        let mut config = vec![0; 64];
        config[0x0e] = 1;
        config[0x20..0x24].copy_from_slice(&[0x40, 0xfe, 0x90, 0xfe]);
        config[0x24..0x28].copy_from_slice(&[0x01, 0xfc, 0xf1, 0xfd]);
        config[0x28] = 1;
        config[0x2c] = 1;
        let function = Function { config, resources: Vec::new() };
        assert_eq!(function.registers("mem"), Some((0xfe40_0000, 0xfe9f_ffff)));
        assert_eq!(function.registers("pref"), Some((0x1_fc00_0000, 0x1_fdff_ffff)));
        let text = "function 0000:00:04.0 36\nresource 0x0000000000000000 0x00000000001fffff 0x0000000000102200\n\
                    resource 0x00000000fe400000 0x00000000fe9fffff 0x0000000000000200\n";
        let state = parse(text);
        assert_eq!(state["0000:00:04.0"].resources, [None, Some((0xfe40_0000, 0xfe9f_ffff))]);
    }
}
