//! Entry points: from sources to facts, and to a machine.

use crate::capture::Sources;
use crate::error::ImportError;
use crate::facts::Facts;
use crate::machine::Machine;
use crate::model::build;
use crate::read::read;
use crate::settle::{MtrrFacts, settle};
use std::path::PathBuf;

impl Facts {
    /// Reads what the sources say, each statement with its place, before conflicts are settled. Also returns what
    /// the sources say about memory types.
    ///
    /// # Examples
    ///
    /// ```
    /// use pmem_import::{Facts, MapKind, Sources, Text};
    ///
    /// let log = "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n\
    ///            BIOS-e820: [mem 0x0000000000100000-0x000000007fffffff] usable\n";
    /// let texts = vec![Text { name: "dmesg".into(), bytes: log.into() }];
    /// let mut sources = Sources { texts, ..Sources::default() };
    /// let (facts, _) = Facts::read(&mut sources);
    ///
    /// let map = &facts.firmware.maps[0];
    /// assert_eq!(map.kind, MapKind::E820);
    /// assert_eq!(map.at.to_string(), "dmesg:1");
    /// assert_eq!(map.entries[1].range.start(), 0x10_0000);
    /// ```
    #[must_use]
    pub fn read(sources: &mut Sources) -> (Self, MtrrFacts) {
        let mut facts = read(sources);
        let mtrr = MtrrFacts::settle(&mut facts);
        (facts, mtrr)
    }
}

impl Machine {
    /// Reads a machine from sources, and builds the model of what they say.
    ///
    /// # Errors
    /// [`ImportError`] if the model cannot be built. Anything less serious becomes a finding in
    /// [`findings`](Self::findings).
    ///
    /// # Examples
    ///
    /// A kernel's list of resources and `lspci` output, read from text:
    ///
    /// ```
    /// use pmem_import::{Machine, ResourceKind, Sources, Text};
    ///
    /// let text = |name: &str, text: &str| Text { name: name.into(), bytes: text.into() };
    /// let mut sources = Sources::default();
    /// sources.texts.push(text("iomem", "\
    /// 00100000-7fffffff : System RAM
    /// e0000000-efffffff : PCI Bus 0000:00
    ///   e0000000-e0ffffff : 0000:00:02.0
    /// "));
    /// sources.texts.push(text("lspci", "\
    /// 00:02.0 VGA compatible controller [0300]: Intel Corporation Device [8086:1927]
    /// \tRegion 0: Memory at e0000000 (64-bit, non-prefetchable) [size=16M]
    /// "));
    /// let machine = Machine::read(&mut sources)?;
    /// let gpu = "0000:00:02.0".parse()?;
    /// let (kind, region) = machine.bars[&gpu][0];
    /// assert_eq!(kind, ResourceKind::Bar(0));
    /// assert_eq!(machine.manager.range(region)?.len(), 16 << 20);
    /// assert_eq!(machine.region_name(region), "0000:00:02.0 BAR 0");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(sources: &mut Sources) -> Result<Self, ImportError> {
        let mut facts = read(sources);
        let mut machine = build(settle(&mut facts))?;
        machine.heard = facts.heard;
        Ok(machine)
    }

    /// Like [`read`](Self::read), and also returns what is known about memory types.
    ///
    /// # Errors
    /// The same as [`read`](Self::read).
    pub fn read_with_mtrr(sources: &mut Sources) -> Result<(Self, MtrrFacts), ImportError> {
        let mut facts = read(sources);
        let mtrr = MtrrFacts::settle(&mut facts);
        let mut machine = build(settle(&mut facts))?;
        machine.heard = facts.heard;
        Ok((machine, mtrr))
    }

    /// Opens sources that describe one machine, and reads them. No paths means this machine: see [`Sources::open`].
    ///
    /// # Errors
    /// Those of [`Sources::open`] and [`read`](Self::read).
    pub fn open(paths: &[PathBuf]) -> Result<Self, ImportError> {
        Self::read(&mut Sources::open(paths)?)
    }
}
