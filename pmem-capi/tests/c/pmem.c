/* pmem.h: the proposal, from C. */
#include <errno.h>
#include <pthread.h>

#include "check.h"
#include "memory_hotplug.h"
#include "pmem.h"
#include "uvm_page.h"

/* The proposal's scene: RAM and a PCI bus, each seen through a bridge by the system bus. */
static pmem_arena_t bus, ram, pci;
static pmem_interconnect_t bridge;

static void scene(void)
{
	bus = pmem_arena_create("bus", PMEM_T_VIEW);
	ram = pmem_arena_create("ram", PMEM_T_RAM);
	pci = pmem_arena_create("pci", PMEM_T_PCI);
	CHECK(bus && ram && pci);
	pmem_mapping_t low = pmem_mapping_window(0, 0x10000000, 0);
	pmem_mapping_t window = pmem_mapping_bridge(0x80000000, 0x90000000, 0x100000);
	CHECK(pmem_arena_connect(bus, ram, low, 1) != NULL);
	bridge = pmem_arena_connect(bus, pci, window, 10);
	CHECK(bridge != NULL);
	pmem_mapping_free(low);
	pmem_mapping_free(window);
	CHECK_EQ(pmem_arena_prime(ram, 0, 0x10000000, PMEM_T_DATA, PMEM_PROT_READ | PMEM_PROT_WRITE, PMEM_P_WBACK), 0);
	CHECK_EQ(pmem_arena_prime(pci, 0x80000000, 0x90000000, PMEM_T_DEVREGS, PMEM_PROT_READ | PMEM_PROT_WRITE, PMEM_P_UNCACHED), 0);
}

static void regions(void)
{
	scene();
	pmem_region_t r = pmem_alloc(ram, 0x1000, 0x100000, PMEM_PROT_READ, 0, PMEM_T_DMABUF, 0x1000, 0x3000, 0);
	CHECK(r != NULL);
	pmem_prot_t prot;
	pmem_props_t props;
	pmem_use_t use;
	CHECK_EQ(pmem_get(r, &prot, &props, &use), 0);
	CHECK_EQ(prot, PMEM_PROT_READ);
	CHECK_EQ(props, PMEM_P_WBACK); /* the default of the space */
	CHECK_EQ(use, PMEM_T_DMABUF);
	CHECK_EQ(pmem_get(r, NULL, NULL, NULL), 0);
	CHECK_EQ(pmem_set(r, PMEM_PROT_READ | PMEM_PROT_WRITE, PMEM_P_WCOMB, PMEM_T_DATA), 0);
	CHECK_EQ(pmem_get(r, &prot, &props, NULL), 0);
	CHECK_EQ(props, PMEM_P_WCOMB);

	paddr_t at = 1, first, last;
	pmem_arena_t where;
	CHECK(pmem_map(ram, r, &at) == r); /* where it belongs it is itself */
	CHECK_EQ(at, 0x1000);
	pmem_region_t alias = pmem_map(bus, r, &at);
	CHECK(alias != NULL && alias != r);
	CHECK_EQ(at, 0x1000);
	CHECK_EQ(pmem_where(r, &where, &first, &last), 0);
	CHECK(where == ram && first == 0x1000 && last == 0x3fff);
	CHECK_EQ(pmem_relocate(r, 0x8000), 0);
	CHECK_EQ(pmem_where(alias, &where, &first, NULL), 0);
	CHECK(where == bus && first == 0x8000); /* what depends on it goes along */
	CHECK_EQ(pmem_unmap(alias), 0);
	CHECK_EQ(pmem_decref(r), 0);
	CHECK_EQ(pmem_decref(r), 0);
	CHECK_EQ(pmem_decref(r), ENOENT);
	CHECK(strstr(pmem_error(), "region") != NULL);
}

static void windows(void)
{
	scene();
	pmem_region_t bar = pmem_alloc(pci, 0, 0, 0, 0, 0, 0x10000, 0x10000, 0);
	paddr_t at;
	CHECK(bar != NULL);
	CHECK_EQ(pmem_resolve(bus, 0x80000010, NULL, NULL), ENOENT); /* the window is closed */
	pmem_region_t seen = pmem_map(bus, bar, &at);
	CHECK(seen != NULL);
	CHECK_EQ(at, 0x80000000);
	pmem_arena_t where;
	CHECK_EQ(pmem_resolve(bus, 0x80000010, &where, &at), 0);
	CHECK(where == pci && at == 0x80000010);
	/* Beyond reach in the arena itself; as an alias at a cost. */
	CHECK(pmem_alloc(bus, 0, 0, 0, 0, PMEM_T_DMABUF, 0, 0x1000, 0) == NULL);
	pmem_region_t far = pmem_alloc(bus, 0, 0, 0, 0, PMEM_T_DMABUF, 0, 0x1000, 5);
	CHECK(far != NULL);
	CHECK_EQ(pmem_where(far, &where, NULL, NULL), 0);
	CHECK(where == bus);
}

static void floors(void)
{
	scene();
	/* Base and limit are written: the window is open, whatever goes through it. */
	paddr_t at;
	CHECK_EQ(pmem_interconnect_set_floor(bridge, 0x80100000, 0x80300000), 0);
	pmem_region_t bar = pmem_alloc(pci, 0x80200000, 0x80300000, 0, 0, 0, 0x10000, 0x10000, 0);
	CHECK_EQ(pmem_resolve(bus, 0x80200010, NULL, &at), 0);
	CHECK_EQ(at, 0x80200010);
	pmem_region_t seen = pmem_map(bus, bar, &at);
	CHECK(seen != NULL);
	CHECK_EQ(pmem_interconnect_set_floor(bridge, 0x100000, 0x200000), EINVAL); /* outside its limit */
	CHECK_EQ(pmem_interconnect_set_floor(bridge, 0x80100800, 0x80300000), EINVAL); /* no multiple of its granule */
	CHECK_EQ(pmem_interconnect_set_floor(bridge, 0, 0), 0);
	CHECK_EQ(pmem_resolve(bus, 0x80200010, NULL, &at), 0); /* the alias needs it still */
	CHECK_EQ(pmem_resolve(bus, 0x80100010, NULL, &at), ENOENT);
	CHECK_EQ(pmem_interconnect_set_metric(bridge, 0, UINT32_MAX), EINVAL); /* open, but nothing gets there */
	CHECK_EQ(pmem_interconnect_set_metric(bridge, 0, 9), 0);
	CHECK(pmem_alloc(bus, 0x80000000, 0x90000000, 0, 0, 0, 0, 0x1000, 8) == NULL);
	CHECK(pmem_alloc(bus, 0x80000000, 0x90000000, 0, 0, 0, 0, 0x1000, 9) != NULL);
}

static void mapped_where_it_is_wanted(void)
{
	scene();
	paddr_t at;
	pmem_arena_t device = pmem_arena_create("device", PMEM_T_PCI);
	pmem_mapping_t table = pmem_mapping_table(0, 0x10000000, 0x1000);
	CHECK(pmem_arena_connect(device, ram, table, 1) != NULL);
	pmem_mapping_free(table);
	pmem_region_t r = pmem_alloc(ram, 0, 0, 0, 0, 0, 0x1000, 0x1000, 0);
	CHECK(pmem_map_at(device, r, 0x8000000, 0x9000000, 0x100000, &at) != NULL);
	CHECK_EQ(at, 0x8000000);
	CHECK(pmem_map_at(device, r, 0x8001000, 0x8002000, 0, &at) != NULL); /* once more, elsewhere */
	CHECK_EQ(at, 0x8001000);
	CHECK(pmem_map_at(device, r, 0x20000000, 0x30000000, 0, &at) == NULL);
	CHECK(pmem_map_at(ram, r, 0x100000, 0x200000, 0, &at) == NULL); /* there it is where it is */
}

static void bad_input(void)
{
	scene();
	CHECK(pmem_arena_create("x", 0x8000) == NULL);
	CHECK_EQ(pmem_arena_prime(ram, 0x20000000, 0x10000000, PMEM_T_DATA, 1, 2), EINVAL);
	CHECK_EQ(pmem_arena_prime(ram, 0x1000, 0x2000, PMEM_T_DATA, 1, 2), EBUSY);
	CHECK(strstr(pmem_error(), "0x1000") != NULL);
	CHECK_EQ(pmem_arena_prime(ram, 0x20000000, 0x30000000, PMEM_T_DATA, 1, PMEM_P_WBACK | PMEM_P_WCOMB), EINVAL);
	CHECK_EQ(pmem_arena_prime(ram, 0x20000000, 0x30000000, 0x1000, 1, 0), EINVAL);
	CHECK_EQ(pmem_arena_prime((pmem_arena_t)0x1234, 0, 1, 0, 0, 0), ENOENT);
	CHECK_EQ(pmem_arena_prime(NULL, 0, 1, 0, 0, 0), ENOENT);
	/* What names one thing names nothing else. */
	pmem_region_t r = pmem_alloc(ram, 0, 0, 0, 0, 0, 0, 0x1000, 0);
	CHECK_EQ(pmem_arena_remove((pmem_arena_t)r), ENOENT);
	CHECK_EQ(pmem_incref((pmem_region_t)ram), ENOENT);
	CHECK_EQ(pmem_decref(r), 0);
	CHECK(pmem_alloc(ram, 0, 0, 0, 0, 0, 3, 0x1000, 0) == NULL);
	CHECK(pmem_alloc(ram, 0, 0, 0, 0, 0, 0, 0, 0) == NULL);
	CHECK(pmem_alloc(ram, 0, 0, 0, 0, 0, 0, 1UL << 40, 0) == NULL);
	CHECK(pmem_mapping_bridge(0, 0x1000, 3) == NULL);
	CHECK(pmem_arena_connect(ram, ram, pmem_mapping_identity, 1) == NULL);
	CHECK_EQ(pmem_arena_remove(ram), EBUSY);
	CHECK_EQ(pmem_incref(NULL), ENOENT);
	CHECK(pmem_driver_register(NULL, NULL, NULL, 0) == NULL);
	static const struct pmem_driver_ops ops = {.name = "nobody's"};
	CHECK(pmem_driver_register(&ops, NULL, (pmem_arena_t)0x77, 0) == NULL);
	CHECK(strstr(pmem_error(), "does not exist") != NULL);
	CHECK_EQ(pmem_driver_verify((pmem_driver_t)7), ENOENT);
	CHECK_EQ(pmem_arena_prime(pci, 0xfffffffffffff000, 0, PMEM_T_DEVREGS, 3, 8), 0); /* up to 2^64 */
}

static void space_comes_and_goes(void)
{
	scene();
	pmem_region_t r = pmem_alloc(ram, 0, 0, 0, 0, 0, 0, 0x1000, 0);
	CHECK_EQ(pmem_arena_seal(ram, 0, 0x10000000), 0);
	CHECK(pmem_alloc(ram, 0, 0, 0, 0, 0, 0, 0x1000, 0) == NULL);
	CHECK_EQ(pmem_arena_unprime(ram, 0, 0x10000000), EBUSY);
	CHECK_EQ(pmem_arena_unseal(ram, 0, 0x1000000), 0);
	CHECK_EQ(pmem_decref(r), 0);
	CHECK_EQ(pmem_arena_unprime(ram, 0, 0x10000000), 0);
	CHECK_EQ(pmem_arena_unprime(ram, 0, 0x10000000), ENOENT);
	CHECK_EQ(pmem_arena_seal(ram, 0, 0x10000000), ENOENT);
}

/* ------------------------------------------------------------- drivers */

struct log {
	char text[4096];
	int refuse, fault, fault_revert, regions, windows;
	struct pmem_edit last, alias;
};

static void note(struct log *log, const char *word)
{
	strncat(log->text, word, sizeof(log->text) - strlen(log->text) - 1);
	strncat(log->text, " ", sizeof(log->text) - strlen(log->text) - 1);
}

/* How many of a kind it is shown, and the last of that kind. */
static int count(const struct pmem_change *change, int kind, struct pmem_edit *last)
{
	int found = 0;
	for (size_t i = 0; i < change->nedits; i++) {
		const struct pmem_edit *edit = &change->edits[i];
		CHECK_EQ(edit->before.present, 0);
		if (edit->kind == kind) {
			*last = *edit;
			found++;
		}
	}
	return found;
}

/* What there is, without changing it. */
static void look(struct log *log, const struct pmem_change *state)
{
	struct pmem_edit last;
	if (count(state, PMEM_EDIT_VIEW, &last) > 0) {
		CHECK_EQ(count(state, PMEM_EDIT_ARENA, &last), 0);
		return;
	}
	CHECK_EQ(count(state, PMEM_EDIT_ARENA, &last), 3);
	CHECK(last.arena == pci && last.type == PMEM_T_PCI && strcmp(last.name, "pci") == 0);
	CHECK_EQ(count(state, PMEM_EDIT_INTERCONNECT, &last), 2);
	CHECK(last.arena == bus && last.far == pci && last.metric == 10);
	CHECK(count(state, PMEM_EDIT_SPACE, &last) >= 2);
	CHECK(last.arena == pci && last.after.use == PMEM_T_DEVREGS && last.after.last == 0x8fffffff);
	log->regions = count(state, PMEM_EDIT_REGION, &last);
	for (size_t i = 0; i < state->nedits; i++)
		if (state->edits[i].kind == PMEM_EDIT_REGION && state->edits[i].target != NULL)
			log->alias = state->edits[i];
	/* One each way through the RAM's, and back through the bridge's; the bridge's own if it is open. */
	log->windows = count(state, PMEM_EDIT_WINDOW, &log->last);
}

static int on_attach(void *ctx, const struct pmem_change *state)
{
	note(ctx, "attach");
	look(ctx, state);
	return 0;
}

static int on_verify(void *ctx, const struct pmem_change *state)
{
	look(ctx, state);
	return 0;
}

static int on_prepare(void *ctx, const struct pmem_change *change)
{
	struct log *log = ctx;
	note(log, "prepare");
	CHECK(change->nedits > 0);
	log->last = change->edits[0];
	CHECK_EQ(pmem_incref((pmem_region_t)1), EDEADLK); /* no verbs from here */
	return log->refuse;
}

static int on_withdraw(void *ctx)
{
	note(ctx, "withdraw");
	return 0;
}

static int on_install(void *ctx)
{
	note(ctx, "install");
	return ((struct log *)ctx)->fault;
}

static int on_revert(void *ctx, int step)
{
	note(ctx, step == PMEM_STEP_WITHDRAW ? "revert-withdraw" : "revert-install");
	return ((struct log *)ctx)->fault_revert;
}

static void on_abort(void *ctx)
{
	note(ctx, "abort");
}

static void on_published(void *ctx)
{
	note(ctx, "published");
}

static int on_resync(void *ctx, const struct pmem_change *state)
{
	note(ctx, "resync");
	look(ctx, state);
	return 0;
}

static const struct pmem_driver_ops ops = {
	.name = "c-driver",
	.attach = on_attach,
	.prepare = on_prepare,
	.withdraw = on_withdraw,
	.install = on_install,
	.revert = on_revert,
	.abort = on_abort,
	.published = on_published,
	.resync = on_resync,
	.verify = on_verify,
};

static int said(struct log *log, const char *wanted)
{
	int same = strcmp(log->text, wanted) == 0;
	if (!same)
		fprintf(stderr, "said \"%s\", not \"%s\"\n", log->text, wanted);
	log->text[0] = 0;
	return same;
}

static void drivers(void)
{
	static struct log one, two;
	static const struct pmem_driver_ops quiet = {.name = "quiet"};
	scene();
	pmem_driver_t d = pmem_driver_register(&ops, &one, NULL, 5);
	CHECK(d != NULL && pmem_driver_register(&quiet, NULL, NULL, 9) != NULL);
	CHECK(said(&one, "attach "));
	CHECK(one.regions == 0 && one.windows == 3);
	paddr_t at;
	pmem_region_t bar = pmem_alloc(pci, 0, 0, 0, 0, 0, 0x100000, 0x100000, 0), seen = pmem_map(bus, bar, &at);
	CHECK_EQ(pmem_driver_verify(d), 0);
	CHECK(one.regions == 2 && one.windows == 4); /* the BAR, and its alias through the window */
	CHECK(one.last.arena == bus && one.last.far == pci && one.last.after.first == 0x80000000);
	CHECK(one.alias.region == seen && one.alias.target == bar && one.alias.interconnect == bridge);
	CHECK(pmem_unmap(seen) == 0 && pmem_decref(bar) == 0);
	one.text[0] = 0;
	pmem_region_t r = pmem_alloc(ram, 0x4000, 0x5000, 0, 0, PMEM_T_TEXT, 0, 0x1000, 0);
	CHECK(said(&one, "prepare withdraw install published "));
	CHECK_EQ(one.last.kind, PMEM_EDIT_REGION);
	CHECK(one.last.region == r && one.last.arena == ram);
	CHECK_EQ(one.last.before.present, 0);
	CHECK_EQ(one.last.after.first, 0x4000);
	CHECK_EQ(one.last.after.last, 0x4fff);
	CHECK_EQ(one.last.after.use, PMEM_T_TEXT);

	one.refuse = EBUSY;
	CHECK(pmem_alloc(ram, 0, 0, 0, 0, 0, 0, 0x1000, 0) == NULL);
	CHECK(strstr(pmem_error(), "c-driver") != NULL && strstr(pmem_error(), "EBUSY") != NULL);
	CHECK(said(&one, "prepare "));
	static const struct {
		int number;
		const char *name;
	} refusals[] = {{EPERM, "EPERM"},	{ENOENT, "ENOENT"}, {EIO, "EIO"},	{ENOMEM, "ENOMEM"},
			{EBUSY, "EBUSY"},	{EINVAL, "EINVAL"}, {ENOSPC, "ENOSPC"}, {EDOM, NULL}};
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		one.refuse = refusals[i].number;
		CHECK(pmem_alloc(ram, 0, 0, 0, 0, 0, 0, 0x1000, 0) == NULL);
		/* Other numbers have no name. */
		if (refusals[i].name != NULL)
			CHECK(strstr(pmem_error(), refusals[i].name) != NULL);
		else
			CHECK(strstr(pmem_error(), ": E") == NULL && strstr(pmem_error(), "c-driver") != NULL);
		CHECK(said(&one, "prepare "));
	}
	one.refuse = EBUSY;
	CHECK_EQ(pmem_decref(r), EBUSY); /* it does not let go: the region stays */
	CHECK_EQ(pmem_get(r, NULL, NULL, NULL), 0);
	one.refuse = PMEM_INDIFFERENT;
	CHECK_EQ(pmem_arena_seal(ram, 0x100000, 0x200000), 0);
	one.refuse = 0;
	one.text[0] = 0;

	one.fault = EIO;
	CHECK_EQ(pmem_arena_seal(ram, 0x200000, 0x300000), EIO);
	CHECK(said(&one, "prepare withdraw install revert-install revert-withdraw "));
	one.fault_revert = EIO;
	CHECK_EQ(pmem_arena_seal(ram, 0x200000, 0x300000), EIO);
	one.fault = one.fault_revert = 0;
	one.text[0] = 0;
	CHECK_EQ(pmem_arena_seal(ram, 0x200000, 0x300000), 0); /* degraded: it resyncs first */
	CHECK(strncmp(one.text, "resync prepare", 14) == 0);
	one.text[0] = 0;

	/* On a view it is told what changes there. */
	pmem_driver_t v = pmem_driver_register(&ops, &two, bus, 0);
	CHECK(v != NULL);
	r = pmem_alloc(ram, 0x8000, 0x9000, 0, PMEM_P_WCOMB, 0, 0, 0x1000, 0);
	CHECK(r != NULL);
	CHECK_EQ(two.last.kind, PMEM_EDIT_VIEW);
	CHECK(two.last.arena == bus);
	CHECK_EQ(two.last.before.props, PMEM_P_WBACK);
	CHECK_EQ(two.last.after.props, PMEM_P_WCOMB);
	CHECK_EQ(two.last.after.first, 0x8000);
	CHECK_EQ(pmem_driver_verify(v), 0);
	CHECK_EQ(pmem_driver_resync(v), 0);
	CHECK_EQ(pmem_driver_deregister(v), 0);
	CHECK_EQ(pmem_driver_deregister(v), ENOENT);
	CHECK_EQ(pmem_driver_deregister(d), 0);
}

static int verb_in_callback;

static int on_memory(struct notifier_block *self, unsigned long action, void *arg)
{
	(void)self, (void)action, (void)arg;
	verb_in_callback = pmem_incref((pmem_region_t)1);
	return NOTIFY_OK;
}

/* What is primed in the model is pages here. */
static void feeds_pages(void)
{
	struct pmem_uvmexp exp;
	static struct notifier_block block = {on_memory, NULL, 0};
	scene();
	pmem_arena_t far = pmem_arena_create("far", PMEM_T_RAM);
	pmem_mapping_t high = pmem_mapping_window(0x100000000, 0x110000000, 0);
	CHECK(pmem_arena_connect(bus, far, high, 5) != NULL);
	CHECK_EQ(register_memory_notifier(&block), 0);
	const pmem_arena_t nodes[] = {ram, far};
	CHECK_EQ(pmem_arena_prime(far, 0, 0x8000000, PMEM_T_DATA, 3, PMEM_P_WBACK), 0);
	pmem_driver_t feed = pmem_memory_feed(bus, nodes, 2);
	CHECK(feed != NULL);
	pmem_uvm_exp(&exp);
	CHECK_EQ(exp.npages, 0x18000);
	struct vm_page *page = pmem_uvm_pagealloc_strat(NULL, 0, NULL, 0, UVM_PGA_STRAT_ONLY, 1);
	CHECK(page != NULL && pmem_uvm_page_phys(page) >= 0x100000000);
	CHECK_EQ(pmem_arena_seal(far, 0, 0x8000000), EPERM); /* somebody has a page of it */
	CHECK(strstr(pmem_error(), "busy") != NULL);
	pmem_uvm_pagefree(page);
	CHECK_EQ(pmem_arena_seal(far, 0, 0x8000000), 0);
	CHECK_EQ(verb_in_callback, EDEADLK);
	pmem_region_t r = pmem_alloc(ram, 0, 0, 0, 0, PMEM_T_DMABUF, 0, 0x3000, 0);
	pmem_uvm_exp(&exp);
	CHECK_EQ(exp.npages, 0x10000 - 3);
	CHECK_EQ(exp.offline, 0x8000);
	CHECK_EQ(pmem_driver_verify(feed), 0);
	CHECK_EQ(pmem_decref(r), 0);
	CHECK_EQ(pmem_arena_unprime(far, 0, 0x8000000), 0);
	pmem_uvm_exp(&exp);
	CHECK_EQ(exp.physmem, 0x10000);
	CHECK(pmem_memory_feed(NULL, NULL, 0) == NULL);
	pmem_mapping_free(high);
}

static void *worker(void *unused)
{
	(void)unused;
	for (int i = 0; i < 300; i++) {
		pmem_region_t r = pmem_alloc(ram, 0, 0, 0, 0, 0, 0x1000, 0x1000, 0);
		CHECK(r != NULL);
		CHECK_EQ(pmem_incref(r), 0);
		CHECK_EQ(pmem_decref(r), 0);
		CHECK_EQ(pmem_decref(r), 0);
	}
	return NULL;
}

static void threads(void)
{
	scene();
	pthread_t all[4];
	for (int i = 0; i < 4; i++)
		pthread_create(&all[i], NULL, worker, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(all[i], NULL);
	CHECK_EQ(pmem_arena_unprime(ram, 0, 0x10000000), 0); /* nothing is left in it */
}

#define CASE(name) {#name, name}

int main(void)
{
	static const struct check_case cases[] = {CASE(regions), CASE(windows), CASE(floors), CASE(mapped_where_it_is_wanted), CASE(bad_input), CASE(space_comes_and_goes),
		CASE(drivers), CASE(feeds_pages), CASE(threads)};
	return check_all(cases, sizeof(cases) / sizeof(cases[0]));
}
