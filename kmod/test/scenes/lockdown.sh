# A locked-down kernel: nothing more can be claimed, but claims are still given back. Lockdown cannot be undone, so this is the last scene.
module pmem_arena
hold "$at" 0x1000000
pmem-arena-try after /locked "$at" > /after &
asking=$!
until_it 5 test -s /after
mount -t securityfs securityfs /sys/kernel/security
echo integrity > /sys/kernel/security/lockdown
# Opened by the shell, because pmem-arena-try makes a request afterwards, which would be refused as well.
has "lockdown refuses to open it" 'not permitted' "$(sh -c ': < /dev/pmem_arena' 2>&1)"
: > /locked
wait $asking
has "and every request on a descriptor that was opened before" "each is refused" "$(cat /after)"
let_go
sleep 1
# Under lockdown rdmsr cannot read registers, but /proc/mtrr can.
is "but a claim is given back" 0 "$(grep -c "base=0x0${at#0x}" /proc/mtrr)"
does "the module unloads under lockdown" unload
doesnt "and does not load again" module pmem_arena
