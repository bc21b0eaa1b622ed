//! The command line.

use crate::complete;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// A machine's physical address space: what is at an address, seen from where, at what cost, and why not.
#[derive(Debug, Parser)]
#[command(name = "pmem", version, after_help = EXIT, max_term_width = 100)]
pub struct Args {
    /// Read a machine from this instead of the one this runs on, as SOURCE does: a capture's folder or archive, or a text.
    #[arg(long, global = true, value_name = "SOURCE", conflicts_with = "net")]
    pub root: Vec<PathBuf>,

    /// Read a decoding net in JSON instead of a machine.
    #[arg(long, global = true, value_name = "FILE")]
    pub net: Option<PathBuf>,

    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,

    /// Draw instead of printing.
    #[command(flatten)]
    pub drawing: Drawing,

    /// Use colour.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT: &str = "\
RANGE is 0x1000..0x2000, the end not in it, as pmem prints it; 0x1000-0x1fff, as the kernel does; or 0x1000+4K.

Exit status: 0 done, 1 failed or something is wrong, 2 wrong usage, 3 the answer is no, 4 not proven.";

/// Pictures of a report, each beside or instead of the others.
#[derive(Debug, Default, clap::Args)]
pub struct Drawing {
    /// Draw the report as SVG: addresses as axis, windows as ribbons. `-` is standard output.
    #[arg(long, global = true, value_name = "FILE")]
    pub svg: Option<PathBuf>,

    /// The same as a page of its own, with details under the pointer, zoom and search.
    #[arg(long, global = true, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// The same as text, as wide as COLUMNS says.
    #[arg(long, global = true)]
    pub map: bool,

    /// Of topo: the graph of arenas and interconnects for Graphviz.
    #[arg(long, global = true, value_name = "FILE")]
    pub dot: Option<PathBuf>,
}

impl Drawing {
    /// Whether a picture is asked for.
    pub fn is_any(&self) -> bool {
        self.svg.is_some() || self.html.is_some() || self.map || self.dot.is_some()
    }
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The machine at a glance: nodes and their memory, buses, bridges, functions, what is odd.
    Topo(TopoArgs),
    /// The address map as an arena or a device sees it: regions, windows, free gaps.
    View {
        /// Whose view: `cpu`, `node0`, a PCI function, an arena's name, a net's node. The system bus if not given. Behind it,
        /// sources of one machine.
        #[arg(value_name = "FROM|SOURCE", add = complete::viewer_or_path())]
        words: Vec<String>,
        /// Only what is in the arena itself, without looking through its interconnects.
        #[arg(long)]
        local: bool,
    },
    /// What an address means: every interconnect crossed, the cost, the region; or why it leads nowhere.
    Resolve {
        /// As seen from here: see `view`.
        #[arg(long, value_name = "ARENA|DEVICE", add = complete::viewer())]
        from: Option<String>,
        /// Addresses: `0xfee00000`, `4096`, both ends of a range, `0x1000..0x2000`, an I/O port, `io:0x3f8`, a function's BAR, `0000:3b:00.0:bar2`, or a CXL device's own,
        /// `mem1:0x1000`; and sources of one machine.
        #[arg(required = true, value_name = "ADDR|SOURCE", add = complete::register_or_path())]
        words: Vec<String>,
    },
    /// What two viewers do not see alike: what only one reaches, and what both reach at different addresses. Exit status 1 if there is anything, 4
    /// if nothing is known of one of them.
    Diff {
        /// The one: see `view`.
        #[arg(add = complete::viewer())]
        left: String,
        /// The other.
        #[arg(add = complete::viewer())]
        right: String,
        /// Sources of one machine.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
    },
    /// Explains each physical address in a text (a dmesg, say), line by line as it comes: `dmesg -w | pmem annotate`.
    ///
    /// The text is passed on byte for byte, with explanations below its lines. A text with a memory map of its own is explained with that,
    /// any other with the machine that --root, folders and archives describe, or with this machine.
    Annotate {
        /// As seen from here: see `view`.
        #[arg(long, value_name = "ARENA|DEVICE", add = complete::viewer())]
        from: Option<String>,
        /// Texts, `-` for standard input, which is also read if no text is given; and the machine's capture: a folder or an archive.
        #[arg(value_name = "TEXT|CAPTURE")]
        words: Vec<PathBuf>,
    },
    /// Runs a script: arenas, interconnects, regions, drivers and pages by hand (docs/script.md).
    Script {
        /// The script; `-` is standard input.
        file: PathBuf,
        /// Print only what differs from the output that the script expects.
        #[arg(long)]
        check: bool,
    },
    /// Memory types by MTRRs: what is programmed and what is wrong with it, and the fewest registers for what is wanted.
    Mtrr {
        /// What to do.
        #[command(subcommand)]
        command: MtrrCommand,
    },
    /// PCI bus space: where a card, a larger BAR or virtual functions can be placed, and what that takes.
    Pci {
        /// What to do.
        #[command(subcommand)]
        command: PciCommand,
    },
    /// IOMMUs: units, groups, reserved ranges; why a mapping is refused.
    Iommu {
        /// What to do.
        #[command(subcommand)]
        command: IommuCommand,
    },
    /// AMD Élan SC520: its programmable address regions (PARs).
    Par {
        /// What to do.
        #[command(subcommand)]
        command: ParCommand,
    },
    /// Where descriptions of a machine contradict each other: tables, maps, registers, logs. Exit status 1 if something is wrong.
    ///
    /// Each source is a machine of its own: a folder, an archive, a text. With --json there is a line for each finding, and a last one with
    /// the counts and what could not be checked.
    Lint {
        /// Tells what a rule is: `N1`; `all` tells all.
        #[arg(long, value_name = "RULE")]
        explain: Option<String>,
        /// All sources are of one machine.
        #[arg(long)]
        together: bool,
        /// Captures; this machine if none is given.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
    },
    /// Memory by pages: segments, free lists, blocks, nodes.
    Ram {
        /// What to do.
        #[command(subcommand)]
        command: RamCommand,
    },
    /// What is known of the machine, in a form that other programs read.
    Emit {
        /// Which.
        form: Form,
        /// Sources of one machine: see `topo`.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
    },
    /// Captures the machine in a tar file, for `--root`. Serial numbers and MAC addresses are left out.
    Gather {
        /// The file to write.
        out: PathBuf,
    },
    /// Prints a shell's completions, which also complete devices, nodes and arenas: `source <(pmem completions bash)`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Prints the manual page, or writes a page for each subcommand into a folder.
    Man {
        /// The folder, such as ~/.local/share/man/man1.
        #[arg(long = "to", value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
}

impl Command {
    /// Whether its report has addresses to draw.
    pub fn has_picture(&self) -> bool {
        match self {
            Self::Topo(_) | Self::View { .. } | Self::Diff { .. } | Self::Resolve { .. } => true,
            Self::Lint { explain, .. } => explain.is_none(),
            Self::Ram { command } => matches!(command, RamCommand::Show { .. }),
            Self::Iommu { command } => matches!(command, IommuCommand::Show { .. }),
            Self::Mtrr { command } => {
                matches!(command, MtrrCommand::Show { kernel: false, .. } | MtrrCommand::Plan { .. })
            }
            Self::Pci { command } => matches!(command, PciCommand::Tree { .. } | PciCommand::Plan { .. }),
            _ => false,
        }
    }
}

/// Forms that other programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// The memory map as Linux prints it at boot.
    E820,
    /// A device tree's source: memory, CPUs, distances, host bridges.
    Dts,
    /// A command line for QEMU: the same nodes, distances, speeds, CXL windows and PCI hierarchy.
    Qemu,
    /// hwloc's XML, version 2.
    HwlocXml,
    /// Linux's options memmap=.
    LinuxMemmap,
    /// All that topo reports.
    Json,
}

/// What of a machine is shown.
#[derive(Debug, clap::Args)]
pub struct TopoArgs {
    /// Sources of one machine: a capture's folder or archive (tar, also compressed by gzip), texts (iomem, dmesg, lspci, /proc/mtrr …), `-` for
    /// standard input. This machine if none is given.
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<PathBuf>,
    /// Each source is a machine of its own: with --json a line for each, `machine` its name, `failed` why it could not be read.
    #[arg(long, requires = "sources")]
    pub each: bool,
    /// Show BARs.
    #[arg(short, long)]
    pub verbose: bool,
    /// Show everything: every function, every arena, every node.
    #[arg(long)]
    pub all: bool,
}

/// The subcommands of `pmem iommu`.
#[derive(Debug, Subcommand)]
pub enum IommuCommand {
    /// Units, what each has, ranges that no mapping may use, groups, and requesters that are no function.
    Show {
        /// Sources of one machine: see `topo`; also what acpidump prints of DMAR or IVRS.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
    },
    /// Why VFIO refuses to map a range for a device (-22), or that nothing known forbids it: exit status 3 if it is refused. Without a device:
    /// what texts say was refused (mappings, groups, devices, interrupt controllers), each explained; exit status 3 if nothing is.
    Why {
        /// The device, and the device addresses, a range; or nothing of both. Then sources of one machine: see `topo`.
        #[arg(value_name = "BDF RANGE|SOURCE", required = true, add = complete::function_or_path())]
        words: Vec<String>,
    },
}

/// The subcommands of `pmem par`.
#[derive(Debug, Subcommand)]
pub enum ParCommand {
    /// The fewest registers for a map, and the order in which to write them. The file has a line each: `sdram 16M`; `0x100000-0x345fff sdram
    /// no-write`, with the target (sdram, bootcs, romcs1, romcs2, pci, gpmem0 to 7) and what may not be done (no-write,no-cache,no-execute);
    /// `port 0x3f8-0x3ff gpio5`; and what registers hold, `PAR[3] 8a3ffc00`, as kernels print it. Exit status 3 if there are not so many registers.
    Plan {
        /// The file; `-` is standard input.
        file: PathBuf,
    },
}

/// The subcommands of `pmem ram`.
#[derive(Debug, Subcommand)]
pub enum RamCommand {
    /// What a page allocator would have: segments and their free lists, blocks, nodes, the largest free run of each.
    Show {
        /// Sources of one machine: see `topo`.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
    },
    /// Bad pages in what memory testers and kernels print: the pages, whose they are, and settings that keep them from being used; and what settings that
    /// are in the text make of them.
    Bad {
        /// A text: a tester's list, a log, settings; `-` for standard input.
        #[arg(value_name = "SOURCE", required = true)]
        sources: Vec<PathBuf>,
    },
    /// Why memory cannot be plugged in or taken out, and why a link's window (NTB) cannot be set: each line of a text that says so, explained.
    /// Exit status 3 if none does.
    Plug {
        /// Texts; `-` for standard input.
        #[arg(value_name = "SOURCE", required = true)]
        sources: Vec<PathBuf>,
    },
}

/// The subcommands of `pmem pci`.
#[derive(Debug, Subcommand)]
pub enum PciCommand {
    /// The hierarchy: what each bridge forwards, what lies in it, the room that is left and its largest block.
    Tree {
        /// Sources of one machine: see `topo`.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
    },
    /// What is wrong with the hierarchy: overlaps, what lies outside of its window, registers that cannot hold it. Exit status 1 if something is.
    Lint {
        /// Sources of one machine: see `topo`.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
    },
    /// "No space": what failed, whether it matters, and what helps in which order; that nothing is wrong, or the proof that nothing helps.
    Doctor {
        /// Sources of one machine: see `topo`.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
        /// The version of Linux, as in `6.12`: what the sources say if not given.
        #[arg(long, value_name = "VERSION")]
        kernel: Option<String>,
        /// Addresses, as the CPU sees them, that nothing may be placed at.
        #[arg(long, value_name = "RANGE")]
        avoid: Vec<String>,
        /// Write fix.sh, undo.sh and report.txt into this folder; nothing else is ever written.
        #[arg(long, value_name = "FOLDER")]
        write: Option<PathBuf>,
    },
    /// Changes windows of bridges on this machine through the kernel module pmem_arena: in the kernel's map and in the registers, all or none.
    ///
    /// The doctor's scripts use it. A window that is no longer where it is said to be is refused.
    Windows {
        /// In order: `0000:02:01.0:pref=0xfd200000-0xfd3fffff,closed`, kind io, mem or pref, what the kernel's map has and what it is to have,
        /// both ends in, as in /proc/iomem. Where both are the same only the registers are written.
        #[arg(value_name = "BDF:KIND=OLD,NEW", required = true)]
        changes: Vec<String>,
    },
    /// A hierarchy and events, played by our rules and by those of versions of Linux: which has a place for what, what it costs, who is hurt.
    Replay {
        /// A log of the hierarchy, or another source, with lines such as `do: plug mem64p:1G at 0000:02:01.0`: see predict for the events.
        #[arg(value_name = "TRACE")]
        trace: PathBuf,
        /// Versions of Linux.
        #[arg(long = "kernel", value_name = "VERSION", default_values = ["6.1", "6.12", "7.1"])]
        kernels: Vec<String>,
    },
    /// What Linux will do by itself, event by event: places, windows, who is hurt, where its map and the registers differ.
    Predict {
        /// Sources of one machine: see `topo`.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
        /// The version of Linux, as in `6.12`: what the sources say if not given.
        #[arg(long, value_name = "VERSION")]
        kernel: Option<String>,
        /// What is done: `rescan`, `rescan 0000:04` (an empty bus), `boot` (what firmware left without a place), `reassign` (all anew, as arm64 and POWER do), `realloc` (boot with `pci=realloc`), `plug SPEC at BDF` (pciehp), `plug-acpi SPEC at BDF`, `unplug BDF`,
        /// `resize BDF:barN=SIZE`. Several are done one after the other.
        #[arg(long = "do", value_name = "EVENT", required = true)]
        deeds: Vec<String>,
    },
    /// The least that must change so that something fits, or why it cannot.
    Plan {
        /// Sources of one machine: see `topo`.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
        /// What is asked for.
        #[command(flatten)]
        wish: PciWish,
        /// The port that a card is to be plugged in below; or the bus below it (0000:04), where the sources do not say where the port is.
        #[arg(long, value_name = "BDF", requires = "add", add = complete::function())]
        at: Option<String>,
        /// The version of Linux that will be asked to do it, as in `6.12`: what the sources say if not given.
        #[arg(long, value_name = "VERSION")]
        kernel: Option<String>,
        /// Addresses, as the CPU sees them, that nothing may be placed at.
        #[arg(long, value_name = "RANGE")]
        avoid: Vec<String>,
        /// A function that must not be stopped.
        #[arg(long, value_name = "BDF", add = complete::function())]
        pin: Vec<String>,
        /// A function that may be stopped for nothing.
        #[arg(long, value_name = "BDF", add = complete::function())]
        quiesce: Vec<String>,
        /// Room to be kept for a card that may come later, below a port or on a bus: `0000:00:1c.4=mem64p:32G,mem32:16M`.
        #[arg(long, value_name = "BDF=SPEC")]
        keep: Vec<String>,
    },
}

/// What is to be placed.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct PciWish {
    /// A card: what it decodes, such as `mem64p:32G,mem32:16M`; mem32, mem32p, mem64, mem64p, io or rom, with `N=` before for a BAR's number;
    /// a file with that; or `BDF@DUMP`, a card that is in another machine.
    #[arg(long, value_name = "SPEC", requires = "at")]
    pub add: Option<String>,
    /// A BAR of another size: `0000:04:00.0:bar1=32G`.
    #[arg(long, value_name = "BDF:barN=SIZE")]
    pub resize: Vec<String>,
    /// So many virtual functions: `0000:04:00.0=8`.
    #[arg(long, value_name = "BDF=N")]
    pub vfs: Vec<String>,
    /// Everything that has no place.
    #[arg(long)]
    pub all_failed: bool,
}

/// The subcommands of `pmem mtrr`.
#[derive(Debug, Subcommand)]
pub enum MtrrCommand {
    /// The registers, what they make of each address, and what is wrong.
    Show {
        /// From what.
        #[command(flatten)]
        source: MtrrSource,
        /// What the kernel module pmem_arena says: registers, arenas and claims.
        #[arg(long, conflicts_with = "files")]
        kernel: bool,
    },
    /// Claims addresses through the kernel module pmem_arena, which programs the registers; they are held until this ends.
    Apply {
        /// Addresses and the type that they are to be of: `0xd0000000-0xe0000000=WC`.
        #[arg(long = "want", value_name = "RANGE=TYPE", required = true)]
        wants: Vec<String>,
        /// Do it: without this, only say what would be done.
        #[arg(long)]
        yes: bool,
        /// Even over a BAR whose driver is bound.
        #[arg(long)]
        force: bool,
    },
    /// The fewest registers for what is wanted, with its proof, and what to write in which order.
    Plan {
        /// From what.
        #[command(flatten)]
        source: MtrrSource,
        /// How.
        #[command(flatten)]
        options: PlanOptions,
    },
}

/// Where registers and memory maps are read from.
#[derive(Debug, Default, PartialEq, clap::Args)]
pub struct MtrrSource {
    /// Sources of one machine: texts with registers or memory maps (/proc/mtrr, e820 or EFI maps, a dmesg, a boot log of coreboot or EDK2,
    /// what fwts, memcontrol, rdmsr or U-Boot print, or `key: value` lines), captures, `-` for standard input. This machine if none is given.
    #[arg(value_name = "SOURCE")]
    pub files: Vec<PathBuf>,
    /// How many bits physical addresses have, whatever the source says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(32..=52))]
    pub bits: Option<u8>,
    /// How many variable registers there are, whatever the source says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=40))]
    pub registers: Option<u8>,
    /// The present default type, whatever the source says.
    #[arg(long, value_name = "TYPE")]
    pub present_default: Option<String>,
    /// Where AMD's TOP_MEM2 is: below it the default from 4 GiB on is WB.
    #[arg(long, value_name = "ADDR")]
    pub tom2: Option<String>,
}

/// What a plan is to be like.
#[derive(Debug, clap::Args)]
pub struct PlanOptions {
    /// Addresses that are to be of a type, or of one of several: `0xd0000000-0xe0000000=WC`, `…=UC|WB`, `…=any`.
    #[arg(long = "want", value_name = "RANGE=TYPE")]
    pub wants: Vec<String>,
    /// How many variable registers stay unused.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keep_free: usize,
    /// The default type; the best if none is given.
    #[arg(long, value_name = "TYPE")]
    pub default: Option<String>,
    /// What addresses may become that nothing is known of.
    #[arg(long, value_enum, default_value_t = UnmappedArg::Uc, value_name = "WHAT")]
    pub unmapped: UnmappedArg,
    /// Registers that stay as they are, by number.
    #[arg(long = "pin", value_name = "N")]
    pub pins: Vec<usize>,
}

/// What addresses may become that nothing is known of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum UnmappedArg {
    /// Uncacheable, or as they are.
    Uc,
    /// So where a bus may place devices, anything elsewhere.
    Windows,
    /// Anything.
    Any,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }
}
