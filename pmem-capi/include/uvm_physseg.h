/*
 * NetBSD's uvm_physseg(9) interface, compatible with the UVM_HOTPLUG variant of uvm_hotplug(9).
 *
 * The embedding kernel or test owns struct vm_page, the counters, panic() and the allocator. It binds them once with
 * uvm_physseg_bind(), before any other call. Addresses are page frame numbers unless stated otherwise. The caller
 * serialises all calls.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef PMEM_UVM_PHYSSEG_H
#define PMEM_UVM_PHYSSEG_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef PMEM_HAVE_PADDR_T
#define PMEM_HAVE_PADDR_T
typedef unsigned long paddr_t, psize_t;
#endif

typedef struct uvm_physseg *uvm_physseg_t;
struct vm_page;
struct pmap_physseg;

#define UVM_PHYSSEG_TYPE_INVALID ((uvm_physseg_t)0)
#define UVM_PHYSSEG_TYPE_INVALID_EMPTY ((uvm_physseg_t)0)
#define UVM_PHYSSEG_TYPE_INVALID_OVERFLOW ((uvm_physseg_t)0)

/*
 * The start of every node. struct pmap_physseg follows directly and must not need more alignment than a word. You may
 * write avail_start and avail_end. You may write start and end only of a node that was not plugged, before
 * uvm_physseg_init_seg() gives it pages.
 */
struct uvm_physseg_node {
	void *links[3];
	paddr_t start;
	paddr_t end;
	paddr_t avail_start;
	paddr_t avail_end;
	struct vm_page *pgs;
	void *ext; /* the slab of pgs; the library never reads this member */
	int free_list;
	unsigned int start_hint;
};

/* What the embedding kernel owns. The structure is copied; what it points to is not. */
struct uvm_physseg_host {
	size_t vm_page_size;      /* sizeof(struct vm_page) */
	size_t vm_page_phys_addr; /* offsetof(struct vm_page, phys_addr), a paddr_t in bytes */
	size_t pmseg_size;        /* sizeof(struct pmap_physseg), or 0 */
	int physseg_max;          /* VM_PHYSSEG_MAX: the most nodes before page_init_done */
	int nfreelist;            /* VM_NFREELIST */
	int page_shift;           /* PAGE_SHIFT */
	int *npages;              /* &uvmexp.npages */
	bool *page_init_done;     /* &uvm.page_init_done */
	unsigned long *physmem;
	void (*panic)(const char *, ...); /* may be NULL; if it returns, abort() follows */
	void (*pagefree)(struct vm_page *); /* uvm_pagefree() */
	void (*pdpol_reinit)(void);         /* uvmpdpol_reinit() */
	void *(*alloc)(size_t);             /* need not return zeroed memory */
	void (*free)(void *, size_t);
};

/* Binds a host and forgets the segments of the previous one. */
void uvm_physseg_bind(const struct uvm_physseg_host *);
/* The number of segments, and the size of a node in bytes. */
size_t uvm_physseg_nentries(void);
size_t uvm_physseg_node_size(void);

void uvm_physseg_init(void);
bool uvm_physseg_valid_p(uvm_physseg_t);
paddr_t uvm_physseg_get_start(uvm_physseg_t);
paddr_t uvm_physseg_get_end(uvm_physseg_t);
paddr_t uvm_physseg_get_avail_start(uvm_physseg_t);
paddr_t uvm_physseg_get_avail_end(uvm_physseg_t);
struct vm_page *uvm_physseg_get_pg(uvm_physseg_t, paddr_t);
/* The page at an address in bytes, in one look-up; NULL if no segment has it. */
struct vm_page *uvm_phys_to_vm_page(paddr_t);
struct pmap_physseg *uvm_physseg_get_pmseg(uvm_physseg_t);
int uvm_physseg_get_free_list(uvm_physseg_t);
unsigned int uvm_physseg_get_start_hint(uvm_physseg_t);
bool uvm_physseg_set_start_hint(uvm_physseg_t, unsigned int);
uvm_physseg_t uvm_physseg_get_next(uvm_physseg_t);
uvm_physseg_t uvm_physseg_get_prev(uvm_physseg_t);
uvm_physseg_t uvm_physseg_get_first(void);
uvm_physseg_t uvm_physseg_get_last(void);
paddr_t uvm_physseg_get_highest_frame(void);
uvm_physseg_t uvm_physseg_find(paddr_t, psize_t *);
uvm_physseg_t uvm_page_physload(paddr_t, paddr_t, paddr_t, paddr_t, int);
bool uvm_page_physunload(uvm_physseg_t, int, paddr_t *);
bool uvm_page_physunload_force(uvm_physseg_t, int, paddr_t *);
bool uvm_physseg_plug(paddr_t, size_t, uvm_physseg_t *);
bool uvm_physseg_unplug(paddr_t, size_t);
void uvm_physseg_set_avail_start(uvm_physseg_t, paddr_t);
void uvm_physseg_set_avail_end(uvm_physseg_t, paddr_t);

/* Internals that NetBSD's own tests call by name. */
void *uvm_physseg_alloc(size_t);
void uvm_physseg_free(void *, size_t);
void uvm_physseg_init_seg(uvm_physseg_t, struct vm_page *);
void uvm_physseg_seg_chomp_slab(uvm_physseg_t, struct vm_page *, size_t);
struct vm_page *uvm_physseg_seg_alloc_from_slab(uvm_physseg_t, size_t);
/* Gives pages back to a segment's slab: 0, EINVAL, or ENOMEM where NetBSD's extent(9) would have no descriptor. */
int uvm_physseg_seg_free_to_slab(uvm_physseg_t, struct vm_page *, size_t);

#ifdef __cplusplus
}
#endif
#endif
