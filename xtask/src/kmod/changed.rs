//! Compiles the module against headers as other kernels have them, without needing those kernels.

use super::build::{Variant, kbuild, library, sources};
use super::kernel::Kernel;
use crate::run::{Result, check, output, root};
use std::fs;
use std::path::Path;

/// A change of a kernel interface: the headers it is in, and the replacements in their text.
struct Change {
    /// The kernel version, and what differs.
    about: &'static str,
    headers: &'static [&'static str],
    replace: &'static [(&'static str, &'static str)],
    /// The macro that Kbuild's probe defines, and whether it should.
    probe: (&'static str, bool),
}

const CHANGES: [Change; 3] = [
    Change {
        about: "6.16: MSRs are read and written by other names",
        headers: &["asm/msr.h", "asm/paravirt.h"],
        replace: &[("rdmsrl_safe", "rdmsrq_safe"), ("wrmsrl_safe", "wrmsrq_safe")],
        probe: ("HAS_RDMSRQ", true),
    },
    Change {
        about: "6.19: what is called at sleep is given data",
        headers: &["linux/syscore_ops.h"],
        replace: &[
            ("struct syscore_ops {", "struct syscore;\nstruct syscore_ops {"),
            ("(*suspend)(void)", "(*suspend)(void *data)"),
            ("(*resume)(void)", "(*resume)(void *data)"),
            ("(*shutdown)(void)", "(*shutdown)(void *data)"),
            (
                "extern void register_syscore_ops(struct syscore_ops *ops);",
                "struct syscore { struct list_head node; const struct syscore_ops *ops; void *data; };\n\
                 extern void register_syscore(struct syscore *syscore);",
            ),
            (
                "extern void unregister_syscore_ops(struct syscore_ops *ops);",
                "extern void unregister_syscore(struct syscore *syscore);",
            ),
        ],
        probe: ("HAS_SYSCORE_DATA", true),
    },
    Change {
        about: "before 5.19: a core cannot be stopped",
        headers: &["linux/stop_machine.h"],
        replace: &[("stop_core_cpuslocked", "stop_core_of_another_name")],
        probe: ("HAS_STOP_CORE", false),
    },
];

/// Compiles the module's C code against a kernel's headers with each change applied.
pub fn run(kernel: &Kernel, lab: &Path) -> Result {
    let place = lab.join("changed");
    sources(&place, &library(kernel)?)?;
    for change in &CHANGES {
        let overlay = lab.join("overlay");
        drop(fs::remove_dir_all(&overlay));
        for name in change.headers {
            let text = original(kernel, name)?;
            let changed = change.replace.iter().fold(text.clone(), |text, (old, new)| text.replace(old, new));
            // Headers beside it are not in the folder of the copy, so it needs their original folder.
            let folder = name.split_once('/').map_or("", |(folder, _)| folder);
            let changed = changed.replace("#include \"", &format!("#include \"{folder}/"));
            let to = overlay.join(name);
            fs::create_dir_all(to.parent().unwrap_or(&overlay)).map_err(|e| e.to_string())?;
            fs::write(&to, changed).map_err(|e| e.to_string())?;
        }
        compile(kernel, &place, &overlay, change)?;
    }
    // Also without the symbols that some kernels do not export.
    super::build::build(kernel, lab, Variant { without_mtrr_state: true, faults: false }).map(drop)
}

fn original(kernel: &Kernel, name: &str) -> Result<String> {
    let makefile = fs::read_to_string(kernel.headers.join("Makefile")).unwrap_or_default();
    // Debian splits the headers into two folders: the makefile of one includes that of the other.
    let common = makefile.lines().find_map(|line| line.strip_prefix("include ")?.strip_suffix("/Makefile"));
    let folders = [Path::new(common.unwrap_or("")), &kernel.headers];
    let found = folders.iter().flat_map(|folder| [folder.join("include"), folder.join("arch/x86/include")]);
    let found = found.map(|folder| folder.join(name)).find(|path| path.exists());
    let path = found.ok_or_else(|| format!("no header {name} of {}", kernel.release))?;
    fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
}

fn compile(kernel: &Kernel, place: &Path, overlay: &Path, change: &Change) -> Result {
    let make = |what: &str| {
        let mut make = kbuild(kernel, place);
        // Searched before all other include paths.
        make.arg(format!("CC=gcc -I{}", overlay.display())).arg(what);
        make
    };
    check(&format!("{} on {}", change.about, kernel.release), make("clean").arg("-s"))?;
    // Build each object alone, because no kernel exports what a modified header declares.
    let said = output(change.about, make("kernel.o").args(["processors.o", "V=1"]))?;
    let (name, expected) = change.probe;
    if said.contains(&format!("-D{name}")) == expected {
        Ok(())
    } else {
        Err(format!(
            "{}: Kbuild finds {name}: {}; see {}",
            change.about,
            !expected,
            root().join("kmod/Kbuild").display()
        ))
    }
}
