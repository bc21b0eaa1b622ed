/*
 * pmem: a manager of physical address space, after David Young's proposal to NetBSD's tech-kern. It has the functions
 * of the proposal by their names, and what the proposal leaves out: creating arenas and registering drivers.
 *
 * There is one manager per process. Any thread may call any function, except from within a callback (of this header,
 * memory_hotplug.h or uvm_page.h) and between pmem_get_online_mems() and pmem_put_online_mems(). There, all functions
 * but pmem_mapping_*() and pmem_error() fail with EDEADLK. A callback must return: neither longjmp() nor a C++
 * exception may leave it. Ranges are written as start, inclusive, and end, exclusive; an end of 0 means 2^64.
 * Functions that return int return 0 or an errno. pmem_error() returns a message for the last error in the calling
 * thread. The numbers are:
 *
 *	ENOENT   no such arena, interconnect, region or driver; the address leads nowhere; the space is not primed
 *	EINVAL   a bad range or alignment, bits without a meaning, an impossible mapping, a region that only aliases hold
 *	EBUSY    something is there already, or is in use
 *	ENOSPC   no space, no route, or a window that cannot open
 *	EPERM    a driver refused; nothing has changed
 *	EIO      a driver's hardware failed and everything was rolled back; or the hardware differs from the model
 *	EDEADLK  called from within a callback, or while this thread keeps memory as it is
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
	PMEM_T_IO = 0x08,   /* I/O ports; this and the following are not in the proposal */
	PMEM_T_BUS = 0x10,  /* PCI bus numbers */
	PMEM_T_VIEW = 0x20,  /* the view of a CPU or of the system bus */
	PMEM_T_CXL = 0x40
};
/* The proposal also spells these PMEM_T_*. */
enum pmem_use {
	PMEM_T_TEXT = 0x01,
	PMEM_T_DMABUF = 0x02,
	PMEM_T_DATA = 0x04,
	PMEM_T_DEVREGS = 0x08,
	PMEM_T_FRAMEBUF = 0x10,
	PMEM_T_BROKEN = 0x20
};

/* Sets of these flags. They are numbers, because C has no sets of enums. */
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

/* A message for the last error in this thread. Never NULL; valid until the next call. */
const char *pmem_error(void);

/* ------------------------------------------------------------------ arenas */

/* Creates an arena without addresses; NULL on failure. */
pmem_arena_t pmem_arena_create(const char *name, pmem_type_t type);
int pmem_arena_remove(pmem_arena_t a);

/*
 * Mappings for pmem_arena_connect(), which copies them; NULL on failure. start and end are addresses of the left
 * arena. A window leads from start..end to the right arena, from `to` on. A bridge's window opens inside start..end
 * as regions are mapped through it, in multiples of `granule` bytes. A table translates start..end in pages of `page`
 * bytes.
 */
pmem_mapping_t pmem_mapping_window(paddr_t start, paddr_t end, paddr_t to);
pmem_mapping_t pmem_mapping_bridge(paddr_t start, paddr_t end, psize_t granule);
pmem_mapping_t pmem_mapping_table(paddr_t start, paddr_t end, psize_t page);
void pmem_mapping_free(pmem_mapping_t m);

/* Connects two arenas; a NULL mapping is pmem_mapping_identity. Returns NULL on failure. */
pmem_interconnect_t pmem_arena_connect(pmem_arena_t left, pmem_arena_t right, pmem_mapping_t m, pmem_metric_t metric);
int pmem_arena_disconnect(pmem_interconnect_t i);

/*
 * pmem_interconnect_set_floor() makes the bridge's window from left to right cover start..end even when nothing goes
 * through it, like a bridge whose base and limit registers were programmed by someone else. An empty range removes
 * the floor. pmem_interconnect_set_metric() sets the cost of crossing from left to right or, if to_left, the other
 * way.
 */
int pmem_interconnect_set_floor(pmem_interconnect_t i, paddr_t start, paddr_t end);
int pmem_interconnect_set_metric(pmem_interconnect_t i, int to_left, pmem_metric_t metric);

/*
 * Primes an arena with the addresses start..end and their default attributes. To remove them again, seal them, so
 * that nothing more is allocated there, wait until their regions are gone, and unprime them.
 */
int pmem_arena_prime(pmem_arena_t a, paddr_t start, paddr_t end, pmem_use_t use, pmem_prot_t prot, pmem_props_t props);
int pmem_arena_seal(pmem_arena_t a, paddr_t start, paddr_t end);
int pmem_arena_unseal(pmem_arena_t a, paddr_t start, paddr_t end);
int pmem_arena_unprime(pmem_arena_t a, paddr_t start, paddr_t end);

/*
 * Resolves an address as an arena sees it: the arena that claims it, and the address there. Either may be NULL.
 * ENOENT if no arena claims it, or more than one does.
 */
int pmem_resolve(pmem_arena_t a, paddr_t addr, pmem_arena_t *where, paddr_t *there);

/* ----------------------------------------------------------------- regions */

/*
 * Allocates a region of `len` bytes inside start..end, with one reference; NULL on failure. If prot, props or use is
 * 0, the default of the space that is found applies. The space may be in another arena whose regions can be made
 * visible here at a cost of at most maxmetric. The result is then an alias.
 */
pmem_region_t pmem_alloc(pmem_arena_t a, paddr_t start, paddr_t end, pmem_prot_t prot, pmem_props_t props, pmem_use_t use,
    size_t align, size_t len, pmem_metric_t maxmetric);

/* The effective attributes of a region. Each of prot, props and use may be NULL. */
int pmem_get(pmem_region_t r, pmem_prot_t *prot, pmem_props_t *props, pmem_use_t *use);
int pmem_set(pmem_region_t r, pmem_prot_t prot, pmem_props_t props, pmem_use_t use);

int pmem_incref(pmem_region_t r);
/*
 * Drops a reference. At zero the region is reclaimed. If a driver still uses it, it stays and is released later; the
 * result is then EBUSY.
 */
int pmem_decref(pmem_region_t r);

/*
 * Maps a region into an arena and adds a reference. Returns the region itself if it belongs there, otherwise an
 * alias; NULL on failure. *paddr is its start in that arena; paddr may be NULL.
 */
pmem_region_t pmem_map(pmem_arena_t a, pmem_region_t r, paddr_t *paddr);
/* As pmem_map(), but inside start..end of that arena and aligned, for example at a fixed address behind an IOMMU. */
pmem_region_t pmem_map_at(pmem_arena_t a, pmem_region_t r, paddr_t start, paddr_t end, size_t align, paddr_t *paddr);
int pmem_unmap(pmem_region_t r);

/* Where a region is: its arena, and its first and last address there. Each of the three may be NULL. */
int pmem_where(pmem_region_t r, pmem_arena_t *a, paddr_t *first, paddr_t *last);
/* Moves a region, and everything that depends on its address. The handle stays valid. */
int pmem_relocate(pmem_region_t r, paddr_t start);

/* ----------------------------------------------------------------- drivers */

enum pmem_edit_kind {
	PMEM_EDIT_ARENA = 1,        /* an arena is added or removed */
	PMEM_EDIT_INTERCONNECT = 2, /* an interconnect is added or removed */
	PMEM_EDIT_SPACE = 3,        /* space is primed, unprimed, sealed or unsealed */
	PMEM_EDIT_WINDOW = 4,       /* a fixed window with its interconnect; or a bridge's window opens, closes or changes */
	PMEM_EDIT_REGION = 5,       /* a region or alias is added or removed, moves, or changes its attributes */
	PMEM_EDIT_VIEW = 6,         /* attributes or targets change in a driver's view; such a driver gets no other kind */
	PMEM_EDIT_EFFECTIVE = 7     /* an alias's effective use, prot and props, because its target's changed */
};

enum pmem_space_state {
	PMEM_SPACE_OPEN = 0,
	PMEM_SPACE_SEALED = 1,
	PMEM_SPACE_LENT = 2 /* to a bridge's window */
};

/* One side of an edit: before or after. Members that do not apply are 0. */
struct pmem_side {
	int present; /* 0: it does not exist on this side, and all other members are 0 */
	paddr_t first;
	paddr_t last; /* inclusive */
	pmem_use_t use;
	pmem_prot_t prot;
	pmem_props_t props; /* of an alias, its own: only prot has an effect, and narrows its target's */
	int state; /* of space: enum pmem_space_state; of a view: 1 where a region is */
};

/* Members that do not apply are NULL or 0. Names are valid until the callback returns. */
struct pmem_edit {
	int kind;
	pmem_arena_t arena; /* the arena of the addresses in before and after; of an interconnect, its left end */
	pmem_interconnect_t interconnect; /* of an alias, the interconnect that it crosses */
	pmem_region_t region;
	pmem_region_t target; /* of an alias, the region that it stands for */
	pmem_arena_t far;     /* an interconnect's right end; a window's target; the arena that decodes a view's addresses */
	const char *name;     /* of an arena that is added or removed, its name */
	pmem_type_t type;     /* and its type */
	pmem_metric_t metric; /* of an interconnect, from left to right */
	psize_t offset;       /* of a window or a view: add it, modulo 2^64, to get the address in `far` */
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
 * The callbacks of a driver; each may be NULL.
 *
 * prepare() returns PMEM_CONCERNED, PMEM_INDIFFERENT, or an errno, which refuses the change. If nobody refuses,
 * withdraw() is called in reverse order, so that hardware stops honouring what goes, and then install() in order, so
 * that it honours what comes. An errno from either rolls everything back: revert() undoes one step (enum pmem_step),
 * and abort() drops what was only prepared. published() is called once the change is committed.
 *
 * attach() takes over the present state, resync() programs all of it again, and verify() compares it with the
 * hardware. They get the state as if all of it were added now, without any `before`: first arenas, then
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
 * Registers a driver for everything or, if view is not NULL, for what that arena sees. Drivers of higher priority are
 * asked first. ops, its name and ctx must outlive the driver. NULL on failure.
 */
pmem_driver_t pmem_driver_register(const struct pmem_driver_ops *ops, void *ctx, pmem_arena_t view, int priority);
int pmem_driver_deregister(pmem_driver_t d);
int pmem_driver_resync(pmem_driver_t d);
/* 0 if the hardware matches the model. */
int pmem_driver_verify(pmem_driver_t d);

#ifdef __cplusplus
}
#endif
#endif
