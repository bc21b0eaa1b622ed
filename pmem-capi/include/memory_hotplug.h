/*
 * Memory hot-plug as Linux has it, over the pages of uvm_page.h: blocks, callbacks, and what may be refused.
 *
 * Functions return 0 or a negative errno, as Linux's do. Callbacks run with everything locked: of this library they may call
 * the page functions of uvm_page.h on the pages they are told of, and nothing that registers or changes memory: -EDEADLK.
 * The names of Linux are macros.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef PMEM_MEMORY_HOTPLUG_H
#define PMEM_MEMORY_HOTPLUG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What went wrong last in the calling thread, in words. */
const char *pmem_error(void);

#define MEM_ONLINE (1 << 0)
#define MEM_GOING_OFFLINE (1 << 1)
#define MEM_OFFLINE (1 << 2)
#define MEM_GOING_ONLINE (1 << 3)
#define MEM_CANCEL_ONLINE (1 << 4)
#define MEM_CANCEL_OFFLINE (1 << 5)

#define NODE_ADDING_FIRST_MEMORY (1 << 0)
#define NODE_ADDED_FIRST_MEMORY (1 << 1)
#define NODE_CANCEL_ADDING_FIRST_MEMORY (1 << 2)
#define NODE_REMOVING_LAST_MEMORY (1 << 3)
#define NODE_REMOVED_LAST_MEMORY (1 << 4)
#define NODE_CANCEL_REMOVING_LAST_MEMORY (1 << 5)

#define NOTIFY_DONE 0x0000
#define NOTIFY_OK 0x0001
#define NOTIFY_STOP_MASK 0x8000
#define NOTIFY_BAD (NOTIFY_STOP_MASK | 0x0002)
#define NOTIFY_STOP (NOTIFY_OK | NOTIFY_STOP_MASK)

/* What callbacks for memory are told; -1 is no node. Callbacks for nodes, from Linux 6.17 on, are told of struct node_notify. */
struct memory_notify {
	unsigned long start_pfn;
	unsigned long nr_pages;
	int status_change_nid_normal;
	int status_change_nid;
};
struct node_notify {
	int nid;
};

struct notifier_block {
	int (*notifier_call)(struct notifier_block *self, unsigned long action, void *arg);
	struct notifier_block *next; /* not used */
	int priority;
};

#define MMOP_OFFLINE 0
#define MMOP_ONLINE 1 /* as MMOP_ONLINE_KERNEL */
#define MMOP_ONLINE_KERNEL 2
#define MMOP_ONLINE_MOVABLE 3 /* only for pages that have an object or an anon: who has them is known, so they can be moved */

/* The size of a block in bytes, before anything but bind and setpagesize of uvm_page.h; 128 MiB without it. */
int pmem_memory_block_size(uint64_t bytes);
/* Moves a page, and calls no function of this library: 0, or -EBUSY (never), -EAGAIN (not now), -EINTR (called off). Without it nothing can be moved. */
int pmem_memory_migrate(int (*migrate)(unsigned long from_pfn, unsigned long to_pfn));

int pmem_register_memory_notifier(struct notifier_block *);
int pmem_unregister_memory_notifier(struct notifier_block *);
int pmem_register_node_notifier(struct notifier_block *);
int pmem_unregister_node_notifier(struct notifier_block *);

/*
 * What becomes of memory as it is added: MMOP_*, MMOP_OFFLINE at first; or online for movable pages as long as such memory, what is added included,
 * is at most so many percent of what is for anything (auto_movable_ratio), else for anything.
 */
int pmem_memory_auto_online(int online_type);
int pmem_memory_auto_movable(unsigned int percent);
int pmem_add_memory(int nid, uint64_t start, uint64_t size); /* bytes; what is to come online and is refused stays offline: pmem_error() says why */
int pmem_online_pages(unsigned long pfn, unsigned long nr_pages, int online_type);
int pmem_offline_pages(unsigned long pfn, unsigned long nr_pages);
int pmem_remove_memory(uint64_t start, uint64_t size);
int pmem_offline_and_remove_memory(uint64_t start, uint64_t size);
/* How the block at a page frame is: MMOP_*, or -ENOENT; -EDEADLK from within a callback. */
int pmem_memory_block_state(unsigned long pfn);

/*
 * Feeds these pages from the RAM that an arena of pmem.h sees, as a driver there: priming plugs, sealing takes offline,
 * unpriming unplugs, regions with a usage are not available, and BROKEN ones are retired; slower memory is on a higher free list. The RAM of
 * node i is nodes[i]; what is not among them is of node 0. When it is deregistered, what is plugged stays. NULL on failure; pmem_error() says why.
 */
struct pmem_arena;
struct pmem_driver;
struct pmem_driver *pmem_memory_feed(struct pmem_arena *view, struct pmem_arena *const *nodes, size_t nnodes);

/*
 * While a thread is between the two, no memory comes online, goes offline, is plugged or unplugged. Not to be nested; meanwhile the
 * thread cannot do any of these, nor call functions of pmem.h: EDEADLK.
 */
int pmem_get_online_mems(void);
void pmem_put_online_mems(void);

#ifndef PMEM_MEMORY_HOTPLUG_NO_NAMES
#define register_memory_notifier pmem_register_memory_notifier
#define unregister_memory_notifier pmem_unregister_memory_notifier
#define register_node_notifier pmem_register_node_notifier
#define unregister_node_notifier pmem_unregister_node_notifier
#define hotplug_memory_notifier(fn, pri) \
	(__extension__({ static struct notifier_block fn##_mem_nb = {fn, 0, pri}; pmem_register_memory_notifier(&fn##_mem_nb); }))
#define hotplug_node_notifier(fn, pri) \
	(__extension__({ static struct notifier_block fn##_node_nb = {fn, 0, pri}; pmem_register_node_notifier(&fn##_node_nb); }))
#define add_memory pmem_add_memory
#define online_pages pmem_online_pages
#define offline_pages pmem_offline_pages
#define remove_memory pmem_remove_memory
#define offline_and_remove_memory pmem_offline_and_remove_memory
#define get_online_mems pmem_get_online_mems
#define put_online_mems pmem_put_online_mems
#endif

#ifdef __cplusplus
}
#endif
#endif
