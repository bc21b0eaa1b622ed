# A locked-down kernel: nothing more is programmed, but what is held can be given back. It cannot be undone: the last scene.
module pmem_arena
hold "$at" 0x1000000
pmem-arena-try after /locked "$at" > /after &
asking=$!
until_it 5 test -s /after
mount -t securityfs securityfs /sys/kernel/security
echo integrity > /sys/kernel/security/lockdown
# By the shell: what pmem-arena-try asks afterwards would be refused as well.
has "lockdown refuses to open it" 'not permitted' "$(sh -c ': < /dev/pmem_arena' 2>&1)"
: > /locked
wait $asking
has "and a descriptor that was opened before to do anything" "each is refused" "$(cat /after)"
let_go
sleep 1
# rdmsr reads no more under lockdown: /proc/mtrr does.
is "and lets go" 0 "$(grep -c "base=0x0${at#0x}" /proc/mtrr)"
does "the module unloads under lockdown" unload
doesnt "and does not load again" module pmem_arena
