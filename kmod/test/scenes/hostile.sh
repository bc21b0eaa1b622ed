# Calls that no sane program makes, and unloading while others open the device.
before=$(all)
module pmem_arena
is "100,000 hostile calls end" 1 "$(pmem-arena-try fuzz 100000 | tee /dev/console | grep -c '^fuzz 100000')"
is "and in the starting state" "$before" "$(all)"
# Unloading while others open the device.
(i=0; while [ $i -lt 60 ]; do pmem-arena-try info > /dev/null 2>&1; i=$((i + 1)); done) &
opening=$!
i=0
while [ $i -lt 20 ]; do unload 2> /dev/null && module pmem_arena; i=$((i + 1)); done
wait $opening
has "it can be unloaded while others open it" "0 claims" "$(info)"
unload
is "after that the registers are as before" "$before" "$(all)"
