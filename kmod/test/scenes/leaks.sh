# On a kernel that looks for it: no memory is lost. Before the library dies, whose memory is, and before lockdown, which hides it.
if [ -e /sys/kernel/debug/kmemleak ]; then
    echo scan > /sys/kernel/debug/kmemleak
    # What is younger than five seconds is not told.
    sleep 6
    echo scan > /sys/kernel/debug/kmemleak
    is "no memory is lost" "" "$(cat /sys/kernel/debug/kmemleak)"
fi
