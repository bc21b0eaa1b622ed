/*
 * The page functions of uvm(9), and the counters of its physical half, over pmem's own pages.
 *
 * A struct vm_page * is a handle, not an address; do not dereference it. VM_PAGE_TO_PHYS() returns the page's
 * address. Any thread may call any function. Misuse at which a kernel would panic (freeing a free page, two owners at
 * once) aborts. The names of uvm(9) are macros. A kernel that has functions of these names defines
 * PMEM_UVM_PAGE_NO_NAMES first. These pages are not those of uvm_physseg.h.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef PMEM_UVM_PAGE_H
#define PMEM_UVM_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A message for the last error in the calling thread. */
const char *pmem_error(void);

#ifndef PMEM_HAVE_PADDR_T
#define PMEM_HAVE_PADDR_T
typedef unsigned long paddr_t, psize_t;
#endif
typedef int64_t pmem_voff_t;

struct vm_page;
struct uvm_object;
struct vm_anon;

#define UVM_PGA_USERESERVE 0x0001
#define UVM_PGA_ZERO 0x0002

#define UVM_PGA_STRAT_NORMAL 0
#define UVM_PGA_STRAT_ONLY 1
#define UVM_PGA_STRAT_FALLBACK 2
#define UVM_PGA_STRAT_NUMA 3

#define PMEM_PG_BUSY 0x01
#define PMEM_PG_CLEAN 0x02
#define PMEM_PG_FAKE 0x04
#define PMEM_PG_ZERO 0x08

/*
 * Services that only the kernel can provide; each callback may be NULL. Bind them before you call anything else.
 * Callbacks must not call any function of this library, and must return: neither longjmp() nor a C++ exception may
 * leave one. The pages of this header are not the memory of uvm_physseg.h, whose pages belong to the kernel.
 */
struct uvm_page_host {
	void (*zero)(paddr_t pa);      /* fills a page with zeroes; NULL: UVM_PGA_ZERO only finds pages known to be zeroed */
	void (*wake_pagedaemon)(void); /* called when pages are scarce */
	bool (*is_pagedaemon)(void);   /* whether the caller is the page daemon; NULL: never */
	unsigned int wait_ms;          /* the longest wait in milliseconds with waitok; 0: ten seconds */
	int ncolors;                   /* the number of page colours, a power of two up to 64; 0: 1 */
	int nfreelist;                 /* the number of free lists; 0: 4 */
	unsigned int (*node)(void);    /* the calling processor's NUMA node, which every strategy prefers; NULL: 0 */
};

/* The counters of the physical half of struct uvmexp. NetBSD does not have the last nine. */
struct pmem_uvmexp {
	uint64_t pagesize, pagemask, pageshift, ncolors;
	uint64_t npages, free, paging, wired;
	uint64_t reserve_pagedaemon, reserve_kernel, freemin, freetarg;
	uint64_t zeropages, colorhit, colormiss, pga_zerohit, pga_zeromiss, cpuhit, cpumiss, pdwoke;
	uint64_t physmem, cached, isolated, loaned, reserved, retired, offline, failed, movable;
};

/* The counters and reserves of one node. */
struct pmem_uvm_node {
	uint64_t physmem, npages, free, zeropages, cached, movable, reserved, retired, offline;
	uint64_t reserve_pagedaemon, reserve_kernel, freemin, freetarg;
};

/* A list of pages that were handed out together. The caller provides the storage, but must not touch the members. */
struct pmem_pglist {
	uint64_t first, runs, pages;
};

/*
 * Functions that report success as int return 0 or an errno: ENOMEM (no pages, no memory for them, or timed out),
 * EBUSY (a page is in use), EEXIST (something is plugged there), ENOENT (nothing is), EDEADLK (called from within a
 * callback, or between pmem_get_online_mems() and pmem_put_online_mems()), or EINVAL.
 */
int pmem_uvm_page_bind(const struct uvm_page_host *);
/*
 * Sets the page size; 4,096 by default. Only pmem_uvm_page_bind() may be called before. uvm(9)'s function has no
 * argument: it takes the size from a variable.
 */
int pmem_uvm_setpagesize(psize_t bytes);
/*
 * Plugs the page frames start..end. Those of avail_start..avail_end can be handed out; none if the two are equal.
 * Here and in the next two functions, addresses are page frame numbers and the end is exclusive.
 */
int pmem_uvm_page_plug(paddr_t start, paddr_t end, paddr_t avail_start, paddr_t avail_end, int free_list, int node);
int pmem_uvm_page_unplug(paddr_t start, paddr_t end);
int pmem_uvm_page_retire(paddr_t start, paddr_t end);
void pmem_uvm_page_reserves(uint64_t pagedaemon, uint64_t kernel, uint64_t freemin, uint64_t freetarg);
void pmem_uvm_exp(struct pmem_uvmexp *);
/*
 * The reserves of one node, in addition to those. A page request moves on to the next node when a node has no more
 * free pages than these.
 */
void pmem_uvm_node_reserves(unsigned int node, uint64_t pagedaemon, uint64_t kernel, uint64_t freemin, uint64_t freetarg);
int pmem_uvm_node(unsigned int node, struct pmem_uvm_node *); /* ENOENT if it never had memory */

struct vm_page *pmem_uvm_pagealloc_strat(struct uvm_object *, pmem_voff_t, struct vm_anon *, int flags, int strat, int free_list);
void pmem_uvm_pagerealloc(struct vm_page *, struct uvm_object *, pmem_voff_t);
void pmem_uvm_pagefree(struct vm_page *);
void pmem_uvm_pagewire(struct vm_page *);
void pmem_uvm_pageunwire(struct vm_page *);
int pmem_uvm_pageloan(struct vm_page *);   /* EBUSY if the page is wired */
int pmem_uvm_pageunloan(struct vm_page *); /* EINVAL if the page is not lent */
int pmem_uvm_page_flags(struct vm_page *);
void pmem_uvm_page_setflags(struct vm_page *, int set, int clear);
void pmem_uvm_page_owner(struct vm_page *, struct uvm_object **, struct vm_anon **, pmem_voff_t *);
paddr_t pmem_uvm_page_phys(struct vm_page *);
struct vm_page *pmem_uvm_phys_page(paddr_t pa); /* PHYS_TO_VM_PAGE; NULL if nothing is plugged there */

/* size, low, high, alignment and boundary are in bytes. boundary is 0 or a power of two of at least size. */
int pmem_uvm_pglistalloc(psize_t size, paddr_t low, paddr_t high, paddr_t alignment, paddr_t boundary, struct pmem_pglist *,
    int nsegs, int waitok);
void pmem_uvm_pglistfree(struct pmem_pglist *);
/* Gives back n consecutive pages of a list, from this page on, all in one of its runs. */
int pmem_uvm_pglistfree_part(struct pmem_pglist *, struct vm_page *, size_t n);
struct vm_page *pmem_uvm_pglist_first(const struct pmem_pglist *);
struct vm_page *pmem_uvm_pglist_next(const struct pmem_pglist *, struct vm_page *);

/*
 * Areas that are set aside for long runs, like Linux's CMA. An area consists of page frames (end exclusive), each of
 * which is free or reserved. Until a run is claimed, the area is lent to pages with an object or an anon; others are
 * not placed in it. A claim moves what is in the way with the callback of pmem_memory_migrate() in memory_hotplug.h,
 * and fails with EBUSY if something cannot be moved. Give a claimed run back with uvm_pglistfree(); it is then lent
 * again. Taking an area back moves everything out of it and reserves it. None of these can be called from within a
 * callback.
 */
int pmem_uvm_area_lend(paddr_t start, paddr_t end);
int pmem_uvm_area_take_back(paddr_t start, paddr_t end); /* ENOENT if this is not an area */
/* In bytes, as for pmem_uvm_pglistalloc(). EINVAL if there is no area between low and high. */
int pmem_uvm_area_claim(psize_t size, paddr_t low, paddr_t high, paddr_t alignment, paddr_t boundary, struct pmem_pglist *);

#ifndef PMEM_UVM_PAGE_NO_NAMES
#define uvm_setpagesize pmem_uvm_setpagesize
#define uvm_pagealloc(obj, off, anon, flags) \
	pmem_uvm_pagealloc_strat(obj, off, anon, flags, UVM_PGA_STRAT_NORMAL, 0)
#define uvm_pagealloc_strat pmem_uvm_pagealloc_strat
#define uvm_pagerealloc pmem_uvm_pagerealloc
#define uvm_pagefree pmem_uvm_pagefree
#define uvm_pagewire pmem_uvm_pagewire
#define uvm_pageunwire pmem_uvm_pageunwire
#define uvm_pglistalloc pmem_uvm_pglistalloc
#define uvm_pglistfree pmem_uvm_pglistfree
#define VM_PAGE_TO_PHYS pmem_uvm_page_phys
#define PHYS_TO_VM_PAGE pmem_uvm_phys_page
#endif

#ifdef __cplusplus
}
#endif
#endif
