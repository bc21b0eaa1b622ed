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

online() { ls -d /sys/devices/system/cpu/cpu[0-9]* | while read -r cpu; do
    [ "$(cat "$cpu/online" 2> /dev/null)" = 0 ] || echo "${cpu##*cpu}"
done; }
# Every MTRR, a line each: its number, and what each processor holds.
table() {
    local msr
    for msr in 2ff 250 258 259 268 269 26a 26b 26c 26d 26e 26f \
        200 201 202 203 204 205 206 207 208 209 20a 20b 20c 20d 20e 20f; do
        echo "$msr $(rdmsr -a "0x$msr" | tr '\n' ' ')"
    done
}
# The same on all, if they agree to the bit.
all() {
    table | awk '{
        for (i = 3; i <= NF; i++) if ($i != $2 && !bad) bad = "one differs: " $i " in " $1
        out = out $2 " "
    } END { print bad ? bad : out }'
}
# The same, if they agree in effect: of pairs those count whose V bit, 0x800, is set.
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
# The type of an address, worked out by pmem from the registers it reads itself.
type_at() { pmem mtrr show 2> /dev/null | grep -i "^$1\.\." | awk '{print $NF}'; }
types() { pmem mtrr show | grep -F ..; }

# until_it SECONDS COMMAND...: waits for it to succeed. What is to be worked out anew each time stands in single quotes.
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
    until_it 10 '! pmem-arena-try regions | grep "process $holder"'
}
info() { pmem-arena-try info 2>&1; }
# How much is held, and how much is still to be given back.
held() { info | cut -d' ' -f1; }
pending() { info | sed 's/.*stack, \([0-9]*\) pending.*/\1/'; }
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
# Sets where they are.
find_bars() {
    set -- $(head -1 "$slot/resource")
    bar=$1
    at=$(printf '0x%x' "$bar")
    end=$(printf '0x%x' $((bar + 0x1000000)))
    set -- $(sed -n 3p "$slot/resource")
    mmio=$(printf '0x%x' "$1")
}
find_bars
