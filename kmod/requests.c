// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* What each request asks of the library, the processors and the devices. */
#define pr_fmt(fmt) "pmem_arena: " fmt

#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "devices.h"
#include "processors.h"
#include "requests.h"
#include "windows.h"
#include "worker.h"

/* --- What the thread runs --- */

/* Guarded by `worker_lock`. Static, because a thread that does not answer may still read it after its caller has given up. */
static struct {
	u32 op;
	void *arg;
	u64 number;
} request;

static long run_request(void *unused)
{
	return pmem_arena_request(request.op, request.arg);
}

static long run_span(void *unused)
{
	return pmem_arena_span(request.arg);
}

static long run_dump(void *unused)
{
	return pmem_arena_dump(request.arg, request.number);
}

static long run_close(void *unused)
{
	return pmem_arena_close(request.number);
}

/* Runs one request on the thread. If the memory reserve is low, the request is refused before it begins, unless it is a release. */
static long ask(long (*run)(void *arg), u32 op, void *arg, u64 number)
{
	long done;

	if (mutex_lock_killable(&worker_lock))
		return -EINTR;
	/* If the thread is lost, do not overwrite `request`: it may still read it. */
	done = worker_is_dead() ? -EIO : worker_has_memory() || op == PMEM_OP_RELEASE ? 0 : -ENOMEM;
	if (!done) {
		request.op = op;
		request.arg = arg;
		request.number = number;
		done = worker_call(run, NULL);
	}
	mutex_unlock(&worker_lock);
	return done;
}

/* Frees what a request worked on, unless the thread may still use it. Returns the result for the caller. */
static long let_go(void *memory, long done)
{
	if (done == -ETIMEDOUT)
		return -EIO;
	kvfree(memory);
	return done;
}

/* --- Requests --- */

/* Stores why a request is refused, and returns the errno. */
static long refuse(struct pmem_claim *claim, u32 status, long error)
{
	claim->region.status = status;
	return error;
}

/*
 * Carries out a request for a range over a BAR: finds its device, locks it, and checks that no driver is bound. A plan changes nothing, so
 * it does not wait for the lock. It reads the driver without it, as the kernel does in dev_driver_string().
 */
static long over_bar(struct pmem_claim *claim, u32 op)
{
	struct pmem_arena_region *region = &claim->region;
	bool may_be_bound = region->flags & PMEM_ARENA_FORCE;
	struct device_driver *driver;
	struct pci_dev *dev;
	long done;
	int bar;

	dev = devices_find(region->start, region->last, &bar);
	if (!dev) {
		snprintf(region->why, sizeof(region->why), "not within one BAR of a PCI function");
		return refuse(claim, PMEM_ARENA_NO_BAR, -EINVAL);
	}
	/* A driver's probe holds this lock. Only a request for the same device waits for it, and a signal ends the wait. */
	if (op != PMEM_OP_PLAN && device_lock_interruptible(&dev->dev)) {
		pci_dev_put(dev);
		return -EINTR;
	}
	driver = READ_ONCE(dev->dev.driver);
	if (!device_is_registered(&dev->dev) || !devices_describe(dev, bar, claim)) {
		snprintf(region->why, sizeof(region->why), "the BAR of %s has moved or is gone", pci_name(dev));
		done = refuse(claim, PMEM_ARENA_NO_BAR, -EINVAL);
	} else if (driver && !may_be_bound) {
		snprintf(region->why, sizeof(region->why), "driver %s is bound to %s", driver->name, pci_name(dev));
		done = refuse(claim, PMEM_ARENA_BUSY, -EBUSY);
	} else {
		done = ask(run_request, op, claim, 0);
		if (!done && op != PMEM_OP_PLAN && driver)
			pr_warn("%s: a claim is forced over the registers of driver %s\n", pci_name(dev), driver->name);
	}
	if (op != PMEM_OP_PLAN)
		device_unlock(&dev->dev);
	pci_dev_put(dev);
	return done;
}

static long region_request(u64 session, u32 op, struct pmem_arena_region *region)
{
	struct pmem_claim *claim;
	long done = 0;

	if (region->reserved || region->reserved2 || (region->flags & ~PMEM_ARENA_FORCE))
		return -EINVAL;
	claim = kvzalloc(sizeof(*claim), GFP_KERNEL);
	if (!claim)
		return -ENOMEM;
	region->status = 0;
	memset(region->why, 0, sizeof(region->why));
	claim->region = *region;
	claim->session = session;
	claim->holder = task_tgid_nr(current);
	/* A change names a claim only by its id: the library fills in the range. */
	if (op == PMEM_OP_SET)
		done = ask(run_request, PMEM_OP_FIND, claim, 0);
	if (!done && (op == PMEM_OP_ALLOC || op == PMEM_OP_PLAN || op == PMEM_OP_SET))
		done = over_bar(claim, op);
	else if (!done)
		done = ask(run_request, op, claim, 0);
	if (done == -ENOMEM && !claim->region.status)
		claim->region.status = PMEM_ARENA_NO_MEMORY;
	*region = claim->region;
	done = let_go(claim, done);
	if (!done && op == PMEM_OP_ALLOC)
		worker_settle_soon();
	return done;
}

void requests_undo(u64 session, struct pmem_arena_region *region)
{
	region->flags = 0;
	region_request(session, PMEM_OP_RELEASE, region);
}

static long info(struct pmem_arena_info *info)
{
	struct reading *reading;
	struct pmem_image *room;
	struct pmem_figures figures;
	struct memory_figures memory;
	long error;

	if (memchr_inv(info->reserved, 0, sizeof(info->reserved)))
		return -EINVAL;
	if (worker_is_dead())
		return -EIO;
	reading = kzalloc(sizeof(*reading), GFP_KERNEL);
	room = processors_room();
	if (!reading || !room) {
		error = -ENOMEM;
		goto out;
	}
	error = processors_read(reading, room);
	worker_figures(&figures, &memory);
	info->width = shape.width;
	info->variable = shape.variable;
	info->cpus = reading->online;
	info->arenas = figures.arenas;
	info->regions = figures.regions;
	info->pending = figures.pending;
	info->ended = figures.ended;
	info->most_stack = memory.most_stack;
	info->most_memory = memory.most_memory;
	info->cap = reading->boot.cap;
	info->def = reading->boot.def;
	memcpy(info->fixed, reading->boot.fixed, sizeof(info->fixed));
	memcpy(info->base, reading->boot.base, sizeof(info->base));
	memcpy(info->mask, reading->boot.mask, sizeof(info->mask));
	info->differ = reading->differ;
	info->differ_cpu = reading->first.cpu;
	info->differ_msr = reading->first.msr;
	info->differ_has = reading->first.here;
	info->differ_boot = reading->first.there;
	info->mended = reading->mended;
	info->rendezvous = reading->rendezvous;
out:
	kvfree(room);
	kfree(reading);
	return error;
}

static long span(struct pmem_arena_span *span)
{
	struct pmem_arena_span *copy;
	long done;

	if (memchr_inv(span->reserved, 0, sizeof(span->reserved)))
		return -EINVAL;
	copy = kvmalloc(sizeof(*copy), GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	*copy = *span;
	done = ask(run_span, 0, copy, 0);
	*span = *copy;
	return let_go(copy, done);
}

static long dump(struct pmem_arena_text *text)
{
	void *copy;
	long done;

	if (text->reserved || !text->len || text->len > 65536)
		return -EINVAL;
	copy = kvzalloc(text->len, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	done = ask(run_dump, 0, copy, text->len);
	if (done >= 0) {
		text->len = done;
		if (copy_to_user(u64_to_user_ptr(text->buffer), copy, done))
			done = -EFAULT;
	}
	return min(let_go(copy, done), 0l);
}

void requests_close(u64 session)
{
	mutex_lock(&worker_lock);
	if (!worker_is_dead()) {
		request.number = session;
		worker_call(run_close, NULL);
	}
	mutex_unlock(&worker_lock);
}

long requests_carry_out(u64 session, const struct command *command, union argument *arg)
{
	switch (command->number) {
	case PMEM_ARENA_INFO:
		return info(&arg->info);
	case PMEM_ARENA_SPAN:
		return span(&arg->span);
	case PMEM_ARENA_DUMP:
		return dump(&arg->text);
	case PMEM_ARENA_WINDOWS:
		return windows_change(&arg->windows);
	default:
		return region_request(session, command->op, &arg->region);
	}
}
