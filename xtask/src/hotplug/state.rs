//! What a guest's kernel and its registers have of every PCI function.

use std::collections::BTreeMap;

/// First and last address.
pub type Range = (u64, u64);

/// One function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// The first 64 bytes of its configuration space.
    pub config: Vec<u8>,
    /// Its lines of `resource`: where the kernel's map has each; `None` where it has no place.
    pub resources: Vec<Option<Range>>,
}

/// All, by address.
pub type State = BTreeMap<String, Function>;

/// The line of a BAR by its name, or of a bridge's window: its six BARs, the ROM, six of virtual functions, and the windows.
pub fn line(name: &str) -> Option<usize> {
    match name {
        "rom" => Some(6),
        "io" => Some(13),
        "mem" => Some(14),
        "pref" => Some(15),
        bar => bar.parse().ok().filter(|n| *n < 6),
    }
}

/// Reads what the guest's `state` prints.
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
                // Memory or ports, at a place: 0 is none.
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
    /// Where the kernel's map has something.
    pub fn at(&self, name: &str) -> Option<Range> {
        self.resources.get(line(name)?).copied().flatten()
    }

    /// Whether it is a PCI bridge.
    pub fn is_bridge(&self) -> bool {
        self.config.get(0x0e).is_some_and(|kind| kind & 0x7f == 1)
    }

    /// The bus below a bridge.
    pub fn secondary(&self) -> u8 {
        self.config.get(0x19).copied().unwrap_or(0)
    }

    /// What the registers of a window of memory forward, worked out from the bytes alone.
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

/// What two have otherwise of functions that both have, but for some names: where, and what each has.
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
