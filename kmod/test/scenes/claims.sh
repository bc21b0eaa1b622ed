# What users do: make claims, by ioctl and by command.
before=$(all)
types=$(types)
doesnt "a virtual machine is refused without force" insmod /pmem_arena.ko
does "the module loads" module pmem_arena
is "loading writes nothing" "$before" "$(all)"
pmem-arena-try spans
pmem-arena-try dump

# A claim through the command pmem.
is "a dry run writes nothing" "$before" "$(pmem mtrr apply --want "$at-$end=WC" > /dry; all)"
is "and says that it would be granted" 1 "$(grep -c 'would be granted' /dry)"
has "and that no MTRR is needed for it" "resource0_wc" "$(cat /dry)"
pmem mtrr apply --yes --want "$at-$end=WC" > /applied &
applied=$!
until_it 10 grep -q Held /applied
is "pmem mtrr apply programs it" WC "$(type_at "$at")"
is "pmem mtrr show --kernel shows it" 1 "$(pmem mtrr show --kernel | grep -c "^region")"
kill $applied
wait $applied 2> /dev/null
until_it 5 'test "$(held)" = 0'
is "and gives it back" "$before" "$(all)"

hold "$at" 0x1000000
is "a claim is granted" held "$(cat /held)"
during=$(all)
note "during: $during"
if [ "$during" != "$before" ]; then pass "registers have changed"; else fail "registers have changed"; fi
is "the frame buffer is write combining" WC "$(type_at "$at")"
cat /proc/mtrr

# A range that somebody else adds meanwhile survives.
echo "base=0x40000000 size=0x1000000 type=uncachable" > /proc/mtrr
is "/proc/mtrr takes another range" 1 "$(grep -c 0x040000000 /proc/mtrr)"
let_go
is "what a killed process held is given back" "" "$(type_at "$at" | grep WC)"
is "what /proc/mtrr added is still there" 1 "$(grep -c 0x040000000 /proc/mtrr)"
is "and is uncacheable" UC "$(type_at 0x40000000)"
entry=$(grep 0x040000000 /proc/mtrr | sed 's/^reg0*\([0-9]\).*/\1/')
echo "disable=$entry" > /proc/mtrr
# The kernel disables a register by its mask, so the base stays.
after=$(all)
is "every address is as it was" "$types" "$(types)"
hold "$at" 0x1000000
let_go
is "release restores, to the bit" "$after" "$(all)"

# Eight registers cannot hold ten single pages with gaps between them.
holders=
for i in 0 2 4 6 8 10 12 14 16 18; do
    pmem-arena-try hold "$(printf '0x%x' $((bar + i * 4096)))" 0x1000 > /held.$i &
    holders="$holders $!"
done
for i in 0 2 4 6 8 10 12 14 16 18; do until_it 10 test -s /held.$i; done
note "refused: $(cat /held.* | grep -v held | head -1)"
is "what does not fit is refused" 1 "$(cat /held.* | grep -c 'too few variable MTRRs' | sed 's/[1-9][0-9]*/1/')"
full=$(all)
more=$(printf '0x%x-0x%x' $((bar + 0x100000)) $((bar + 0x101000)))
has "a dry run of too much is refused" 'too few variable MTRRs' "$(pmem mtrr apply --want "$more=WC")"
has "with the numbers" ' of 8: mtrr refused' "$(pmem-arena-try refuse "$(printf '0x%x' $((bar + 0x100000)))" 0x1000)"
is "and a refusal changes nothing" "$full" "$(all)"
kill -9 $holders
wait $holders 2> /dev/null
until_it 5 'test "$(held)" = 0'
is "all of it is given back" "$after" "$(all)"

is "1,000 random cycles end" 1 "$(pmem-arena-try cycles 1000 "$at" 0x1000000 | tee /dev/console | grep -c '^cycles 1000: granted')"
is "and in the starting state" "$after" "$(all)"

# If the kernel's allocator fails, every request is served from the reserve.
echo 1 > /sys/module/pmem_arena/parameters/fail_alloc
has "without memory requests are carried by the reserve" "cycles 200: granted" "$(pmem-arena-try cycles 200 "$at" 0x1000000)"
echo 0 > /sys/module/pmem_arena/parameters/fail_alloc
is "without memory nothing breaks" "$after" "$(all)"
note "$(info)"
note "$(pmem-arena-try times 20 "$at" 0x1000000)"
is "and nothing is left of that" "$types" "$(types)"
after=$(all)

hold "$at" 0x1000000
doesnt "a module in use stays" unload
let_go
does "the module unloads" unload
is "unloading restores" "$after" "$(all)"
