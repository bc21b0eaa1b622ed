/*
 * pmem: physical address space, after David Young's proposal to NetBSD's tech-kern: its functions by their names, and
 * what it needs beside them (arenas are made, drivers register).
 *
 * There is one manager in a process. Every function may be called by any thread, but not from within a callback, of this
 * header's or of memory_hotplug.h's and uvm_page.h's, and not between pmem_get_online_mems() and pmem_put_online_mems(): it
 * then fails with EDEADLK, but for pmem_mapping_*() and pmem_error(). Callbacks return: neither longjmp() nor a C++
 * exception may leave one. An end address of 0 means 2^64. Functions that return int return 0 or an errno;
 * pmem_error() says in words what went wrong last in the calling thread. The numbers:
 *
 *	ENOENT   no such arena, interconnect, region or driver; an address that leads nowhere, space that is not primed
 *	EINVAL   no range, no alignment, bits that mean nothing, a mapping that cannot be, a region that is held by aliases alone
 *	EBUSY    something is there, or is in use
 *	ENOSPC   no space, no route, a window that cannot open
 *	EPERM    a driver refused; nothing has changed
 *	EIO      a driver's hardware failed, and all was taken back; or it is not what the model says
 *	EDEADLK  from within a callback, or while this thread keeps memory as it is
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef PMEM_H
#define PMEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef PMEM_HAVE_PADDR_T
#define PMEM_HAVE_PADDR_T
typedef unsigned long paddr_t, psize_t;
#endif

enum pmem_props {
	PMEM_P_WTHRU = 0x01,
	PMEM_P_WBACK = 0x02,
	PMEM_P_WCOMB = 0x04,
	PMEM_P_UNCACHED = 0x08,
	PMEM_P_PREFETCH = 0x10
};
enum pmem_prot {
	PMEM_PROT_READ = 0x01,
	PMEM_PROT_WRITE = 0x02,
	PMEM_PROT_EXEC = 0x04
};
enum pmem_type {
	PMEM_T_RAM = 0x01,
	PMEM_T_ROM = 0x02,
	PMEM_T_PCI = 0x04,
	PMEM_T_IO = 0x08,   /* I/O ports; these and those below are not the proposal's */
	PMEM_T_BUS = 0x10,  /* PCI bus numbers */
	PMEM_T_VIEW = 0x20,  /* what a CPU, or the system bus, sees */
	PMEM_T_CXL = 0x40
};
/* The proposal spells these PMEM_T_* as well. */
enum pmem_use {
	PMEM_T_TEXT = 0x01,
	PMEM_T_DMABUF = 0x02,
	PMEM_T_DATA = 0x04,
	PMEM_T_DEVREGS = 0x08,
	PMEM_T_FRAMEBUF = 0x10,
	PMEM_T_BROKEN = 0x20
};

/* Sets of these: numbers, for C has no sets of enums. */
typedef unsigned int pmem_props_t;
typedef unsigned int pmem_prot_t;
typedef unsigned int pmem_type_t;
typedef unsigned int pmem_use_t;
typedef uint32_t pmem_metric_t;

typedef struct pmem_arena *pmem_arena_t;
typedef struct pmem_region *pmem_region_t;
typedef struct pmem_interconnect *pmem_interconnect_t;
typedef struct pmem_mapping *pmem_mapping_t;
typedef struct pmem_driver *pmem_driver_t;

static const pmem_mapping_t pmem_mapping_identity = NULL;

/* What went wrong last in this thread, in words; never NULL, and good until the next call. */
const char *pmem_error(void);

/* ------------------------------------------------------------------ arenas */

/* NULL on failure. */
pmem_arena_t pmem_arena_create(const char *name, pmem_type_t type);
int pmem_arena_remove(pmem_arena_t a);

/*
 * Mappings for pmem_arena_connect(), which copies them; all are of the left arena's addresses. A window: [start, end) there leads to
 * the right arena from `to` on. A bridge's window opens inside [start, end) as regions are mapped through it, in multiples of `granule`. A table translates
 * [start, end) in pages. NULL on failure.
 */
pmem_mapping_t pmem_mapping_window(paddr_t start, paddr_t end, paddr_t to);
pmem_mapping_t pmem_mapping_bridge(paddr_t start, paddr_t end, psize_t granule);
pmem_mapping_t pmem_mapping_table(paddr_t start, paddr_t end, psize_t page);
void pmem_mapping_free(pmem_mapping_t m);

/* Connects two arenas; NULL on failure. */
pmem_interconnect_t pmem_arena_connect(pmem_arena_t left, pmem_arena_t right, pmem_mapping_t m, pmem_metric_t metric);
int pmem_arena_disconnect(pmem_interconnect_t i);

/*
 * Says that the bridge's window from left to right covers [start, end) even when nothing goes through it, as its base and limit registers do that
 * somebody else writes; an empty range is no floor. And what it costs to cross, from left to right or the other way.
 */
int pmem_interconnect_set_floor(pmem_interconnect_t i, paddr_t start, paddr_t end);
int pmem_interconnect_set_metric(pmem_interconnect_t i, int to_left, pmem_metric_t metric);

/* Loads an arena with addresses [start, end) of these default properties; and the way back: seal, drain, unprime. */
int pmem_arena_prime(pmem_arena_t a, paddr_t start, paddr_t end, pmem_use_t use, pmem_prot_t prot, pmem_props_t props);
int pmem_arena_seal(pmem_arena_t a, paddr_t start, paddr_t end);
int pmem_arena_unseal(pmem_arena_t a, paddr_t start, paddr_t end);
int pmem_arena_unprime(pmem_arena_t a, paddr_t start, paddr_t end);

/* What an address means, as an arena sees it: the arena, and the address there. ENOENT if it leads nowhere, or to several. */
int pmem_resolve(pmem_arena_t a, paddr_t addr, pmem_arena_t *where, paddr_t *there);

/* ----------------------------------------------------------------- regions */

/*
 * Reserves a region of `len` bytes inside [start, end), with one reference; NULL on failure. prot, props and use of 0 are the
 * defaults of the space that is found. It may be in another arena whose regions can be made visible at a cost of at
 * most maxmetric: the result is then an alias.
 */
pmem_region_t pmem_alloc(pmem_arena_t a, paddr_t start, paddr_t end, pmem_prot_t prot, pmem_props_t props, pmem_use_t use,
    size_t align, size_t len, pmem_metric_t maxmetric);

/* Each of prot, props and use may be NULL. */
int pmem_get(pmem_region_t r, pmem_prot_t *prot, pmem_props_t *props, pmem_use_t *use);
int pmem_set(pmem_region_t r, pmem_prot_t prot, pmem_props_t props, pmem_use_t use);

int pmem_incref(pmem_region_t r);
/* At zero the region is reclaimed; if a driver does not let go of it, it stays, and is tried again later: EBUSY. */
int pmem_decref(pmem_region_t r);

/*
 * Maps a region into an arena: the region itself if it belongs there, else an alias; with one reference more. *paddr is where
 * it starts in that arena. NULL on failure.
 */
pmem_region_t pmem_map(pmem_arena_t a, pmem_region_t r, paddr_t *paddr);
/* As pmem_map(), inside [start, end) of that arena and aligned: an IOMMU's fixed input address, say. */
pmem_region_t pmem_map_at(pmem_arena_t a, pmem_region_t r, paddr_t start, paddr_t end, size_t align, paddr_t *paddr);
int pmem_unmap(pmem_region_t r);

/* Where a region is: its arena, and its first and last address there. Each may be NULL. */
int pmem_where(pmem_region_t r, pmem_arena_t *a, paddr_t *first, paddr_t *last);
/* Moves a region, and what depends on where it is; it keeps its name. */
int pmem_relocate(pmem_region_t r, paddr_t start);

/* ----------------------------------------------------------------- drivers */

enum pmem_edit_kind {
	PMEM_EDIT_ARENA = 1,        /* an arena comes or goes */
	PMEM_EDIT_INTERCONNECT = 2, /* an interconnect comes or goes */
	PMEM_EDIT_SPACE = 3,        /* space is primed, unprimed, sealed, unsealed */
	PMEM_EDIT_WINDOW = 4,       /* a window comes or goes with its interconnect; a bridge's opens, closes or changes */
	PMEM_EDIT_REGION = 5,       /* a region or alias comes, goes, moves, or changes its attributes */
	PMEM_EDIT_VIEW = 6,         /* effective attributes, or where addresses lead, change in the view that the driver is registered on, PMEM_EDIT_VIEW alone */
	PMEM_EDIT_EFFECTIVE = 7     /* what an alias amounts to changes, because what it stands for does: use, prot and props as seen */
};

enum pmem_space_state {
	PMEM_SPACE_OPEN = 0,
	PMEM_SPACE_SEALED = 1,
	PMEM_SPACE_LENT = 2 /* to a bridge's window */
};

/* Before, or after. What does not apply is 0. */
struct pmem_side {
	int present; /* 0: not there, and nothing else is said */
	paddr_t first;
	paddr_t last; /* the last address, which is part of it */
	pmem_use_t use;
	pmem_prot_t prot;
	pmem_props_t props; /* use, prot and props of an alias are its own: prot narrows its target's, use and props are its target's */
	int state; /* of space: enum pmem_space_state; of a view: 1 where a region has it */
};

/* What does not apply is NULL or 0. Names are good until the callback returns. */
struct pmem_edit {
	int kind;
	pmem_arena_t arena; /* whose addresses `before` and `after` are; of an interconnect, its left end */
	pmem_interconnect_t interconnect; /* of an alias, the one that it crosses */
	pmem_region_t region;
	pmem_region_t target; /* of an alias, what it stands for */
	pmem_arena_t far;     /* of an interconnect, its right end; of a window, where it leads; of a view, whose own the addresses are (or were) */
	const char *name;     /* the arena's, where it comes or goes */
	pmem_type_t type;     /* and its type */
	pmem_metric_t metric; /* of an interconnect, from left to right */
	psize_t offset;       /* of a window or a view, added to an address to get the one in `far`, modulo 2^64 */
	struct pmem_side before, after;
};

struct pmem_change {
	uint64_t sequence;
	size_t nedits;
	const struct pmem_edit *edits;
};

#define PMEM_CONCERNED 0
#define PMEM_INDIFFERENT 0x7fffffff

enum pmem_step {
	PMEM_STEP_WITHDRAW = 1,
	PMEM_STEP_INSTALL = 2
};

/*
 * What a driver does; each may be NULL. prepare() returns PMEM_CONCERNED, PMEM_INDIFFERENT, or an errno, which refuses the change.
 * Then, in reverse order, withdraw(), and in order install(): hardware stops honouring what goes, and honours what comes; an
 * errno from either takes all back: revert() undoes one step (enum pmem_step), abort() drops what was only
 * prepared. published() hears that the change is done. attach() takes over the present state, resync() programs it again, verify()
 * compares it with the hardware: they are shown what there is as if all of it came now, every `before` absent; arenas first, then
 * interconnects, space, windows, and regions.
 */
struct pmem_driver_ops {
	const char *name;
	int (*attach)(void *ctx, const struct pmem_change *state);
	int (*prepare)(void *ctx, const struct pmem_change *change);
	int (*withdraw)(void *ctx);
	int (*install)(void *ctx);
	int (*revert)(void *ctx, int step);
	void (*abort)(void *ctx);
	void (*published)(void *ctx);
	int (*resync)(void *ctx, const struct pmem_change *state);
	int (*verify)(void *ctx, const struct pmem_change *state);
};

/*
 * Registers a driver: for everything if view is NULL, else for what that arena sees. Higher priority is asked first. ops and
 * ctx must outlive it. NULL on failure.
 */
pmem_driver_t pmem_driver_register(const struct pmem_driver_ops *ops, void *ctx, pmem_arena_t view, int priority);
int pmem_driver_deregister(pmem_driver_t d);
int pmem_driver_resync(pmem_driver_t d);
/* 0 if the hardware is what the model asks for. */
int pmem_driver_verify(pmem_driver_t d);

#ifdef __cplusplus
}
#endif
#endif
