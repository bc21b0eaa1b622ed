# Processors that go offline and come back, while claims come and go: on kernels whose copy of the registers can be changed, and on others.
before=$(effect)
for which in pmem_arena pmem_arena_without_mtrr_state; do
    module $which
    hold "$at" 0x1000000
    during=$(effect)
    off_and_on 2
    is "$which: one that came back has the same registers at once" "$during" "$(effect)"
    let_go
    n=0
    bad=0
    while [ $n -lt 12 ]; do
        (off_and_on 2; off_and_on 3) &
        other=$!
        : > /held
        pmem-arena-try hold "$at" 0x1000000 > /held &
        holder=$!
        until_it 10 test -s /held
        usleep $((n * 20000))
        kill -9 $holder
        wait $holder 2> /dev/null
        wait $other
        grep -q held /held || { bad=$((bad + 1)); cat /held; }
        n=$((n + 1))
    done
    is "$which: every claim is granted" 0 "$bad"
    until_it 5 'test "$(pending)" = 0'
    is "$which: all is given back" "$before" "$(effect)"
    has "$which: nothing is pending" "0 pending" "$(info)"
    note "$which: $(info)"
    # If the kernel's copy is up to date, the kernel itself writes the right registers.
    [ $which = pmem_arena ] && has "$which: none had to be mended" " 0 mended" "$(info)"
    does "$which unloads" unload
    is "$which: the end is the beginning" "$before" "$(effect)"
done
