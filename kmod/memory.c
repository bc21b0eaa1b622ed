// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* The library's memory. */
#include <linux/genalloc.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "library.h"
#include "memory.h"

#define RESERVE (4ul << 20)

static int fail_alloc;
module_param(fail_alloc, int, 0600);
MODULE_PARM_DESC(fail_alloc, "for tests: 1 makes the kernel's allocator fail, 2 the reserve as well");

static char *reserve;
static struct gen_pool *pool;
static u64 taken, most; /* bytes: in the current request, and the most in any */

void *pmem_kernel_alloc(__u64 size, __u64 align)
{
	void *at = NULL;

	taken += size;
	if (taken > most)
		most = taken;
	/* kvmalloc() aligns to 8 bytes at least, and to the size if that is a power of two. */
	if (!fail_alloc && align <= 8)
		at = kvmalloc(size, GFP_KERNEL | __GFP_NOWARN);
	if (at)
		return at;
	/* The reserve is cut in multiples of 64 bytes, so its pieces are aligned to 64. */
	return align <= 64 && fail_alloc < 2 ? (void *)gen_pool_alloc(pool, size) : NULL;
}

void pmem_kernel_free(void *at, __u64 size)
{
	taken -= min_t(u64, taken, size);
	if ((char *)at >= reserve && (char *)at < reserve + RESERVE) {
		gen_pool_free(pool, (unsigned long)at, size);
		return;
	}
	kvfree(at);
}

void memory_begin(void)
{
	taken = 0;
}

bool memory_is_there(void)
{
	return gen_pool_avail(pool) >= RESERVE / 2;
}

u64 memory_most(void)
{
	return READ_ONCE(most);
}

void memory_loaded(void)
{
	most = 0;
}

void memory_stop(void)
{
	/* After a panic, some of it may still be in use, and gen_pool_destroy() must not be called then. */
	if (pool && gen_pool_avail(pool) == gen_pool_size(pool))
		gen_pool_destroy(pool);
	vfree(reserve);
}

int memory_start(void)
{
	reserve = vmalloc(RESERVE);
	pool = gen_pool_create(6, -1);
	if (reserve && pool && !gen_pool_add(pool, (unsigned long)reserve, RESERVE, -1))
		return 0;
	memory_stop();
	return -ENOMEM;
}
