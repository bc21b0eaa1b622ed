/* uvm_page.h and memory_hotplug.h. */
#include <errno.h>
#include <pthread.h>

#include "check.h"
#include "memory_hotplug.h"
#include "pmem.h"
#include "uvm_page.h"

#define PAGE 4096UL

static struct uvm_object *object = (void *)0x1000;
static struct vm_anon *anon = (void *)0x2000;
static int woken, zeroed, daemon_calls;

static void on_zero(paddr_t pa)
{
	(void)pa;
	zeroed++;
}
static void on_wake(void)
{
	woken++;
}
static bool is_pagedaemon(void)
{
	return daemon_calls;
}

static const struct uvm_page_host host = {.zero = on_zero, .wake_pagedaemon = on_wake, .is_pagedaemon = is_pagedaemon,
	.wait_ms = 20};

static struct pmem_uvmexp uvmexp(void)
{
	struct pmem_uvmexp e;
	pmem_uvm_exp(&e);
	return e;
}

static void setup(paddr_t pages)
{
	CHECK_EQ(pmem_uvm_page_bind(&host), 0);
	CHECK_EQ(pmem_uvm_page_plug(0, pages, 0, pages, 0, 0), 0);
}

static void pages(void)
{
	setup(64);
	CHECK_EQ(uvmexp().free, 64);
	CHECK_EQ(uvmexp().pagesize, 4096);
	CHECK_EQ(uvm_setpagesize(8192), EBUSY); /* too late */
	struct vm_page *pg = uvm_pagealloc(object, 0x3000, NULL, 0);
	CHECK(pg != NULL);
	CHECK_EQ(pmem_uvm_page_flags(pg), PMEM_PG_BUSY | PMEM_PG_CLEAN | PMEM_PG_FAKE);
	CHECK_EQ(VM_PAGE_TO_PHYS(pg) % PAGE, 0);
	CHECK(PHYS_TO_VM_PAGE(VM_PAGE_TO_PHYS(pg) + 5) == pg);
	CHECK(PHYS_TO_VM_PAGE(64 * PAGE) == NULL);
	struct uvm_object *o;
	struct vm_anon *a;
	pmem_voff_t off;
	pmem_uvm_page_owner(pg, &o, &a, &off);
	CHECK(o == object && a == NULL && off == 0x3000);
	uvm_pagerealloc(pg, (struct uvm_object *)0x9000, 0x7000);
	pmem_uvm_page_owner(pg, &o, &a, &off);
	CHECK(o == (struct uvm_object *)0x9000 && off == 0x7000);
	uvm_pagewire(pg);
	CHECK_EQ(uvmexp().wired, 1);
	CHECK_EQ(pmem_uvm_pageloan(pg), EBUSY);
	uvm_pageunwire(pg);
	CHECK_EQ(pmem_uvm_pageloan(pg), 0);
	CHECK_EQ(pmem_uvm_pageunloan(pg), 0);
	CHECK_EQ(pmem_uvm_pageunloan(pg), EINVAL);
	pmem_uvm_page_setflags(pg, PMEM_PG_ZERO, PMEM_PG_BUSY);
	uvm_pagefree(pg);
	CHECK_EQ(uvmexp().zeropages, 1);
	struct vm_page *zero = uvm_pagealloc(NULL, 0, anon, UVM_PGA_ZERO);
	CHECK(zero == pg && zeroed == 0); /* it was known to be zeroed */
	zero = uvm_pagealloc(NULL, 0, anon, UVM_PGA_ZERO);
	CHECK(zero != NULL && zeroed == 1);
}

static void freed_twice(void)
{
	setup(64);
	struct vm_page *pg = uvm_pagealloc(NULL, 0, NULL, 0);
	uvm_pagefree(pg);
	MUST_ABORT();
	uvm_pagefree(pg);
}

static void two_owners(void)
{
	setup(64);
	MUST_ABORT();
	uvm_pagealloc(object, 0, anon, 0);
}

static void reserves(void)
{
	setup(10);
	pmem_uvm_page_reserves(2, 4, 0, 0);
	int n = 0;
	while (uvm_pagealloc(NULL, 0, NULL, 0) != NULL)
		n++;
	CHECK_EQ(n, 6);
	CHECK(woken > 0);
	while (uvm_pagealloc(NULL, 0, NULL, UVM_PGA_USERESERVE) != NULL)
		n++;
	CHECK_EQ(n, 8);
	daemon_calls = 1;
	while (uvm_pagealloc(NULL, 0, NULL, UVM_PGA_USERESERVE) != NULL)
		n++;
	CHECK_EQ(n, 10);
	CHECK_EQ(uvmexp().free, 0);
}

static void nodes(void)
{
	setup(10);
	CHECK_EQ(pmem_uvm_page_plug(100, 120, 104, 120, 0, 1), 0);
	pmem_uvm_node_reserves(0, 0, 4, 5, 0);
	struct pmem_uvm_node of;
	CHECK_EQ(pmem_uvm_node(1, &of), 0);
	CHECK_EQ(of.physmem, 20);
	CHECK_EQ(of.npages, 16);
	CHECK_EQ(of.reserved, 4);
	for (int n = 0; n < 6; n++) {
		CHECK_EQ(woken, n > 5);
		CHECK(VM_PAGE_TO_PHYS(uvm_pagealloc(NULL, 0, NULL, 0)) < 10 * PAGE);
	}
	CHECK_EQ(woken, 1); /* node 0 has four left, and five are few */
	CHECK_EQ(VM_PAGE_TO_PHYS(uvm_pagealloc(NULL, 0, NULL, 0)), 104 * PAGE);
	CHECK(VM_PAGE_TO_PHYS(uvm_pagealloc(NULL, 0, NULL, UVM_PGA_USERESERVE)) < 10 * PAGE);
	CHECK_EQ(pmem_uvm_node(0, &of), 0);
	CHECK_EQ(of.free, 3);
	CHECK_EQ(of.reserve_kernel, 4);
	CHECK_EQ(of.freemin, 5);
	CHECK_EQ(pmem_uvm_node(2, &of), ENOENT);
}

static void strategies(void)
{
	CHECK_EQ(pmem_uvm_page_plug(0, 4, 0, 4, 1, 0), 0);
	CHECK_EQ(pmem_uvm_page_plug(100, 104, 100, 104, 2, 0), 0);
	struct vm_page *pg = uvm_pagealloc_strat(NULL, 0, NULL, 0, UVM_PGA_STRAT_ONLY, 2);
	CHECK_EQ(VM_PAGE_TO_PHYS(pg), 100 * PAGE);
	CHECK(uvm_pagealloc_strat(NULL, 0, NULL, 0, UVM_PGA_STRAT_ONLY, 0) == NULL);
	pg = uvm_pagealloc_strat(NULL, 0, NULL, 0, UVM_PGA_STRAT_FALLBACK, 0);
	CHECK_EQ(VM_PAGE_TO_PHYS(pg), 0);
	CHECK(uvm_pagealloc_strat(NULL, 0, NULL, 0, UVM_PGA_STRAT_NUMA, 0) != NULL);
	CHECK_EQ(pmem_uvm_page_plug(200, 204, 200, 204, 9, 0), EINVAL);
	CHECK_EQ(pmem_uvm_page_plug(102, 300, 102, 300, 0, 0), EEXIST);
	CHECK_EQ(pmem_uvm_page_unplug(100, 104), EBUSY);
	CHECK_EQ(pmem_uvm_page_unplug(101, 104), 0);
	CHECK_EQ(uvmexp().npages, 5);
	CHECK_EQ(uvmexp().physmem, 5);
	CHECK_EQ(pmem_uvm_page_retire(3, 4), 0);
	CHECK_EQ(uvmexp().retired, 1);
}

static void lists(void)
{
	struct pmem_pglist list, other;
	setup(1024);
	CHECK_EQ(uvm_pglistalloc(10 * PAGE, 0, 1024 * PAGE, 0, 0, &list, 1, 0), 0);
	size_t n = 0;
	paddr_t last = 0;
	for (struct vm_page *pg = pmem_uvm_pglist_first(&list); pg != NULL; pg = pmem_uvm_pglist_next(&list, pg)) {
		CHECK_EQ(pmem_uvm_page_flags(pg), PMEM_PG_CLEAN);
		CHECK(n == 0 || VM_PAGE_TO_PHYS(pg) == last + PAGE);
		last = VM_PAGE_TO_PHYS(pg);
		n++;
	}
	CHECK_EQ(n, 10);
	/* A window, an alignment, a boundary: in bytes. */
	CHECK_EQ(uvm_pglistalloc(4 * PAGE, 100 * PAGE + 1, 200 * PAGE, 16 * PAGE, 4 * PAGE, &other, 1, 0), 0);
	CHECK_EQ(VM_PAGE_TO_PHYS(pmem_uvm_pglist_first(&other)), 112 * PAGE);
	CHECK_EQ(pmem_uvm_pglistfree_part(&other, pmem_uvm_pglist_first(&other), 1), 0);
	CHECK_EQ(other.pages, 3);
	uvm_pglistfree(&other);
	CHECK_EQ(other.pages, 0);
	CHECK_EQ(uvm_pglistalloc(4 * PAGE, 0, 1024 * PAGE, 0, 2 * PAGE, &other, 1, 0), EINVAL);
	CHECK_EQ(uvm_pglistalloc(4 * PAGE, 0, 1024 * PAGE, 3 * PAGE, 0, &other, 1, 0), EINVAL);
	CHECK_EQ(uvm_pglistalloc(PAGE, 2000 * PAGE, 3000 * PAGE, 0, 0, &other, 1, 0), EINVAL); /* no segment there */
	CHECK_EQ(uvm_pglistalloc(PAGE, 5 * PAGE, 5 * PAGE, 0, 0, &other, 1, 0), EINVAL);
	CHECK_EQ(uvm_pglistalloc(0, 0, 1024 * PAGE, 0, 0, &other, 1, 0), EINVAL);
	CHECK_EQ(uvm_pglistalloc(2000 * PAGE, 0, 1024 * PAGE, 0, 0, &other, 1, 0), ENOMEM);
	CHECK_EQ(uvm_pglistalloc(2000 * PAGE, 0, 1024 * PAGE, 0, 0, &other, 1, 1), ENOMEM); /* the wait ends */
	/* Of what is left in pieces, no more than nsegs are taken. */
	struct vm_page *odd[512];
	uvm_pglistfree(&list);
	for (int i = 0; i < 512; i++)
		odd[i] = uvm_pagealloc(NULL, 0, NULL, 0);
	for (int i = 0; i < 512; i += 2)
		uvm_pagefree(odd[i]);
	CHECK_EQ(uvm_pglistalloc(20 * PAGE, 0, 512 * PAGE, 0, 0, &list, 19, 0), ENOMEM);
	CHECK_EQ(uvm_pglistalloc(20 * PAGE, 0, 512 * PAGE, 0, 0, &list, 20, 0), 0);
	CHECK_EQ(list.runs, 20);
	uvm_pglistfree(&list);
	CHECK_EQ(uvmexp().free, 1024 - 256);
}

static void *release(void *list)
{
	usleep(5000);
	uvm_pglistfree(list);
	return NULL;
}

static void waiting(void)
{
	static struct uvm_page_host patient;
	struct pmem_pglist all, again;
	pthread_t thread;
	patient = host;
	patient.wait_ms = 5000;
	CHECK_EQ(pmem_uvm_page_bind(&patient), 0);
	CHECK_EQ(pmem_uvm_page_plug(0, 64, 0, 64, 0, 0), 0);
	CHECK_EQ(uvm_pglistalloc(64 * PAGE, 0, 64 * PAGE, 0, 0, &all, 1, 0), 0);
	pthread_create(&thread, NULL, release, &all);
	CHECK_EQ(uvm_pglistalloc(64 * PAGE, 0, 64 * PAGE, 0, 0, &again, 1, 1), 0);
	pthread_join(thread, NULL);
}

static void pagesize(void)
{
	CHECK_EQ(uvm_setpagesize(3000), EINVAL);
	CHECK_EQ(uvm_setpagesize(16384), 0);
	CHECK_EQ(pmem_uvm_page_plug(0, 4, 0, 4, 0, 0), 0);
	CHECK_EQ(uvmexp().pagesize, 16384);
	CHECK_EQ(uvmexp().pageshift, 14);
	CHECK_EQ(uvmexp().pagemask, 16383);
	uvm_pagealloc(NULL, 0, NULL, 0);
	CHECK_EQ(VM_PAGE_TO_PHYS(uvm_pagealloc(NULL, 0, NULL, 0)), 16384);
}

/* -------------------------------------------------------------- hot-plug */

static char trace[4096];
static unsigned long veto;
static int veto_node;

static void note(const char *who, unsigned long action, int nid)
{
	char text[64];
	snprintf(text, sizeof(text), "%s%lu(%d) ", who, action, nid);
	strncat(trace, text, sizeof(trace) - strlen(trace) - 1);
}

static int on_memory(struct notifier_block *self, unsigned long action, void *arg)
{
	struct memory_notify *m = arg;
	note(self->priority > 0 ? "M" : "m", action, m->status_change_nid);
	CHECK_EQ(register_memory_notifier(self), -EDEADLK);
	CHECK_EQ(online_pages(0, 1, MMOP_ONLINE), -EDEADLK);
	if (action == MEM_ONLINE) { /* the callback may have pages of the new memory */
		struct vm_page *pg = uvm_pagealloc(NULL, 0, NULL, 0);
		CHECK(pg != NULL);
		uvm_pagefree(pg);
	}
	return action == veto && !veto_node ? NOTIFY_BAD : NOTIFY_OK;
}

static int on_node(struct notifier_block *self, unsigned long action, void *arg)
{
	(void)self;
	note("N", action, ((struct node_notify *)arg)->nid);
	return action == veto && veto_node ? NOTIFY_BAD : NOTIFY_OK;
}

static int said(const char *wanted)
{
	int same = strcmp(trace, wanted) == 0;
	if (!same)
		fprintf(stderr, "said \"%s\", not \"%s\"\n", trace, wanted);
	trace[0] = 0;
	return same;
}

static int stay(unsigned long from, unsigned long to)
{
	(void)from, (void)to;
	return -EBUSY;
}

static unsigned long moved_from, moved_to;

static int move(unsigned long from, unsigned long to)
{
	moved_from = from;
	moved_to = to;
	return 0;
}

static void areas(void)
{
	struct pmem_pglist list;
	setup(256);
	CHECK_EQ(pmem_uvm_area_lend(64, 128), 0);
	CHECK_EQ(pmem_uvm_area_lend(100, 200), EBUSY);
	CHECK(strstr(pmem_error(), "lent area") != NULL);
	CHECK_EQ(pmem_uvm_page_unplug(0, 256), EBUSY);
	struct vm_page *pg = uvm_pagealloc(object, 0, NULL, 0);
	CHECK_EQ(VM_PAGE_TO_PHYS(pg), 64 * PAGE);
	pmem_memory_migrate(stay);
	CHECK_EQ(pmem_uvm_area_claim(64 * PAGE, 0, 256 * PAGE, 0, 0, &list), EBUSY);
	pmem_memory_migrate(move);
	CHECK_EQ(pmem_uvm_area_claim(64 * PAGE, 0, 256 * PAGE, 0, 0, &list), 0);
	CHECK_EQ(moved_from, 64);
	CHECK(moved_to < 64 || moved_to >= 128);
	CHECK_EQ(list.pages, 64);
	CHECK_EQ(VM_PAGE_TO_PHYS(pmem_uvm_pglist_first(&list)), 64 * PAGE);
	CHECK_EQ(pmem_uvm_area_take_back(64, 128), EBUSY);
	uvm_pglistfree(&list);
	CHECK_EQ(pmem_uvm_area_claim(64 * PAGE, 128 * PAGE, 256 * PAGE, 0, 0, &list), EINVAL);
	CHECK_EQ(pmem_uvm_area_take_back(64, 128), 0);
	CHECK_EQ(pmem_uvm_area_take_back(64, 128), ENOENT);
	CHECK_EQ(uvmexp().reserved, 64);
}

static void hotplug(void)
{
	static struct notifier_block low = {on_memory, NULL, 0}, high = {on_memory, NULL, 9}, node = {on_node, NULL, 0};
	/* No power of two, less than a page, more than 2^50. */
	CHECK_EQ(pmem_memory_block_size(12288), -EINVAL);
	CHECK_EQ(pmem_memory_block_size(2048), -EINVAL);
	CHECK_EQ(pmem_memory_block_size(1ull << 51), -EINVAL);
	CHECK_EQ(pmem_memory_block_size(1 << 20), 0);
	unsigned long block = 256;
	CHECK_EQ(register_memory_notifier(&low), 0);
	CHECK_EQ(register_memory_notifier(&high), 0);
	CHECK_EQ(register_memory_notifier(&high), -EEXIST);
	CHECK_EQ(register_node_notifier(&node), 0);
	CHECK_EQ(add_memory(1, 1 << 20, 1 << 20), 0);
	CHECK_EQ(add_memory(1, 1 << 20, 1 << 20), -EEXIST);
	CHECK_EQ(add_memory(1, 3 << 20, 4096), -EINVAL);
	CHECK_EQ(uvmexp().offline, block);
	CHECK_EQ(pmem_memory_block_state(block), MMOP_OFFLINE);
	CHECK_EQ(pmem_memory_block_state(0), -ENOENT);
	CHECK(said(""));
	CHECK_EQ(online_pages(block, block, MMOP_ONLINE_KERNEL), 0);
	CHECK(said("N1(1) M8(1) m8(1) N2(1) M1(1) m1(1) "));
	CHECK_EQ(online_pages(block, block, MMOP_ONLINE), -EINVAL);
	CHECK_EQ(pmem_memory_block_state(block), MMOP_ONLINE);
	CHECK_EQ(add_memory(1, 2 << 20, 1 << 20), 0);
	struct vm_page *pg = uvm_pagealloc(object, 0, NULL, 0);
	CHECK_EQ(VM_PAGE_TO_PHYS(pg), 1 << 20);
	veto = MEM_GOING_ONLINE;
	CHECK_EQ(online_pages(2 * block, block, MMOP_ONLINE_MOVABLE), -EPERM);
	CHECK(said("M8(-1) M16(-1) m16(-1) ")); /* the cancellation goes to all */
	veto = 0;
	CHECK_EQ(online_pages(2 * block, block, MMOP_ONLINE_MOVABLE), 0);
	CHECK_EQ(pmem_memory_block_state(2 * block), MMOP_ONLINE_MOVABLE);
	trace[0] = 0;

	CHECK_EQ(pmem_memory_auto_online(7), -EINVAL);
	CHECK_EQ(pmem_memory_auto_online(MMOP_ONLINE_MOVABLE), 0);
	CHECK_EQ(add_memory(1, 8 << 20, 1 << 20), 0);
	CHECK_EQ(pmem_memory_block_state(8 * block), MMOP_ONLINE_MOVABLE);
	CHECK_EQ(offline_and_remove_memory(8 << 20, 1 << 20), 0);
	CHECK_EQ(pmem_memory_auto_movable(0), 0);
	veto = MEM_GOING_ONLINE;
	CHECK_EQ(add_memory(1, 8 << 20, 1 << 20), 0);
	CHECK(strstr(pmem_error(), "refused") != NULL);
	CHECK_EQ(pmem_memory_block_state(8 * block), MMOP_OFFLINE);
	veto = 0;
	CHECK_EQ(remove_memory(8 << 20, 1 << 20), 0);
	CHECK_EQ(pmem_memory_auto_online(MMOP_OFFLINE), 0);
	trace[0] = 0;

	pmem_memory_migrate(stay);
	CHECK_EQ(offline_pages(block, block), -EBUSY);
	CHECK(said("M2(-1) m2(-1) M32(-1) m32(-1) "));
	pmem_memory_migrate(move);
	CHECK_EQ(offline_pages(block, block), 0);
	CHECK(said("M2(-1) m2(-1) M4(-1) m4(-1) "));
	CHECK_EQ(moved_from, block);
	CHECK_EQ(moved_to, 2 * block);
	CHECK(uvm_pagealloc(NULL, 0, NULL, 0) == NULL); /* only what has an owner can be moved */
	uvm_pagefree(PHYS_TO_VM_PAGE(moved_to * PAGE));
	veto = NODE_REMOVING_LAST_MEMORY;
	veto_node = 1;
	CHECK_EQ(offline_pages(2 * block, block), -EPERM);
	CHECK(said("N8(1) M32(1) m32(1) N32(1) "));
	veto = 0;
	CHECK_EQ(remove_memory(1 << 20, 2 << 20), -EBUSY); /* all or nothing */
	CHECK_EQ(offline_and_remove_memory(1 << 20, 2 << 20), 0);
	CHECK(said("N8(1) M2(1) m2(1) N16(1) M4(1) m4(1) "));
	CHECK_EQ(uvmexp().physmem, 0);
	CHECK_EQ(unregister_memory_notifier(&low), 0);
	CHECK_EQ(unregister_memory_notifier(&low), -ENOENT);
}

static void *go_offline(void *done)
{
	CHECK_EQ(offline_pages(256, 256), 0);
	*(volatile int *)done = 1;
	return NULL;
}

static void keeping(void)
{
	volatile int done = 0;
	pthread_t thread;
	CHECK_EQ(pmem_memory_block_size(1 << 20), 0);
	CHECK_EQ(add_memory(0, 1 << 20, 1 << 20), 0);
	CHECK_EQ(online_pages(256, 256, MMOP_ONLINE), 0);
	CHECK_EQ(get_online_mems(), 0);
	CHECK_EQ(get_online_mems(), -EDEADLK);
	CHECK_EQ(offline_pages(256, 256), -EDEADLK);
	CHECK_EQ(pmem_uvm_page_retire(256, 257), EDEADLK);
	CHECK_EQ(pmem_memory_block_state(256), MMOP_ONLINE); /* looking is free */
	/* Who feeds memory from pmem.h may wait for us: we do not wait for them. */
	CHECK_EQ(pmem_resolve((pmem_arena_t)1, 0, NULL, NULL), EDEADLK);
	pthread_create(&thread, NULL, go_offline, (void *)&done);
	usleep(20000);
	CHECK(!done);
	put_online_mems();
	pthread_join(thread, NULL);
	CHECK(done);
}

static void *keep_and_end(void *unused)
{
	put_online_mems();
	CHECK_EQ(get_online_mems(), 0);
	return unused;
}

/* A thread that ends keeps nothing. */
static void ending(void)
{
	pthread_t thread;
	CHECK_EQ(pmem_memory_block_size(1 << 20), 0);
	CHECK_EQ(add_memory(0, 1 << 20, 1 << 20), 0);
	pthread_create(&thread, NULL, keep_and_end, NULL);
	pthread_join(thread, NULL);
	CHECK_EQ(online_pages(256, 256, MMOP_ONLINE), 0);
}

static unsigned int on_node_1(void)
{
	return 1;
}

static void bad_input(void)
{
	static struct uvm_page_host host = {.ncolors = 8, .node = on_node_1};
	static struct notifier_block none = {NULL, NULL, 0};
	struct pmem_pglist list;
	CHECK_EQ(pmem_uvm_page_bind(&host), 0);
	host.ncolors = 0;
	CHECK_EQ(pmem_uvm_page_bind(&host), 0);
	CHECK_EQ(uvmexp().ncolors, 1);
	CHECK_EQ(pmem_uvm_page_plug(0, 64, 32, 8, 0, 0), EINVAL);
	CHECK_EQ(pmem_uvm_page_plug(0, 64, 0, 64, 0, 0), 0);
	CHECK_EQ(pmem_uvm_page_plug(64, 128, 64, 128, 0, 1), 0);
	CHECK_EQ(VM_PAGE_TO_PHYS(uvm_pagealloc_strat(NULL, 0, NULL, 0, UVM_PGA_STRAT_NUMA, 0)), 64 * PAGE);
	CHECK_EQ(pmem_uvm_page_unplug(0, 1UL << 52), ENOENT); /* at once */
	CHECK_EQ(pmem_uvm_page_plug(1UL << 20, 1UL << 51, 0, 0, 0, 0), ENOMEM);
	CHECK_EQ(uvm_pglistalloc(PAGE, 0, ~0UL, 0, 5000, &list, 1, 0), EINVAL);
	CHECK_EQ(uvm_pglistalloc(PAGE, 0, ~0UL, 3, 0, &list, 1, 0), EINVAL);
	CHECK_EQ(register_memory_notifier(&none), -EINVAL);
	CHECK_EQ(add_memory(0, 0x10000001, 0x8000000), -EINVAL);
	CHECK(strstr(pmem_error(), "unsupported start of memory in bytes: 268435457") != NULL);
	CHECK_EQ(add_memory(0, 0x10000000, 0), -EINVAL);
	CHECK(pmem_memory_feed(NULL, NULL, 3) == NULL);
	CHECK(strstr(pmem_error(), "nnodes is 3") != NULL);
}

#define CASE(name) {#name, name}

int main(void)
{
	static const struct check_case cases[] = {CASE(pages), CASE(freed_twice), CASE(two_owners), CASE(reserves), CASE(nodes), CASE(strategies),
		CASE(lists), CASE(areas), CASE(waiting), CASE(pagesize), CASE(hotplug), CASE(keeping), CASE(ending), CASE(bad_input)};
	return check_all(cases, sizeof(cases) / sizeof(cases[0]));
}
