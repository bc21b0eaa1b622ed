//! "Did you mean" suggestions for names that do not exist.

use pmem_pci::Address;

/// The most names that one suggestion offers.
const MOST: usize = 3;

/// Returns the end of an error message, `; did you mean "a" or "b"?`, with the names that are spelled almost like
/// `word` or contain it. Returns an empty string if there are none.
///
/// # Examples
///
/// ```
/// use pmem_import::did_you_mean;
///
/// let arenas = ["system", "node0 RAM", "pci 0000:3b"];
/// assert_eq!(did_you_mean("sytem", arenas), "; did you mean \"system\"?");
/// assert_eq!(did_you_mean("framebuffer", arenas), "");
/// ```
pub fn did_you_mean<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let lower = word.to_lowercase();
    let distance = |name: &str| {
        let name = name.to_lowercase();
        let edits = strsim::damerau_levenshtein(&lower, &name);
        // One edit is allowed, two in names of 16 letters or more. A name that contains the word ranks
        // like one edit.
        let is_part = lower.len() >= 3 && name.contains(&lower);
        (!lower.is_empty() && edits <= 1 + lower.len() / 16).then_some(edits).or(is_part.then_some(1))
    };
    let mut near: Vec<(usize, &str)> =
        names.into_iter().filter_map(|name| Some((distance(name)?, name))).collect();
    near.sort_unstable();
    near.dedup();
    let quoted: Vec<String> = near.iter().take(MOST).map(|(_, name)| format!("{name:?}")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => format!("; did you mean {only}?"),
        Some((last, rest)) => format!("; did you mean {} or {last}?", rest.join(", ")),
    }
}

/// Returns the end of an error message, as [`did_you_mean`] does, with known PCI functions whose addresses resemble
/// `address`.
pub fn did_you_mean_function(address: Address, known: impl IntoIterator<Item = Address>) -> String {
    let known: Vec<String> = known.into_iter().map(|address| address.to_string()).collect();
    did_you_mean(&address.to_string(), known.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn slips_and_parts_are_found_and_strangers_are_not() {
        let names = ["system", "pci 0000:00", "pci 0000:04", "node0 RAM", "node1 RAM"];
        assert_eq!(did_you_mean("sytsem", names), "; did you mean \"system\"?");
        assert_eq!(did_you_mean("0000:04", names), "; did you mean \"pci 0000:04\"?");
        assert_eq!(did_you_mean("node2 ram", names), "; did you mean \"node0 RAM\" or \"node1 RAM\"?");
        assert_eq!(did_you_mean("nowhere", names), "");
        assert_eq!(did_you_mean("", names), "");
    }
}
