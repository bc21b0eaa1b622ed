//! What differs between versions of Linux.

/// How the kernel derives the alignment and the size of a memory window from what it must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizing {
    /// Up to 6.10: the least alignment at which the smaller resources still fill half of the larger ones. The
    /// size is a multiple of it.
    Half,
    /// 6.11 to 6.19: like [`Half`](Self::Half), but if the result does not fit into the window above, the
    /// largest alignment and no rounding.
    Relaxed,
    /// From 7.0, and in stable trees since: the lowest alignment at which the smaller resources still fit
    /// before the largest one. No rounding.
    Head,
}

/// The rules of one kernel version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How memory windows are sized.
    pub sizing: Sizing,
    /// Whether disabled ROMs are optional, and windows that are only reserved for future cards (from 6.15).
    pub leaves_options_out: bool,
    /// Whether [`Sizing::Relaxed`] also applies to the size including optional parts (from 6.15).
    pub relaxes_options: bool,
    /// Whether [`Sizing::Relaxed`] also applies at boot if no window above is assigned yet, two or more bridges
    /// below the root; and never raises an alignment (from 6.18).
    pub relaxes_freely: bool,
    /// Whether a window whose size is no multiple of its alignment begins lower, so that its end is aligned
    /// (from 7.1).
    pub moved_down: bool,
    /// Whether a window that is sized again keeps at least its old size (up to 6.19).
    pub old_size_is_least: bool,
    /// Whether the log names each window that is released after a failure (from 6.18).
    pub names_windows: bool,
    /// Whether a failed resize restores everything (from 6.19, and in stable trees).
    pub restores: bool,
    /// Whether a resize also fails if an optional part, such as ports reserved for future cards, gets no place
    /// (6.15 to 6.18).
    pub undoes_for_options: bool,
    /// Whether a failure on a root bus releases the windows of all its ports (up to 6.19). 7.0 only releases
    /// those in the first aperture, which is VGA's on a PC.
    pub releases_on_root: bool,
    /// Whether boot, too, shares the space left in hot-plug ports' windows among the bridges below, after
    /// subtracting what other functions on the bus hold (from 6.2).
    pub shares_what_is_left: bool,
    /// Whether a share smaller than a window's need shrinks the window (up to 7.0).
    pub shrinks: bool,
    /// The bytes reserved for future cards below a hot-plug port: I/O ports, memory, prefetchable memory.
    pub reserve: (u64, u64, u64),
}

impl Rules {
    /// Returns the rules of a mainline version.
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

    /// Parses a version such as `6.1`, `6.12.117+deb12-amd64` or `6.1.0-57-amd64 (Debian 6.1.176-1)`, and
    /// returns its rules; `None` if the text does not begin with a version. The patch level counts, because
    /// stable trees backport changes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = |text: &str| {
            let mut parts = text.trim().split(['.', '-', '+', ' ']);
            let mut number = || parts.next()?.parse::<u32>().ok();
            Some((number()?, number()?, number().unwrap_or(0)))
        };
        let (major, minor, patch) = numbers(text)?;
        // The compiler's version is a Debian version too, so it must match the kernel's major and minor number.
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

    /// Returns the rules of the kernel that wrote a log: by the version in it, and by messages that show
    /// whether a change was backported. `None` if the log names no version.
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
