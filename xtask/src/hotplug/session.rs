//! A machine in QEMU: cards are plugged in from outside, and the guest takes commands over a serial port.

use crate::kmod::test::Ready;
use crate::run::Result;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The time that a boot or one command may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// What handles hot-plug in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// ACPI (acpiphp): QEMU's default.
    Acpi,
    /// The ports themselves (pciehp).
    Native,
}

impl Mode {
    /// Returns the name of the mode.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acpi => "acpi",
            Self::Native => "native",
        }
    }
}

/// A card to plug in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Card {
    /// Backed memory of this many bytes (QEMU's ivshmem-plain): BAR 0 has 256 bytes; BAR 2 is the memory,
    /// 64-bit and prefetchable.
    Memory(u64),
    /// Memory with nothing behind it, of this many bytes (QEMU's pci-testdev): BAR 0 has 4 KiB, BAR 1 has 256
    /// ports; BAR 2 is the memory, 64-bit and prefetchable.
    Empty(u64),
}

impl Card {
    /// Returns the card as `pmem pci plan --add` takes it.
    pub fn spec(self) -> String {
        match self {
            Self::Memory(size) => format!("0=mem32:256,2=mem64p:{size:#x}"),
            Self::Empty(size) => format!("0=mem32:4K,1=io:256,2=mem64p:{size:#x}"),
        }
    }

    /// Returns the card as arguments for QEMU's command line, with the backend it needs.
    pub fn arguments(self, id: &str, bus: &str) -> Vec<String> {
        match self {
            Self::Memory(size) => vec![
                "-object".to_owned(),
                format!("memory-backend-ram,id=m{id},size={size}"),
                "-device".to_owned(),
                format!("ivshmem-plain,id={id},memdev=m{id},bus={bus}"),
            ],
            Self::Empty(size) => {
                vec!["-device".to_owned(), format!("pci-testdev,id={id},membar={size},bus={bus}")]
            }
        }
    }
}

/// A running machine.
pub struct Session {
    child: Child,
    guest: BufReader<UnixStream>,
    qmp: BufReader<UnixStream>,
    mode: Mode,
    console: PathBuf,
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Connects to a socket that appears soon.
fn connect(path: &Path, until: Instant) -> Result<BufReader<UnixStream>> {
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).map_err(|e| e.to_string())?;
                return Ok(BufReader::new(stream));
            }
            Err(error) if Instant::now() > until => return Err(format!("{}: {error}", path.display())),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

impl Session {
    /// Boots a kernel with devices, and waits for its shell.
    pub fn boot(ready: &Ready, name: &str, mode: Mode, devices: &[String]) -> Result<Self> {
        let console = ready.lab.join(format!("console-{name}"));
        let sockets = ["guest", "qmp"].map(|what| ready.lab.join(format!("{name}.{what}")));
        for path in sockets.iter().chain([&console]) {
            drop(fs::remove_file(path));
        }
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-accel", "tcg", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.args(["-machine", "q35", "-cpu", "max", "-smp", "1", "-m", "512M"]);
        if mode == Mode::Native {
            qemu.args(["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]);
        }
        qemu.arg("-serial").arg(format!("file:{}", console.display()));
        qemu.arg("-serial").arg(format!("unix:{},server=on,wait=off", sockets[0].display()));
        qemu.arg("-qmp").arg(format!("unix:{},server=on,wait=off", sockets[1].display()));
        qemu.arg("-kernel").arg(&ready.vmlinuz).arg("-initrd").arg(&ready.initrd);
        // As on a real machine, the kernel finds the windows as firmware left them, and reassigns nothing.
        qemu.args(["-append", "console=ttyS0 quiet loglevel=6 panic=-1 oops=panic rdinit=/hotplug"])
            .args(devices);
        let log = File::create(console.with_extension("log")).map_err(|e| e.to_string())?;
        let child =
            qemu.stdin(Stdio::null()).stderr(log).spawn().map_err(|e| format!("qemu-system-x86_64: {e}"))?;
        let until = Instant::now() + Duration::from_secs(10);
        let mut session = Self {
            child,
            guest: connect(&sockets[0], until)?,
            qmp: connect(&sockets[1], until)?,
            mode,
            console,
        };
        session.line_of_qmp()?;
        session.qmp("qmp_capabilities", json!({}))?;
        loop {
            let line = session.line_of_guest()?;
            if line.trim_end() == "READY" {
                return Ok(session);
            }
        }
    }

    fn line_of_guest(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.guest.read_line(&mut line);
        match read {
            Ok(0) | Err(_) => Err(format!("the guest does not answer; see {}", self.console.display())),
            Ok(_) => Ok(line),
        }
    }

    fn line_of_qmp(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.qmp.read_line(&mut line).map_err(|e| format!("QEMU: {e}"))?;
        serde_json::from_str(&line).map_err(|e| format!("QEMU: {line:?}: {e}"))
    }

    /// Sends QEMU a command, and returns its answer.
    pub fn qmp(&mut self, execute: &str, arguments: Value) -> Result<Value> {
        let command = json!({ "execute": execute, "arguments": arguments });
        writeln!(self.qmp.get_mut(), "{command}").map_err(|e| format!("QEMU: {e}"))?;
        loop {
            let answer = self.line_of_qmp()?;
            if let Some(error) = answer.get("error") {
                return Err(format!("QEMU: {execute}: {error}"));
            }
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
        }
    }

    /// Runs a command in the guest's shell: returns its exit status and its output.
    pub fn run(&mut self, command: &str) -> Result<(i32, String)> {
        writeln!(self.guest.get_mut(), "{command}").map_err(|e| format!("the guest: {e}"))?;
        let mut out = String::new();
        loop {
            let line = self.line_of_guest()?;
            let line = line.trim_end_matches(['\r', '\n']);
            match (line.strip_prefix('|'), line.strip_prefix('=')) {
                (Some(text), _) => {
                    out.push_str(text);
                    out.push('\n');
                }
                (None, Some(status)) => return Ok((status.parse().unwrap_or(-1), out)),
                (None, None) => {}
            }
        }
    }

    /// Runs a command that must succeed, and returns its output.
    pub fn ok(&mut self, command: &str) -> Result<String> {
        match self.run(command)? {
            (0, out) => Ok(out),
            (status, out) => Err(format!("{command}: status {status}: {}", out.trim())),
        }
    }

    /// Runs `pmem`, and returns its exit status and its JSON output.
    pub fn pmem(&mut self, arguments: &str) -> Result<(i32, Value)> {
        let (status, out) = self.run(&format!("pmem --json {arguments}"))?;
        let value = serde_json::from_str(&out).map_err(|e| format!("pmem {arguments}: {e}: {out}"))?;
        Ok((status, value))
    }

    /// Plugs a card in, and waits until the guest has handled it.
    pub fn plug(&mut self, id: &str, card: Card, bus: &str, at: &str) -> Result {
        match card {
            Card::Memory(size) => {
                let backend =
                    json!({ "qom-type": "memory-backend-ram", "id": format!("m{id}"), "size": size });
                self.qmp("object-add", backend)?;
                let device =
                    json!({ "driver": "ivshmem-plain", "id": id, "bus": bus, "memdev": format!("m{id}") });
                self.qmp("device_add", device)?;
            }
            Card::Empty(size) => {
                let device = json!({ "driver": "pci-testdev", "id": id, "bus": bus, "membar": size });
                self.qmp("device_add", device)?;
            }
        }
        self.press(at, true)?;
        self.ok(&format!("appears {at}"))?;
        Ok(())
    }

    /// Takes a card out, and waits until the guest has released it.
    pub fn unplug(&mut self, id: &str, card: Card, at: &str) -> Result {
        self.qmp("device_del", json!({ "id": id }))?;
        self.press(at, false)?;
        self.ok(&format!("vanishes {at}"))?;
        if let Card::Memory(_) = card {
            // QEMU releases the memory a little later than the device.
            let until = Instant::now() + Duration::from_secs(20);
            while let Err(why) = self.qmp("object-del", json!({ "id": format!("m{id}") })) {
                if Instant::now() > until {
                    return Err(why);
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }

    /// Uses the slot's power switch: the attention button would wait for five seconds.
    fn press(&mut self, at: &str, on: bool) -> Result {
        if self.mode == Mode::Native {
            let slot = at.rsplit_once('.').map_or(at, |(slot, _)| slot);
            self.run(&format!("power {slot} {}", u8::from(on)))?;
        }
        Ok(())
    }
}
