//! QEMU's educational device (docs/specs/edu): it copies up to 4 KiB between memory and a buffer of its own,
//! 100 ms after it is told to.

use crate::map;
use pmem_iommu::RequesterId;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The address of the buffer, as the device sees it.
const BUFFER: u64 = 0x4_0000;
const SOURCE: usize = 0x80 / 8;
const TARGET: usize = 0x88 / 8;
const COUNT: usize = 0x90 / 8;
const COMMAND: usize = 0x98 / 8;
const START: u64 = 1;
const TO_MEMORY: u64 = 2;

/// A PCI function, known by its files in sysfs.
pub struct Function {
    folder: PathBuf,
    /// The id that its requests carry.
    pub id: RequesterId,
}

impl Function {
    /// Finds functions by vendor, device, and the upper 16 bits of the class.
    pub fn find(matches: impl Fn(u16, u16, u16) -> bool) -> Vec<Self> {
        let folders = fs::read_dir("/sys/bus/pci/devices").into_iter().flatten().flatten();
        let mut found: Vec<Self> = folders.filter_map(|folder| Self::open(folder.path(), &matches)).collect();
        found.sort_by_key(|function| function.id);
        found
    }

    fn open(folder: PathBuf, matches: &impl Fn(u16, u16, u16) -> bool) -> Option<Self> {
        let number = |name: &str| {
            let text = fs::read_to_string(folder.join(name)).ok()?;
            u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
        };
        let is_it =
            matches(number("vendor")? as u16, number("device")? as u16, (number("class")? >> 8) as u16);
        let name = folder.file_name()?.to_str()?.to_owned();
        let part = |from: usize, to: usize| u8::from_str_radix(name.get(from..to)?, 16).ok();
        let id = RequesterId::new(part(5, 7)?, part(8, 10)?, part(11, 12)?);
        is_it.then_some(Self { folder, id })
    }

    /// Reads two bytes of configuration space.
    pub fn read(&self, offset: u64) -> Result<u16, String> {
        let mut bytes = [0; 2];
        let file = fs::File::open(self.folder.join("config")).map_err(|e| e.to_string())?;
        file.read_exact_at(&mut bytes, offset).map_err(|e| e.to_string())?;
        Ok(u16::from_le_bytes(bytes))
    }

    /// Writes two bytes of configuration space.
    pub fn write(&self, offset: u64, value: u16) -> Result<(), String> {
        let file = fs::OpenOptions::new().write(true).open(self.folder.join("config"));
        let file = file.map_err(|e| e.to_string())?;
        file.write_all_at(&value.to_le_bytes(), offset).map_err(|e| e.to_string())
    }
}

/// An educational device.
pub struct Edu {
    registers: &'static [AtomicU64],
    /// The id that its requests carry.
    pub id: RequesterId,
}

impl Edu {
    /// Finds all educational devices, and enables each as bus master.
    pub fn all() -> Result<Vec<Self>, String> {
        let found = Function::find(|vendor, device, _| (vendor, device) == (0x1234, 0x11e8));
        let open = |function: Function| {
            // Memory space enable and bus master enable.
            function.write(4, 6)?;
            let registers = map::memory(&function.folder.join("resource0"), 0, 0x1000)?;
            Ok(Self { registers, id: function.id })
        };
        found.into_iter().map(open).collect()
    }

    fn set(&self, register: usize, value: u64) {
        if let Some(word) = self.registers.get(register) {
            word.store(value, Ordering::SeqCst);
        }
    }

    fn start(&self, source: u64, target: u64, count: u64, command: u64) {
        self.set(SOURCE, source);
        self.set(TARGET, target);
        self.set(COUNT, count);
        self.set(COMMAND, START | command);
    }

    /// Starts a copy from memory into its buffer.
    pub fn begin_read(&self, at: u64, count: u64) {
        self.start(at, BUFFER, count, 0);
    }

    /// Starts a copy from its buffer to memory.
    pub fn begin_write(&self, at: u64, count: u64) {
        self.start(BUFFER, at, count, TO_MEMORY);
    }

    /// Waits until the copy is done.
    pub fn finish(&self) -> Result<(), String> {
        let until = Instant::now() + Duration::from_secs(30);
        let is_busy =
            || self.registers.get(COMMAND).is_some_and(|word| word.load(Ordering::SeqCst) & START != 0);
        while is_busy() {
            if Instant::now() > until {
                return Err("the device does not finish".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Copies memory into its buffer.
    pub fn read(&self, at: u64, count: u64) -> Result<(), String> {
        self.begin_read(at, count);
        self.finish()
    }

    /// Copies its buffer to memory.
    pub fn write(&self, at: u64, count: u64) -> Result<(), String> {
        self.begin_write(at, count);
        self.finish()
    }
}
