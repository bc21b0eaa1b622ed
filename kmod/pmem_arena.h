/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The ioctl interface of /dev/pmem_arena.
 *
 * CAP_SYS_RAWIO is needed to open the device, and write access to the descriptor for what changes something (alloc, set,
 * release, windows: else EBADF). Under lockdown every ioctl is refused with EPERM; closing still gives back.
 *
 * How it grows. Every structure begins with the version and its own size. A structure's layout never changes once it is
 * released: what is added is put where `reserved` is, and 0 there means what it meant before. So a caller clears the structure
 * first; the module refuses with EINVAL another version, another size, a reserved field or a flag it does not know that is not 0,
 * and with ENOTTY a command it does not know, which is what one with a structure of another size is. Fields marked out are
 * ignored on the way in.
 */
#ifndef PMEM_ARENA_H
#define PMEM_ARENA_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define PMEM_ARENA_VERSION 1
#define PMEM_ARENA_VARIABLE 40
#define PMEM_ARENA_WHY 160

struct pmem_arena_head {
	__u32 version;
	__u32 size;
};

/* The boot processor's registers, which all processors are to have, and the manager's figures. */
struct pmem_arena_info {
	struct pmem_arena_head head;
	__u32 width; /* of physical addresses, in bits */
	__u32 variable; /* registers */
	__u32 cpus; /* online */
	__u32 arenas;
	__u32 regions; /* claims held */
	__u32 most_stack; /* that any request took, in bytes */
	__u64 most_memory; /* that any request took, in bytes */
	__u64 cap;
	__u64 def;
	__u64 fixed[11];
	__u64 base[PMEM_ARENA_VARIABLE];
	__u64 mask[PMEM_ARENA_VARIABLE];
	__u32 pending; /* claims that nobody holds any more, whose registers could not be written yet: that is tried until they are */
	__u32 ended; /* claims that ended with their device, which their files have not released */
	__u32 differ; /* processors whose registers have another effect than the boot processor's: they are made equal */
	__u32 differ_cpu; /* the first of them */
	__u32 differ_msr; /* the first register by which it differs */
	__u32 mended; /* how often a processor was found to differ, and was made equal */
	__u64 differ_has; /* what it holds there */
	__u64 differ_boot; /* what the boot processor holds there */
	__u64 rendezvous; /* how long the last change took on all processors together, in nanoseconds */
	__u64 reserved[3]; /* 0 */
};

/* One arena, or one primed span of it. ENOENT past the last. */
struct pmem_arena_span {
	struct pmem_arena_head head;
	__u32 index; /* in: which span, of all arenas' */
	__u32 type; /* as in the proposal's enum pmem_type */
	__u64 start;
	__u64 last;
	__u32 prot;
	__u32 props;
	char name[32];
	__u64 reserved[2]; /* 0 */
};

/* A region: what it is, or what it is to be. */
struct pmem_arena_region {
	struct pmem_arena_head head;
	__u64 id; /* in for set and release; out of alloc */
	__u64 start;
	__u64 last;
	__u32 index; /* in, for PMEM_ARENA_REGION: which */
	__u32 flags; /* in: PMEM_ARENA_FORCE; out of PMEM_ARENA_REGION: that, and PMEM_ARENA_MINE */
	__u32 usage; /* as in the proposal's enum pmem_use, prot and props likewise */
	__u32 prot;
	__u32 props;
	__u32 needed; /* out: registers that it takes in all; 0 if that is not known */
	__u32 available; /* out: registers that there are */
	__u32 reserved; /* 0 */
	__u32 state; /* out of PMEM_ARENA_REGION: enum pmem_arena_state */
	__u32 status; /* out: enum pmem_arena_status */
	__u32 holder; /* out of PMEM_ARENA_REGION: the process that claimed it */
	__u32 reserved2; /* 0 */
	char why[PMEM_ARENA_WHY]; /* out: what was refused, in words */
};

/*
 * What has become of a claim. One that has ended with its device no longer changes any type; it stays on the list, and poll says
 * POLLIN and POLLPRI for its file, until it is released.
 */
enum pmem_arena_state {
	PMEM_ARENA_STATE_HELD = 1,
	PMEM_ARENA_STATE_PENDING = 2, /* nobody's, and its registers could not be written yet */
	PMEM_ARENA_STATE_BOUND = 3, /* ended: a driver was bound to the device */
	PMEM_ARENA_STATE_REMOVED = 4, /* ended: the device was removed */
	PMEM_ARENA_STATE_MOVED = 5, /* ended: the BAR is elsewhere */
};

/* Why a request was refused, and the errno that goes with it. */
enum pmem_arena_status {
	PMEM_ARENA_FULL = 1, /* ENOSPC: the registers do not suffice */
	PMEM_ARENA_MANY = 2, /* ENOSPC: as many claims are held as the module allows */
	PMEM_ARENA_BUSY = 3, /* EBUSY: somebody else holds it, or a driver is bound */
	PMEM_ARENA_NOT_ALLOWED = 4, /* EACCES: not without PMEM_ARENA_FORCE */
	PMEM_ARENA_NO_BAR = 5, /* EINVAL: not within one BAR */
	PMEM_ARENA_WRONG = 6, /* EINVAL: no whole pages, or no such attributes */
	PMEM_ARENA_CHANGED = 7, /* EAGAIN: registers changed meanwhile */
	PMEM_ARENA_PENDING = 8, /* EAGAIN: given back, but registers could not be written yet */
	PMEM_ARENA_DIFFERS = 9, /* EIO: a processor did not take a register */
	PMEM_ARENA_ENDED = 10, /* ENODEV: the claim has ended with its device */
	PMEM_ARENA_NONE = 11, /* ENOENT: no such claim */
	PMEM_ARENA_NOT_YOURS = 12, /* EPERM: another file's */
	PMEM_ARENA_NO_MEMORY = 13, /* ENOMEM */
	PMEM_ARENA_NO_BRIDGE = 14, /* ENODEV: no such bridge, or it has no such window */
};

#define PMEM_ARENA_FORCE 1u /* even over a BAR whose driver is bound, or with a type that its registers may not stand */
#define PMEM_ARENA_MINE 2u /* this file holds it */

/* A text for people. */
struct pmem_arena_text {
	struct pmem_arena_head head;
	__u64 buffer; /* user address */
	__u64 len; /* in: of the buffer, at most 65536; out: of the text */
	__u64 reserved; /* 0 */
};

/* Which of a PCI bridge's windows. */
enum pmem_arena_window_kind {
	PMEM_ARENA_WINDOW_IO = 0,
	PMEM_ARENA_WINDOW_MEM = 1,
	PMEM_ARENA_WINDOW_PREF = 2,
};

/*
 * A window of a PCI bridge, from where the kernel's map has it to where it is to be. Addresses are the CPU's, as in /proc/iomem; one
 * that starts above its last is closed. Where both are the same only the registers are written, as the map has it.
 */
struct pmem_arena_window {
	__u32 domain;
	__u32 function; /* bus << 8 | device << 3 | function */
	__u32 kind; /* enum pmem_arena_window_kind */
	__u32 reserved; /* 0 */
	__u64 old_start;
	__u64 old_last;
	__u64 new_start;
	__u64 new_last;
};

/*
 * Windows to change, in this order, all or none. EAGAIN if one is no longer where it is said to be; EBUSY if one overlaps a neighbour,
 * lies outside the window above or leaves out what is in it; EIO if a bridge does not take a register; ENODEV if there is no such
 * window. What is behind a window is reached all the time.
 */
struct pmem_arena_windows {
	struct pmem_arena_head head;
	__u64 windows; /* user address of struct pmem_arena_window[count] */
	__u32 count; /* at most 256; one window may come more than once */
	__u32 failed; /* out: which was refused */
	__u32 status; /* out: enum pmem_arena_status */
	__u32 reserved; /* 0 */
	char why[PMEM_ARENA_WHY]; /* out: what was refused, in words */
	__u64 reserved2[2]; /* 0 */
};

_Static_assert(sizeof(struct pmem_arena_info) == 856, "struct pmem_arena_info");
_Static_assert(sizeof(struct pmem_arena_span) == 88, "struct pmem_arena_span");
_Static_assert(sizeof(struct pmem_arena_region) == 240, "struct pmem_arena_region");
_Static_assert(sizeof(struct pmem_arena_text) == 32, "struct pmem_arena_text");
_Static_assert(sizeof(struct pmem_arena_window) == 48, "struct pmem_arena_window");
_Static_assert(sizeof(struct pmem_arena_windows) == 208, "struct pmem_arena_windows");

#define PMEM_ARENA_INFO _IOWR('P', 0xa0, struct pmem_arena_info)
#define PMEM_ARENA_SPAN _IOWR('P', 0xa1, struct pmem_arena_span)
#define PMEM_ARENA_REGION _IOWR('P', 0xa2, struct pmem_arena_region)
#define PMEM_ARENA_ALLOC _IOWR('P', 0xa3, struct pmem_arena_region)
#define PMEM_ARENA_SET _IOWR('P', 0xa4, struct pmem_arena_region)
#define PMEM_ARENA_RELEASE _IOWR('P', 0xa5, struct pmem_arena_region)
#define PMEM_ARENA_PLAN _IOWR('P', 0xa6, struct pmem_arena_region)
#define PMEM_ARENA_DUMP _IOWR('P', 0xa7, struct pmem_arena_text)
#define PMEM_ARENA_WINDOWS _IOWR('P', 0xa8, struct pmem_arena_windows)

#endif
