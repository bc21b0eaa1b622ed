/*
 * The page functions of uvm(9), and the counters of its physical half, over pmem's own pages.
 *
 * A page is a handle: a number that leads nowhere; VM_PAGE_TO_PHYS() says its address. Every function may be called by any
 * thread. Misuse that a kernel would panic at (freeing what is free, two owners at once) aborts. The names of uvm(9) are macros;
 * a kernel that has functions of these names defines PMEM_UVM_PAGE_NO_NAMES first. These pages are not those of uvm_physseg.h.
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

/* What went wrong last in the calling thread, in words. */
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
 * What only the kernel can do; each may be NULL. Bound before anything else is called. They may call no function of this library,
 * and return: neither longjmp() nor a C++ exception may leave one. The pages of this header are other memory than the segments of
 * uvm_physseg.h, whose pages are the kernel's own.
 */
struct uvm_page_host {
	void (*zero)(paddr_t pa);      /* fills a page with zeroes; NULL: UVM_PGA_ZERO finds pages that are known to be zeroed */
	void (*wake_pagedaemon)(void); /* pages are scarce */
	bool (*is_pagedaemon)(void);   /* whether the page daemon is calling */
	unsigned int wait_ms;          /* how long waitok waits at most; 0: ten seconds */
	int ncolors;                   /* a power of two up to 64; 0: 1 */
	int nfreelist;                 /* 0: 4 */
	unsigned int (*node)(void);    /* the calling processor's NUMA node, for UVM_PGA_STRAT_NUMA; NULL: 0 */
};

/* The counters of the physical half of struct uvmexp; the last nine are not NetBSD's. */
struct pmem_uvmexp {
	uint64_t pagesize, pagemask, pageshift, ncolors;
	uint64_t npages, free, paging, wired;
	uint64_t reserve_pagedaemon, reserve_kernel, freemin, freetarg;
	uint64_t zeropages, colorhit, colormiss, pga_zerohit, pga_zeromiss, cpuhit, cpumiss, pdwoke;
	uint64_t physmem, cached, isolated, loaned, reserved, retired, offline, failed, movable;
};

/* The same of one node. */
struct pmem_uvm_node {
	uint64_t physmem, npages, free, zeropages, cached, movable, reserved, retired, offline;
	uint64_t reserve_pagedaemon, reserve_kernel, freemin, freetarg;
};

/* Pages that were handed out together. Storage is the caller's, the rest is not. */
struct pmem_pglist {
	uint64_t first, runs, pages;
};

/*
 * All return 0 or an errno where they return int: ENOMEM (no pages, no memory for them, or too late), EBUSY (a page is in use), EEXIST (something is
 * plugged there), ENOENT (nothing is), EDEADLK (from within a callback, or
 * between pmem_get_online_mems() and pmem_put_online_mems()), EINVAL. Frames are page frame numbers, bytes are bytes.
 */
int pmem_uvm_page_bind(const struct uvm_page_host *);
int pmem_uvm_setpagesize(psize_t bytes); /* uvm(9)'s takes no size, but a variable's; before anything but pmem_uvm_page_bind(); 4,096 without it */
/* Page frames, those of [avail_start, avail_end) to be handed out; none if the two are equal. */
int pmem_uvm_page_plug(paddr_t start, paddr_t end, paddr_t avail_start, paddr_t avail_end, int free_list, int node);
int pmem_uvm_page_unplug(paddr_t start, paddr_t end);
int pmem_uvm_page_retire(paddr_t start, paddr_t end);
void pmem_uvm_page_reserves(uint64_t pagedaemon, uint64_t kernel, uint64_t freemin, uint64_t freetarg);
void pmem_uvm_exp(struct pmem_uvmexp *);
/* Kept back on one node, beside those; a request goes on to the next node when a node has no more than that. */
void pmem_uvm_node_reserves(unsigned int node, uint64_t pagedaemon, uint64_t kernel, uint64_t freemin, uint64_t freetarg);
int pmem_uvm_node(unsigned int node, struct pmem_uvm_node *); /* ENOENT if it never had memory */

struct vm_page *pmem_uvm_pagealloc_strat(struct uvm_object *, pmem_voff_t, struct vm_anon *, int flags, int strat, int free_list);
void pmem_uvm_pagerealloc(struct vm_page *, struct uvm_object *, pmem_voff_t);
void pmem_uvm_pagefree(struct vm_page *);
void pmem_uvm_pagewire(struct vm_page *);
void pmem_uvm_pageunwire(struct vm_page *);
int pmem_uvm_pageloan(struct vm_page *);   /* EBUSY if it is wired */
int pmem_uvm_pageunloan(struct vm_page *); /* EINVAL if it is not lent */
int pmem_uvm_page_flags(struct vm_page *);
void pmem_uvm_page_setflags(struct vm_page *, int set, int clear);
void pmem_uvm_page_owner(struct vm_page *, struct uvm_object **, struct vm_anon **, pmem_voff_t *);
paddr_t pmem_uvm_page_phys(struct vm_page *);
struct vm_page *pmem_uvm_phys_page(paddr_t pa); /* PHYS_TO_VM_PAGE; NULL if nothing is plugged there */

/* size, low, high, alignment and boundary are bytes; a boundary is 0, or a power of two no smaller than size. */
int pmem_uvm_pglistalloc(psize_t size, paddr_t low, paddr_t high, paddr_t alignment, paddr_t boundary, struct pmem_pglist *,
    int nsegs, int waitok);
void pmem_uvm_pglistfree(struct pmem_pglist *);
/* Gives n pages of a list back, which are consecutive and in one of its runs. */
int pmem_uvm_pglistfree_part(struct pmem_pglist *, struct vm_page *, size_t n);
struct vm_page *pmem_uvm_pglist_first(const struct pmem_pglist *);
struct vm_page *pmem_uvm_pglist_next(const struct pmem_pglist *, struct vm_page *);

/*
 * Areas that are set aside for long runs, as Linux's CMA has them: page frames, each free or reserved, in which only pages that have an object or an
 * anon are from now on, until a run is claimed. What is in the way is moved by pmem_memory_migrate() of memory_hotplug.h; EBUSY if
 * something cannot be. A claimed run goes back with uvm_pglistfree(), and is lent again. To take an area back, all of it must be moved: it is reserved
 * then. Not from within a callback.
 */
int pmem_uvm_area_lend(paddr_t start, paddr_t end);
int pmem_uvm_area_take_back(paddr_t start, paddr_t end); /* ENOENT if it is no area */
/* In bytes, as pmem_uvm_pglistalloc(); EINVAL if there is no area between the two. */
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
