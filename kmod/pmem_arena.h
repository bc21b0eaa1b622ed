/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The ioctl interface of /dev/pmem_arena.
 *
 * Opening the device requires CAP_SYS_RAWIO. Requests that change something (alloc, set, release, windows) require a descriptor that
 * is open for writing, and fail with EBADF otherwise. Under lockdown every ioctl fails with EPERM, but closing still gives claims back.
 *
 * How the interface grows: every structure begins with the version and its own size. The layout of a released structure never changes.
 * New fields take the place of reserved ones, and 0 in them keeps the old meaning. So clear a structure before you fill it in. The module
 * fails with EINVAL if the version or the size differs, if a reserved field is not 0, or if a flag is unknown. It fails with ENOTTY if the
 * command is unknown; a command's number includes the size of its structure. Fields marked "out" are ignored on input.
 */
#ifndef PMEM_ARENA_H
#define PMEM_ARENA_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define PMEM_ARENA_VERSION 1
#define PMEM_ARENA_VARIABLE 40 /* how many variable registers the structures have room for */
#define PMEM_ARENA_WHY 160 /* the size of a reason in words, in bytes */

/* The beginning of every structure. */
struct pmem_arena_head {
	__u32 version; /* PMEM_ARENA_VERSION */
	__u32 size; /* the size of the whole structure in bytes */
};

/* The boot processor's registers, which all processors should have, and figures of the manager. */
struct pmem_arena_info {
	struct pmem_arena_head head;
	__u32 width; /* width of physical addresses in bits */
	__u32 variable; /* number of variable registers */
	__u32 cpus; /* number of processors online */
	__u32 arenas; /* number of arenas */
	__u32 regions; /* number of held claims */
	__u32 most_stack; /* the most stack that a request has used, in bytes */
	__u64 most_memory; /* the most memory that a request has used, in bytes */
	__u64 cap; /* IA32_MTRRCAP */
	__u64 def; /* IA32_MTRR_DEF_TYPE */
	__u64 fixed[11]; /* the fixed-range registers, in the order of their addresses */
	__u64 base[PMEM_ARENA_VARIABLE]; /* IA32_MTRR_PHYSBASEn */
	__u64 mask[PMEM_ARENA_VARIABLE]; /* IA32_MTRR_PHYSMASKn */
	__u32 pending; /* claims that nobody holds any more, but whose registers could not be written yet: the module keeps trying */
	__u32 ended; /* claims that ended with their device, and that their files have not released yet */
	__u32 differ; /* processors that differ from the boot processor in effect: the module makes them equal */
	__u32 differ_cpu; /* the first of these processors */
	__u32 differ_msr; /* the first register (MSR) in which it differs */
	__u32 mended; /* how often a processor was found to differ and was made equal */
	__u64 differ_has; /* what that processor's register holds */
	__u64 differ_boot; /* what the boot processor's register holds */
	__u64 rendezvous; /* how long the last change took on all processors together, in nanoseconds */
	__u64 reserved[3]; /* 0 */
};

/* One primed span of an arena. ENOENT if `index` is beyond the last span. */
struct pmem_arena_span {
	struct pmem_arena_head head;
	__u32 index; /* in: the index of the span, counted across all arenas */
	__u32 type; /* out: the type of the arena, a value of the proposal's enum pmem_type */
	__u64 start; /* out: the first address */
	__u64 last; /* out: the last address, inclusive */
	__u32 prot; /* out: enum pmem_prot */
	__u32 props; /* out: enum pmem_props */
	char name[32]; /* out: the name of the arena, terminated by 0 */
	__u64 reserved[2]; /* 0 */
};

/* A region: either one that exists, or one that is requested. */
struct pmem_arena_region {
	struct pmem_arena_head head;
	__u64 id; /* in for set and release; out of alloc and PMEM_ARENA_REGION */
	__u64 start; /* the first address, a multiple of 4096 */
	__u64 last; /* the last address, inclusive */
	__u32 index; /* in, for PMEM_ARENA_REGION: the index of the region, from 0 */
	__u32 flags; /* in: PMEM_ARENA_FORCE; out of PMEM_ARENA_REGION: PMEM_ARENA_FORCE, PMEM_ARENA_MINE */
	__u32 usage; /* a value of the proposal's enum pmem_use */
	__u32 prot; /* enum pmem_prot */
	__u32 props; /* enum pmem_props; these decide the memory type */
	__u32 needed; /* out, with PMEM_ARENA_FULL: how many registers would be needed in total */
	__u32 available; /* out, with PMEM_ARENA_FULL and of plan: how many registers exist */
	__u32 reserved; /* 0 */
	__u32 state; /* out of PMEM_ARENA_REGION: enum pmem_arena_state */
	__u32 status; /* out: enum pmem_arena_status */
	__u32 holder; /* out of PMEM_ARENA_REGION: the process that made the claim */
	__u32 reserved2; /* 0 */
	char why[PMEM_ARENA_WHY]; /* out: why the request was refused, in words, terminated by 0 */
};

/*
 * The state of a claim. A claim that ended with its device no longer changes any memory type. Until its file releases it, it stays in the
 * list, and poll reports POLLIN and POLLPRI for the file.
 */
enum pmem_arena_state {
	PMEM_ARENA_STATE_HELD = 1, /* a file holds it */
	PMEM_ARENA_STATE_PENDING = 2, /* nobody holds it any more, but its registers could not be written yet */
	PMEM_ARENA_STATE_BOUND = 3, /* ended: a driver was bound to the device */
	PMEM_ARENA_STATE_REMOVED = 4, /* ended: the device was removed */
	PMEM_ARENA_STATE_MOVED = 5, /* ended: the BAR moved */
};

/* Why a request was refused, each with its errno. */
enum pmem_arena_status {
	PMEM_ARENA_FULL = 1, /* ENOSPC: there are too few registers */
	PMEM_ARENA_MANY = 2, /* ENOSPC: the module's limit of 256 claims is reached */
	PMEM_ARENA_BUSY = 3, /* EBUSY: a claim holds some of the addresses, or a driver is bound; windows: see below */
	PMEM_ARENA_NOT_ALLOWED = 4, /* EACCES: this needs PMEM_ARENA_FORCE */
	PMEM_ARENA_NO_BAR = 5, /* EINVAL: the range does not lie within one BAR */
	PMEM_ARENA_WRONG = 6, /* EINVAL: not whole pages, or invalid attributes; windows: not whole granules, or too high */
	PMEM_ARENA_CHANGED = 7, /* EAGAIN: the registers or the window changed meanwhile; try again */
	PMEM_ARENA_PENDING = 8, /* EAGAIN: released, but its registers could not be written yet; the module keeps trying */
	PMEM_ARENA_DIFFERS = 9, /* EIO: a processor or a bridge did not accept a register, or a register cannot be read */
	PMEM_ARENA_ENDED = 10, /* ENODEV: the claim has ended with its device */
	PMEM_ARENA_NONE = 11, /* ENOENT: there is no such claim */
	PMEM_ARENA_NOT_YOURS = 12, /* EPERM: another file holds the claim */
	PMEM_ARENA_NO_MEMORY = 13, /* ENOMEM: there is not enough memory for the request */
	PMEM_ARENA_NO_BRIDGE = 14, /* ENODEV: there is no such bridge, or it has no such window */
};

#define PMEM_ARENA_FORCE 1u /* unsafe: over a BAR whose driver is bound, or with a type that its registers may not tolerate */
#define PMEM_ARENA_MINE 2u /* the file that asks holds the claim */

/* A text for people to read. */
struct pmem_arena_text {
	struct pmem_arena_head head;
	__u64 buffer; /* the user address of a buffer for the text */
	__u64 len; /* in: the size of the buffer, 1 to 65536; out: the length of the text, which is cut if it does not fit */
	__u64 reserved; /* 0 */
};

/* The kind of a PCI bridge's window. */
enum pmem_arena_window_kind {
	PMEM_ARENA_WINDOW_IO = 0, /* I/O ports */
	PMEM_ARENA_WINDOW_MEM = 1, /* memory */
	PMEM_ARENA_WINDOW_PREF = 2, /* prefetchable memory */
};

/*
 * A change of a PCI bridge's window, from the range in the kernel's resource tree to the range that it should have. Addresses are the
 * CPU's, as in /proc/iomem. A range whose start is above its last is a closed window. If both ranges are equal, only the registers are
 * written.
 */
struct pmem_arena_window {
	__u32 domain; /* the PCI segment */
	__u32 function; /* bus << 8 | device << 3 | function */
	__u32 kind; /* enum pmem_arena_window_kind */
	__u32 reserved; /* 0 */
	__u64 old_start;
	__u64 old_last; /* inclusive */
	__u64 new_start;
	__u64 new_last; /* inclusive */
};

/*
 * Windows to change, in this order. Either all change or none. Errors:
 * EAGAIN: a window's old range is not the one in the kernel's resource tree;
 * EBUSY: a new range overlaps a neighbour, leaves the window above it, excludes something in it, or cannot be set without cutting off
 * what is behind the window;
 * EIO: a bridge did not accept a register;
 * EINVAL: a bridge's registers cannot hold a new range;
 * ENODEV: there is no such bridge, or it has no such window.
 * What is behind a window stays reachable all the time.
 */
struct pmem_arena_windows {
	struct pmem_arena_head head;
	__u64 windows; /* user address of struct pmem_arena_window[count] */
	__u32 count; /* 1 to 256; a window may occur more than once */
	__u32 failed; /* out: the index of the window that was refused */
	__u32 status; /* out: enum pmem_arena_status */
	__u32 reserved; /* 0 */
	char why[PMEM_ARENA_WHY]; /* out: why it was refused, in words, terminated by 0 */
	__u64 reserved2[2]; /* 0 */
};

_Static_assert(sizeof(struct pmem_arena_info) == 856, "struct pmem_arena_info");
_Static_assert(sizeof(struct pmem_arena_span) == 88, "struct pmem_arena_span");
_Static_assert(sizeof(struct pmem_arena_region) == 240, "struct pmem_arena_region");
_Static_assert(sizeof(struct pmem_arena_text) == 32, "struct pmem_arena_text");
_Static_assert(sizeof(struct pmem_arena_window) == 48, "struct pmem_arena_window");
_Static_assert(sizeof(struct pmem_arena_windows) == 208, "struct pmem_arena_windows");

#define PMEM_ARENA_INFO _IOWR('P', 0xa0, struct pmem_arena_info) /* reads the registers and figures */
#define PMEM_ARENA_SPAN _IOWR('P', 0xa1, struct pmem_arena_span) /* reads one span of an arena, by index */
#define PMEM_ARENA_REGION _IOWR('P', 0xa2, struct pmem_arena_region) /* reads one region, by index */
#define PMEM_ARENA_ALLOC _IOWR('P', 0xa3, struct pmem_arena_region) /* makes a claim */
#define PMEM_ARENA_SET _IOWR('P', 0xa4, struct pmem_arena_region) /* changes the attributes of a claim */
#define PMEM_ARENA_RELEASE _IOWR('P', 0xa5, struct pmem_arena_region) /* releases a claim */
#define PMEM_ARENA_PLAN _IOWR('P', 0xa6, struct pmem_arena_region) /* tells whether a claim would be granted, and changes nothing */
#define PMEM_ARENA_DUMP _IOWR('P', 0xa7, struct pmem_arena_text) /* describes memory types and claims in a text */
#define PMEM_ARENA_WINDOWS _IOWR('P', 0xa8, struct pmem_arena_windows) /* changes windows of PCI bridges */

#endif
