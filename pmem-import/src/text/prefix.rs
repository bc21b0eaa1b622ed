//! Prefixes that logs, mailers and shells put in front of a line.

/// A line without its prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix<'t> {
    /// The rest of the line, with its own indentation.
    pub(super) text: &'t str,
    /// A time stamp, level or facility stood in front.
    pub(super) logged: bool,
    /// A hypervisor wrote the line.
    pub(super) xen: bool,
}

/// The most prefixes that are removed one after another.
const MOST: usize = 12;

/// Removes quotation marks, time stamps, levels, hosts and facilities.
pub(super) fn strip(line: &str) -> Prefix<'_> {
    let mut out = Prefix { text: unquoted(line), logged: false, xen: false };
    for _ in 0..MOST {
        let text = out.text;
        // Blanks in front of a prefix have no meaning; those after the last one are indentation.
        let begin = text.trim_start();
        let rest = match begin.as_bytes().first() {
            Some(b'[') => bracketed(begin),
            Some(b'<') => level(begin),
            Some(b'(') => begin.strip_prefix("(XEN)").map(|rest| {
                out.xen = true;
                rest.strip_prefix(' ').unwrap_or(rest)
            }),
            Some(b'0'..=b'9') => iso(begin),
            Some(b'A'..=b'Z') => syslog(begin),
            Some(b'k') => facility(begin),
            _ => None,
        };
        let Some(rest) = rest else { break };
        out.logged = true;
        out.text = rest;
    }
    out
}

/// Removes marks of quotations and comments: `> `, `| `, `JM> `, `// `.
fn unquoted(line: &str) -> &str {
    let mut text = line;
    for _ in 0..MOST {
        let begin = text.trim_start();
        let initials = begin.bytes().take_while(u8::is_ascii_uppercase).count();
        let quoted = begin[if (2..=3).contains(&initials) { initials } else { 0 }..].strip_prefix('>');
        let Some(rest) = quoted.or_else(|| begin.strip_prefix("//")) else { break };
        text = rest.strip_prefix(' ').unwrap_or(rest);
    }
    text
}

/// Removes `[    0.123456] `, `[ +0.000001] `, `[ T123]`, `[Mon Jan  2 03:04:05 2023] `,
/// `[2023-01-02 03:04:05]` or `[DEBUG]  `.
fn bracketed(text: &str) -> Option<&str> {
    let close = text.get(..48.min(text.len())).or(Some(text))?.find(']')?;
    let (inside, rest) = (&text[1..close], &text[close + 1..]);
    let words = inside.trim();
    let figures = |text: &str| {
        text.bytes().any(|b| b.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_digit() || b"+.<> ".contains(&b))
    };
    let caller = words.strip_prefix(['T', 'C']).is_some_and(figures);
    let date = words.len() >= 19
        && words.matches(':').count() >= 2
        && words.bytes().any(|b| b.is_ascii_digit())
        && !words.contains("0x")
        // Nor is a JSON list a date.
        && !words.contains(['"', '{']);
    const LEVELS: [&str; 11] =
        ["DEBUG", "SPEW", "INFO", "NOTE", "NOTICE", "WARN", "WARNING", "ERROR", "CRIT", "ALERT", "EMERG"];
    let is_level = LEVELS.contains(&words);
    if !(figures(words) || caller || date || is_level) {
        return None;
    }
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    // coreboot pads its levels with a second blank.
    Some(if is_level { rest.strip_prefix(' ').unwrap_or(rest) } else { rest })
}

/// Removes `<6>`.
fn level(text: &str) -> Option<&str> {
    let (number, rest) = text.strip_prefix('<')?.split_once('>')?;
    let short = !number.is_empty() && number.len() <= 3 && number.bytes().all(|b| b.is_ascii_digit());
    short.then_some(rest)
}

/// Removes `2023-01-02T03:04:05.123456+01:00 host kernel: `.
fn iso(text: &str) -> Option<&str> {
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let bytes = text.as_bytes().get(..shape.len())?;
    let fits = |(byte, like): (&u8, &u8)| match like {
        b'd' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b' '),
        other => byte == other,
    };
    if !bytes.iter().zip(shape).all(fits) {
        return None;
    }
    let (_, rest) = text[shape.len()..].split_once(' ')?;
    Some(after_host(rest).unwrap_or(rest))
}

/// Removes `Jan  2 03:04:05 host kernel: `, also with a year after the day.
fn syslog(text: &str) -> Option<&str> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let begin = text.get(..3)?;
    if !MONTHS.contains(&begin) {
        return None;
    }
    let mut rest = text[3..].trim_start();
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=2).contains(&digits) {
        return None;
    }
    rest = rest[digits..].trim_start();
    let time = rest.split(' ').next()?;
    let is_time = |word: &str| {
        word.len() >= 8
            && word.as_bytes()[2] == b':'
            && word.bytes().all(|b| b.is_ascii_digit() || b":.".contains(&b))
    };
    if !is_time(time) {
        return None;
    }
    rest = rest[time.len()..].strip_prefix(' ')?;
    after_host(rest)
}

/// The rest after a host name and the kernel's: `host kernel: `, `host kernel[123]: `.
fn after_host(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(' ')?;
    facility(rest)
}

/// Removes `kernel: ` or `kernel[123]: `.
fn facility(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("kernel")?;
    let rest = match rest.strip_prefix('[') {
        Some(numbered) => numbered.split_once(']').filter(|(number, _)| number.len() < 8)?.1,
        None => rest,
    };
    let rest = rest.strip_prefix(':')?;
    Some(rest.strip_prefix(' ').unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_stands_behind_every_kind_of_prefix() {
        for line in [
            "BIOS-e820: x",
            "[    0.000000] BIOS-e820: x",
            "[  +0.000001] BIOS-e820: x",
            "[0] BIOS-e820: x",
            "[   12.345678][ T123] BIOS-e820: x",
            "[   12.345678] [   C1] BIOS-e820: x",
            "[Mon Jan  2 03:04:05 2023] BIOS-e820: x",
            "[2023-01-02 03:04:05] BIOS-e820: x",
            "2023-01-02T03:04:05.123456+01:00 host kernel: [    0.0] BIOS-e820: x",
            "2023-01-02T03:04:05,123456+01:00 BIOS-e820: x",
            "Nov 22 09:52:55 host kernel: [    0.000000] BIOS-e820: x",
            "Jan  2 03:04:05 host kernel[123]: BIOS-e820: x",
            "<6>[    0.000000] BIOS-e820: x",
            "kernel: BIOS-e820: x",
            "> > > [    0.000000] BIOS-e820: x",
            "JM> BIOS-e820: x",
            "    // BIOS-e820: x",
            "(XEN) [2023-01-02 03:04:05.123] BIOS-e820: x",
        ] {
            assert_eq!(strip(line).text, "BIOS-e820: x", "{line}");
        }
        assert!(strip("(XEN) x").xen && !strip("x").logged);
    }

    #[test]
    fn what_is_no_prefix_stays() {
        for line in [
            "[mem 0x78800000-0xfdffffff] available for PCI devices",
            "[Hardware Error]: physical_address: 0x1",
            "[8086:1234] type 00",
            r#"[{ "memdev":"mem2", "size":268435456 }]"#,
            "  0 base 0000000000 mask 7F80000000 write-back",
            "00000000-00000fff : Reserved",
            "May I ask why",
            "AMD-Vi: Event logged",
            "    fec00000-fec003ff : IOAPIC 0",
        ] {
            assert_eq!(strip(line), Prefix { text: line, logged: false, xen: false }, "{line}");
        }
        assert_eq!(
            strip("[    0.000000]   0 base 00 mask").text,
            "  0 base 00 mask",
            "blanks may mean something"
        );
        assert_eq!(strip("[DEBUG]  0x00 - 0x01").text, "0x00 - 0x01");
    }
}
