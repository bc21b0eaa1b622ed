// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* pmem_arena: loading and unloading. */
#define pr_fmt(fmt) "pmem_arena: " fmt

#include <linux/cc_platform.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <asm/cpufeature.h>

#include "devices.h"
#include "files.h"
#include "memory.h"
#include "online.h"
#include "processors.h"
#include "worker.h"

static bool force;
module_param(force, bool, 0444);
MODULE_PARM_DESC(force, "load under a hypervisor, where MTRRs may have no effect");

static int may_load(void)
{
	u64 def;

	if (!boot_cpu_has(X86_FEATURE_MTRR)) {
		pr_err("the processor has no MTRRs\n");
		return -ENODEV;
	}
	if (cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT)) {
		pr_err("an encrypted guest (SEV, TDX) has no MTRRs of its own\n");
		return -ENODEV;
	}
	if (security_locked_down(LOCKDOWN_MSR)) {
		pr_err("the kernel is locked down, so registers cannot be written\n");
		return -EPERM;
	}
	if (msr_read(MSR_DEF, &def) || !(def & REGISTER_ON)) {
		pr_err("MTRRs are disabled, and this driver does not enable them\n");
		return -ENODEV;
	}
	if (boot_cpu_has(X86_FEATURE_HYPERVISOR)) {
		if (!force) {
			pr_err("in a virtual machine MTRRs may have no effect; to load anyway, pass force=1\n");
			return -ENODEV;
		}
		pr_warn("in a virtual machine MTRRs may have no effect\n");
	}
	return 0;
}

#define MOST_SPANS 256

struct start {
	struct pmem_span spans[MOST_SPANS];
	int count;
};

static long run_start(void *arg)
{
	struct start *start = arg;

	return pmem_arena_start(shape.width, start->spans, start->count);
}

/* Starts the library, which builds its manager from the kernel's resource tree. */
static int start_library(void)
{
	struct start *start = kvzalloc(sizeof(*start), GFP_KERNEL);
	int error;

	if (!start)
		return -ENOMEM;
	error = start->count = devices_spans(start->spans, MOST_SPANS);
	if (error >= 0) {
		mutex_lock(&worker_lock);
		error = worker_call(run_start, start);
		mutex_unlock(&worker_lock);
	}
	memory_loaded();
	/* A thread that did not answer may still read it. */
	if (error != -ETIMEDOUT)
		kvfree(start);
	return error;
}

/* Restores the registers before a reboot. A kernel started by kexec would take what is left in them for the firmware's settings. */
static int ends(struct notifier_block *unused, unsigned long what, void *data)
{
	processors_give_back();
	return NOTIFY_DONE;
}

static struct notifier_block end = { .notifier_call = ends };

static int __init pmem_arena_init(void)
{
	int error = may_load();

	if (error)
		return error;
	error = processors_start();
	if (error)
		return error;
	error = worker_start();
	if (error)
		goto no_worker;
	error = start_library();
	if (error)
		goto no_library;
	error = online_follow();
	if (error)
		goto no_library;
	error = devices_follow();
	if (error)
		goto no_devices;
	error = files_start();
	if (error)
		goto no_files;
	/* The firmware may have left processors unequal: make them equal. */
	processors_doubt();
	register_reboot_notifier(&end);
	pr_info("%u variable registers, %u address bits, %u processors\n", shape.variable, shape.width, num_online_cpus());
	return 0;
no_files:
	devices_leave();
no_devices:
	online_leave();
no_library:
	worker_stop();
no_worker:
	processors_stop();
	return error;
}

static void __exit pmem_arena_exit(void)
{
	unregister_reboot_notifier(&end);
	files_stop();
	devices_leave();
	online_leave();
	worker_stop();
	processors_stop();
	pr_info("unloaded\n");
}

module_init(pmem_arena_init);
module_exit(pmem_arena_exit);
MODULE_DESCRIPTION("Manager of physical address space: memory types through MTRRs");
MODULE_LICENSE("Dual MIT/GPL");
