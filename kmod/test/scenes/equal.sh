# Processors are equal if their registers have the same effect.
types=$(types)
# stale: adds a range through /proc/mtrr, disables it, and takes a processor offline and back. Then a disabled register's base differs.
stale() {
    echo "base=0x40000000 size=0x1000000 type=uncachable" > /proc/mtrr
    echo "disable=$(grep 0x040000000 /proc/mtrr | sed 's/^reg0*\([0-9]\).*/\1/')" > /proc/mtrr
    off_and_on 2
}
stale
has "the kernel leaves processors different to the bit" differs "$(all)"
before=$(effect)
does "it loads all the same" module pmem_arena
has "and sees no difference" "0 mended" "$(info)"
hold "$at" 0x1000000
is "a claim is granted" WC "$(type_at "$at")"
let_go
unload
is "and given back" "$before" "$(effect)"
module pmem_arena
hold "$at" 0x1000000
stale
has "with a claim held there is no difference either" "1 claims" "$(info)"
has "and a second claim is granted or held by the first" "is held by process $holder" "$(pmem-arena-try refuse "$at" 0x1000)"
let_go
is "and is given back" "$before" "$(effect)"
is "every address is as it was" "$types" "$(types)"

# A processor that differs in effect is reported and made equal.
wrmsr -p 2 0x20e 0xc0000006
wrmsr -p 2 0x20f 0xffff000800
has "the processors differ" differs "$(effect)"
has "info says which, and how" "processor 2 holds 0xffff000800 in register 0x20f, not 0x0" "$(info)"
until_it 10 'test "$(effect)" = "$before"'
sleep 2
is "they are made equal by themselves" "$before" "$(effect)"
has "info counts it" "1 mended" "$(info)"
has "dmesg says it" "processor 2: register 0x20f holds 0xffff000800" "$(said 10)"
wrmsr -p 1 0x20f 0xffff000800
hold "$at" 0x1000000
is "a claim is not refused for it" held "$(cat /held)"
is "and mends it" WC "$(type_at "$at")"
case "$(effect)" in *differs*) fail "on all processors: $(effect)" ;; *) pass "on all processors" ;; esac
let_go
is "all is given back" "$before" "$(effect)"
unload
# If processors differ already at load, all get the boot processor's registers.
wrmsr -p 3 0x20f 0xffff000800
does "it loads where they differ" module pmem_arena
sleep 2
is "and makes them equal" "$before" "$(effect)"
unload
module pmem_arena
wrmsr -p 1 0x20f 0xffff000800
unload
is "unloading makes them equal, too" "$before" "$(effect)"
is "the end is the beginning" "$before" "$(effect)"
