//! Linux's files as ports: `/proc/mtrr`, and `/dev/cpu/*/msr` for reading.
