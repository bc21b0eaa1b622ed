# The library panics, or does not answer. The registers are given back without it.
before=$(effect)
module pmem_arena
hold "$at" 0x1000000
is "a claim is held" WC "$(type_at "$at")"
echo 2 > /sys/module/pmem_arena/parameters/fail_alloc
has "a request that panics gets EIO" 'os error 5' "$(pmem-arena-try refuse "$(printf '0x%x' $((bar + 0x1000)))" 0x1000)"
echo 0 > /sys/module/pmem_arena/parameters/fail_alloc
has "and so does every later one" 'os error 5' "$(pmem-arena-try refuse "$at" 0x1000000)"
is "what was written is given back at once" "$before" "$(effect)"
until_it 5 grep -q stopped /held
has "holders are told" "stopped" "$(cat /held)"
doesnt "it is in use until they close" unload
kill -9 $holder
wait $holder 2> /dev/null
does "the module unloads after a panic" unload
is "all is given back" "$before" "$(effect)"
does "and loads again" module pmem_arena
hold "$at" 0x1000000
is "and works" WC "$(type_at "$at")"
let_go
unload
is "the end is the beginning" "$before" "$(effect)"

insmod /pmem_arena_faults.ko force=1 patience=3
hold "$at" 0x1000000
echo 1 > /sys/module/pmem_arena/parameters/stall
start=$(now)
has "a request that is not answered gets EIO" 'os error 5' "$(pmem-arena-try refuse "$at" 0x1000)"
is "after its patience" 1 $(($(now) - start < 8))
is "what was written is given back" "$before" "$(effect)"
kill -9 $holder
wait $holder 2> /dev/null
doesnt "while its thread is lost the module stays" unload
echo 0 > /sys/module/pmem_arena/parameters/stall
sleep 1
does "and unloads once that is back" unload
is "the end is the beginning" "$before" "$(effect)"
