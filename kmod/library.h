/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the module's C half and the Rust library ask of each other. Their layout is checked against abi/, their names are in rust/src/ffi.rs. */
#ifndef PMEM_ARENA_LIBRARY_H
#define PMEM_ARENA_LIBRARY_H

#include "pmem_arena.h"

/* What one processor holds, raw. */
struct pmem_image {
	__u64 cap;
	__u64 def;
	__u64 fixed[11];
	__u64 base[PMEM_ARENA_VARIABLE];
	__u64 mask[PMEM_ARENA_VARIABLE];
	__u64 syscfg; /* AMD's, as the next two; 0 elsewhere */
	__u64 top_mem;
	__u64 top_mem2;
};

/* A register by which a processor differs from what it is to hold. */
struct pmem_difference {
	__u32 msr; /* 0: none */
	__u32 cpu;
	__u64 here;
	__u64 there;
};

/* A span of the physical address space. */
struct pmem_span {
	__u64 start;
	__u64 last;
	__u32 kind; /* 1 memory, 2 reserved, 4 a PCI bus */
	__u32 reserved;
};

/* A claim, and what the kernel knows of where it is. */
struct pmem_claim {
	struct pmem_arena_region region;
	__u64 session;
	__u64 device; /* domain, bus, devfn, BAR: 32, 8, 8 and 8 bits */
	__u64 window_start; /* of the host bridge's window that the BAR is in */
	__u64 window_last;
	__u32 prefetchable;
	__u32 holder; /* process */
};

/* What there is, for who asks meanwhile. */
struct pmem_figures {
	__u32 arenas;
	__u32 regions;
	__u32 pending;
	__u32 ended;
};

enum { PMEM_OP_SPAN, PMEM_OP_REGION, PMEM_OP_ALLOC, PMEM_OP_SET, PMEM_OP_RELEASE, PMEM_OP_PLAN, PMEM_OP_FIND };

/* The library's, called on its thread alone. Zero or a positive number, or a negative errno. */
long pmem_arena_start(__u32 width, const struct pmem_span *spans, __u64 count);
long pmem_arena_request(__u32 op, struct pmem_claim *claim);
long pmem_arena_span(struct pmem_arena_span *span);
long pmem_arena_dump(char *text, __u64 len);
long pmem_arena_close(__u64 session);
/* Ends the claims over a device's BARs, for a reason of enum pmem_arena_state; forced ones too if `all`. How many stay. */
long pmem_arena_end(__u64 device, __u32 state, __u32 all);
/* Tries again what could not be done yet, and ends claims whose BAR is elsewhere; how much is left to do. */
long pmem_arena_settle(void);
void pmem_arena_figures(struct pmem_figures *figures);
long pmem_arena_stop(void);

/* The library's, pure: on any thread, with interrupts off too. Whether the two have different effects; the first register by which. */
int pmem_arena_differ(const struct pmem_image *here, const struct pmem_image *there, __u32 width, struct pmem_difference *difference);

/* The kernel half's. */
void *pmem_kernel_alloc(__u64 size, __u64 align);
void pmem_kernel_free(void *at, __u64 size);
void pmem_kernel_panic(const char *text, __u64 len) __attribute__((noreturn));
void pmem_kernel_log(const char *text, __u64 len);
/* The boot processor's registers; -EIO; -ENXIO while it holds what it should not. Others that differ are made equal later. */
long pmem_kernel_read(struct pmem_image *image);
/* 0; -EAGAIN if the boot processor does not hold `from` any more; -EIO if one did not take `to`, and all were put back; -ENXIO if not. */
long pmem_kernel_program(const struct pmem_image *from, const struct pmem_image *to);
/* The register that was last refused. */
void pmem_kernel_refused(struct pmem_difference *difference);
/* Tells a file how many of its claims have ended, and have not been released. */
void pmem_kernel_told(__u64 session, __u32 ended);
/* What has become of the BAR that a claim is over: 0 if it is where it was, else of enum pmem_arena_state. */
__u32 pmem_kernel_bar(__u64 device, __u64 start, __u64 last);

#endif
