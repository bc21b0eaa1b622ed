//! Scripts that do what helps, step by step, and stop at the first surprise.

use super::parts::Placement;
use std::fmt::Write;

/// The script that does it, and the one that takes it back.
pub(super) fn scripts(about: &str, steps: &[String], placements: &[Placement]) -> (String, String) {
    let mut fix =
        format!("#!/bin/sh\n# {about}\n# Written by pmem pci doctor. Read it before it is run, as root.\n");
    fix += "set -eu\n";
    fix += "put() { echo \"$1 > $2\"; [ -w \"$2\" ] || { echo \"$2 is not there, or not to be written: nothing more is done\" >&2; exit 1; }; echo \"$1\" > \"$2\"; }\n";
    fix += "# is FUNCTION LINE START: what the kernel has in that line of the function's resources\n";
    fix += "is() {\n    got=$(sed -n \"$2p\" \"/sys/bus/pci/devices/$1/resource\" | cut -d' ' -f1)\n";
    fix += "    [ \"$((got))\" = \"$(($3))\" ] || { echo \"$1: line $2 begins at $got, not at $3: nothing more is done\" >&2; exit 1; }\n}\n";
    for step in steps {
        if let Some((value, file)) = step.split_once(" > ") {
            _ = writeln!(fix, "put {value} {file}");
        }
    }
    fix += "sleep 1\n";
    for Placement { function, bar, start, .. } in placements {
        let line = match bar.as_str() {
            "rom" => Some(7),
            bar => bar.parse::<u8>().ok().map(|n| n + 1),
        };
        if let Some(line) = line {
            _ = writeln!(fix, "is {function} {line} {start}");
        }
    }
    fix += "echo done: everything is where it was foretold\n";
    let mut undo = "#!/bin/sh\n# Takes the card out of the kernel's map again; a rescan then gives the port its usual windows.\nset -eu\n".to_owned();
    for step in steps.iter().filter(|step| step.ends_with("/remove")) {
        if let Some((value, file)) = step.split_once(" > ") {
            _ = writeln!(undo, "[ ! -e {file} ] || echo {value} > {file}");
        }
    }
    undo += "echo 1 > /sys/bus/pci/rescan\n";
    (fix, undo)
}
