//! Ports over Linux's files: `/proc/mtrr`, as far as it can express a change, and `/dev/cpu/*/msr`, for reading.
//!
//! Both allocate when they read or program, which is fine in user space.

use super::port::{CHANGED, Port};
use pmem_core::Fault;
use pmem_mtrr::{Block, MemType, Register, Setting, Variable, Width};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::string::String;
use std::vec::Vec;

/// `/proc/mtrr` as a port. It covers only variable registers, and the kernel chooses which ones it uses
/// (`Documentation/arch/x86/mtrr.rst`). The file does not show the default type and the fixed ranges; the port
/// reports those that you give it.
#[derive(Debug)]
pub struct ProcMtrr {
    path: PathBuf,
    /// The setting that supplies what the file does not show.
    known: Setting,
}

/// Parses the lines of `/proc/mtrr`. Returns the number and the content of each register, and skips lines that
/// describe none.
///
/// # Examples
///
/// ```
/// use pmem_drivers::mtrr::{MemType, parse_proc_mtrr};
///
/// let text = "reg02: base=0x0d0000000 ( 3328MB), size=  256KB, count=0: write-combining\n";
/// let registers = parse_proc_mtrr(text);
/// let (number, register) = registers[0];
/// assert_eq!((number, register.kind), (2, MemType::Wc));
/// assert_eq!((register.block.start(), register.block.size()), (0xd000_0000, 256 << 10));
/// ```
pub fn parse_proc_mtrr(text: &str) -> Vec<(usize, Register)> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(usize, Register)> {
    let (number, rest) = line.strip_prefix("reg")?.split_once(':')?;
    let base = rest.split_once("base=0x")?.1.split_whitespace().next()?;
    let size = rest.split_once("size=")?.1.trim_start();
    let digits = size.find(|c: char| !c.is_ascii_digit())?;
    let (amount, unit) = size.split_at(digits);
    let shift = match unit.as_bytes().first()? {
        b'K' => 10,
        b'M' => 20,
        b'G' => 30,
        _ => 0,
    };
    let size = amount.parse::<u64>().ok()?.checked_shl(shift)?;
    let kind = line.rsplit([':', ' ']).find_map(MemType::from_name)?;
    let start = u64::from_str_radix(base, 16).ok()?;
    let order = size.is_power_of_two().then(|| size.trailing_zeros() as u8)?;
    Some((number.parse().ok()?, Register { block: Block::new(start, order)?, kind }))
}

impl ProcMtrr {
    /// Creates a port for the running machine's `/proc/mtrr`, which it opens on each access. `known` supplies the address
    /// width, the number of registers, the default type and the fixed ranges.
    #[must_use]
    pub fn new(known: Setting) -> Self {
        Self::at(PathBuf::from("/proc/mtrr"), known)
    }

    /// Uses another file of the same format.
    #[must_use]
    pub fn at(path: PathBuf, known: Setting) -> Self {
        Self { path, known }
    }

    fn registers(&self) -> Result<Vec<(usize, Register)>, Fault> {
        let text = fs::read_to_string(&self.path).map_err(|_| Fault::new("/proc/mtrr cannot be read"))?;
        Ok(parse_proc_mtrr(&text))
    }

    fn tell(&self, command: &str) -> Result<(), Fault> {
        let refused = |_| Fault::new("the kernel refused the change through /proc/mtrr");
        let mut file = OpenOptions::new().write(true).open(&self.path).map_err(refused)?;
        file.write_all(command.as_bytes()).map_err(refused)
    }

    fn add(&self, register: Register) -> Result<(), Fault> {
        let long = match register.kind {
            MemType::Uc => "uncachable",
            MemType::Wc => "write-combining",
            MemType::Wt => "write-through",
            MemType::Wp => "write-protect",
            MemType::Wb => "write-back",
        };
        let (start, size) = (register.block.start(), register.block.size());
        self.tell(&std::format!("base={start:#x} size={size:#x} type={long}"))
    }

    fn remove(&self, register: Register) -> Result<(), Fault> {
        let found = self.registers()?.into_iter().find(|(_, there)| *there == register);
        let (number, _) = found.ok_or(Fault::new("a register to be removed is not there"))?;
        self.tell(&std::format!("disable={number}"))
    }

    /// Removes and adds the registers in which two sets differ. If a step fails, the steps before it are undone.
    fn lead(&self, from: &[Register], to: &[Register]) -> Result<(), Fault> {
        let gone = from.iter().filter(|register| !to.contains(register));
        let come = to.iter().filter(|register| !from.contains(register));
        let steps: Vec<(bool, Register)> =
            gone.map(|register| (false, *register)).chain(come.map(|register| (true, *register))).collect();
        for (done, (add, register)) in steps.iter().enumerate() {
            let step = |add: bool, register| if add { self.add(register) } else { self.remove(register) };
            if let Err(fault) = step(*add, *register) {
                for (added, register) in steps.iter().take(done).rev() {
                    step(!added, *register)?;
                }
                return Err(fault);
            }
        }
        Ok(())
    }
}

fn all(setting: &Setting) -> Vec<Register> {
    setting.variable().iter().filter_map(|variable| variable.register(setting.width)).collect()
}

impl Port for ProcMtrr {
    fn read(&mut self, into: &mut Setting) -> Result<(), Fault> {
        into.clone_from(&self.known);
        into.variable_mut().fill(Variable::OFF);
        let width = into.width;
        for (number, register) in self.registers()? {
            if let Some(slot) = into.variable_mut().get_mut(number) {
                *slot = Variable::new(register, width);
            }
        }
        Ok(())
    }

    fn program(&mut self, from: &Setting, to: &Setting) -> Result<(), Fault> {
        if from.def != to.def || from.fixed != to.fixed {
            return Err(Fault::new("/proc/mtrr changes neither the default type nor the fixed ranges"));
        }
        let (from, to) = (all(from), all(to));
        let now: Vec<Register> = self.registers()?.into_iter().map(|(_, register)| register).collect();
        let same = |a: &[Register], b: &[Register]| a.len() == b.len() && a.iter().all(|r| b.contains(r));
        if !same(&now, &from) {
            return Err(Fault::new(CHANGED));
        }
        self.lead(&from, &to)?;
        let now: Vec<Register> = self.registers()?.into_iter().map(|(_, register)| register).collect();
        if same(&now, &to) { Ok(()) } else { Err(Fault::new("/proc/mtrr does not show what was written")) }
    }
}

/// `/dev/cpu/*/msr` as a port: reads the registers of all processors.
#[derive(Debug)]
pub struct DevMsr {
    cpus: Vec<File>,
    width: Width,
    amd: bool,
}

impl DevMsr {
    /// Opens the file of every processor below `folder`, which is `/dev/cpu` on a running machine.
    ///
    /// # Errors
    /// Returns the error of the first file that cannot be opened, or `NotFound` if there is no processor.
    pub fn open(folder: &std::path::Path, width: Width, amd: bool) -> std::io::Result<Self> {
        let mut names: Vec<(u32, String)> = fs::read_dir(folder)?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter_map(|name| Some((name.parse().ok()?, name)))
            .collect();
        names.sort_unstable();
        let open = |(_, name): &(u32, String)| File::open(folder.join(name).join("msr"));
        let cpus = names.iter().map(open).collect::<std::io::Result<Vec<File>>>()?;
        if cpus.is_empty() {
            return Err(std::io::ErrorKind::NotFound.into());
        }
        Ok(Self { cpus, width, amd })
    }

    /// Returns the setting of each processor, in order of their numbers.
    ///
    /// # Errors
    /// Returns the number of the first register that cannot be read.
    pub fn settings(&self) -> Result<Vec<Setting>, u32> {
        let read = |file: &File| {
            Setting::read(self.width, self.amd, |msr| {
                let mut bytes = [0; 8];
                file.read_exact_at(&mut bytes, u64::from(msr)).ok()?;
                Some(u64::from_le_bytes(bytes))
            })
        };
        self.cpus.iter().map(read).collect()
    }
}

impl Port for DevMsr {
    fn read(&mut self, into: &mut Setting) -> Result<(), Fault> {
        let all = self.settings().map_err(|_| Fault::new("an MSR cannot be read"))?;
        let first = all.first().ok_or(Fault::new("no processor"))?;
        if all.iter().any(|setting| setting.difference(first).is_some()) {
            return Err(Fault::new("processors differ in their MTRRs"));
        }
        into.clone_from(first);
        Ok(())
    }

    fn program(&mut self, _: &Setting, _: &Setting) -> Result<(), Fault> {
        Err(Fault::new("/dev/cpu/*/msr is only read: MTRRs must change on all processors together"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmem_mtrr::Cap;

    const SHOWN: &str = "\
        reg00: base=0x0c0000000 ( 3072MB), size= 1024MB, count=1: uncachable\n\
        reg02: base=0x0d0000000 ( 3328MB), size=  256KB, count=0: write-combining\n";

    fn known() -> Setting {
        Setting::new(Width::DEFAULT, Cap::new(8, true, true))
    }

    #[test]
    fn lines_are_read() {
        let all = parse_proc_mtrr(SHOWN);
        let wc = Register { block: Block::new(0xd000_0000, 18).unwrap(), kind: MemType::Wc };
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].0, all[0].1.kind), (0, MemType::Uc));
        assert_eq!(all[1], (2, wc));
        assert_eq!(parse_proc_mtrr("reg00: base=0x0 (0MB), size=3MB, count=1: write-back\nnonsense\n"), []);
    }

    #[test]
    fn what_cannot_be_expressed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mtrr");
        fs::write(&path, SHOWN).unwrap();
        let mut port = ProcMtrr::at(path, known());
        let mut now = known();
        port.read(&mut now).unwrap();
        assert_eq!(now.variable()[2].register(Width::DEFAULT).unwrap().kind, MemType::Wc);
        let mut other = now;
        other.def.0 = 0xc06;
        assert!(port.program(&now, &other).unwrap_err().reason.contains("neither the default type"));
        assert!(port.program(&known(), &known()).unwrap_err().reason.contains("changed meanwhile"));
        assert_eq!(port.program(&now, &now), Ok(()));
    }

    #[test]
    fn processors_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = std::vec![0u8; 0x310];
        bytes[0xfe..0x106].copy_from_slice(&0x508u64.to_le_bytes());
        // Registers are single bytes of this file apart: DEF_TYPE's switch is the next one's lowest byte.
        bytes[0x300] = 8;
        for cpu in ["0", "1"] {
            fs::create_dir(dir.path().join(cpu)).unwrap();
            fs::write(dir.path().join(cpu).join("msr"), &bytes).unwrap();
        }
        let mut port = DevMsr::open(dir.path(), Width::DEFAULT, false).unwrap();
        let mut setting = known();
        port.read(&mut setting).unwrap();
        assert_eq!(setting.variable().len(), 8);
        assert!(port.program(&setting, &setting).is_err());
        bytes[0x2ff] ^= 1;
        fs::write(dir.path().join("1/msr"), &bytes).unwrap();
        assert!(port.read(&mut setting).unwrap_err().reason.contains("differ"));
        assert!(DevMsr::open(&dir.path().join("0"), Width::DEFAULT, false).is_err());
    }
}
