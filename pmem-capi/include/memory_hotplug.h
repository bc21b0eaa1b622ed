/*
 * Memory hot-plug as in Linux, over the pages of uvm_page.h: memory blocks, and callbacks that are notified and can
 * refuse.
 *
 * Functions return 0 or a negative errno, as Linux's do. Callbacks run with everything locked. Of this library they
 * may call the page functions of uvm_page.h on the pages they are told about. Functions that register callbacks or
 * change memory return -EDEADLK there. Linux's names are macros.
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

/* A message for the last error in the calling thread. */
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

/*
 * The argument of callbacks for memory; a node of -1 is none. Callbacks for nodes, which Linux has from 6.17 on, get
 * a struct node_notify.
 */
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
#define MMOP_ONLINE 1 /* the same as MMOP_ONLINE_KERNEL */
#define MMOP_ONLINE_KERNEL 2
#define MMOP_ONLINE_MOVABLE 3 /* only for pages with an object or an anon: their owner is known, so they can be moved */

/*
 * Sets the block size in bytes; 128 MiB by default. Only pmem_uvm_page_bind() and pmem_uvm_setpagesize() may come
 * first.
 */
int pmem_memory_block_size(uint64_t bytes);
/*
 * Sets the callback that moves a page; without one, no page can be moved. It returns 0, -EAGAIN (not now, try again),
 * -EINTR (interrupted, stop), or -EBUSY (never). It must not call any function of this library.
 */
int pmem_memory_migrate(int (*migrate)(unsigned long from_pfn, unsigned long to_pfn));

int pmem_register_memory_notifier(struct notifier_block *);
int pmem_unregister_memory_notifier(struct notifier_block *);
int pmem_register_node_notifier(struct notifier_block *);
int pmem_unregister_node_notifier(struct notifier_block *);

/*
 * What happens to memory when it is added. pmem_memory_auto_online() takes MMOP_*; the default is MMOP_OFFLINE. With
 * pmem_memory_auto_movable(), it comes online as movable-only memory, as long as such memory, including the new one,
 * is at most this percentage of the other memory (auto_movable_ratio), and as normal memory otherwise.
 */
int pmem_memory_auto_online(int online_type);
int pmem_memory_auto_movable(unsigned int percent);
/* In bytes. Memory that should come online but is refused stays offline, and 0 is returned; pmem_error() says why. */
int pmem_add_memory(int nid, uint64_t start, uint64_t size);
int pmem_online_pages(unsigned long pfn, unsigned long nr_pages, int online_type);
int pmem_offline_pages(unsigned long pfn, unsigned long nr_pages);
int pmem_remove_memory(uint64_t start, uint64_t size);
int pmem_offline_and_remove_memory(uint64_t start, uint64_t size);
/* The state of the block at a page frame: MMOP_*, -ENOENT, or -EDEADLK from within a callback. */
int pmem_memory_block_state(unsigned long pfn);

/*
 * Feeds these pages from the RAM that an arena of pmem.h sees, as a driver there. Priming plugs memory, sealing takes
 * it offline, and unpriming unplugs it. Regions with a usage are not available, and BROKEN ones are retired. Slower
 * memory is on a higher free list. nodes[i] is the RAM of node i; RAM that is not listed belongs to node 0. What is
 * plugged stays when the driver is deregistered. Returns NULL on failure; pmem_error() says why.
 */
struct pmem_arena;
struct pmem_driver;
struct pmem_driver *pmem_memory_feed(struct pmem_arena *view, struct pmem_arena *const *nodes, size_t nnodes);

/*
 * While a thread is between these two, no memory is plugged, unplugged, onlined or offlined. They do not nest. In
 * between, this thread cannot do any of that itself, nor call functions of pmem.h: that fails with EDEADLK.
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
