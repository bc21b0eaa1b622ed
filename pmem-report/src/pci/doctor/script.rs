//! Shell scripts that apply a remedy step by step and stop at the first surprise.

use super::remedy::{Act, Remedy};
use std::fmt::Write;

const BEGIN: &str = r#"set -eu
stop() { echo "$*: nothing more is done" >&2; exit 1; }
# put VALUE FILE
put() { echo "$1 > $2"; [ -w "$2" ] || stop "$2 is not there, or not to be written"; echo "$1" > "$2"; }
# held FUNCTION OFFSET WIDTH: what a register of configuration space holds
held() {
    n=$(dd if="/sys/bus/pci/devices/$1/config" bs=1 skip="$(($2))" count="$3" 2> /dev/null | od -An -v -tu1)
    value=0 shift=0
    for byte in $n; do value=$((value | byte << shift)) shift=$((shift + 8)); done
    echo "$value"
}
# reg FUNCTION OFFSET WIDTH OLD NEW: only if it holds what it held, and read back
reg() {
    echo "$1 $2 = $5"
    [ "$(held "$1" "$2" "$3")" = "$(($4))" ] || stop "$1 $2 holds $(held "$1" "$2" "$3"), not $4"
    value=$(($5)) bytes='' n=0
    while [ "$n" -lt "$3" ]; do
        bytes="$bytes\\$(printf %03o $((value & 255)))" value=$((value >> 8)) n=$((n + 1))
    done
    printf "$bytes" | dd of="/sys/bus/pci/devices/$1/config" bs="$3" seek="$(($2 / $3))" count=1 conv=notrunc 2> /dev/null || true
    [ "$(held "$1" "$2" "$3")" = "$(($5))" ] || stop "$1 $2 did not take $5 (a locked-down kernel refuses it)"
}
# back FUNCTION OFFSET WIDTH NEW OLD: only if it was written
back() { [ "$(held "$1" "$2" "$3")" != "$(($4))" ] || reg "$@"; }
# same FUNCTION VENDOR DEVICE
same() {
    read -r vendor < "/sys/bus/pci/devices/$1/vendor"
    read -r device < "/sys/bus/pci/devices/$1/device"
    [ "$vendor $device" = "$2 $3" ] || stop "$1 is another device: $vendor $device"
}
# idle FUNCTION: no driver may have it, but where it is named in TAKE
idle() {
    case " ${TAKE:-} " in *" $1 "*) return ;; esac
    [ ! -e "/sys/bus/pci/devices/$1/driver" ] || stop "a driver has $1 (TAKE=$1 to take it out all the same)"
}
# empty PORT: nothing may be behind it
empty() {
    for behind in "/sys/bus/pci/devices/$1"/*:*:*.*; do
        [ ! -e "$behind/config" ] || stop "$behind is behind $1"
    done
}
# is FUNCTION LINE START: what the kernel has in that line of the function's resources
is() {
    got=$(sed -n "$2p" "/sys/bus/pci/devices/$1/resource" | cut -d' ' -f1)
    [ "$((got))" = "$(($3))" ] || stop "$1: line $2 begins at $got, not at $3"
}
"#;

/// Returns the script that applies a remedy, and the one that undoes it.
pub(super) fn scripts(about: &str, remedy: &Remedy) -> (String, String) {
    let begin = |what: &str| {
        format!(
            "#!/bin/sh\n# {what}\n# Written by pmem pci doctor. Read it before it is run, as root.\n{BEGIN}"
        )
    };
    let mut fix = begin(about);
    remedy.acts.iter().for_each(|act| add(act, &mut fix));
    if remedy.acts.iter().any(|act| matches!(act, Act::Put { .. })) {
        fix += "sleep 1\n";
    }
    for placement in &remedy.placements {
        let line = match placement.bar.as_str() {
            "rom" => Some(7),
            bar => match bar.strip_prefix("vf") {
                Some(vf) => vf.parse::<u8>().ok().map(|n| n + 8),
                None => bar.parse::<u8>().ok().map(|n| n + 1),
            },
        };
        if let Some(line) = line {
            _ = writeln!(fix, "is {} {line} {}", placement.function, placement.start);
        }
    }
    fix += "echo done: everything is where it was predicted to be\n";
    let mut undo = begin("Takes back what fix.sh did, as far as that is possible.");
    remedy.back.iter().for_each(|act| add(act, &mut undo));
    (fix, undo)
}

fn add(act: &Act, out: &mut String) {
    // Writing to a string cannot fail.
    _ = match act {
        Act::Put { value, file } => writeln!(out, "put {value} {file}"),
        Act::PutIfThere { value, file } => writeln!(out, "[ ! -e {file} ] || put {value} {file}"),
        Act::Register { write, old } => {
            writeln!(out, "reg {} {} {} {old} {}", write.function, write.offset, write.width, write.value)
        }
        Act::Back { write, new } => {
            writeln!(out, "back {} {} {} {new} {}", write.function, write.offset, write.width, write.value)
        }
        Act::Windows(windows) => {
            writeln!(out, "\"${{PMEM:-pmem}}\" pci windows {}", windows.join(" "))
        }
        Act::WindowsBack(windows) => {
            let words = windows.join(" ");
            writeln!(out, "\"${{PMEM:-pmem}}\" pci windows {words} || echo \"windows stay as they are\" >&2")
        }
        Act::Empty(port) => writeln!(out, "empty {port}"),
        Act::Idle(function) => writeln!(out, "idle {function}"),
        Act::Same { function, id: (vendor, device) } => {
            writeln!(out, "same {function} {vendor:#06x} {device:#06x}")
        }
    };
}
