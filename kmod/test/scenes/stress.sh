# Random requests from eight threads, while processors go offline and come back, holders are killed, /proc/mtrr changes, and the module is
# unloaded and loaded.
before=$(effect)
seconds=${seconds:-20}
module pmem_arena
: > /running
(while [ -e /running ]; do off_and_on 2; off_and_on 3; usleep 300000; done) > /dev/null 2>&1 &
(while [ -e /running ]; do
    echo "base=0x40000000 size=0x1000000 type=uncachable" > /proc/mtrr
    usleep 200000
    entry=$(grep 0x040000000 /proc/mtrr | sed 's/^reg0*\([0-9]*\):.*/\1/')
    [ -n "$entry" ] && echo "disable=$entry" > /proc/mtrr
    usleep 200000
done) > /dev/null 2>&1 &
(while [ -e /running ]; do
    pmem-arena-try hold "$(printf '0x%x' $((bar + 0x800000)))" 0x200000 > /dev/null &
    sleep 1
    kill -9 $!
done) > /dev/null 2>&1 &
(sleep 3; while [ -e /running ]; do unload && module pmem_arena; sleep 1; done) > /dev/null 2>&1 &
pmem-arena-try stress "$seconds" "${seed:-1}" "$at" 0x1000000 > /stressed
status=$?
rm /running
wait
cat /stressed
is "stress: every refusal is explained" 0 $status
until_it 30 'test "$(held)" = 0'
has "stress: nothing is pending" "0 pending" "$(info)"
entry=$(grep 0x040000000 /proc/mtrr | sed 's/^reg0*\([0-9]*\):.*/\1/')
[ -n "$entry" ] && echo "disable=$entry" > /proc/mtrr
is "stress: the effect of the registers is what it was" "$before" "$(effect)"
note "stress: $(info)"
unload
is "stress: and after unloading" "$before" "$(effect)"
