# A processor refuses a register.
before=$(effect)
p=/sys/module/pmem_arena/parameters
for which in pmem_arena_faults pmem_arena_without_mtrr_state_faults; do
    module $which
    # refuse CPU MSR TIMES [AFTER]: makes a processor refuse the next TIMES writes of a register, after it accepts AFTER writes.
    refuse() {
        echo "${4:-0}" > $p/refuse_after
        echo "$1" > $p/refuse_cpu
        echo "$2" > $p/refuse_msr
        echo "$3" > $p/refuse_times
    }
    for cpu in 0 2; do
        for msr in 0x2ff 0x200 0x201 0x202 0x203 0x204 0x205; do
            refuse $cpu $msr 1
            pmem-arena-try refuse "$at" 0x1000000 > /refused
            left=$(cat $p/refuse_times)
            refuse 0 0 0
            # A register that the plan does not write cannot be refused.
            if [ "$left" = 0 ]; then
                has "$which: processor $cpu refuses $msr" "processor $cpu did not accept register" "$(cat /refused)"
            fi
            is "$which: all are as before" "$before" "$(effect)"
        done
    done
    # The boot processor accepts neither the new registers nor the old ones again. So it no longer holds what all should have. It accepts
    # the first write of 0x2ff, which disables MTRRs, but not the next seven.
    for msr in 0x202 0x203 0x2ff; do
        refuse 0 $msr 7 $((msr == 0x2ff))
        pmem-arena-try refuse "$at" 0x1000000 > /refused
        until_it 20 'test "$(cat $p/refuse_times)" = 0'
        refuse 0 0 0
        until_it 20 'test "$(effect)" = "$before"'
        is "$which: the boot processor is mended to what it held, $msr" "$before" "$(effect)"
    done
    # Giving back is final, and retried until it is done.
    hold "$at" 0x1000000
    refuse 1 0x2ff 18
    kill -9 $holder
    wait $holder 2> /dev/null
    note "$which: $(info)"
    until_it 20 'test "$(effect)" = "$before"'
    is "$which: what could not be given back at once is given back soon" "$before" "$(effect)"
    until_it 20 'test "$(pending)" = 0'
    has "$which: nothing is pending then" "0 pending" "$(info)"
    refuse 0 0 0
    # The next claim takes a pending one over.
    hold "$at" 0x1000000
    refuse 1 0x2ff 1000000
    kill -9 $holder
    wait $holder 2> /dev/null
    sleep 1
    has "$which: it is pending" "1 pending" "$(info)"
    has "$which: a claim is refused with the true reason" "processor 1 did not accept register 0x2ff" "$(pmem-arena-try refuse "$at" 0x800000)"
    hold "$at" 0x1000000
    is "$which: a claim of the same type takes it over, because nothing is to be written" held "$(cat /held)"
    kill -9 $holder
    wait $holder 2> /dev/null
    refuse 0 0 0
    hold "$at" 0x800000
    is "$which: a claim of another size takes it over, once registers can be written" held "$(cat /held)"
    let_go
    has "$which: nothing is pending" "0 pending" "$(info)"
    is "$which: all are as before" "$before" "$(effect)"
    # Unloading retries until it can give back.
    hold "$at" 0x1000000
    refuse 1 0x2ff 12
    kill -9 $holder
    wait $holder 2> /dev/null
    unload
    is "$which: unloading gives back, too" "$before" "$(effect)"
done

# Windows that appear after load: the bus is unknown at first, and is added with the first claim.
insmod /pmem_arena_faults.ko force=1 hide_windows=1
is "at first there is no bus" 0 "$(pmem-arena-try spans | grep -c ^pci)"
hold "$at" 0x1000000
is "a claim in a window that came up later is granted" WC "$(type_at "$at")"
has "and the bus is known from then on" pci "$(pmem-arena-try spans)"
has "what was reserved around it still is" reserved "$(pmem-arena-try spans)"
let_go
is "all are as before" "$before" "$(effect)"
unload
is "the end is the beginning" "$before" "$(effect)"
