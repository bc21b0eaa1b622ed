# Claims end with their devices.
before=$(effect)
module pmem_arena
is "memory is no BAR" 1 "$(pmem-arena-try refuse 0x1000000 0x1000 | grep -c 'not within one BAR')"

hold "$at" 0x1000000
insmod /driver.ko
is "a driver is bound" arena_test "$(basename "$(readlink "$slot/driver")")"
is "which first ends the claim" "" "$(type_at "$at" | grep WC)"
is "all is given back" "$before" "$(effect)"
until_it 5 grep -q ended /held
has "the holder is told" "ended: bound" "$(cat /held)"
has "the list says it" "bound process $holder" "$(pmem-arena-try regions)"
has "a bound driver is respected" "driver arena_test is bound" "$(pmem-arena-try refuse "$at" 0x1000000)"
let_go
is "unless forced" 1 "$(pmem mtrr apply --force --want "$at-$end=WC" | grep -c 'would be granted')"
hold "$at" 0x1000000 force
is "a claim is forced" WC "$(type_at "$at")"
has "but not changed without force" "driver arena_test is bound" "$(pmem-arena-try setbound "$mmio" 0x1000)"
has "dmesg says so" "forced over the registers of driver arena_test" "$(said 8)"
rmmod driver
insmod /driver.ko
is "a forced claim stays when a driver binds" WC "$(type_at "$at")"
has "and dmesg says so" "a driver is bound; forced claims that stay: 1" "$(said)"
let_go
rmmod driver
is "all is given back" "$before" "$(effect)"

# During a long probe, only requests for the same device wait, and a signal ends the wait.
hold "$at" 0x1000000
insmod /driver.ko seconds=12 &
probing=$!
until_it 5 grep -q ended /held
pmem-arena-try hold "$at" 0x1000 > /waits &
waits=$!
sleep 1
start=$(now)
info > /dev/null
pmem-arena-try regions > /dev/null
pmem-arena-try dump > /dev/null
pmem-arena-try refuse 0x1000000 0x1000 > /dev/null
is "others are answered meanwhile" 1 $(($(now) - start < 3))
has "a plan is answered, too" "driver arena_test is bound" "$(pmem mtrr apply --want "$at-$end=WC")"
start=$(now)
let_go
is "a holder can be ended" 1 $(($(now) - start < 3))
start=$(now)
kill -9 $waits
wait $waits 2> /dev/null
is "and so can a process that waits for the device" 1 $(($(now) - start < 3))
wait $probing
rmmod driver
is "all is given back" "$before" "$(effect)"

# A device is removed and found again.
hold "$at" 0x1000000
echo 1 > "$slot/remove"
is "a device that is removed takes its claim along" "$before" "$(effect)"
until_it 5 grep -q ended /held
has "the holder is told" "ended: removed" "$(cat /held)"
echo 1 > /sys/bus/pci/rescan
note "back at $(head -1 "$slot/resource")"
is "where it comes back nothing is claimed" "$before" "$(effect)"
let_go
find_bars
hold "$at" 0x1000000
is "and can be claimed again" WC "$(type_at "$at")"
let_go
unload
is "the end is the beginning" "$before" "$(effect)"
