# What the scenes share. Registers are read by Debian's rdmsr and /proc/mtrr, not through the module.

pass() { echo "KMOD-PASS $*"; }
fail() { echo "KMOD-FAIL $*"; }
note() { echo "KMOD-NOTE $*"; }
# is WHAT EXPECTED GOT
is() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1: expected [$2], got [$3]"; fi; }
# has WHAT PATTERN TEXT
has() { case "$3" in *"$2"*) pass "$1" ;; *) fail "$1: [$2] is not in [$3]" ;; esac; }
# does WHAT COMMAND...: it succeeds.
does() { local what="$1"; shift; if "$@"; then pass "$what"; else fail "$what: status $?"; fi; }
# doesnt WHAT COMMAND...: it is refused.
doesnt() { local what="$1"; shift; if "$@"; then fail "$what: it was not refused"; else pass "$what"; fi; }

cpus() { ls -d /sys/devices/system/cpu/cpu[0-9]* | sed 's/.*cpu//'; }
online() {
    local cpu
    for cpu in $(cpus); do
        [ "$(cat "/sys/devices/system/cpu/cpu$cpu/online" 2> /dev/null)" = 0 ] || echo "$cpu"
    done
}
# All MTRRs of a processor, on one line.
registers() {
    local msr
    for msr in 2ff 250 258 259 268 269 26a 26b 26c 26d 26e 26f \
        200 201 202 203 204 205 206 207 208 209 20a 20b 20c 20d 20e 20f; do
        rdmsr -p "$1" "0x$msr"
    done | tr '\n' ' '
}
# The same on all, if they agree to the bit.
all() {
    local cpu first next
    first=$(registers 0)
    for cpu in $(online); do
        next=$(registers "$cpu")
        if [ "$next" != "$first" ]; then echo "CPU $cpu differs: $next"; return; fi
    done
    echo "$first"
}
# What of a processor's registers counts: of pairs those whose V bit is set.
effect_of() {
    local out
    set -- $(registers "$1")
    out="$1 $2 $3 $4 $5 $6 $7 $8 $9"
    shift 9
    out="$out $1 $2 $3"
    shift 3
    while [ $# -gt 1 ]; do
        if [ $((0x$2 & 0x800)) != 0 ]; then out="$out $1/$2"; else out="$out -"; fi
        shift 2
    done
    echo "$out"
}
# The same on all, if they agree.
effect() {
    local cpu first next
    first=$(effect_of 0)
    for cpu in $(online); do
        next=$(effect_of "$cpu")
        if [ "$next" != "$first" ]; then echo "CPU $cpu differs: $next"; return; fi
    done
    echo "$first"
}
# The type of an address, worked out by pmem from the registers it reads itself.
type_at() { pmem mtrr show 2> /dev/null | grep -i "^$1\.\." | awk '{print $NF}'; }
types() { pmem mtrr show | grep -F ..; }

# until SECONDS COMMAND...: waits for it to succeed.
until_it() {
    local left=$(($1 * 10))
    shift
    while [ $left -gt 0 ]; do
        if "$@" > /dev/null 2>&1; then return 0; fi
        usleep 100000
        left=$((left - 1))
    done
    return 1
}
now() { cut -d' ' -f1 /proc/uptime | cut -d. -f1; }

# hold START LEN [force]: sets `holder`; what it says is in /held.
hold() {
    : > /held
    pmem-arena-try hold "$@" > /held &
    holder=$!
    until_it 10 test -s /held
}
# Ends it, by force.
let_go() {
    kill -9 $holder 2> /dev/null
    wait $holder 2> /dev/null
    until_it 10 test -z "$(pmem-arena-try regions 2> /dev/null | grep "process $holder")"
}
info() { pmem-arena-try info 2>&1; }
said() { dmesg | grep pmem_arena: | tail -n "${1:-5}"; }

module() { insmod "/$1.ko" force=1; }
unload() { rmmod pmem_arena; }

off_and_on() {
    echo 0 > "/sys/devices/system/cpu/cpu$1/online"
    echo 1 > "/sys/devices/system/cpu/cpu$1/online"
}

# The frame buffer: the first memory BAR of the VGA function, and its registers, the third.
vga=$(grep -l 0x030000 /sys/bus/pci/devices/*/class | head -1)
slot=${vga%/class}
name=${slot##*/}
set -- $(head -1 "$slot/resource")
bar=$1
at=$(printf '0x%x' "$bar")
end=$(printf '0x%x' $((bar + 0x1000000)))
set -- $(sed -n 3p "$slot/resource")
mmio=$(printf '0x%x' "$1")
