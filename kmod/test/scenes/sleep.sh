# Suspend to RAM while a claim is held, on both kinds of kernel.
before=$(effect)
for which in pmem_arena pmem_arena_without_mtrr_state; do
    module $which
    hold "$at" 0x1000000
    during=$(effect)
    echo 0 > /sys/class/rtc/rtc0/wakealarm
    echo +5 > /sys/class/rtc/rtc0/wakealarm
    does "$which: it sleeps" sh -c 'echo mem > /sys/power/state'
    is "$which: and wakes with the same registers" "$during" "$(effect)"
    is "$which: the type too" WC "$(type_at "$at")"
    let_go
    is "$which: what was held is given back" "$before" "$(effect)"
    hold "$at" 0x1000000
    is "$which: a new claim is granted" held "$(cat /held)"
    let_go
    has "$which: nothing is pending" "0 pending" "$(info)"
    unload
    is "$which: the end is the beginning" "$before" "$(effect)"
done
