//! Reads what texts say about bad memory, and the settings that people use against it.

mod kernel;
mod memtest;
mod record;
mod setting;

use crate::text::lines;
use std::sync::Arc;

pub use record::{BadMemoryLine, BadRecord, MemMapPart, MemoryError, PAGE, Quoting, Setting};

/// Reads the statements about bad memory in a text, in order. Other lines are skipped.
///
/// # Examples
///
/// ```
/// use pmem_import::bad::{BadRecord, bad_memory};
///
/// let log = b"[  812.4] Memory failure: 0x27ca9f: recovery action for dirty page: Recovered\n";
/// let found = bad_memory(log);
/// let BadRecord::Error(error) = &found[0].what else { panic!("not an error") };
/// assert_eq!((found[0].line, error.address), (1, 0x2_7ca9_f000));
/// ```
#[must_use]
pub fn bad_memory(text: &[u8]) -> Vec<BadMemoryLine> {
    let source: Arc<str> = "the text".into();
    let mut out = Vec::new();
    let mut in_list = false;
    lines(&source, text, |line| {
        let words = line.words();
        let tested = memtest::read(words, &mut in_list);
        let found = [kernel::read(words), setting::read(words), tested];
        let found = found.into_iter().find(|found| !found.is_empty()).unwrap_or_default();
        out.extend(found.into_iter().map(|what| BadMemoryLine { line: line.number, what }));
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addresses(text: &str) -> Vec<u64> {
        let error = |bad: BadMemoryLine| match bad.what {
            BadRecord::Error(error) => Some(error.address),
            _ => None,
        };
        bad_memory(text.as_bytes()).into_iter().filter_map(error).collect()
    }

    #[test]
    fn addresses_and_frames_are_told_apart() {
        let sbridge =
            "EDAC MC0: 1 CE x on CPU_SrcID#2 (channel:2 slot:0 page:0x2007dfaa offset:0x100 grain:32)";
        let cut = "badram=\n0x000000015c1e3c20,0xfffffffffffffff8,\n0x00000003031ffb50,0xfffffffffffffff8";
        for (text, expected) in [
            ("Memory failure: 0x89dedd: recovery action for clean LRU page", vec![0x8_9ded_d000]),
            ("MCE 0x318: recovery action for dirty LRU page: Recovered", vec![0x31_8000]),
            ("Injecting memory failure for page 0x39df at 0x45701d", vec![0x39d_f000]),
            (sbridge, vec![0x200_7dfa_a100]),
            ("EDAC MC0: 1 CE Cannot decode (csrow:3 channel:0 page:0x0 offset:0x0 grain:64)", vec![]),
            ("EDAC sbridge MC1: ADDR 2007f56e100 EDAC sbridge MC1: MISC 454584486", vec![0x200_7f56_e100]),
            ("EDAC igen6 MC0: ADDR 0x7fffffffe0", vec![]),
            ("AEST: {1}[Hardware Error]:   ERR0ADDR: 0x8400000043344521", vec![0x4334_4521]),
            ("{1}[Hardware Error]:   physical_address: 0x000000314d193000", vec![0x31_4d19_3000]),
            ("{1}[Hardware Error]:   physical_address_mask: 0x0000003fffffffc0", vec![]),
            (cut, vec![0x1_5c1e_3c20, 0x3_031f_fb50]),
            ("Failing address: 002f796c48 -    759.5 MB", vec![0x2f79_6c48]),
            ("00027ca9f010 (9.94GB) test 7\n00010c1d370", vec![0x2_7ca9_f010, 0x10c1_d370]),
            (
                "mdsched:    0x1efbe8 0x1efbe9 0x1efbea 0x1efbeb",
                vec![0x1_efbe_8000, 0x1_efbe_9000, 0x1_efbe_a000, 0x1_efbe_b000],
            ),
            ("4MEM/62/40000000: 0x83a65498", vec![]),
        ] {
            assert_eq!(addresses(text), expected, "{text}");
        }
    }

    #[test]
    fn settings_are_read_with_their_quotes() {
        let one = |text: &str| match bad_memory(text.as_bytes()).remove(0).what {
            BadRecord::Setting(setting) => setting,
            other => panic!("{other:?}"),
        };
        let map = |size, kind, start, quoting| Setting::MemMap {
            parts: vec![MemMapPart { size, kind, start }],
            quoting,
        };
        let shell = Quoting::Shell { backslashes: 3, double: true };
        let grub = r#"GRUB_CMDLINE_LINUX="memmap=79G\\\$82G isolcpus=7,8""#;
        assert_eq!(one(grub), map(79 << 30, Some('$'), 82 << 30, shell));
        assert_eq!(one("given: memmap=1M!2399M"), map(1 << 20, Some('!'), 2399 << 20, Quoting::Plain));
        assert_eq!(one("memmap=79G"), map(79 << 30, None, 0, Quoting::Plain));
        assert_eq!(
            one("given: GRUB_BADRAM=\"0x10c1d370,0x10c1dab0,0x04c1da90\""),
            Setting::BadRam { pairs: vec![(0x10c1_d370, 0x10c1_dab0)], left: Some(0x4c1_da90) }
        );
        let list = Setting::BadMemoryList { frames: vec![0xb7, 0xb8], named: false };
        assert_eq!(one("bcdedit /set badmemorylist 0xB7 0xB8"), list);
    }

    proptest! {
        #[test]
        fn no_text_panics(
            text in "(.{0,40}\n){0,3}",
            near in "((badram=|0x|memmap=|[0-9a-fKMG$!@\\\\,:. ]{0,9}|EDAC |ADDR |page:0x|Memory failure: |Address: |Expected: |\n)){0,24}",
        ) {
            let _ = bad_memory(text.as_bytes());
            let _ = bad_memory(near.as_bytes());
        }
    }
}
