//! Decodes bytes to text: UTF-8, UTF-16, and quoted-printable.

use std::borrow::Cow;

/// Decodes bytes as text: UTF-16 if a byte order mark or its zero bytes show it, otherwise UTF-8. Invalid bytes
/// become replacement characters.
///
/// # Examples
///
/// ```
/// let wide: Vec<u8> = "BIOS-e820: usable".encode_utf16().flat_map(u16::to_le_bytes).collect();
/// assert!(pmem_import::is_wide(&wide));
/// assert_eq!(pmem_import::decode(&wide), "BIOS-e820: usable");
/// ```
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        _ => match zeros(bytes) {
            Some(order) => Cow::Owned(utf16(bytes, order)),
            None => String::from_utf8_lossy(bytes),
        },
    }
}

/// Whether bytes are text in UTF-16.
#[must_use]
pub fn is_wide(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) || zeros(bytes).is_some()
}

type Order = fn([u8; 2]) -> u16;

/// The byte order, if every other byte at the start is zero, as in English UTF-16 text without a byte order mark.
fn zeros(bytes: &[u8]) -> Option<Order> {
    let (pairs, _) = bytes.get(..bytes.len().min(512))?.as_chunks::<2>();
    let share = |which: usize| pairs.iter().filter(|pair| pair[which] == 0 && pair[1 - which] != 0).count();
    let most = pairs.len() * 9 / 10;
    match (share(1), share(0)) {
        (low, _) if pairs.len() >= 8 && low > most => Some(u16::from_le_bytes),
        (_, high) if pairs.len() >= 8 && high > most => Some(u16::from_be_bytes),
        _ => None,
    }
}

fn utf16(bytes: &[u8], order: Order) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    char::decode_utf16(pairs.iter().map(|pair| order(*pair)))
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Whether a text is quoted-printable (RFC 2045, section 6.7): lines end in a single `=` and continue in the next.
pub(super) fn is_quoted_printable(text: &str) -> bool {
    let soft = text.lines().filter(|line| ends_softly(line)).take(3).count();
    // A single such line may be a heading or a command; encoded characters elsewhere in the text decide.
    soft >= 2 || (soft == 1 && (text.contains("=3D") || text.contains("=20") || text.lines().count() < 8))
}

/// Whether a line continues in the next one.
pub(super) fn ends_softly(line: &str) -> bool {
    line.trim_end_matches('\r').strip_suffix('=').is_some_and(|rest| !rest.is_empty() && !rest.ends_with('='))
}

/// Decodes `=3D` and the like in a line without its soft break.
pub(super) fn unquote(line: &str) -> Cow<'_, str> {
    if !line.contains('=') {
        return Cow::Borrowed(line);
    }
    let bytes = line.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).filter(|_| *byte == b'=');
        let upper = |b: &u8| b.is_ascii_digit() || (b'A'..=b'F').contains(b);
        let code = hex.filter(|hex| hex.iter().all(upper)).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(code) => {
                out.push(code);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_texts_are_read() {
        let text = "BIOS-e820: ok\r\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(decode(&little), text);
        assert_eq!(decode(&big), text);
        assert_eq!(decode(&[&[0xff, 0xfe], &little[..]].concat()), text);
        assert_eq!(decode(&[0xef, 0xbb, 0xbf, b'a', 0xff]), "a\u{fffd}");
    }

    #[test]
    fn quoted_printable_is_told_from_headings() {
        assert!(is_quoted_printable("a usabl=\ne\nb reser=\nved\n"));
        assert!(!is_quoted_printable("MTRR Settings\n=============\nx=\n1\n2\n3\n4\n5\n6\n"));
        assert_eq!(unquote("root=3DUUID =C3=A9 =zz"), "root=UUID é =zz");
    }
}
