//! The command line. The doc comments here are the text of `--help` and of the manual pages.

use crate::complete;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Inspect a machine's physical address space: what is at an address, seen from where, at what cost.
///
/// pmem reads this machine, or whatever describes another one: a capture, a dmesg, /proc/iomem, lspci, ACPI tables.
/// From all that it builds one model. It tells which source says what, and where sources contradict each other. Only
/// `pmem mtrr apply --yes` and `pmem pci windows` change anything on the machine.
///
/// Most commands take SOURCE arguments; `pmem topo --help` describes them. To look at a machine from elsewhere, run
/// `pmem gather machine.tar` on it as root and name that file as SOURCE.
#[derive(Debug, Parser)]
#[command(name = "pmem", version, after_help = EXIT, max_term_width = 100)]
pub struct Args {
    /// Read the machine from SOURCE instead of this one; can be given several times.
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        value_name = "SOURCE",
        conflicts_with = "net"
    )]
    pub root: Vec<PathBuf>,

    /// Read a decoding net in JSON instead of a machine (docs/sources/nets.md).
    #[arg(long, global = true, help_heading = "Global options", value_name = "FILE")]
    pub net: Option<PathBuf>,

    /// Print JSON instead of text (docs/json.md).
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,

    /// Draw the report instead of printing it.
    #[command(flatten)]
    pub drawing: Drawing,

    /// When to use colour.
    #[arg(long, global = true, help_heading = "Global options", value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,

    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT: &str = "\
RANGE is 0x1000..0x2000 (end exclusive, as pmem prints it), 0x1000-0x1fff (as the kernel prints it: an odd end is the last address, an even end is exclusive), or 0x1000+4K.

Exit status: 0 done, 1 failure or something is wrong, 2 usage error, 3 the answer is no, 4 not proven.";

/// Pictures of a report, each instead of the printed text. Several can be drawn at once.
#[derive(Debug, Default, clap::Args)]
pub struct Drawing {
    /// Draw the report as SVG into FILE; `-` is standard output.
    ///
    /// Addresses run along the axis, and ribbons show which window leads where. Pictures exist for topo, view, diff,
    /// resolve, lint, ram show, iommu show, mtrr show, mtrr plan, pci tree and pci plan.
    #[arg(long, global = true, help_heading = "Global options", value_name = "FILE")]
    pub svg: Option<PathBuf>,

    /// Draw the report as a self-contained HTML page, with zoom and search.
    #[arg(long, global = true, help_heading = "Global options", value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Draw the report as text, as wide as the variable COLUMNS says (160 if unset).
    #[arg(long, global = true, help_heading = "Global options")]
    pub map: bool,

    /// Write the graph of arenas and interconnects for Graphviz (topo only).
    #[arg(long, global = true, help_heading = "Global options", value_name = "FILE")]
    pub dot: Option<PathBuf>,
}

impl Drawing {
    /// Whether a picture is wanted.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.svg.is_some() || self.html.is_some() || self.map || self.dot.is_some()
    }
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// If standard output is a terminal, NO_COLOR is not set, and TERM is not `dumb`.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the machine at a glance: nodes, memory, buses, devices, oddities.
    ///
    /// Lists the NUMA nodes and their memory, arenas, CXL windows, and the PCI hierarchy, then warnings about broken or
    /// contradictory sources, and what was read of each.
    ///
    /// Example:
    ///
    /// `pmem topo dmesg.txt iomem.txt --html machine.html`
    Topo(TopoArgs),
    /// Show the address map as an arena or a device sees it.
    ///
    /// Lists regions, windows and free gaps in order of address, and what it costs to reach each.
    ///
    /// Examples:
    ///
    /// `pmem view`
    ///
    /// `pmem view node0`
    ///
    /// `pmem view 0000:3b:00.0 capture.tar`
    View {
        /// The viewer, then sources of one machine (see `pmem topo --help`).
        ///
        /// The viewer is `cpu`, a NUMA node such as `node0`, a PCI function, a bus such as `pci 0000:3b`, another
        /// arena's name, an address space of an emulator, or the number of a net's node. Without one, the view is that
        /// of the CPUs (the system bus). A file of the same name as an arena is taken as a source.
        #[arg(value_name = "FROM|SOURCE", add = complete::viewer_or_path())]
        words: Vec<String>,
        /// Show only the arena itself, without following its interconnects.
        #[arg(long)]
        local: bool,
    },
    /// Explain what an address means, or why it leads nowhere.
    ///
    /// Follows the address through every interconnect and prints the cost, the arena and region in which it ends, and
    /// which node, kind of memory and device that is. It also tells how sure that is and which line of which source
    /// says so.
    ///
    /// The exit status is 3 if an address leads nowhere, if it is not known where it leads, or if a BAR has no address.
    ///
    /// Examples:
    ///
    /// `pmem resolve 0xfee00000`
    ///
    /// `pmem resolve --from 0000:3b:00.0 0x100000000`
    ///
    /// `pmem resolve 0000:3b:00.0:bar2 lspci.txt`
    Resolve {
        /// Resolve as seen from this arena or device (see `pmem view --help`).
        ///
        /// The default is the view of the CPUs (the system bus).
        #[arg(long, value_name = "ARENA|DEVICE", add = complete::viewer())]
        from: Option<String>,
        /// The addresses to resolve, and sources of one machine.
        ///
        /// An address is a number such as `0xfee00000` or `4096`; an I/O port, `io:0x3f8`; a BAR of a PCI function,
        /// `0000:3b:00.0:bar2` (also `rom` and `vf0` to `vf5`); or an address inside a CXL device, `mem1:0x1000`. A
        /// range such as `0x1000..0x2000` stands for its first and its last address. Any other word that names a file
        /// is a source (see `pmem topo --help`).
        #[arg(required = true, value_name = "ADDR|SOURCE", add = complete::register_or_path())]
        words: Vec<String>,
    },
    /// Compare the address maps of two viewers.
    ///
    /// Lists what only one of them reaches, and what both reach at different addresses.
    ///
    /// The exit status is 1 if there is any difference, and 4 if no source says what one of them sees of memory.
    ///
    /// Example:
    ///
    /// `pmem diff cpu 0000:3b:00.0`
    Diff {
        /// The first viewer (see `pmem view --help`).
        #[arg(add = complete::viewer())]
        left: String,
        /// The second viewer.
        #[arg(add = complete::viewer())]
        right: String,
        /// Sources of one machine (see `pmem topo --help`); this machine if none is given.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
    },
    /// Explain the physical addresses in a text, line by line as it arrives.
    ///
    /// The text is passed on unchanged, with explanations below its lines: what is at each address, and for IOMMU
    /// faults which device made the request, what the address is, and what was missing.
    ///
    /// A text whose memory map differs from the machine's, such as another machine's dmesg, is explained with its own
    /// map. Any other text is explained with the machine that folders, archives and --root describe, or with this
    /// machine.
    ///
    /// Examples:
    ///
    /// `dmesg -w | pmem annotate`
    ///
    /// `pmem annotate fault.txt capture.tar`
    Annotate {
        /// Explain addresses as seen from this arena or device (see `pmem view --help`).
        #[arg(long, value_name = "ARENA|DEVICE", add = complete::viewer())]
        from: Option<String>,
        /// The texts (`-` for standard input), and the machine's capture.
        ///
        /// A folder or archive is a capture of the machine; any other file is a text. Without a text, standard input is
        /// read.
        #[arg(value_name = "TEXT|CAPTURE")]
        words: Vec<PathBuf>,
    },
    /// Run a script of arenas, interconnects, regions, drivers and pages.
    ///
    /// The script starts with an empty model. pmem prints it together with the output of its commands. docs/script.md
    /// describes the language.
    ///
    /// The exit status is 1 if the output differs from what the script expects, or if a command fails unexpectedly.
    Script {
        /// The script; `-` is standard input.
        file: PathBuf,
        /// Print only what differs from the output that the script expects.
        #[arg(long)]
        check: bool,
    },
    /// Show, plan and apply memory types (MTRRs).
    Mtrr {
        /// The subcommand to run.
        #[command(subcommand)]
        command: MtrrCommand,
    },
    /// Find room in PCI bus space for cards, larger BARs and virtual functions.
    Pci {
        /// The subcommand to run.
        #[command(subcommand)]
        command: PciCommand,
    },
    /// Show IOMMUs, and explain why a mapping is refused.
    Iommu {
        /// The subcommand to run.
        #[command(subcommand)]
        command: IommuCommand,
    },
    /// Plan the programmable address regions (PARs) of an AMD Élan SC520.
    Par {
        /// The subcommand to run.
        #[command(subcommand)]
        command: ParCommand,
    },
    /// Find contradictions between tables, maps, registers and logs.
    ///
    /// Compares what the descriptions of a machine say with each other and with the rules that each must follow. A
    /// finding names every side with its source and line, what it means, and what helps. docs/lint.md has more about
    /// the rules.
    ///
    /// Each SOURCE is a machine of its own, unless --together is given. With --json, pmem prints a line for each
    /// finding, then a last line with the counts and with what could not be checked.
    ///
    /// The exit status is 1 if there is an error or a warning, or if a source cannot be read.
    ///
    /// Examples:
    ///
    /// `pmem lint`
    ///
    /// `pmem lint --together dmesg.txt iomem`
    ///
    /// `pmem lint --json captures/*.tar`
    Lint {
        /// Explain a rule, such as `N1`, instead of checking; `all` explains all.
        #[arg(long, value_name = "RULE")]
        explain: Option<String>,
        /// Treat all sources as descriptions of one machine.
        #[arg(long)]
        together: bool,
        /// The machines to check: captures or texts; this machine if none is given.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
    },
    /// Show memory by pages, and explain bad pages and failed hot-plug.
    Ram {
        /// The subcommand to run.
        #[command(subcommand)]
        command: RamCommand,
    },
    /// Print the machine in a form that other programs read.
    ///
    /// Whatever the form cannot express is left out.
    ///
    /// Examples:
    ///
    /// `pmem emit qemu capture.tar`
    ///
    /// `pmem emit hwloc-xml > machine.xml`
    Emit {
        /// The form.
        form: Form,
        /// Sources of one machine (see `pmem topo --help`); this machine if none is given.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
    },
    /// Capture the machine in a tar file that pmem reads as a SOURCE.
    ///
    /// The capture has every file that pmem reads of a machine; serial numbers and MAC addresses are left out. Run this
    /// as root, because Linux hides addresses from other users. With --root, it captures from a folder or archive.
    Gather {
        /// The tar file to write.
        out: PathBuf,
    },
    /// Print shell completions, which also know devices, nodes and arenas.
    ///
    /// For bash: `source <(pmem completions bash)`
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual, or write a page for each subcommand.
    Man {
        /// Write the pages into this folder, such as ~/.local/share/man/man1.
        ///
        /// The folder is created if it does not exist.
        #[arg(long = "to", value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
}

impl Command {
    /// Whether the command's report can be drawn.
    #[must_use]
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
    /// The memory map, as Linux prints it at boot.
    E820,
    /// A device tree source: memory, CPUs, distances, host bridges.
    Dts,
    /// A QEMU command line: the same nodes, distances, speeds, CXL windows and PCI hierarchy.
    Qemu,
    /// hwloc's XML, version 2.
    HwlocXml,
    /// The memory map as `memmap=` options for Linux's command line.
    LinuxMemmap,
    /// Everything that `pmem topo --json` reports.
    Json,
}

/// The arguments of `pmem topo`.
#[derive(Debug, clap::Args)]
pub struct TopoArgs {
    /// What describes the machine; this machine if none is given.
    ///
    /// A SOURCE is a capture (a folder with proc and sys, or a tar file of it, also compressed by gzip), a file with
    /// any text (a dmesg, /proc/iomem, lspci -vvv, /proc/mtrr, ACPI tables, a mail that quotes them), or `-` for
    /// standard input. Several sources describe one machine together, each adding what it knows. docs/sources.md lists
    /// everything that is read.
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<PathBuf>,
    /// Treat each source as a machine of its own.
    ///
    /// With --json, pmem prints one line for each machine: its name is `machine`, and if it cannot be read, `failed`
    /// tells why. The exit status is 1 if a source cannot be read.
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
    /// Show units, reserved ranges, groups and special requesters.
    ///
    /// Lists the IOMMU units with the devices of each, the device addresses that no mapping may use, the groups,
    /// requester ids that belong to no function, and the page tables of running units, if a source has them.
    Show {
        /// Sources of one machine (see `pmem topo --help`); acpidump's output of DMAR or IVRS is one.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
    },
    /// Explain why VFIO refuses a mapping, or what a text says was refused.
    ///
    /// With BDF and RANGE, pmem checks the range of device addresses against reserved ranges and address widths. It
    /// prints why VFIO returns -22 (EINVAL), or that nothing known forbids the mapping. The exit status is 3 if the
    /// mapping is refused.
    ///
    /// Without a device, pmem explains everything that the texts say was refused: mappings, groups, devices, interrupt
    /// controllers. The exit status is 3 if they contain no refusal.
    ///
    /// Examples:
    ///
    /// `pmem iommu why 0000:3b:00.0 0xfee00000+1M dmesg.txt`
    ///
    /// `pmem iommu why qemu.log`
    Why {
        /// A PCI function and a range of device addresses, then sources of one machine; or only texts.
        #[arg(value_name = "BDF RANGE|SOURCE", required = true, add = complete::function_or_path())]
        words: Vec<String>,
    },
}

/// The subcommands of `pmem par`.
#[derive(Debug, Subcommand)]
pub enum ParCommand {
    /// Find the fewest registers for a map, and the order of their writes.
    ///
    /// FILE has one item on each line; `#` begins a comment.
    ///
    /// `sdram 16M`: the amount of SDRAM. This line is required.
    ///
    /// `0x100000-0x345fff sdram no-write`: a range and its target: sdram, bootcs, romcs1, romcs2, pci, or gpmem0 to
    /// gpmem7. What is forbidden there follows, separated by commas: no-write, no-cache, no-execute.
    ///
    /// `port 0x3f8-0x3ff gpio5`: I/O ports and their target, gpio0 to gpio7.
    ///
    /// `PAR[3] 8a3ffc00`: what a register holds now, as kernels print it. If the file has no ranges and ports, the map
    /// is what the registers make of it.
    ///
    /// The exit status is 3 if the map needs more registers than there are, and 4 if that is not proven.
    Plan {
        /// The file with the map; `-` is standard input.
        file: PathBuf,
    },
}

/// The subcommands of `pmem ram`.
#[derive(Debug, Subcommand)]
pub enum RamCommand {
    /// Show memory as a page allocator would get it.
    ///
    /// Lists segments and their free lists, what is in use and by whom, the nodes with their largest free runs, and
    /// memory blocks.
    Show {
        /// Sources of one machine (see `pmem topo --help`); this machine if none is given.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
    },
    /// Find bad pages in the output of memory testers and kernels.
    ///
    /// Lists the bad pages and the modules that are named, and prints settings for Linux, GRUB and Windows that keep
    /// the pages from being used. Settings that are in the text are checked: what they do, and which bad pages they
    /// miss.
    ///
    /// The exit status is 3 if there is neither a bad page nor a setting.
    Bad {
        /// Texts: a memory tester's list, a log, settings; `-` is standard input.
        #[arg(value_name = "SOURCE", required = true)]
        sources: Vec<PathBuf>,
    },
    /// Explain why memory cannot be plugged in or removed.
    ///
    /// Explains each line of the texts that says so, and why the memory window of a non-transparent bridge (NTB) cannot
    /// be set.
    ///
    /// The exit status is 3 if there is no such line.
    Plug {
        /// Texts, such as a dmesg; `-` is standard input.
        #[arg(value_name = "SOURCE", required = true)]
        sources: Vec<PathBuf>,
    },
}

/// The subcommands of `pmem pci`.
#[derive(Debug, Subcommand)]
pub enum PciCommand {
    /// Show the hierarchy: windows, what lies in them, and the room left.
    ///
    /// For each window the largest free block is listed: a BAR of that size still fits.
    Tree {
        /// Sources of one machine (see `pmem topo --help`); this machine if none is given.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
    },
    /// Check the hierarchy for overlaps and misplaced resources.
    ///
    /// Finds ranges that overlap, lie outside the windows above them, or cannot be held by their registers.
    ///
    /// The exit status is 1 if something is wrong.
    Lint {
        /// Sources of one machine (see `pmem topo --help`); this machine if none is given.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
    },
    /// Diagnose "no space" errors: what failed, whether it matters, what helps.
    ///
    /// Looks for remedies that are predicted to succeed and to harm no running device: by the kernel alone, by register
    /// writes, or by the kernel module pmem_arena. If nothing helps, it prints the proof. It changes nothing; --write
    /// saves the scripts that do. docs/no-space.md explains the remedies.
    ///
    /// The exit status is 0 if nothing is wrong or everything can be fixed, 3 if nothing helps, and 4 if that is not
    /// proven.
    ///
    /// Example:
    ///
    /// `dmesg > log; pmem pci doctor / log --write fix`
    Doctor {
        /// Sources of one machine (see `pmem topo --help`); this machine if none is given.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
        /// The Linux version, such as `6.12`, or a log of that kernel.
        ///
        /// The default is the version that the sources name.
        #[arg(long, value_name = "VERSION")]
        kernel: Option<String>,
        /// Place nothing at these CPU addresses; can be given several times.
        #[arg(long, value_name = "RANGE")]
        avoid: Vec<String>,
        /// Write fix.sh, undo.sh and report.txt into this folder.
        ///
        /// fix.sh and undo.sh are written only if there is something for them to do. Nothing else is ever written. The
        /// folder is created if it does not exist.
        #[arg(long, value_name = "FOLDER")]
        write: Option<PathBuf>,
    },
    /// Change bridge windows on this machine, all of them or none.
    ///
    /// The kernel module pmem_arena changes both the kernel's resource map and the bridges' registers. The scripts of
    /// `pmem pci doctor` use this. A change is refused if the window is no longer where OLD says.
    Windows {
        /// The changes, in order, such as `0000:02:01.0:pref=0xfd200000-0xfd3fffff,closed`.
        ///
        /// KIND is io, mem or pref. OLD is the window in the kernel's map, NEW the window to set; either can be
        /// `closed`. Ranges are `0xfd200000..0xfd400000` (end exclusive) or, as in /proc/iomem, `0xfd200000-0xfd3fffff`.
        /// If OLD and NEW are the same, only the registers are written.
        #[arg(value_name = "BDF:KIND=OLD,NEW", required = true)]
        changes: Vec<String>,
    },
    /// Play hot-plug events by pmem's rules and by those of Linux versions.
    ///
    /// Prints for each event what finds room, what that costs, and who is hurt.
    ///
    /// Example:
    ///
    /// `pmem pci replay trace.txt --kernel 6.1 --kernel 6.12`
    Replay {
        /// A log or other source of the hierarchy, with events among its lines.
        ///
        /// Events are lines such as `do: plug mem64p:1G at 0000:02:01.0`. `pmem pci predict --help` lists the events.
        #[arg(value_name = "TRACE")]
        trace: PathBuf,
        /// A Linux version to compare with; can be given several times.
        #[arg(long = "kernel", value_name = "VERSION", default_values = ["6.1", "6.12", "7.1"])]
        kernels: Vec<String>,
    },
    /// Predict what Linux does by itself when a card is plugged in, and the like.
    ///
    /// Prints for each event the addresses that are assigned, the windows that change, who loses an address, and where
    /// the registers then differ from the kernel's map.
    ///
    /// Example:
    ///
    /// `pmem pci predict dmesg.txt --do "plug mem64p:1G at 0000:02:01.0"`
    Predict {
        /// Sources of one machine (see `pmem topo --help`); this machine if none is given.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
        /// The Linux version, such as `6.12`, or a log of that kernel.
        ///
        /// The default is the version that the sources name. If they name none, this option is required.
        #[arg(long, value_name = "VERSION")]
        kernel: Option<String>,
        /// What happens; several events happen one after the other.
        ///
        /// `plug SPEC at BDF`: a card is plugged in below a port (pciehp). SPEC is a list such as `mem64p:1G,mem32:1M`.
        ///
        /// `plug-acpi SPEC at BDF`: the same, handled by ACPI.
        ///
        /// `unplug BDF`: the card below a port is removed.
        ///
        /// `resize BDF:barN=SIZE`: a BAR is resized.
        ///
        /// `rescan`: everything is rescanned. `rescan 0000:04`: only that empty bus is.
        ///
        /// `boot`: the kernel starts, and assigns what firmware left without an address. `realloc`: the same with
        /// `pci=realloc`. `reassign`: it assigns everything afresh, as on arm64 and POWER.
        #[arg(long = "do", value_name = "EVENT", required = true)]
        deeds: Vec<String>,
    },
    /// Find the smallest change that makes room for something, or why there is none.
    ///
    /// Prints where everything goes, what must be stopped, which windows change, and the register writes in order. If
    /// it does not fit, the proof is printed, and what would fit instead. Nothing is changed.
    ///
    /// The exit status is 3 if it does not fit, and 4 if that is not proven. The search ends after 20 seconds.
    ///
    /// Examples:
    ///
    /// `pmem pci plan --add mem64p:1G,mem32:1M --at 0000:06:01.0`
    ///
    /// `pmem pci plan dmesg.txt --all-failed`
    Plan {
        /// Sources of one machine (see `pmem topo --help`); this machine if none is given.
        #[arg(value_name = "SOURCE")]
        sources: Vec<PathBuf>,
        /// What to place.
        #[command(flatten)]
        wish: PciWish,
        /// The port below which the card is plugged in.
        ///
        /// If the sources do not show the port, name the bus below it, such as `0000:04`.
        #[arg(long, value_name = "BDF", requires = "add", add = complete::function())]
        at: Option<String>,
        /// The Linux version, such as `6.12`, or a log of that kernel.
        ///
        /// pmem then also predicts what that kernel does by itself. The default is the version that the sources name.
        #[arg(long, value_name = "VERSION")]
        kernel: Option<String>,
        /// Place nothing at these CPU addresses; can be given several times.
        #[arg(long, value_name = "RANGE")]
        avoid: Vec<String>,
        /// Never stop this function; can be given several times.
        #[arg(long, value_name = "BDF", add = complete::function())]
        pin: Vec<String>,
        /// Count stopping this function as free; can be given several times.
        #[arg(long, value_name = "BDF", add = complete::function())]
        quiesce: Vec<String>,
        /// Keep room for a card that may come later, below a port or on a bus.
        ///
        /// Example:
        ///
        /// `--keep 0000:00:1c.4=mem64p:32G,mem32:16M`
        #[arg(long, value_name = "BDF=SPEC")]
        keep: Vec<String>,
    },
}

/// What to place.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct PciWish {
    /// Place a new card (with --at), described by what it decodes.
    ///
    /// SPEC is a list such as `mem64p:32G,mem32:16M`. The kinds are mem32, mem64, their prefetchable forms mem32p and
    /// mem64p, io, and rom; `N=` in front of a kind gives the BAR's number. SPEC can also be a file with such a list,
    /// or `BDF@DUMP`: the card at BDF in the machine that the source DUMP describes.
    #[arg(long, value_name = "SPEC", requires = "at")]
    pub add: Option<String>,
    /// Resize a BAR, such as `0000:04:00.0:bar1=32G`; can be given several times.
    #[arg(long, value_name = "BDF:barN=SIZE")]
    pub resize: Vec<String>,
    /// Enable virtual functions: `0000:04:00.0=8` makes room for 8; can be given several times.
    #[arg(long, value_name = "BDF=N")]
    pub vfs: Vec<String>,
    /// Place everything that has no address.
    #[arg(long)]
    pub all_failed: bool,
}

/// The subcommands of `pmem mtrr`.
#[derive(Debug, Subcommand)]
pub enum MtrrCommand {
    /// Show the registers, the type of every address, and what is wrong.
    Show {
        /// The sources to read.
        #[command(flatten)]
        source: MtrrSource,
        /// Ask the kernel module pmem_arena for its registers, arenas and claims.
        #[arg(long, conflicts_with = "files")]
        kernel: bool,
    },
    /// Claim addresses of a type through the kernel module pmem_arena.
    ///
    /// The module programs the registers. The claims are held until the command ends. Without --yes, nothing is
    /// changed: pmem prints whether each claim would be granted by itself, and whether the PAT makes it unnecessary. It
    /// stops at the first claim that is refused, and gives the earlier ones back.
    ///
    /// The exit status is 3 if a claim is refused, or if all claims end by themselves because a driver is bound, the
    /// device is removed, or its BAR moves.
    Apply {
        /// A range and the one type that it needs, such as `0xd0000000..0xe0000000=WC`.
        #[arg(long = "want", value_name = "RANGE=TYPE", required = true)]
        wants: Vec<String>,
        /// Really claim: without this, only print what would happen.
        #[arg(long)]
        yes: bool,
        /// Claim even a range that could be unsafe, such as a BAR whose driver is bound.
        #[arg(long)]
        force: bool,
    },
    /// Find the fewest registers for the types you want, with proof.
    ///
    /// Prints the plan, the type of every address, and the register writes in order. It writes nothing;
    /// `pmem mtrr apply` does. docs/mtrr.md tells when you need an MTRR at all.
    ///
    /// The exit status is 3 if the registers do not suffice. Then the plan with the least loss is printed.
    ///
    /// Example:
    ///
    /// `pmem mtrr plan --want 0xd0000000..0xe0000000=WC`
    Plan {
        /// The sources to read.
        #[command(flatten)]
        source: MtrrSource,
        /// What the plan must fulfil.
        #[command(flatten)]
        options: PlanOptions,
    },
}

/// The sources of registers and memory maps, and values that override them.
#[derive(Debug, Default, PartialEq, clap::Args)]
pub struct MtrrSource {
    /// Sources of one machine; this machine if none is given.
    ///
    /// A SOURCE is a text with registers or a memory map (/proc/mtrr, e820 or EFI maps, a dmesg, a boot log of coreboot
    /// or EDK2, the output of fwts, memcontrol, rdmsr or U-Boot, or `key: value` lines), a capture, or `-` for standard
    /// input. docs/sources.md describes the keys.
    #[arg(value_name = "SOURCE")]
    pub files: Vec<PathBuf>,
    /// Assume this width of physical addresses, in bits.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(32..=52))]
    pub bits: Option<u8>,
    /// Assume this number of variable registers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=40))]
    pub registers: Option<u8>,
    /// Assume this present default type: UC, WC, WT, WP or WB.
    #[arg(long, value_name = "TYPE")]
    pub present_default: Option<String>,
    /// Assume this AMD TOP_MEM2: from 4 GiB up to it, the default is WB.
    #[arg(long, value_name = "ADDR")]
    pub tom2: Option<String>,
}

/// What a plan must fulfil.
#[derive(Debug, clap::Args)]
pub struct PlanOptions {
    /// Ask for a type: `0xd0000000..0xe0000000=WC`; can be given several times.
    ///
    /// Types are UC, WC, WT, WP and WB. `UC|WB` permits either, `any` permits all. A range starts and ends at multiples
    /// of 4 KiB.
    #[arg(long = "want", value_name = "RANGE=TYPE")]
    pub wants: Vec<String>,
    /// Leave this number of variable registers unused.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keep_free: usize,
    /// Use this default type; without it, the best one is chosen.
    #[arg(long, value_name = "TYPE")]
    pub default: Option<String>,
    /// What may become of addresses about which nothing is known.
    #[arg(long, value_enum, default_value_t = UnmappedArg::Uc, value_name = "WHAT")]
    pub unmapped: UnmappedArg,
    /// Leave this register as it is; can be given several times.
    #[arg(long = "pin", value_name = "N")]
    pub pins: Vec<usize>,
}

/// What may become of addresses about which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum UnmappedArg {
    /// They become uncacheable, or stay as they are.
    Uc,
    /// Where a bus may place devices, they become uncacheable or stay as they are; elsewhere, they may become anything.
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
