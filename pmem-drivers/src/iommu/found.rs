//! Reading a unit that somebody else uses. It is never written.

use super::port::{Port, Width};
use alloc::vec::Vec;
use pmem_core::Fault;
use pmem_iommu::RequesterId;
use pmem_iommu::amd::{self, DeviceEntry, Mode};
use pmem_iommu::table::{AmdV1, Mapped, PageTable, TableError, TableMemory, VtdSecondStage};
use pmem_iommu::vtd::registers::{self, Capability};
use pmem_iommu::vtd::{Context, Kind, Root};

/// How a unit handles a requester's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Requests {
    /// It refuses them.
    Refused,
    /// It passes them untranslated.
    Passed,
    /// It translates them.
    Translated {
        /// The number of the domain.
        domain: u16,
        /// The address of the root table.
        root: u64,
        /// The number of levels.
        levels: u8,
    },
    /// It handles them in an unknown way. The number is the entry's type.
    Other(u8),
}

/// The state of a unit as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The requesters that have an entry, in ascending order. AMD's units pass the requests of those without a
    /// valid entry; these are missing here.
    pub requesters: Vec<(RequesterId, Requests)>,
    maker: Maker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    /// With the supported large pages, as in [`Capability::large_pages`].
    Intel(u8),
    Amd,
}

impl Found {
    /// Reads a VT-d unit. Returns `None` if it does not translate.
    ///
    /// # Errors
    /// Returns a [`Fault`] if its tables are in scalable mode, or in memory that cannot be read.
    pub fn vtd<P: Port>(port: &mut P) -> Result<Option<Self>, Fault> {
        if port.read(registers::STATUS, Width::Four)? as u32 & registers::TRANSLATION == 0 {
            return Ok(None);
        }
        let large = Capability(port.read(registers::CAPABILITY, Width::Eight)?).large_pages();
        let root = port.read(registers::ROOT_TABLE, Width::Eight)?;
        if root >> 10 & 3 != 0 {
            return Err(Fault::new("the unit's tables are in scalable mode, which is not read"));
        }
        let root = root & !0xfff;
        let mut requesters = Vec::new();
        for bus in 0..=255u8 {
            let at = Root::at(root, RequesterId::new(bus, 0, 0));
            let Some(contexts) = Root::decode(words(port.memory(), at)?).contexts else { continue };
            for devfn in 0..=255u16 {
                let id = RequesterId(u16::from(bus) << 8 | devfn);
                let context = Context::decode(words(port.memory(), Context::at(contexts, id))?);
                let Some(Context { kind, domain, .. }) = context else { continue };
                let requests = match kind {
                    Kind::Translated { table, levels, .. } => {
                        Requests::Translated { domain, root: table, levels }
                    }
                    Kind::Passed => Requests::Passed,
                    Kind::Other(kind) => Requests::Other(kind),
                };
                requesters.push((id, requests));
            }
        }
        Ok(Some(Self { requesters, maker: Maker::Intel(large) }))
    }

    /// Reads an AMD-Vi unit. Returns `None` if it does not translate.
    ///
    /// # Errors
    /// Returns a [`Fault`] if its device table is in memory that cannot be read.
    pub fn amd<P: Port>(port: &mut P) -> Result<Option<Self>, Fault> {
        if port.read(amd::registers::CONTROL, Width::Eight)? & amd::registers::TRANSLATION == 0 {
            return Ok(None);
        }
        let table = port.read(amd::registers::DEVICE_TABLE, Width::Eight)?;
        let entries = ((table & 0x1ff) + 1) * 128;
        let mut requesters = Vec::new();
        for id in (0..entries).filter_map(|id| u16::try_from(id).ok()).map(RequesterId) {
            let at = DeviceEntry::at(table & 0xf_ffff_ffff_f000, id);
            let [first, second] = words(port.memory(), at)?;
            let [third, fourth] = words(port.memory(), at + 16)?;
            let entry = DeviceEntry([first, second, third, fourth]);
            if !entry.is_valid() {
                continue;
            }
            let requests = match entry.mode() {
                Some(Mode::Translated { table, levels }) => {
                    Requests::Translated { domain: entry.domain(), root: table, levels }
                }
                Some(Mode::Passed) if entry.permits() != (false, false) => Requests::Passed,
                _ => Requests::Refused,
            };
            requesters.push((id, requests));
        }
        Ok(Some(Self { requesters, maker: Maker::Amd }))
    }

    /// Calls `say` for each mapping of a requester, in ascending order. Does nothing if its requests are not
    /// translated.
    ///
    /// # Errors
    /// Returns a [`TableError`] if an entry is invalid, or a table cannot be read.
    pub fn each<M: TableMemory>(
        &self,
        memory: &M,
        id: RequesterId,
        say: &mut dyn FnMut(Mapped),
    ) -> Result<(), TableError> {
        let place = self.requesters.binary_search_by_key(&id, |(id, _)| *id).ok();
        let requests = place.and_then(|place| self.requesters.get(place)).map(|(_, requests)| *requests);
        let Some(Requests::Translated { root, levels, .. }) = requests else { return Ok(()) };
        match self.maker {
            Maker::Intel(large) => match VtdSecondStage::new(levels, 52, large) {
                Some(format) => PageTable::adopt(format, root).each(memory, 0, u64::MAX, say),
                None => Err(TableError::Unreadable { table: root }),
            },
            Maker::Amd => match AmdV1::new(levels) {
                Some(format) => PageTable::adopt(format, root).each(memory, 0, u64::MAX, say),
                None => Err(TableError::Unreadable { table: root }),
            },
        }
    }
}

fn words<M: TableMemory>(memory: &M, at: u64) -> Result<[u64; 2], Fault> {
    let word = |at: u64| memory.read(at & !0xfff, (at & 0xfff) / 8);
    word(at).zip(word(at + 8)).map(Into::into).ok_or(Fault::new("a table is where no memory can be read"))
}
