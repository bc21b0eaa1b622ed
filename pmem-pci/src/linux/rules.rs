//! What differs between versions of Linux.

/// How the alignment of a memory window, and so its size, follows from what is to lie in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizing {
    /// Up to 6.10: the least alignment at which what is smaller still fills half of what is larger; the size a multiple of it.
    Half,
    /// 6.11 to 6.19: the same, but if that does not fit into the window above, the largest alignment, and no rounding.
    Relaxed,
    /// From 7.0, and in stable trees since: as low as the smaller ones can begin before the largest; no rounding.
    Head,
}

/// The rules of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How windows are sized.
    pub sizing: Sizing,
    /// ROMs that are not enabled are optional, and so are windows that are only kept for cards to come (from 6.15).
    pub leaves_options_out: bool,
    /// What is said of [`Sizing::Relaxed`] is done for the size with what is optional as well (from 6.15).
    pub relaxes_options: bool,
    /// The same is done where no window above is assigned yet, at boot, two bridges below the root and farther; and it never raises an
    /// alignment (from 6.18).
    pub relaxes_freely: bool,
    /// A window whose size is no multiple of its alignment begins lower, so that it ends at a multiple (from 7.1).
    pub moved_down: bool,
    /// A window that grew keeps at least its old size (up to 6.19).
    pub old_size_is_least: bool,
    /// What is released after a failure is said window by window (from 6.18).
    pub names_windows: bool,
    /// A resize restores everything when it fails (from 6.19, and in stable trees).
    pub restores: bool,
    /// A resize fails as well if something that is only kept for cards to come, ports say, has no place (6.15 to 6.18).
    pub undoes_for_options: bool,
    /// After a failure on a root bus the windows of all its ports are released (up to 6.19; 7.0 releases those in the first aperture alone, which
    /// on PCs is VGA's).
    pub releases_on_root: bool,
    /// At boot, too, what is left in hot-plug ports' windows is shared among the bridges behind (from 6.2), and less than that is left: what others
    /// on the bus have is taken off first.
    pub shares_what_is_left: bool,
    /// A share that is less than a window needs is all that it gets (up to 7.0).
    pub shrinks: bool,
    /// Bytes kept for cards to come below a hot-plug port: of ports, memory, prefetchable memory.
    pub reserve: (u64, u64, u64),
}

impl Rules {
    /// The rules of a version: major, minor.
    #[must_use]
    pub const fn of(major: u32, minor: u32) -> Self {
        let version = major * 1000 + minor;
        let sizing = if version < 6011 {
            Sizing::Half
        } else if version < 7000 {
            Sizing::Relaxed
        } else {
            Sizing::Head
        };
        Self {
            sizing,
            leaves_options_out: version >= 6015,
            relaxes_options: version >= 6015,
            relaxes_freely: version >= 6018,
            moved_down: version >= 7001,
            old_size_is_least: version < 7000,
            names_windows: version >= 6018,
            restores: version >= 6019,
            undoes_for_options: version >= 6015 && version < 6019,
            releases_on_root: version < 7000,
            shares_what_is_left: version >= 6002,
            shrinks: version < 7001,
            reserve: (0x100, 0x20_0000, 0x20_0000),
        }
    }

    /// The rules of a version as text: `6.1`, `6.12.117+deb12-amd64`, `6.1.0-57-amd64 (Debian 6.1.176-1)`; `None` if it is none. Stable trees
    /// take changes over.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = |text: &str| {
            let mut parts = text.trim().split(['.', '-', '+', ' ']);
            let mut number = || parts.next()?.parse::<u32>().ok();
            Some((number()?, number()?, number().unwrap_or(0)))
        };
        let (major, minor, patch) = numbers(text)?;
        // A compiler is of Debian's as well.
        let exact = text.rsplit_once("Debian ").and_then(|(_, exact)| numbers(exact));
        let patch = exact.filter(|exact| (exact.0, exact.1) == (major, minor)).map_or(patch, |exact| exact.2);
        let mut rules = Self::of(major, minor);
        if matches!((major, minor, patch), (6, 18, 14..) | (6, 19, 4..)) {
            (rules.sizing, rules.old_size_is_least) = (Sizing::Head, false);
        }
        rules.shares_what_is_left |= matches!((major, minor, patch), (6, 1, 16..));
        if matches!((major, minor, patch), (6, 1, 192..) | (6, 12, 117..)) {
            rules.restores = true;
        }
        Some(rules)
    }

    /// The rules of the kernel that a log is of: by its version, and by its words where they say that a change was taken over, or was not.
    #[must_use]
    pub fn of_log(log: &str) -> Option<Self> {
        let version =
            log.lines().rev().find_map(|line| line.split_once("Linux version ").map(|(_, rest)| rest))?;
        let mut rules = Self::parse(version)?;
        if log.contains("requires relaxed alignment rules") {
            rules.sizing = Sizing::Relaxed;
        }
        rules.names_windows |= log.contains("was not released (still contains assigned resources)");
        rules.restores |= log.contains("old value restored");
        Some(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn debian_says_which_of_a_series_it_is() {
        let compiler = "(gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0)";
        let shares = |text: &str| Rules::parse(text).map(|rules| rules.shares_what_is_left);
        assert_eq!(shares("6.1.0-57-amd64"), Some(false));
        assert_eq!(shares("6.1.0-57-amd64 (Debian 6.1.176-1)"), Some(true));
        assert_eq!(
            shares(&format!("6.1.0-57-amd64 {compiler} #1 SMP Debian 6.1.176-1 (2026-07-01)")),
            Some(true)
        );
        assert_eq!(shares(&format!("6.1.5 {compiler} #1 SMP")), Some(false));
        assert_eq!(Rules::parse("Debian"), None);
    }
}
