/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The interface between the module's C half and its Rust library. A test checks the layouts against abi/. The library declares the
 * functions that it calls in rust/src/ffi.rs, and defines those that it offers in rust/src/entry.rs.
 */
#ifndef PMEM_ARENA_LIBRARY_H
#define PMEM_ARENA_LIBRARY_H

#include "pmem_arena.h"

/* The raw registers of one processor. */
struct pmem_image {
	__u64 cap;
	__u64 def;
	__u64 fixed[11];
	__u64 base[PMEM_ARENA_VARIABLE];
	__u64 mask[PMEM_ARENA_VARIABLE];
	__u64 syscfg; /* of AMD, like the next two; 0 on other processors */
	__u64 top_mem;
	__u64 top_mem2;
};

/* A register in which a processor differs from what it should hold. */
struct pmem_difference {
	__u32 msr; /* 0 if there is no difference */
	__u32 cpu;
	__u64 here; /* what it holds */
	__u64 there; /* what it should hold */
};

/* A span of the physical address space. */
struct pmem_span {
	__u64 start;
	__u64 last; /* inclusive */
	__u32 kind; /* 1 memory, 2 reserved, 4 a PCI bus */
	__u32 reserved;
};

/* A claim, with what the kernel knows about its location. */
struct pmem_claim {
	struct pmem_arena_region region;
	__u64 session; /* the open file that makes the request */
	__u64 device; /* domain, bus, devfn and BAR, in 32, 8, 8 and 8 bits */
	__u64 window_start; /* the host bridge window that contains the BAR; the BAR itself if there is none */
	__u64 window_last; /* inclusive */
	__u32 prefetchable; /* whether the BAR is */
	__u32 holder; /* the process that makes the request */
};

/* Figures for those who ask while the library is busy. Their meaning is as in struct pmem_arena_info. */
struct pmem_figures {
	__u32 arenas;
	__u32 regions;
	__u32 pending;
	__u32 ended;
};

enum { PMEM_OP_SPAN, PMEM_OP_REGION, PMEM_OP_ALLOC, PMEM_OP_SET, PMEM_OP_RELEASE, PMEM_OP_PLAN, PMEM_OP_FIND };

/* Functions of the library, called only on its thread. They return 0 or a positive number, or a negative errno. */
long pmem_arena_start(__u32 width, const struct pmem_span *spans, __u64 count);
long pmem_arena_request(__u32 op, struct pmem_claim *claim);
long pmem_arena_span(struct pmem_arena_span *span);
long pmem_arena_dump(char *text, __u64 len);
long pmem_arena_close(__u64 session);
/* Ends the claims over a function's BARs, with a state of enum pmem_arena_state; forced claims only if `all`. Returns how many stay. */
long pmem_arena_end(__u64 device, __u32 state, __u32 all);
/* Ends claims whose BAR has moved, and retries what could not be given back yet. Returns how many claims are left to give back. */
long pmem_arena_settle(void);
void pmem_arena_figures(struct pmem_figures *figures);
/* Gives everything back. Returns how many claims could not be given back. */
long pmem_arena_stop(void);

/*
 * A pure function of the library, for any thread, also with interrupts off. Returns whether the registers of two processors differ in
 * effect. If so, stores the first register in which they do.
 */
int pmem_arena_differ(const struct pmem_image *here, const struct pmem_image *there, __u32 width, struct pmem_difference *difference);

/* Functions of the C half. */
void *pmem_kernel_alloc(__u64 size, __u64 align);
void pmem_kernel_free(void *at, __u64 size);
void pmem_kernel_panic(const char *text, __u64 len) __attribute__((noreturn));
void pmem_kernel_log(const char *text, __u64 len);
/*
 * Reads the boot processor's registers. Returns 0; -EIO if a processor's registers cannot be read; -ENXIO while the boot processor holds
 * wrong values because it refused others. Processors that differ are made equal later.
 */
long pmem_kernel_read(struct pmem_image *image);
/*
 * Changes all processors together. Returns 0; -EAGAIN if the boot processor no longer holds `from`, so nothing was written; -EIO if a
 * processor did not accept `to`, and all were restored, or if the library is dead; -ENXIO if a processor could not be restored either.
 */
long pmem_kernel_program(const struct pmem_image *from, const struct pmem_image *to);
/* Stores the register that a processor refused in the last change; msr 0 if none was refused. */
void pmem_kernel_refused(struct pmem_difference *difference);
/* Tells a file how many of its claims have ended with their device and are not released yet. */
void pmem_kernel_told(__u64 session, __u32 ended);
/* What happened to the BAR under a claim: 0 if it is where it was, or else a value of enum pmem_arena_state. */
__u32 pmem_kernel_bar(__u64 device, __u64 start, __u64 last);

#endif
