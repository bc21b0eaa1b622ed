# Functions for the scenes. They read registers with Debian's rdmsr and from /proc/mtrr, not through the module.

pass() { echo "KMOD-PASS $*"; }
fail() { echo "KMOD-FAIL $*"; }
note() { echo "KMOD-NOTE $*"; }
# is WHAT EXPECTED GOT: passes if both are equal.
is() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1: expected [$2], got [$3]"; fi; }
# has WHAT PATTERN TEXT: passes if the text contains the pattern.
has() { case "$3" in *"$2"*) pass "$1" ;; *) fail "$1: [$2] is not in [$3]" ;; esac; }
# does WHAT COMMAND...: passes if the command succeeds.
does() { local what="$1"; shift; if "$@"; then pass "$what"; else fail "$what: status $?"; fi; }
# doesnt WHAT COMMAND...: passes if the command fails.
doesnt() { local what="$1"; shift; if "$@"; then fail "$what: it was not refused"; else pass "$what"; fi; }

# Prints the number of each processor online, one per line.
online() { ls -d /sys/devices/system/cpu/cpu[0-9]* | while read -r cpu; do
    [ "$(cat "$cpu/online" 2> /dev/null)" = 0 ] || echo "${cpu##*cpu}"
done; }
# Prints a line for each MTRR: its number, and the value on each processor.
table() {
    local msr
    for msr in 2ff 250 258 259 268 269 26a 26b 26c 26d 26e 26f \
        200 201 202 203 204 205 206 207 208 209 20a 20b 20c 20d 20e 20f; do
        # Unquoted, its lines become one. A pipe into tr would take most of the time here.
        echo $msr $(rdmsr -a 0x$msr)
    done
}
# Prints the value of each MTRR if all processors agree in every bit, or else the first that differs.
all() {
    table | awk '{
        for (i = 3; i <= NF; i++) if ($i != $2 && !bad) bad = "one differs: " $i " in " $1
        out = out $2 " "
    } END { print bad ? bad : out }'
}
# Likewise if they agree in effect: a pair of base and mask counts only if its V bit (0x800) is set, and shows as - otherwise.
effect() {
    table | awk '{
        if ($1 ~ /^20.*[02468ace]$/) { for (i = 2; i <= NF; i++) base[i] = $i; next }
        for (i = 2; i <= NF; i++) {
            what = $i
            if ($1 ~ /^20/) what = substr($i, length($i) - 2, 1) ~ /[89abcdef]/ && length($i) > 2 ? base[i] "/" $i : "-"
            if (i == 2) first = what
            else if (what != first && !bad) bad = "one differs: " what " in " $1
        }
        out = out first " "
    } END { print bad ? bad : out }'
}
# type_at START: prints the memory type of the range at START, which pmem computes from the registers that it reads itself.
type_at() { pmem mtrr show 2> /dev/null | grep -i "^$1\.\." | awk '{print $NF}'; }
types() { pmem mtrr show | grep -F ..; }

# until_it SECONDS COMMAND...: waits until the command succeeds. Put a $(...) that each try must evaluate in single quotes.
until_it() {
    local tries=$(($1 * 10))
    shift
    while [ $tries -gt 0 ]; do
        if eval "$*" > /dev/null 2>&1; then return 0; fi
        usleep 100000
        tries=$((tries - 1))
    done
    return 1
}
# The time since boot, in whole seconds.
now() { cut -d' ' -f1 /proc/uptime | cut -d. -f1; }

# hold START LEN [force]: makes a claim in a process of its own. Sets `holder` to the process; its output is in /held.
hold() {
    : > /held
    pmem-arena-try hold "$@" > /held &
    holder=$!
    until_it 10 test -s /held
}
# Kills the holder, and waits until its claim is gone.
let_go() {
    kill -9 $holder 2> /dev/null
    wait $holder 2> /dev/null
    until_it 10 '! pmem-arena-try regions | grep "process $holder"'
}
info() { pmem-arena-try info 2>&1; }
# The number of held claims, and the number of claims that are still to be given back.
held() { info | cut -d' ' -f1; }
pending() { info | sed 's/.*stack, \([0-9]*\) pending.*/\1/'; }
# said [LINES]: the module's last lines in dmesg.
said() { dmesg | grep pmem_arena: | tail -n "${1:-5}"; }

# module NAME: loads a build of the module.
module() { insmod "/$1.ko" force=1; }
unload() { rmmod pmem_arena; }

# off_and_on CPU: takes a processor offline and back online.
off_and_on() {
    echo 0 > "/sys/devices/system/cpu/cpu$1/online"
    echo 1 > "/sys/devices/system/cpu/cpu$1/online"
}

# The VGA function. Its frame buffer is its first BAR, and its registers are its third.
vga=$(grep -l 0x030000 /sys/bus/pci/devices/*/class | head -1)
slot=${vga%/class}
# Sets `bar` and `at` to the start of the frame buffer, `end` to its end (exclusive), and `mmio` to the start of the registers.
find_bars() {
    set -- $(head -1 "$slot/resource")
    bar=$1
    at=$(printf '0x%x' "$bar")
    end=$(printf '0x%x' $((bar + 0x1000000)))
    set -- $(sed -n 3p "$slot/resource")
    mmio=$(printf '0x%x' "$1")
}
find_bars
