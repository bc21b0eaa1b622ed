/*
 * uvm_physseg.h in its compatibility mode. The first argument is VM_PHYSSEG_MAX. The cases are those that NetBSD's own tests
 * name, and what those do not look at: counters, bounds after a split, overlaps, memory.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "check.h"
#include "uvm_physseg.h"

#define PAGE 4096UL
#define NPAGES 256

struct vm_page {
	long before[3];
	paddr_t phys_addr;
	int queued;
	long after[7];
};
struct pmap_physseg {
	int dummy;
};
/* The node as a kernel sees it: the prefix, and what its pmap keeps. */
struct node {
	struct uvm_physseg_node seg;
	struct pmap_physseg pmseg;
};

static int max;
static int npages;
static bool page_init_done;
static unsigned long physmem;
static int reinits, frees;
static size_t allocated;

static void on_panic(const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

static void on_pagefree(struct vm_page *pg)
{
	/* The page is known by then: NetBSD's allocator looks it up. */
	psize_t off;
	uvm_physseg_t upm = uvm_physseg_find(pg->phys_addr / PAGE, &off);
	if (upm != NULL)
		CHECK(uvm_physseg_get_pg(upm, off) == pg);
	pg->queued++;
	frees++;
}

static void on_reinit(void)
{
	reinits++;
}

/* What the host does, once, while it is asked for memory. */
static void (*while_asked)(void);

/* Memory that is not zeroed. */
static void *on_alloc(size_t n)
{
	void (*now)(void) = while_asked;
	while_asked = NULL;
	if (now != NULL)
		now();
	void *p = malloc(n);
	if (p != NULL) {
		memset(p, 0xa5, n);
		allocated += n;
	}
	return p;
}

static void on_free(void *p, size_t n)
{
	allocated -= n;
	free(p);
}

static void setup(void)
{
	static struct uvm_physseg_host host = {
		.vm_page_size = sizeof(struct vm_page),
		.vm_page_phys_addr = offsetof(struct vm_page, phys_addr),
		.pmseg_size = sizeof(struct pmap_physseg),
		.nfreelist = 4,
		.page_shift = 12,
		.npages = &npages,
		.page_init_done = &page_init_done,
		.physmem = &physmem,
		.panic = on_panic,
		.pagefree = on_pagefree,
		.pdpol_reinit = on_reinit,
		.alloc = on_alloc,
		.free = on_free,
	};
	host.physseg_max = max;
	uvm_physseg_bind(&host);
	uvm_physseg_init();
}

static paddr_t start_of(int n)
{
	return (paddr_t)(n - 1) * NPAGES;
}

/* Segment n is [(n - 1) * 256, n * 256). */
static uvm_physseg_t load_on(int n, int list)
{
	return uvm_page_physload(start_of(n), start_of(n + 1), start_of(n), start_of(n + 1), list);
}

static uvm_physseg_t load(int n)
{
	return load_on(n, 0);
}

static struct vm_page *slab;

/* What uvm_page_init() does: one slab for all, and each segment its part. */
static void page_init(size_t pages)
{
	slab = malloc(pages * sizeof(*slab));
	memset(slab, 0x5a, pages * sizeof(*slab));
	uvm_physseg_t first = uvm_physseg_get_first();
	uvm_physseg_seg_chomp_slab(first, slab, pages);
	for (uvm_physseg_t upm = first; uvm_physseg_valid_p(upm); upm = uvm_physseg_get_next(upm)) {
		size_t n = uvm_physseg_get_end(upm) - uvm_physseg_get_start(upm);
		struct vm_page *pgs = uvm_physseg_seg_alloc_from_slab(upm, n);
		CHECK(pgs != NULL);
		uvm_physseg_init_seg(upm, pgs);
	}
	page_init_done = true;
}

static void bounds_are(uvm_physseg_t upm, paddr_t start, paddr_t end, paddr_t avail_start, paddr_t avail_end)
{
	CHECK_EQ(uvm_physseg_get_start(upm), start);
	CHECK_EQ(uvm_physseg_get_end(upm), end);
	CHECK_EQ(uvm_physseg_get_avail_start(upm), avail_start);
	CHECK_EQ(uvm_physseg_get_avail_end(upm), avail_end);
}

/* ------------------------------------------------------- nodes at boot */

static void alloc_atboot_mismatch(void)
{
	setup();
	MUST_ABORT();
	uvm_physseg_alloc(uvm_physseg_node_size() - 1);
}

static void alloc_atboot_overrun(void)
{
	setup();
	MUST_ABORT();
	uvm_physseg_alloc((size_t)(max + 1) * uvm_physseg_node_size());
}

static void alloc_sanity(void)
{
	setup();
	size_t size = uvm_physseg_node_size();
	CHECK_EQ(size, sizeof(struct node));
	CHECK(uvm_physseg_alloc((size_t)max * size) != NULL);
	page_init_done = true;
	void *odd = uvm_physseg_alloc(size - 1), *many = uvm_physseg_alloc(2 * (size_t)max * size);
	CHECK(odd != NULL && many != NULL);
	uvm_physseg_free(odd, size - 1);
	uvm_physseg_free(many, 2 * (size_t)max * size);
	CHECK_EQ(allocated, 0);
}

static void free_atboot_mismatch(void)
{
	setup();
	void *node = uvm_physseg_alloc(uvm_physseg_node_size());
	MUST_ABORT();
	uvm_physseg_free(node, uvm_physseg_node_size() - 1);
}

static void free_sanity(void)
{
	setup();
	size_t size = uvm_physseg_node_size(), n = max > 1 ? (size_t)max - 1 : 1;
	void *nodes = uvm_physseg_alloc(n * size);
	CHECK(nodes != NULL);
	uvm_physseg_free(nodes, n * size);
	page_init_done = true;
	uvm_physseg_free(nodes, n * size); /* from the boot array: goes nowhere */
	void *odd = uvm_physseg_alloc(size - 1);
	uvm_physseg_free(odd, size - 1);
	CHECK_EQ(allocated, 0);
}

static void atboot_free_leak(void)
{
	setup();
	size_t size = uvm_physseg_node_size();
	void *nodes = uvm_physseg_alloc((size_t)max * size);
	uvm_physseg_free(nodes, size);
	MUST_ABORT();
	uvm_physseg_alloc(size); /* what is freed at boot is not for reuse */
}

/* ------------------------------------------------------------ plugging */

static void plug(void)
{
	setup();
	uvm_physseg_t upm = (uvm_physseg_t)1, keep = upm;
	CHECK(uvm_physseg_plug(start_of(1), NPAGES, &upm));
	CHECK(uvm_physseg_valid_p(upm));
	CHECK(!uvm_physseg_plug(start_of(1) + 5, 9, &keep) && keep == (uvm_physseg_t)1); /* from above */
	if (max > 1)
		CHECK(uvm_physseg_plug(start_of(2), NPAGES, NULL));
	CHECK_EQ(npages, 0);
	CHECK_EQ(physmem, 0);
	int boot = max > 1 ? 2 : 1;
	page_init((size_t)(boot + 1) * NPAGES);
	CHECK_EQ(npages, boot * NPAGES);
	CHECK_EQ(physmem, 0);
	CHECK_EQ(reinits, 0);

	/* Pages from the gap that the slab has. */
	CHECK(uvm_physseg_plug(start_of(5), NPAGES, &upm));
	CHECK_EQ(npages, (boot + 1) * NPAGES);
	CHECK_EQ(physmem, NPAGES);
	CHECK_EQ(reinits, 1);
	struct vm_page *pg = uvm_physseg_get_pg(upm, 3);
	if (max > 1) /* of one descriptor, the first segment has it */
		CHECK(pg == slab + boot * NPAGES + 3);
	CHECK_EQ(pg->phys_addr, (start_of(5) + 3) * PAGE);
	CHECK_EQ(pg->queued, 1);
	CHECK_EQ(pg->before[0], 0); /* zeroed before it is used again */

	/* And from elsewhere. */
	size_t before = allocated;
	CHECK(uvm_physseg_plug(start_of(9), NPAGES, &upm));
	CHECK(allocated >= before + NPAGES * sizeof(*slab));
	pg = uvm_physseg_get_pg(upm, 0);
	CHECK(pg < slab || pg >= slab + (boot + 1) * NPAGES);
	CHECK_EQ(pg->before[0], 0);
	CHECK_EQ(npages, (boot + 2) * NPAGES);
	CHECK_EQ(uvm_physseg_nentries(), boot + 2);
	CHECK_EQ(uvm_physseg_get_free_list(upm), 0);
	bounds_are(upm, start_of(9), start_of(10), start_of(9), start_of(10));
}

static void plug_overlap_from_below(void)
{
	setup();
	load(2);
	if (max == 1)
		page_init(NPAGES);
	MUST_ABORT();
	uvm_physseg_plug(start_of(2) - 5, 10, NULL);
}

static void plug_again(void)
{
	CHECK(!uvm_physseg_plug(start_of(3), 8, NULL));
	CHECK(!uvm_physseg_plug(start_of(3) + 4, 8, NULL));
}

/* While it is asked for memory, the host plugs the same. */
static void plug_while_it_is_plugged(void)
{
	setup();
	load(1);
	page_init(NPAGES);
	int before = npages;
	while_asked = plug_again;
	CHECK(uvm_physseg_plug(start_of(3), 8, NULL));
	CHECK(while_asked == NULL);
	CHECK_EQ(npages, before + 8);
	CHECK_EQ(uvm_physseg_nentries(), 2);
}

static void plug_nonsense(void)
{
	setup();
	uvm_physseg_t upm = (uvm_physseg_t)1;
	CHECK(!uvm_physseg_plug(7, 0, &upm));
	CHECK(!uvm_physseg_plug(~0UL - 3, 10, &upm)); /* past the end of all frames */
	CHECK(upm == (uvm_physseg_t)1);
	CHECK_EQ(uvm_physseg_nentries(), 0);
}

static void init(void)
{
	setup();
	CHECK_EQ(uvm_physseg_nentries(), 0);
}

static void physload_preload(void)
{
	setup();
	CHECK(uvm_physseg_valid_p(load(1)));
	CHECK_EQ(npages, 0);
	CHECK_EQ(uvm_physseg_nentries(), 1);
	if (max > 1) {
		CHECK(uvm_physseg_valid_p(load(2)));
		CHECK_EQ(npages, 0);
		CHECK_EQ(uvm_physseg_nentries(), 2);
	}
}

static void physload_postboot(void)
{
	setup();
	load(1);
	page_init(2 * NPAGES);
	MUST_ABORT();
	load(2);
}

static void physload_bad_list(void)
{
	setup();
	MUST_ABORT();
	load_on(1, 4);
}

static void physload_reversed(void)
{
	setup();
	MUST_ABORT();
	uvm_page_physload(9, 9, 9, 9, 0);
}

static void handle_immutable(void)
{
	setup();
	uvm_physseg_t upm = load(2);
	CHECK(uvm_physseg_get_prev(upm) == UVM_PHYSSEG_TYPE_INVALID_EMPTY);
	if (max > 1) {
		load(1);
		CHECK(uvm_physseg_valid_p(upm));
		CHECK_EQ(uvm_physseg_get_start(uvm_physseg_get_prev(upm)), start_of(1));
	}
	bounds_are(upm, start_of(2), start_of(3), start_of(2), start_of(3));
}

/* ----------------------------------------------------------- unplugging */

static void unplug(void)
{
	setup();
	psize_t off = 77;
	CHECK(uvm_physseg_plug(0, NPAGES, NULL));
	CHECK(!uvm_physseg_unplug(NPAGES, 1));     /* unknown */
	CHECK(!uvm_physseg_unplug(200, 57));       /* past the end */
	CHECK(!uvm_physseg_unplug(200, ~0UL - 10)); /* far past it */
	CHECK(!uvm_physseg_unplug(200, 0));
	CHECK_EQ(uvm_physseg_nentries(), 1);
	uvm_physseg_t whole = uvm_physseg_find(64, &off);
	CHECK_EQ(off, 64);
	if (max == 1)
		MUST_ABORT(); /* no node for the tail */
	CHECK(uvm_physseg_unplug(64, 128));
	CHECK_EQ(uvm_physseg_nentries(), 2);
	off = 77;
	CHECK(uvm_physseg_find(64, &off) == NULL && off == 77);
	CHECK(uvm_physseg_find(191, NULL) == NULL);
	CHECK(uvm_physseg_find(5, NULL) == whole); /* the head keeps the handle */
	uvm_physseg_t tail = uvm_physseg_find(192, &off);
	CHECK(tail != NULL && tail != whole);
	CHECK_EQ(off, 0);
	bounds_are(whole, 0, 64, 0, 64);
	bounds_are(tail, 192, 256, 192, 256);

	page_init(NPAGES);
	CHECK_EQ(npages, 128);
	physmem = 1000;
	CHECK(uvm_physseg_unplug(192, 64)); /* the tail, whole */
	CHECK(!uvm_physseg_valid_p(tail));
	CHECK_EQ(uvm_physseg_get_start(tail), (paddr_t)-1);
	CHECK_EQ(uvm_physseg_nentries(), 1);
	CHECK_EQ(npages, 64);
	CHECK_EQ(physmem, 936);
	struct vm_page *fifth = uvm_physseg_get_pg(whole, 5);
	CHECK(uvm_physseg_unplug(32, 32)); /* from the back */
	bounds_are(whole, 0, 32, 0, 32);
	CHECK(uvm_physseg_unplug(0, 16)); /* from the front */
	bounds_are(whole, 16, 32, 16, 32);
	CHECK_EQ(npages, 16);
	CHECK(uvm_physseg_get_pg(whole, 0) == fifth + 11);
	CHECK_EQ(uvm_physseg_get_pg(whole, 0)->phys_addr, 16 * PAGE);
	MUST_ABORT();
	uvm_physseg_unplug(16, 16); /* the last segment */
}

static void unplug_split_inherits(void)
{
	setup();
	if (max == 1)
		return;
	uvm_physseg_t upm = uvm_page_physload(0, 256, 10, 200, 3);
	page_init(NPAGES);
	CHECK_EQ(npages, 190);
	((struct node *)(void *)upm)->pmseg.dummy = 42;
	CHECK(uvm_physseg_set_start_hint(upm, 7));
	CHECK(uvm_physseg_unplug(100, 20));
	uvm_physseg_t tail = uvm_physseg_find(120, NULL);
	bounds_are(upm, 0, 100, 10, 100);
	bounds_are(tail, 120, 256, 120, 200); /* what was reserved stays so */
	CHECK_EQ(uvm_physseg_get_free_list(tail), 3);
	CHECK_EQ(uvm_physseg_get_start_hint(tail), 7);
	CHECK_EQ(((struct node *)(void *)tail)->pmseg.dummy, 42);
	CHECK_EQ(npages, 170);
	CHECK(uvm_physseg_get_pg(tail, 0) == slab + 120);
	CHECK(uvm_physseg_unplug(190, 66)); /* ten of these were available */
	CHECK_EQ(npages, 160);
}

/* Memory of a slab goes when its last segment does. */
static void unplug_returns_memory(void)
{
	setup();
	load(1);
	page_init(NPAGES);
	size_t before = allocated;
	CHECK(uvm_physseg_plug(start_of(7), NPAGES, NULL));
	CHECK(allocated > before);
	CHECK(uvm_physseg_unplug(start_of(7) + 10, 20));
	CHECK(uvm_physseg_unplug(start_of(7), 10));
	CHECK(uvm_physseg_unplug(start_of(7) + 30, NPAGES - 30));
	CHECK_EQ(allocated, before);
	CHECK_EQ(npages, NPAGES);
	CHECK_EQ(physmem, 0);
}

/* A gap that an unplug leaves in a slab serves the next plug. */
static void slab_is_used_again(void)
{
	setup();
	load(1);
	page_init(NPAGES);
	uvm_physseg_t upm;
	CHECK(uvm_physseg_plug(start_of(7), NPAGES, &upm));
	struct vm_page *gone = uvm_physseg_get_pg(upm, 100);
	memset(gone, 0xff, sizeof(*gone));
	CHECK(uvm_physseg_unplug(start_of(7) + 100, 50));
	size_t before = allocated;
	CHECK(uvm_physseg_plug(start_of(9), 50, &upm));
	CHECK(allocated < before + 50 * sizeof(*gone));
	CHECK(uvm_physseg_get_pg(upm, 0) == gone || max == 1);
	CHECK_EQ(uvm_physseg_get_pg(upm, 0)->after[6], 0);
}

/* Slabs of segments that are no more, or that never were, give no pages: their memory may be gone. */
static void slabs_go_with_their_segments(void)
{
	setup();
	if (max == 1)
		return; /* there is room for one segment at boot */
	uvm_physseg_t upm;
	struct vm_page *old = calloc(64, sizeof(*old)), *pages = calloc(64, sizeof(*pages));
	CHECK(uvm_physseg_plug(0, 16, &upm));
	uvm_physseg_seg_chomp_slab(upm, old, 64);
	uvm_physseg_init_seg(upm, uvm_physseg_seg_alloc_from_slab(upm, 16));
	uvm_physseg_init();
	free(old);
	CHECK(uvm_physseg_plug(0, 64, &upm));
	uvm_physseg_seg_chomp_slab(upm, pages, 64);
	uvm_physseg_init_seg(upm, uvm_physseg_seg_alloc_from_slab(upm, 64));
	page_init_done = true;
	struct vm_page *never = calloc(64, sizeof(*never));
	uvm_physseg_t node = uvm_physseg_alloc(uvm_physseg_node_size());
	uvm_physseg_seg_chomp_slab(node, never, 64);
	uvm_physseg_free(node, uvm_physseg_node_size());
	free(never);
	CHECK(uvm_physseg_plug(1000, 16, &upm));
	/* A segment's pages stay where they are when it gets another slab. */
	struct vm_page more[16];
	uvm_physseg_seg_chomp_slab(upm, more, 16);
	CHECK_EQ(uvm_physseg_get_pg(upm, 3)->phys_addr, 1003 * PAGE);
	void *small = uvm_physseg_alloc(8);
	CHECK(!uvm_physseg_valid_p(small));
	uvm_physseg_free(small, 8);
}

static void load_overlap(void)
{
	setup();
	CHECK(uvm_page_physload(0, 16, 0, 16, 0) != NULL);
	MUST_ABORT();
	uvm_page_physload(8, 9, 8, 9, 0);
}

/* ---------------------------------------------------------------- slabs */

static void seg_chomp_slab(void)
{
	setup();
	struct vm_page *pages = malloc(sizeof(*pages) * 2 * (size_t)max);
	uvm_physseg_t seg = uvm_physseg_alloc(uvm_physseg_node_size());
	uvm_physseg_seg_chomp_slab(seg, pages, 2 * (size_t)max);
	struct vm_page *pg = uvm_physseg_seg_alloc_from_slab(seg, 1);
	CHECK(pg == pages);
	int err = uvm_physseg_seg_free_to_slab(seg, pg, 1);
	CHECK_EQ(err, max == 1 ? 12 : 0); /* NetBSD's extent(9) has one descriptor there, and freeing asks for a second */
	CHECK_EQ(uvm_physseg_seg_free_to_slab(seg, pages + 1, 1), 22);
	page_init_done = true;
	uvm_physseg_seg_chomp_slab(seg, pages, 2 * (size_t)max);
	for (int i = 0; i < max; i++) {
		pg = uvm_physseg_seg_alloc_from_slab(seg, 1);
		CHECK(pg == pages);
		CHECK_EQ(uvm_physseg_seg_free_to_slab(seg, pg, 1), 0);
	}
}

static void alloc_from_slab(void)
{
	setup();
	struct vm_page *pages = malloc(sizeof(*pages) * 2 * (size_t)max);
	uvm_physseg_t seg = uvm_physseg_alloc(uvm_physseg_node_size());
	uvm_physseg_seg_chomp_slab(seg, pages, 2 * (size_t)max);
	CHECK(uvm_physseg_seg_alloc_from_slab(seg, (size_t)max) == pages);
	page_init_done = true;
	struct vm_page *second = uvm_physseg_seg_alloc_from_slab(seg, (size_t)max);
	CHECK(max == 1 ? second == NULL : second == pages + max);
	CHECK(uvm_physseg_seg_alloc_from_slab(seg, (size_t)max) == NULL);
}

static void init_seg(void)
{
	setup();
	struct vm_page *pages = malloc(sizeof(*pages) * (size_t)max);
	struct node *seg = uvm_physseg_alloc(uvm_physseg_node_size());
	seg->seg.start = seg->seg.avail_start = 0;
	seg->seg.end = seg->seg.avail_end = (paddr_t)max;
	CHECK_EQ(npages, 0);
	uvm_physseg_init_seg((uvm_physseg_t)(void *)seg, pages);
	CHECK_EQ(npages, max);
	CHECK(seg->seg.pgs == pages);
	CHECK_EQ(pages[max - 1].phys_addr, (paddr_t)(max - 1) * PAGE);
	CHECK_EQ(frees, max);
}

/* ----------------------------------------------------------- questions */

static void get_start(void)
{
	setup();
	CHECK_EQ(uvm_physseg_get_start(load(1)), start_of(1));
	if (max > 1)
		CHECK_EQ(uvm_physseg_get_start(load(2)), start_of(2));
	CHECK_EQ(npages, 0);
}

static void get_end(void)
{
	setup();
	CHECK_EQ(uvm_physseg_get_end(load(1)), start_of(2));
	if (max > 1)
		CHECK_EQ(uvm_physseg_get_end(load(2)), start_of(3));
}

static void get_avail_start(void)
{
	setup();
	uvm_physseg_t upm = uvm_page_physload(0, 99, 7, 50, 0);
	CHECK_EQ(uvm_physseg_get_avail_start(upm), 7);
	uvm_physseg_set_avail_start(upm, 9);
	CHECK_EQ(uvm_physseg_get_avail_start(upm), 9);
}

static void get_avail_end(void)
{
	setup();
	uvm_physseg_t upm = uvm_page_physload(0, 99, 7, 50, 0);
	CHECK_EQ(uvm_physseg_get_avail_end(upm), 50);
	uvm_physseg_set_avail_end(upm, 60);
	CHECK_EQ(uvm_physseg_get_avail_end(upm), 60);
}

static void set_avail_start_outside(void)
{
	setup();
	uvm_physseg_t upm = uvm_page_physload(0, 99, 7, 50, 0);
	uvm_physseg_set_avail_start(upm, 0);
	uvm_physseg_set_avail_start(upm, 49);
	MUST_ABORT();
	uvm_physseg_set_avail_start(upm, 50); /* where what is available ends */
}

static void set_avail_end_outside(void)
{
	setup();
	uvm_physseg_t upm = uvm_page_physload(0, 99, 7, 50, 0);
	uvm_physseg_set_avail_end(upm, 99);
	uvm_physseg_set_avail_end(upm, 8);
	MUST_ABORT();
	uvm_physseg_set_avail_end(upm, 100); /* past the segment's end */
}

static void page_of_an_address(void)
{
	setup();
	uvm_physseg_t upm = load(1);
	CHECK(uvm_phys_to_vm_page(start_of(1) << 12) == NULL); /* it has no pages yet */
	page_init(NPAGES);
	CHECK(uvm_phys_to_vm_page((start_of(1) + 3) << 12 | 0x123) == uvm_physseg_get_pg(upm, 3));
	CHECK(uvm_phys_to_vm_page((start_of(1) - 1) << 12) == NULL);
}

/* Page frames that another thread plugs or unplugs. */
struct elsewhere {
	paddr_t pfn;
	bool plug, done;
};

static void *change(void *arg)
{
	struct elsewhere *what = arg;

	/* It looks first, and so does not see with the other's eyes. */
	what->done = (uvm_physseg_find(what->pfn, NULL) == NULL) == what->plug &&
	    (what->plug ? uvm_physseg_plug(what->pfn, 8, NULL) : uvm_physseg_unplug(what->pfn, 8));
	return NULL;
}

static void change_elsewhere(paddr_t pfn, bool plug)
{
	struct elsewhere what = {.pfn = pfn, .plug = plug};
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, change, &what) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(what.done);
}

static void what_another_thread_changes_is_seen(void)
{
	setup();
	load(1);
	page_init(NPAGES);
	paddr_t pfn = start_of(2);
	psize_t off;

	for (int i = 0; i < 2; i++) {
		CHECK(uvm_physseg_find(pfn, NULL) == NULL);
		change_elsewhere(pfn, true);
		uvm_physseg_t upm = uvm_physseg_find(pfn + 3, &off);
		CHECK(upm != NULL && off == 3);
		CHECK(uvm_physseg_get_pg(upm, off) == uvm_phys_to_vm_page((pfn + 3) * PAGE));
		CHECK_EQ(uvm_physseg_get_pg(upm, off)->phys_addr, (pfn + 3) * PAGE);
		change_elsewhere(pfn, false);
		CHECK(uvm_phys_to_vm_page((pfn + 3) * PAGE) == NULL);
	}
	change_elsewhere(pfn, true);
	uvm_physseg_t upm = uvm_physseg_find(pfn, NULL);
	CHECK(uvm_physseg_get_pg(upm, 0) != NULL);
	change_elsewhere(pfn, false);
	MUST_ABORT();
	uvm_physseg_get_pg(upm, 0); /* found last, but gone */
}

static void get_start_invalid(void)
{
	setup();
	load(1);
	page_init_done = true;
	CHECK_EQ(uvm_physseg_get_start(NULL), (paddr_t)-1);
}

static void get_end_invalid(void)
{
	setup();
	load(1);
	page_init_done = true;
	CHECK_EQ(uvm_physseg_get_end(NULL), (paddr_t)-1);
}

static void get_avail_start_invalid(void)
{
	setup();
	load(1);
	page_init_done = true;
	CHECK_EQ(uvm_physseg_get_avail_start(NULL), (paddr_t)-1);
}

static void get_avail_end_invalid(void)
{
	setup();
	uvm_physseg_t upm = load(1);
	page_init_done = true;
	CHECK_EQ(uvm_physseg_get_avail_end(upm), (paddr_t)-1); /* no pages */
	CHECK_EQ(npages, 0);
	CHECK_EQ(uvm_physseg_nentries(), 1);
}

static void get_next(void)
{
	setup();
	uvm_physseg_t one = load(1);
	CHECK(uvm_physseg_get_next(one) == UVM_PHYSSEG_TYPE_INVALID_OVERFLOW);
	if (max > 1) {
		uvm_physseg_t two = load(2);
		CHECK(uvm_physseg_get_next(one) == two);
		if (max > 2) {
			uvm_physseg_t three = load(3);
			CHECK(uvm_physseg_get_next(two) == three);
			CHECK(uvm_physseg_get_next(three) == NULL);
		}
	}
}

static void get_prev(void)
{
	setup();
	uvm_physseg_t one = load(1);
	CHECK(uvm_physseg_get_prev(one) == UVM_PHYSSEG_TYPE_INVALID_EMPTY);
	if (max > 1) {
		uvm_physseg_t two = load(2);
		CHECK(uvm_physseg_get_prev(two) == one);
		if (max > 2) {
			uvm_physseg_t three = load(3);
			CHECK(uvm_physseg_get_prev(three) == two);
			CHECK(uvm_physseg_get_prev(one) == NULL);
		}
	}
}

static void get_next_invalid(void)
{
	setup();
	CHECK(uvm_physseg_get_next(NULL) == UVM_PHYSSEG_TYPE_INVALID);
}

static void get_prev_invalid(void)
{
	setup();
	CHECK(uvm_physseg_get_prev(NULL) == UVM_PHYSSEG_TYPE_INVALID);
}

static void get_first(void)
{
	setup();
	CHECK(uvm_physseg_get_first() == UVM_PHYSSEG_TYPE_INVALID_EMPTY);
	uvm_physseg_t two = load(2);
	CHECK(uvm_physseg_get_first() == two);
	if (max > 1) {
		uvm_physseg_t one = load(1);
		CHECK(uvm_physseg_get_first() == one);
		bounds_are(one, start_of(1), start_of(2), start_of(1), start_of(2));
	}
	if (max > 2) {
		load(3);
		CHECK_EQ(uvm_physseg_get_start(uvm_physseg_get_first()), 0);
	}
}

static void get_last(void)
{
	setup();
	CHECK(uvm_physseg_get_last() == UVM_PHYSSEG_TYPE_INVALID_EMPTY);
	for (int n = 1; n <= (max < 3 ? max : 3); n++) {
		uvm_physseg_t upm = load(n);
		CHECK(uvm_physseg_get_last() == upm);
		bounds_are(upm, start_of(n), start_of(n + 1), start_of(n), start_of(n + 1));
	}
}

static void valid(void)
{
	setup();
	uvm_physseg_t upm = load(1);
	uvm_physseg_init_seg(upm, malloc(sizeof(struct vm_page) * NPAGES));
	CHECK_EQ(npages, NPAGES);
	page_init_done = true;
	CHECK(uvm_physseg_valid_p(upm));
}

static void valid_invalid(void)
{
	setup();
	uvm_physseg_t upm = load(1);
	CHECK(uvm_physseg_valid_p(upm)); /* at boot anything is */
	CHECK(!uvm_physseg_valid_p(NULL));
	page_init_done = true;
	CHECK(!uvm_physseg_valid_p(NULL));
	CHECK(!uvm_physseg_valid_p(upm));
}

static void get_highest(void)
{
	setup();
	CHECK_EQ(uvm_physseg_get_highest_frame(), (paddr_t)-1); /* NetBSD's follows a null pointer there */
	load(1);
	CHECK_EQ(uvm_physseg_get_highest_frame(), 255);
	if (max > 1) {
		load(3);
		CHECK_EQ(uvm_physseg_get_highest_frame(), 767);
	}
	if (max > 2) {
		load(2);
		CHECK_EQ(uvm_physseg_get_highest_frame(), 767);
	}
}

static void get_free_list(void)
{
	setup();
	const int lists[] = {0, 3, 2};
	for (int n = 1; n <= (max < 3 ? max : 3); n++)
		CHECK_EQ(uvm_physseg_get_free_list(load_on(n, lists[n - 1])), lists[n - 1]);
}

static void get_start_hint(void)
{
	setup();
	CHECK_EQ(uvm_physseg_get_start_hint(load(1)), 0);
}

static void set_start_hint(void)
{
	setup();
	uvm_physseg_t upm = load(1);
	page_init(NPAGES);
	CHECK(uvm_physseg_set_start_hint(upm, 128));
	CHECK_EQ(uvm_physseg_get_start_hint(upm), 128);
}

static void set_start_hint_invalid(void)
{
	setup();
	uvm_physseg_t upm = load(1);
	page_init_done = true;
	CHECK(!uvm_physseg_set_start_hint(upm, 128));
	CHECK(!uvm_physseg_set_start_hint(NULL, 128));
	MUST_ABORT();
	uvm_physseg_get_start_hint(upm);
}

static void get_pg(void)
{
	setup();
	uvm_physseg_t upm = load(1);
	page_init(NPAGES);
	CHECK_EQ(npages, NPAGES);
	CHECK_EQ(uvm_physseg_get_pg(upm, 5)->phys_addr, 5 * PAGE);
	CHECK_EQ(uvm_physseg_get_pg(upm, 113)->phys_addr, 113 * PAGE);
	MUST_ABORT();
	uvm_physseg_get_pg(NULL, 0);
}

static void get_pmseg(void)
{
	setup();
	uvm_physseg_t upm = load(1);
	page_init(NPAGES);
	uvm_physseg_get_pmseg(upm)->dummy = 0x5eed;
	CHECK_EQ(uvm_physseg_get_pmseg(upm)->dummy, 0x5eed);
	CHECK_EQ(((struct node *)(void *)upm)->pmseg.dummy, 0x5eed);
	MUST_ABORT();
	uvm_physseg_get_pmseg(NULL);
}

static void get_free_list_invalid(void)
{
	setup();
	MUST_ABORT();
	uvm_physseg_get_free_list(NULL);
}

static void find(void)
{
	setup();
	psize_t off = 9;
	uvm_physseg_t one = load(1);
	CHECK(uvm_physseg_find(255, NULL) == one);
	if (max > 1) {
		uvm_physseg_t two = load(2);
		CHECK(uvm_physseg_find(258, &off) == two);
		CHECK_EQ(off, 2);
	}
	CHECK(uvm_physseg_find(253, &off) == one);
	CHECK_EQ(off, 253);
}

static void find_invalid(void)
{
	setup();
	psize_t off = 9;
	load(1);
	CHECK(uvm_physseg_find(768, NULL) == UVM_PHYSSEG_TYPE_INVALID);
	CHECK(uvm_physseg_find(256, &off) == UVM_PHYSSEG_TYPE_INVALID); /* half-open */
	CHECK(uvm_physseg_find(~0UL, &off) == UVM_PHYSSEG_TYPE_INVALID);
	CHECK_EQ(off, 9);
}

/* ------------------------------------------------- unloading at boot */

static void physunload_start(void)
{
	setup();
	paddr_t p = 0;
	uvm_physseg_t upm = load(2);
	CHECK(uvm_page_physunload(upm, 0, &p));
	CHECK_EQ(p, 256 * PAGE);
	bounds_are(upm, 257, 512, 257, 512);
	CHECK_EQ(npages, 0);
}

static void physunload_end(void)
{
	setup();
	paddr_t p = 0;
	uvm_physseg_t upm = uvm_page_physload(256, 512, 257, 512, 0);
	CHECK(uvm_page_physunload(upm, 0, &p));
	CHECK_EQ(p, 511 * PAGE);
	bounds_are(upm, 256, 511, 257, 511);
	CHECK_EQ(npages, 0); /* NetBSD's is -1 */
}

static void physunload_none(void)
{
	setup();
	paddr_t p = 0;
	uvm_physseg_t upm = uvm_page_physload(256, 512, 257, 511, 0);
	CHECK(!uvm_page_physunload(upm, 0, &p));
	CHECK_EQ(p, 0);
	bounds_are(upm, 256, 512, 257, 511);
}

static void physunload_delete_start(void)
{
	setup();
	paddr_t p = 0;
	uvm_physseg_t upm = uvm_page_physload(255, 256, 255, 256, 0), two = NULL;
	if (max > 1)
		two = load(2);
	else
		MUST_ABORT();
	CHECK(uvm_page_physunload(upm, 0, &p));
	CHECK_EQ(p, 255 * PAGE);
	CHECK_EQ(uvm_physseg_nentries(), 1);
	CHECK(uvm_physseg_get_first() == two);
}

static void physunload_delete_end(void)
{
	setup();
	paddr_t p = 0;
	/* A segment whose last available page is at its end; the page below it stays. */
	uvm_physseg_t upm = uvm_page_physload(0, 2, 1, 2, 0);
	CHECK(uvm_page_physunload(upm, 0, &p));
	CHECK_EQ(p, PAGE);
	bounds_are(upm, 0, 1, 1, 1);
	CHECK(!uvm_page_physunload(upm, 0, &p)); /* nothing is available any more */
	CHECK_EQ(p, PAGE);
}

static void physunload_invalid(void)
{
	setup();
	paddr_t p = 0;
	CHECK(!uvm_page_physunload(load(2), 1, &p));
	CHECK_EQ(p, 0);
}

static void physunload_force(void)
{
	setup();
	paddr_t p = 0;
	uvm_physseg_t upm = load_on(1, 2);
	if (max > 1)
		load(2);
	for (paddr_t i = 0; i < NPAGES; i++) {
		CHECK_EQ(uvm_physseg_get_avail_start(upm), i);
		if (max == 1 && i == NPAGES - 1)
			MUST_ABORT(); /* the last segment */
		CHECK(uvm_page_physunload_force(upm, 0, &p)); /* whatever the list */
		CHECK_EQ(p, i * PAGE);
	}
	CHECK(uvm_physseg_find(255, NULL) == NULL);
	CHECK_EQ(uvm_physseg_nentries(), 1);
}

static void physunload_force_invalid(void)
{
	setup();
	paddr_t p = 0;
	uvm_physseg_t upm = uvm_page_physload(256, 257, 256, 256, 0);
	CHECK(!uvm_page_physunload_force(upm, 0, &p));
	CHECK_EQ(p, 0);
}

static void physunload_postboot(void)
{
	setup();
	paddr_t p = 0;
	uvm_physseg_t upm = load(1);
	page_init(NPAGES);
	MUST_ABORT();
	uvm_page_physunload(upm, 0, &p);
}

/* Many segments, plugged and unplugged in an order that is not theirs, against one flag a page. */
static void many(void)
{
	static unsigned char there[4096];
	setup();
	load(1);
	page_init(NPAGES);
	memset(there, 1, NPAGES);
	unsigned random = 12345;
	int count = NPAGES;
	for (int i = 0; i < 4000; i++) {
		random = random * 1103515245 + 12345;
		paddr_t pfn = NPAGES + (random >> 16) % (sizeof(there) - NPAGES - 64);
		size_t n = 1 + (random >> 8) % 40, any = 0, all = 1;
		for (size_t k = 0; k < n; k++) {
			any |= there[pfn + k];
			all &= there[pfn + k];
		}
		uvm_physseg_t upm = uvm_physseg_find(pfn, NULL);
		if (!any) {
			CHECK(uvm_physseg_plug(pfn, n, NULL));
			memset(there + pfn, 1, n);
			count += (int)n;
		} else if (all && upm != NULL && uvm_physseg_get_end(upm) >= pfn + n) {
			CHECK(uvm_physseg_unplug(pfn, n));
			memset(there + pfn, 0, n);
			count -= (int)n;
		}
		CHECK_EQ(npages, count);
	}
	size_t last = 0;
	for (paddr_t pfn = 0; pfn < sizeof(there); pfn++) {
		psize_t off = 0;
		uvm_physseg_t upm = uvm_physseg_find(pfn, &off);
		CHECK((upm != NULL) == there[pfn]);
		if (upm == NULL)
			continue;
		CHECK_EQ(uvm_physseg_get_pg(upm, off)->phys_addr, pfn * PAGE);
		last = pfn;
	}
	CHECK_EQ(uvm_physseg_get_highest_frame(), last);
	CHECK_EQ(physmem, count - NPAGES);
	for (uvm_physseg_t upm = uvm_physseg_get_last(); upm != uvm_physseg_get_first(); upm = uvm_physseg_get_last())
		CHECK(uvm_physseg_unplug(uvm_physseg_get_start(upm), uvm_physseg_get_end(upm) - uvm_physseg_get_start(upm)));
	CHECK_EQ(npages, NPAGES);
	CHECK_EQ(allocated, 0);
	free(slab);
}

#define CASE(name) {#name, name}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		CASE(alloc_atboot_mismatch), CASE(alloc_atboot_overrun), CASE(alloc_sanity), CASE(free_atboot_mismatch),
		CASE(free_sanity), CASE(atboot_free_leak), CASE(plug), CASE(plug_overlap_from_below), CASE(plug_while_it_is_plugged), CASE(plug_nonsense),
		CASE(init), CASE(physload_preload), CASE(physload_postboot), CASE(physload_bad_list), CASE(physload_reversed),
		CASE(handle_immutable), CASE(unplug), CASE(unplug_split_inherits), CASE(unplug_returns_memory),
		CASE(slab_is_used_again), CASE(slabs_go_with_their_segments), CASE(load_overlap), CASE(seg_chomp_slab), CASE(alloc_from_slab), CASE(init_seg), CASE(get_start),
		CASE(get_end), CASE(get_avail_start), CASE(get_avail_end), CASE(set_avail_start_outside), CASE(set_avail_end_outside), CASE(page_of_an_address), CASE(what_another_thread_changes_is_seen), CASE(get_start_invalid), CASE(get_end_invalid),
		CASE(get_avail_start_invalid), CASE(get_avail_end_invalid), CASE(get_next), CASE(get_prev),
		CASE(get_next_invalid), CASE(get_prev_invalid), CASE(get_first), CASE(get_last), CASE(valid),
		CASE(valid_invalid), CASE(get_highest), CASE(get_free_list), CASE(get_start_hint), CASE(set_start_hint),
		CASE(set_start_hint_invalid), CASE(get_pg), CASE(get_pmseg), CASE(get_free_list_invalid), CASE(find),
		CASE(find_invalid), CASE(physunload_start), CASE(physunload_end), CASE(physunload_none),
		CASE(physunload_delete_start), CASE(physunload_delete_end), CASE(physunload_invalid), CASE(physunload_force),
		CASE(physunload_force_invalid), CASE(physunload_postboot), CASE(many),
	};
	max = argc > 1 ? atoi(argv[1]) : 10;
	return check_all(cases, sizeof(cases) / sizeof(cases[0]));
}
