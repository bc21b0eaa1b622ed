//! Splits the bytes of a text into clean lines.

use super::Line;
use super::decode::{decode, ends_softly, is_quoted_printable, unquote};
use super::prefix::{Prefix, strip};
use std::borrow::Cow;
use std::sync::Arc;

/// Calls `each` with every line of a text, cleaned. Blank lines are skipped.
pub(crate) fn lines(source: &Arc<str>, bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
    let text = decode(bytes);
    let quoted = is_quoted_printable(&text);
    let Kind { has_asides, .. } = kind(&text);
    // Whether the last line named a diff's first text, and whether we are inside a diff.
    let (mut first_named, mut is_difference) = (false, false);
    let mut numbered = (1u32..).zip(text.split('\n'));
    while let Some((number, raw)) = numbered.next() {
        let mut raw = Cow::Borrowed(raw);
        if quoted {
            // A line with a soft break continues in the next. The limit stops on long runs, which are no text.
            for _ in 0..64 {
                if !ends_softly(&raw) {
                    break;
                }
                let mut whole = raw.trim_end_matches('\r').to_owned();
                whole.pop();
                if let Some((_, next)) = numbered.next() {
                    whole.push_str(next);
                }
                raw = Cow::Owned(whole);
            }
            if let Cow::Owned(whole) = unquote(&raw) {
                raw = Cow::Owned(whole);
            }
        }
        let cleaned = clean(&raw);
        let cleaned = if is_difference {
            // Of a diff we read the second text: added lines and context lines.
            match cleaned.as_bytes().first() {
                Some(b'-') => continue,
                Some(b'+') => Cow::Owned(cleaned[1..].to_owned()),
                _ => cleaned,
            }
        } else {
            is_difference = first_named && cleaned.starts_with("+++ ");
            first_named = cleaned.starts_with("--- ");
            cleaned
        };
        if has_asides && cleaned.trim_start().starts_with("//") {
            continue;
        }
        let Prefix { text, logged, xen } = strip(&cleaned);
        if !text.trim().is_empty() {
            each(Line { number, text: Cow::Borrowed(text), logged, xen, source: source.clone() });
        }
    }
}

/// Properties of a whole text, determined before its lines are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The text is a diff; only the second text of it is read.
    pub(crate) is_difference: bool,
    /// Some lines are commented out with `//`, others are not. The former describe another state, and are left out.
    pub(crate) has_asides: bool,
}

/// Determines the properties of a whole text.
pub(crate) fn kind(text: &str) -> Kind {
    let is_difference = text
        .lines()
        .zip(text.lines().skip(1))
        .any(|(first, second)| first.starts_with("--- ") && second.starts_with("+++ "));
    let says = |line: &&str| line.contains(": ");
    let (beside, plain): (Vec<&str>, Vec<&str>) =
        text.lines().filter(says).partition(|line| line.trim_start().starts_with("//"));
    Kind { is_difference, has_asides: !beside.is_empty() && beside.len() < plain.len() }
}

/// Removes what does not belong to a line: its line ending, colours, HTML entities and tags, non-breaking spaces.
fn clean(raw: &str) -> Cow<'_, str> {
    let raw = raw.trim_end();
    if raw.is_ascii() && !raw.contains(['\x1b', '&', '\0', '<']) {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        let skip = match c {
            '\x1b' => colour(rest),
            '&' => match entity(rest) {
                Some((plain, len)) => {
                    out.push(plain);
                    len
                }
                None => 0,
            },
            '<' => tag(rest),
            '\0' => 1,
            '\u{a0}' => {
                out.push(' ');
                c.len_utf8()
            }
            _ => 0,
        };
        if skip == 0 {
            out.push(c);
        }
        rest = &rest[if skip == 0 { c.len_utf8() } else { skip }..];
    }
    Cow::Owned(out)
}

/// The length of an HTML tag at the start of a text, of those that web pages put around preformatted
/// text; 0 if there is none.
fn tag(text: &str) -> usize {
    const TAGS: [&str; 10] =
        ["<br>", "<br/>", "<br />", "<pre>", "</pre>", "<code>", "</code>", "<p>", "</p>", "<tt>"];
    let is_tag = |tag: &&&str| text.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag));
    TAGS.iter().find(is_tag).map_or(0, |tag| tag.len())
}

/// The length of a control sequence (ECMA-48, section 5.4) at the start of a text.
fn colour(text: &str) -> usize {
    let Some(body) = text.strip_prefix("\x1b[") else { return 1 };
    let end = body.bytes().position(|b| (0x40..=0x7e).contains(&b));
    end.map_or(text.len(), |end| 2 + end + 1)
}

/// The character that an HTML entity at the start of a text stands for, and the entity's length.
fn entity(text: &str) -> Option<(char, usize)> {
    let named = [
        ("&lt;", '<'),
        ("&gt;", '>'),
        ("&amp;", '&'),
        ("&quot;", '"'),
        ("&nbsp;", ' '),
        ("&#39;", '\''),
        ("&#x27;", '\''),
    ];
    named.iter().find(|(name, _)| text.starts_with(name)).map(|(name, c)| (*c, name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str) -> Vec<(u32, String)> {
        let mut out = Vec::new();
        lines(&"t".into(), text.as_bytes(), |line| out.push((line.number, line.text.into_owned())));
        out
    }

    #[test]
    fn lines_keep_their_numbers_whatever_is_joined() {
        let text = "a usabl=\ne\nb reser=\nved\r\n\n\x1b[32m&lt;6&gt;[    0.000000]   c\x1b[0m\n";
        assert_eq!(
            all(text),
            [(1, "a usable".to_owned()), (3, "b reserved".to_owned()), (6, "  c".to_owned())]
        );
    }

    #[test]
    fn a_pages_tags_are_no_part_of_its_lines() {
        let text = "<pre>00000000-00000fff : Reserved<br />\n<code>a &lt;b&gt; <ignored></code><BR>\n";
        assert_eq!(
            all(text),
            [(1, "00000000-00000fff : Reserved".to_owned()), (2, "a <b> <ignored>".to_owned())]
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            lines(&"t".into(), &bytes, |_| {});
        }

        #[test]
        fn arbitrary_text_never_panics(text in "(\\PC|[\x1b\\[&#;>=\\n\\r0-9a-f]){0,80}") {
            all(&text);
        }
    }
}
