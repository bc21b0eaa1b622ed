# On a kernel with kmemleak: no memory is lost. This runs before the scene death, which loses the library's memory, and before lockdown,
# which hides the report.
if [ -e /sys/kernel/debug/kmemleak ]; then
    echo scan > /sys/kernel/debug/kmemleak
    # It does not report memory younger than five seconds.
    sleep 6
    echo scan > /sys/kernel/debug/kmemleak
    is "no memory is lost" "" "$(cat /sys/kernel/debug/kmemleak)"
fi
