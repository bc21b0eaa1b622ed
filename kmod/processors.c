// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* All processors: reading their registers, and changing them together. */
#define pr_fmt(fmt) "pmem_arena: " fmt

#include <linux/cpu.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/smp.h>

#include "kernel.h"
#include "processors.h"
#include "rendezvous.h"
#include "worker.h"

static u64 last_rendezvous; /* nanoseconds */
static bool uneven; /* some processors differ, or may differ */

atomic_t processors_mended;

void processors_doubt(void)
{
	WRITE_ONCE(uneven, true);
	worker_settle_soon();
}

/* Where each processor stores what it reads. Each reader has its own, so readers do not wait for each other. */
struct seeing {
	struct pmem_image *seen;
	atomic_t unreadable;
};

static void read_here(void *arg)
{
	struct seeing *seeing = arg;

	if (registers_read(&seeing->seen[smp_processor_id()]))
		atomic_set(&seeing->unreadable, 1);
}

void processors_say(const char *what, const struct pmem_difference *difference)
{
	pr_warn("processor %u: register %#x holds %#llx, %s %#llx\n", difference->cpu, difference->msr, difference->here, what,
		difference->there);
}

struct pmem_image *processors_room(void)
{
	return kvcalloc(nr_cpu_ids, sizeof(struct pmem_image), GFP_KERNEL);
}

int processors_read(struct reading *reading, struct pmem_image *seen)
{
	struct seeing seeing = { seen, ATOMIC_INIT(0) };
	unsigned int cpu;

	reading->differ = 0;
	memset(&reading->first, 0, sizeof(reading->first));
	cpus_read_lock();
	on_each_cpu(read_here, &seeing, 1);
	reading->boot = seen[cpumask_first(cpu_online_mask)];
	reading->online = num_online_cpus();
	for_each_online_cpu(cpu) {
		struct pmem_difference found;

		if (!registers_differ(&seen[cpu], &reading->boot, &found))
			continue;
		found.cpu = cpu;
		if (!reading->differ++)
			reading->first = found;
	}
	cpus_read_unlock();
	reading->mended = atomic_read(&processors_mended);
	reading->rendezvous = READ_ONCE(last_rendezvous);
	if (reading->differ && !READ_ONCE(uneven))
		processors_doubt();
	return atomic_read(&seeing.unreadable) ? -EIO : 0;
}

static struct pmem_image *library_room, *programming_room;

/* The boot processor accepted neither the new registers nor the old ones. All must then get the old ones, `good`, not what it holds. */
static bool is_broken;
static struct pmem_image good;

long pmem_kernel_read(struct pmem_image *image)
{
	static struct reading reading; /* only the library's thread uses it; at 1 KiB it is large for a stack */
	int error = READ_ONCE(is_broken) ? -ENXIO : processors_read(&reading, library_room);

	if (!error)
		*image = reading.boot;
	return error;
}

/* Guards what follows, for the library's thread and for those who make processors equal or give back without it. */
static DEFINE_MUTEX(programming);
static DEFINE_PER_CPU(struct place, places);
static struct meeting meeting;
static struct written written;
static struct pmem_difference refused;

static int meet_here(void *unused)
{
	unsigned int cpu = smp_processor_id();
	bool is_first = cpu == cpumask_first(cpu_online_mask);

	/* During stop_machine() no processor goes online or offline, so all have the same count. */
	meet(&meeting, this_cpu_ptr(&places), cpu, num_online_cpus(), is_first);
	if (is_first && !meeting_result(&meeting))
		kernel_told(meeting.to);
	return 0;
}

/*
 * Changes all processors from `from` to `to`, and logs those that differed or refused. If `from` is NULL, they may hold anything. Returns
 * like pmem_kernel_program(). The caller holds `programming`.
 */
static int program(const struct pmem_image *from, const struct pmem_image *to)
{
	unsigned int cpu;
	u64 begun;
	int result;

	refused.msr = 0;
	for_each_possible_cpu(cpu)
		per_cpu(places, cpu).differed.msr = per_cpu(places, cpu).refused.msr = 0;
	meeting_begin(&meeting, from, to);
	begun = ktime_get_ns();
	stop_machine(meet_here, NULL, cpu_online_mask);
	WRITE_ONCE(last_rendezvous, ktime_get_ns() - begun);
	result = meeting_result(&meeting);
	cpus_read_lock();
	for_each_online_cpu(cpu) {
		struct place *place = &per_cpu(places, cpu);

		if (result != -EAGAIN && place->differed.msr) {
			processors_say("not the boot processor's", &place->differed);
			atomic_add(!result, &processors_mended);
		}
		if (result != -EAGAIN && place->refused.msr) {
			processors_say("refused", &place->refused);
			refused = place->refused;
		}
	}
	cpus_read_unlock();
	if (!result && from)
		written_note(&written, from, to);
	/* Some processor did not accept `from` again. If it is the boot processor, its registers are no longer what all should have. */
	if (result == -ENXIO) {
		struct pmem_difference found;

		good = *from;
		WRITE_ONCE(is_broken, registers_differ(&per_cpu(places, cpumask_first(cpu_online_mask)).here, from, &found));
		processors_doubt();
	}
	return result;
}

long pmem_kernel_program(const struct pmem_image *from, const struct pmem_image *to)
{
	int result = -EIO;

	mutex_lock(&programming);
	if (!worker_is_dead())
		result = program(from, to);
	mutex_unlock(&programming);
	return result;
}

void pmem_kernel_refused(struct pmem_difference *difference)
{
	*difference = refused;
}

bool processors_mend(void)
{
	static struct reading reading; /* guarded by `programming`, like the room */
	bool left;

	if (!READ_ONCE(uneven))
		return false;
	mutex_lock(&programming);
	/* Clear it before checking, so that a doubt raised meanwhile is not lost. */
	WRITE_ONCE(uneven, false);
	if (is_broken && !program(NULL, &good))
		WRITE_ONCE(is_broken, false);
	left = is_broken || processors_read(&reading, programming_room) ||
	       (reading.differ && program(&reading.boot, &reading.boot));
	if (left)
		WRITE_ONCE(uneven, true);
	mutex_unlock(&programming);
	return left;
}

/* The caller holds `programming`. */
static void forget(void)
{
	written.variable = written.fixed = written.def = 0;
}

int processors_give_back(void)
{
	static struct reading reading; /* guarded by `programming`, like the next */
	static struct pmem_image to;
	int error;

	mutex_lock(&programming);
	if (is_broken && !program(NULL, &good))
		is_broken = false;
	error = processors_read(&reading, programming_room);
	if (!error && (written_back(&written, &reading.boot, &to) || reading.differ)) {
		error = program(&reading.boot, &to);
		if (!error)
			pr_info("the registers that the module wrote are restored\n");
	}
	if (!error)
		forget();
	mutex_unlock(&programming);
	return error;
}

void processors_forget(void)
{
	mutex_lock(&programming);
	forget();
	mutex_unlock(&programming);
}

void processors_stop(void)
{
	kvfree(library_room);
	kvfree(programming_room);
}

int processors_start(void)
{
	u64 cap;

	if (msr_read(MSR_CAP, &cap))
		return -ENODEV;
	shape.variable = min_t(u32, cap & 0xff, PMEM_ARENA_VARIABLE);
	shape.width = boot_cpu_data.x86_phys_bits;
	shape.is_amd = boot_cpu_data.x86_vendor == X86_VENDOR_AMD || boot_cpu_data.x86_vendor == X86_VENDOR_HYGON;
	if (registers_read(&written.load))
		return -ENODEV;
	library_room = processors_room();
	programming_room = processors_room();
	if (library_room && programming_room)
		return 0;
	processors_stop();
	return -ENOMEM;
}
