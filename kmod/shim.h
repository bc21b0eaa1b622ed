/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the C shim and the Rust library ask of each other. Mirrored in rust/src/ffi.rs. */
#ifndef PMEM_ARENA_SHIM_H
#define PMEM_ARENA_SHIM_H

#include "pmem_arena.h"

/* One setting of the registers. */
struct pmem_image {
	__u64 cap;
	__u64 def;
	__u64 fixed[11];
	__u64 base[PMEM_ARENA_VARIABLE];
	__u64 mask[PMEM_ARENA_VARIABLE];
	__u64 syscfg;
	__u64 top_mem;
	__u64 top_mem2;
};

/* A span of the physical address space at load. */
struct pmem_span {
	__u64 start;
	__u64 last;
	__u32 kind; /* 1 memory, 4 a PCI bus, 2 reserved */
	__u32 reserved;
};

enum { PMEM_OP_INFO, PMEM_OP_SPAN, PMEM_OP_REGION, PMEM_OP_ALLOC, PMEM_OP_SET, PMEM_OP_RELEASE, PMEM_OP_PLAN, PMEM_OP_FIND };

/* Rust's, called from the worker thread alone. Zero or a positive number, or a negative errno. */
long pmem_arena_start(__u32 width, __u32 amd, const struct pmem_span *spans, __u64 count);
long pmem_arena_request(__u32 op, void *arg, __u64 session);
long pmem_arena_dump(char *text, __u64 len);
long pmem_arena_close(__u64 session);
long pmem_arena_resync(void);
long pmem_arena_stop(void);

/* The shim's. */
void *pmem_shim_alloc(__u64 size, __u64 align);
void pmem_shim_free(void *at, __u64 size);
void pmem_shim_panic(const char *text, __u64 len) __attribute__((noreturn));
long pmem_shim_read(struct pmem_image *image);
long pmem_shim_program(const struct pmem_image *from, const struct pmem_image *to);
void pmem_shim_log(const char *text, __u64 len);
__u64 pmem_shim_most_memory(void);
__u32 pmem_shim_cpus(void);
__u32 pmem_shim_most_stack(void);

#endif
