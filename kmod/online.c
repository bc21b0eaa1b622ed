// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* Processors that come online or wake up: the kernel may give them other registers than the rest have. */
#define pr_fmt(fmt) "pmem_arena: " fmt

#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/platform_device.h>
#include <linux/printk.h>
#include <linux/smp.h>

#include "kernel.h"
#include "online.h"
#include "processors.h"
#include "rendezvous.h"

/*
 * Coming online.
 *
 * A new processor has the registers of the kernel's copy, or those that it had when it went offline. On its hot-plug thread, before
 * programs run there, it gets the registers of the first other processor online. Those cannot change meanwhile: the hot-plug lock is held
 * for writing, and whoever writes registers on all processors takes it for reading. So no other lock is needed, and none is taken.
 */

static struct pmem_image reference; /* guarded by the hot-plug lock, like the next two */
static struct meeting joining;
static DEFINE_PER_CPU(struct place, places);

static void read_reference(void *unused)
{
	registers_read(&reference);
}

static int join_here(void *arg)
{
	unsigned int cpu = smp_processor_id(), *joined = arg;

	meet(&joining, this_cpu_ptr(&places), cpu, kernel_core_size(*joined), false);
	return 0;
}

static int processor_online(unsigned int cpu)
{
	struct pmem_image *here = &this_cpu_ptr(&places)->here;
	struct pmem_difference found;
	unsigned int other;

	for_each_online_cpu(other)
		if (other != cpu)
			break;
	if (other >= nr_cpu_ids || smp_call_function_single(other, read_reference, NULL, 1))
		return 0;
	registers_read(here);
	if (!registers_differ(here, &reference, &found))
		return 0;
	found.cpu = cpu;
	processors_say("changing it to", &found);
	meeting_begin(&joining, NULL, &reference);
	kernel_stop_core(cpu, join_here, &cpu);
	if (meeting_result(&joining))
		processors_doubt();
	else
		atomic_inc(&processors_mended);
	return 0;
}

/*
 * Sleep.
 *
 * On waking, the first processor gets the kernel's copy before the callbacks run. Some kernels write it to all processors once more after
 * the others are back online. So the registers are saved before sleep and written twice: when the first processor is back, and after the
 * last one is. Both happen before any program runs.
 */

static struct pmem_image asleep;
static bool has_slept;
static struct pmem_image *waking_room;

static int before_sleep(void)
{
	has_slept = !registers_read(&asleep);
	return 0;
}

static void after_sleep(void)
{
	struct place *place = this_cpu_ptr(&places);

	if (!has_slept)
		return;
	meeting_begin(&joining, NULL, &asleep);
	if (!registers_read(&place->here) && registers_differ(&place->here, &asleep, &place->differed))
		meet(&joining, place, smp_processor_id(), 1, false);
	kernel_told(&asleep);
}

static int wake_here(void *unused)
{
	meet(&joining, this_cpu_ptr(&places), smp_processor_id(), num_online_cpus(), false);
	return 0;
}

/* Called when every processor is back online, and no program runs yet. */
static int all_awake(struct device *device)
{
	static struct reading reading; /* static for its size; only one resume runs at a time */
	struct pmem_difference found;

	if (!has_slept || processors_read(&reading, waking_room))
		return 0;
	if (reading.differ || registers_differ(&reading.boot, &asleep, &found)) {
		pr_info("the registers changed during sleep; restoring them\n");
		meeting_begin(&joining, NULL, &asleep);
		stop_machine(wake_here, NULL, cpu_online_mask);
		if (meeting_result(&joining))
			processors_doubt();
	}
	has_slept = false;
	return 0;
}

static const struct dev_pm_ops awake = { SET_NOIRQ_SYSTEM_SLEEP_PM_OPS(NULL, all_awake) };
static struct platform_driver sleeper = { .driver = { .name = "pmem_arena", .pm = &awake, .suppress_bind_attrs = true } };
static struct platform_device *sleeper_device;

static int online_state;

int online_follow(void)
{
	int error = -ENOMEM;

	waking_room = processors_room();
	if (!waking_room)
		return error;
	error = platform_driver_register(&sleeper);
	if (error)
		goto no_driver;
	sleeper_device = platform_device_register_simple("pmem_arena", -1, NULL, 0);
	if (IS_ERR(sleeper_device)) {
		error = PTR_ERR(sleeper_device);
		goto no_device;
	}
	online_state = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "x86/pmem_arena:online", processor_online, NULL);
	if (online_state < 0) {
		error = online_state;
		goto no_state;
	}
	kernel_on_sleep(before_sleep, after_sleep);
	return 0;
no_state:
	platform_device_unregister(sleeper_device);
no_device:
	platform_driver_unregister(&sleeper);
no_driver:
	kvfree(waking_room);
	return error;
}

void online_leave(void)
{
	kernel_off_sleep();
	cpuhp_remove_state_nocalls(online_state);
	platform_device_unregister(sleeper_device);
	platform_driver_unregister(&sleeper);
	kvfree(waking_room);
}
