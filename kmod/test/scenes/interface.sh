# Who may make which requests, and the errno of each refusal.
before=$(all)
module pmem_arena
has "each refusal has its errno" "errnos: " "$(pmem-arena-try errnos "$at" 0x1000000 "$mmio" | tee /dev/console | grep right)"
is "no refusal was wrong" "" "$(pmem-arena-try errnos "$at" 0x1000000 "$mmio" | grep -e wrong -e FAIL)"
is "and nothing is changed" "$before" "$(all)"
# Without CAP_SYS_RAWIO nobody can open it, not even root.
is "without the capability it does not open" refused "$(pmem-arena-try nocap)"
unload
is "after that the registers are as before" "$before" "$(all)"
