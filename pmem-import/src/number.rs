//! Numbers as Linux prints them and people write them.

use pmem_pci::Address;

/// Parses an address: hexadecimal with `0x`, decimal without; `_` may separate digits. Hexadecimal digits without
/// `0x`, as in `fee00000` or `0010`, are refused with a hint, for they would silently be read as another number.
///
/// # Errors
/// A message that says what is wrong with the text, and what is expected.
///
/// # Examples
///
/// ```
/// use pmem_import::parse_addr;
///
/// assert_eq!(parse_addr("0xfee0_0000"), Ok(0xfee0_0000));
/// assert_eq!(parse_addr("4096"), Ok(0x1000));
/// assert_eq!(parse_addr("00ff"), Err("\"00ff\" is hexadecimal without 0x: write 0xff".to_owned()));
/// ```
pub fn parse_addr(text: &str) -> Result<u64, String> {
    let digits = text.replace('_', "");
    let (radix, plain) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (16, hex),
        None => (10, digits.as_str()),
    };
    let all_hex = !plain.is_empty() && plain.bytes().all(|b| b.is_ascii_hexdigit());
    if radix == 10 && all_hex {
        let leading_zero = plain.len() > 1 && plain.starts_with('0');
        if leading_zero || !plain.bytes().all(|b| b.is_ascii_digit()) {
            let bare = plain.trim_start_matches('0');
            let bare = if bare.is_empty() { "0" } else { bare };
            return Err(format!("{text:?} is hexadecimal without 0x: write 0x{bare}"));
        }
    }
    match u64::from_str_radix(plain, radix) {
        Ok(addr) if all_hex => Ok(addr),
        Err(error) if *error.kind() == std::num::IntErrorKind::PosOverflow => {
            Err(format!("{text:?} does not fit in 64 bits"))
        }
        _ => Err(format!("not an address: {text:?} (expected 0x…, decimal, or 0000:3b:00.0:bar2)")),
    }
}

/// Parses hexadecimal digits, with or without `0x`.
pub(crate) fn hex(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// Parses a size in bytes: `32G`, `512 KiB`, `0x1000`. The units K, M, G and T, in either case, are powers of 1024,
/// as on the kernel's command line (`memparse`). Returns `None` if the text is no size or does not fit in 64 bits.
///
/// # Examples
///
/// ```
/// use pmem_import::parse_size;
///
/// assert_eq!(parse_size("16M"), Some(16 << 20));
/// assert_eq!(parse_size("512 KiB"), Some(512 << 10));
/// assert_eq!(parse_size("sixteen"), None);
/// ```
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = if text.starts_with("0x") {
        text.split_at(text.trim_end_matches(|c: char| "kKmMgGtT".contains(c)).len())
    } else {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        text.split_at(text.len() - unit.len())
    };
    let unit = unit.trim().to_ascii_lowercase();
    let shift = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    let number = if digits.starts_with("0x") { hex(digits)? } else { digits.parse().ok()? };
    number.checked_mul(1 << shift)
}

/// Parses a range of addresses, and returns its first and last address, both inclusive. Three forms are accepted:
///
/// - `0x1000..0x2000`, as pmem prints it: the end is exclusive, and may be `2^64`;
/// - `0x1000-0x1fff` or `[mem 0x1000-0x1fff 64bit]`, as kernels print it: an odd end is the last address, an even
///   end is exclusive;
/// - `0x1000+4K`: a start and a size.
///
/// # Errors
/// A message that says what is wrong with the text, and what is expected. Empty, reversed and too long
/// ranges are errors.
///
/// # Examples
///
/// ```
/// use pmem_import::parse_range;
///
/// let last_64k_of_ram = (0x7fff_0000, 0x7fff_ffff);
/// assert_eq!(parse_range("0x7fff0000..0x80000000"), Ok(last_64k_of_ram));
/// assert_eq!(parse_range("[mem 0x7fff0000-0x7fffffff 64bit pref]"), Ok(last_64k_of_ram));
/// assert_eq!(parse_range("0x7fff0000+64K"), Ok(last_64k_of_ram));
/// assert!(parse_range("0x2000..0x1000").is_err());
/// ```
pub fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let wrong = |why: &str| {
        format!("not a range: {text:?}{why} (expected 0x1000..0x2000, 0x1000-0x1fff, or 0x1000+4K)")
    };
    // Kernels add flags such as `64bit pref` after the addresses; they do not belong to the range.
    let plain = text.trim().trim_start_matches('[').trim_start_matches("mem ").trim_end_matches(']');
    let plain = plain.split_whitespace().next().unwrap_or_default();
    let (start, last) = if let Some((start, end)) = plain.split_once("..") {
        let is_all = matches!(end, "2^64" | "0x10000000000000000");
        (parse_addr(start)?, if is_all { Some(u64::MAX) } else { parse_addr(end)?.checked_sub(1) })
    } else if let Some((start, size)) = plain.split_once('+') {
        let size = parse_size(size).ok_or_else(|| wrong(": what follows + is not a size"))?;
        let start = parse_addr(start)?;
        (start, size.checked_sub(1).and_then(|rest| start.checked_add(rest)))
    } else {
        let (start, end) = plain.split_once('-').ok_or_else(|| wrong(""))?;
        let end = parse_addr(end)?;
        (parse_addr(start)?, if end & 1 == 1 { Some(end) } else { end.checked_sub(1) })
    };
    last.filter(|last| start <= *last)
        .map(|last| (start, last))
        .ok_or_else(|| wrong(", empty, reversed, or past 2^64"))
}

/// Builds a function's address from three or four numbers: bus, device and function, with or without the segment in
/// front. `None` if a number is out of range.
pub(crate) fn function(numbers: &[u64]) -> Option<Address> {
    let (segment, bus, device, function) = match *numbers {
        [bus, device, function] => (0, bus, device, function),
        [segment, bus, device, function] => (segment, bus, device, function),
        _ => return None,
    };
    Some(Address {
        segment: u32::try_from(segment).ok()?,
        bus: u8::try_from(bus).ok()?,
        device: u8::try_from(device).ok().filter(|device| *device < 32)?,
        function: u8::try_from(function).ok().filter(|function| *function < 8)?,
    })
}

/// The largest CPU or node number that is believed; no machine has more.
const LARGEST: u32 = 1 << 22;

/// Strips blanks and NULs, which some kernels end their lists with, from both ends.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0')
}

/// Parses a list as Linux prints CPUs and nodes: `0-3,8`. An empty text is an empty list. `None` if it is no list.
pub(crate) fn parse_list(text: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in trim(text).split(',').filter(|part| !part.is_empty()) {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high): (u32, u32) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
        // The length check stops lists that repeat one large range over and over.
        if low > high || high >= LARGEST || all.len() > LARGEST as usize {
            return None;
        }
        all.extend(low..=high);
    }
    all.sort_unstable();
    all.dedup();
    Some(all)
}

/// Parses a mask as Linux prints CPUs: comma-separated hexadecimal words of 32 bits, the highest first.
pub(crate) fn parse_mask(text: &str) -> Option<Vec<u32>> {
    if text.len() > LARGEST as usize {
        return None;
    }
    let words: Option<Vec<u64>> = trim(text).split(',').map(|word| hex(word.trim())).collect();
    let words = words.filter(|words| words.iter().all(|word| *word <= u64::from(u32::MAX)))?;
    let bits = |(i, word): (u32, &u64)| {
        let word = *word;
        (0..32).filter(move |bit| word >> bit & 1 == 1).map(move |bit| i * 32 + bit)
    };
    Some((0u32..).zip(words.iter().rev()).flat_map(bits).collect())
}

/// Formats a sorted list as Linux prints CPUs and nodes: `0-3,8`.
///
/// # Examples
///
/// ```
/// assert_eq!(pmem_import::show_list(&[0, 1, 2, 3, 8]), "0-3,8");
/// ```
#[must_use]
pub fn show_list(all: &[u32]) -> String {
    let mut out = String::new();
    let mut rest = all;
    while let [first, ..] = rest {
        let run = (0..).zip(rest).take_while(|(i, n)| first.checked_add(*i) == Some(**n)).count();
        let (here, after) = rest.split_at(run);
        if !out.is_empty() {
            out.push(',');
        }
        match here {
            [one] => out.push_str(&one.to_string()),
            [low, .., high] => out.push_str(&format!("{low}-{high}")),
            [] => {}
        }
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,40}", digits in "[0-9a-fx,-]{0,40}") {
            for text in [&text, &digits] {
                let _ = (parse_addr(text), parse_range(text), parse_size(text));
                prop_assert!(parse_mask(text).is_none_or(|cpus| cpus.is_sorted()));
                let list = parse_list(text);
                // What is read is written in a way that is read alike.
                prop_assert_eq!(list.as_ref().and_then(|list| parse_list(&show_list(list))), list);
            }
        }
    }

    #[test]
    fn addresses_are_hexadecimal_or_decimal() {
        assert_eq!(parse_addr("0xfee0_0000"), Ok(0xfee0_0000));
        assert_eq!((parse_addr("4096"), parse_addr("0")), (Ok(4096), Ok(0)));
        assert!(parse_addr("0x1_0000_0000_0000_0000").unwrap_err().contains("does not fit in 64 bits"));
        for bad in ["", "0x", "bar", "-1", "+1", "0x+1", "0x12g"] {
            assert!(parse_addr(bad).unwrap_err().starts_with("not an address"), "{bad}");
        }
        for (bare, hint) in [("01000000", "0x1000000"), ("c0001000", "0xc0001000"), ("00", "0x0")] {
            assert!(parse_addr(bare).unwrap_err().ends_with(&format!("write {hint}")), "{bare}");
        }
    }

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, size) in [("4K", 4096), ("2 MiB", 2 << 20), ("0x10", 16), ("0x1B", 27), ("0x1K", 1024)] {
            assert_eq!(parse_size(text), Some(size), "{text}");
        }
        assert_eq!(
            (parse_size("7"), parse_size("1gb"), parse_size("16t")),
            (Some(7), Some(1 << 30), Some(16 << 40))
        );
        for bad in ["", "K", "4X", "-1", "0x", "16777216T", "é"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn ranges_are_read_as_they_are_printed() {
        for text in [
            "0x1000..0x2000",
            "0x1000-0x1fff",
            "0x1000-0x2000",
            "[mem 0x1000-0x1fff]",
            "0x1000+4K",
            "4096+0x1000",
        ] {
            assert_eq!(parse_range(text), Ok((0x1000, 0x1fff)), "{text}");
        }
        assert_eq!(parse_range("[mem 0xfec00000-0xfec003ff window]"), Ok((0xfec0_0000, 0xfec0_03ff)));
        assert_eq!(parse_range("0x1000..0x10000000000000000"), Ok((0x1000, u64::MAX)));
        // Two dots leave no doubt.
        assert_eq!(parse_range("0x1000..0x1fff"), Ok((0x1000, 0x1ffe)));
        assert_eq!(parse_range("0xfffffffffffff000+4K"), Ok((0xffff_ffff_ffff_f000, u64::MAX)));
        for bad in
            ["0x1000", "0x2000-0x1000", "0x1000..0x1000", "0x1000+0", "0xffffffffffffffff+2", "0x1000+x"]
        {
            assert!(parse_range(bad).unwrap_err().starts_with("not a range"), "{bad}");
        }
        assert!(parse_range("0x1000-0xzz").unwrap_err().starts_with("not an address: \"0xzz\""));
    }

    #[test]
    fn lists_and_masks_agree() {
        assert_eq!(parse_list("0-2,8\n"), Some(vec![0, 1, 2, 8]));
        assert_eq!(parse_list(""), Some(vec![]));
        assert_eq!(parse_list("3-1"), None);
        assert_eq!(parse_list("0-4294967295"), None);
        assert_eq!(parse_list("0-31\n\0"), Some((0..32).collect()));
        assert_eq!(parse_list("0-2000000").map(|all| all.len()), Some(2_000_001));
        assert_eq!(parse_mask("00000001,00000103\n"), Some(vec![0, 1, 8, 32]));
        assert_eq!(parse_mask("xyz"), None);
        assert_eq!(show_list(&[0, 1, 2, 8, 10, 11]), "0-2,8,10-11");
    }
}
