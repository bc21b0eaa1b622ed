# Who may ask what, and what is refused with which errno.
before=$(all)
module pmem_arena
has "each refusal has its errno" "errnos: " "$(pmem-arena-try errnos "$at" 0x1000000 "$mmio" | tee /dev/console | grep right)"
is "no refusal was wrong" "" "$(pmem-arena-try errnos "$at" 0x1000000 "$mmio" | grep -e wrong -e FAIL)"
is "and nothing is changed" "$before" "$(all)"
is "100,000 hostile calls end" 1 "$(pmem-arena-try fuzz 100000 | tee /dev/console | grep -c '^fuzz 100000')"
is "and in the starting state" "$before" "$(all)"
# Without CAP_SYS_RAWIO nobody opens it, not even root.
is "without the capability it does not open" refused "$(pmem-arena-try nocap)"
# Unloading while others open.
(i=0; while [ $i -lt 60 ]; do pmem-arena-try info > /dev/null 2>&1; i=$((i + 1)); done) &
opening=$!
i=0
while [ $i -lt 20 ]; do unload 2> /dev/null && module pmem_arena; i=$((i + 1)); done
wait $opening
has "it can be unloaded while others open it" "0 claims" "$(info)"
unload
is "after that the registers are as before" "$before" "$(all)"
