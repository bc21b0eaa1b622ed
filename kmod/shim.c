// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/*
 * The shim of pmem_arena: what the Rust library cannot do itself. It reads and writes the registers, on all processors together;
 * gives memory; runs the library on one thread; and checks every request before the library sees it.
 */
#define pr_fmt(fmt) "pmem_arena: " fmt

#include <linux/capability.h>
#include <linux/cc_platform.h>
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/fs.h>
#include <linux/genalloc.h>
#include <linux/ioport.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/sched/task_stack.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/stop_machine.h>
#include <linux/syscore_ops.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/mtrr.h>
#include <asm/processor.h>

#include "shim.h"

/* Up to 6.18 the kernel exports its own copy of the registers, which it restores on a processor that comes online. */
#ifndef HAS_MTRR_STATE
#define HAS_MTRR_STATE (LINUX_VERSION_CODE < KERNEL_VERSION(6, 19, 0))
#endif
#if HAS_MTRR_STATE
extern struct mtrr_state_type mtrr_state;
#endif

#define MSR_DEF 0x2ff
#define MSR_CAP 0xfe
#define MSR_SYSCFG 0xc0010010
#define MSR_TOM 0xc001001a
#define MSR_TOM2 0xc001001d
#define DEF_E (1ull << 11)

static const u32 fixed_msrs[11] = {
	0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
};

static bool force;
module_param(force, bool, 0444);
MODULE_PARM_DESC(force, "load under a hypervisor, where MTRRs may have no effect");

static int fail_alloc;
module_param(fail_alloc, int, 0600);
MODULE_PARM_DESC(fail_alloc, "for tests: 1 makes the kernel's allocator fail, 2 the reserve as well");

static bool is_amd;
static unsigned int variable_count;

/* --- Memory ---------------------------------------------------------------------------------------------------------
 *
 * The library cannot be told that there is none. So there is a reserve, set aside at load, from which it is served when the
 * kernel has nothing left; and a request that could take more is refused with ENOMEM before it begins once half of the
 * reserve is in use. Half of it is many times what any request takes (`most_memory`), and giving back is never refused.
 */

#define RESERVE (4ul << 20)

static char *reserve;
static struct gen_pool *pool;
static u64 request_memory, most_memory;

void *pmem_shim_alloc(__u64 size, __u64 align)
{
	void *at = NULL;

	request_memory += size;
	if (request_memory > most_memory)
		most_memory = request_memory;
	/* kvmalloc's memory is aligned to 8, and to its size where that is a power of two. */
	if (!fail_alloc && align <= 8)
		at = kvmalloc(size, GFP_KERNEL | __GFP_NOWARN);
	if (at)
		return at;
	/* Its pieces are multiples of 64 bytes. */
	return align <= 64 && fail_alloc < 2 ? (void *)gen_pool_alloc(pool, size) : NULL;
}

void pmem_shim_free(void *at, __u64 size)
{
	request_memory -= min_t(u64, request_memory, size);
	if ((char *)at >= reserve && (char *)at < reserve + RESERVE) {
		gen_pool_free(pool, (unsigned long)at, size);
		return;
	}
	kvfree(at);
}

__u64 pmem_shim_most_memory(void)
{
	return most_memory;
}

__u32 pmem_shim_cpus(void)
{
	return num_online_cpus();
}

void pmem_shim_log(const char *text, __u64 len)
{
	pr_info("%.*s\n", (int)len, text);
}

/* --- The thread -----------------------------------------------------------------------------------------------------
 *
 * The library runs on a thread of its own: it has a stack to itself, and if it should panic, that thread ends, the caller
 * gets EIO, and so does everybody after it. Nothing unwinds, and no lock stays held.
 */

static DEFINE_MUTEX(lock); /* one request at a time */
static struct task_struct *worker;
static bool dead;

static struct {
	long (*run)(void *arg);
	void *arg;
	long result;
	struct completion begin, end;
} work;

/* The stack is filled with this before anything uses it, so that it can be seen how much did. */
#define UNUSED_STACK 0x5a5a5a5a5a5a5a5aul

static void paint_stack(void)
{
	unsigned long here, *at = end_of_stack(current) + 1;

	while (at < &here - 64)
		*at++ = UNUSED_STACK;
}

__u32 pmem_shim_most_stack(void)
{
	unsigned long *at = end_of_stack(worker) + 1;

	while (*at == UNUSED_STACK)
		at++;
	return THREAD_SIZE - ((char *)at - (char *)end_of_stack(worker));
}

static int worker_main(void *unused)
{
	paint_stack();
	for (;;) {
		/* Idle, and not to be taken for stuck: the thread takes no signals. */
		while (wait_for_completion_interruptible(&work.begin))
			;
		if (!work.run)
			break;
		work.result = work.run(work.arg);
		complete(&work.end);
	}
	complete(&work.end);
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

void pmem_shim_panic(const char *text, __u64 len)
{
	pr_crit("panic at %.*s: no further requests are taken, the registers stay as they are\n", (int)len, text);
	dead = true;
	work.result = -EIO;
	complete(&work.end);
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	kthread_complete_and_exit(NULL, 0);
}

/* Whether there is memory for a request that takes some. */
static bool has_memory(void)
{
	return gen_pool_avail(pool) >= RESERVE / 2;
}

/* Runs a function on the thread. Holds `lock`. */
static long call(long (*run)(void *arg), void *arg)
{
	if (dead)
		return -EIO;
	request_memory = 0;
	work.run = run;
	work.arg = arg;
	complete(&work.begin);
	wait_for_completion(&work.end);
	return work.result;
}

/* --- Registers ---------------------------------------------------------------------------------------------------- */

static int read_one(u32 msr, u64 *value)
{
	return rdmsrl_safe(msr, value);
}

/* What this processor holds. */
static int read_image(struct pmem_image *image)
{
	unsigned int i;
	int bad = 0;

	memset(image, 0, sizeof(*image));
	bad |= read_one(MSR_CAP, &image->cap);
	bad |= read_one(MSR_DEF, &image->def);
	for (i = 0; i < 11 && (image->cap & 0x100); i++)
		bad |= read_one(fixed_msrs[i], &image->fixed[i]);
	for (i = 0; i < variable_count; i++) {
		bad |= read_one(0x200 + 2 * i, &image->base[i]);
		bad |= read_one(0x201 + 2 * i, &image->mask[i]);
	}
	if (is_amd) {
		bad |= read_one(MSR_SYSCFG, &image->syscfg);
		bad |= read_one(MSR_TOM, &image->top_mem);
		bad |= read_one(MSR_TOM2, &image->top_mem2);
	}
	return bad;
}

static struct {
	struct pmem_image image;
	atomic_t differ;
} reading;

static void compare_here(void *unused)
{
	/* Not on the stack of an interrupt: 800 bytes. */
	static DEFINE_PER_CPU(struct pmem_image, here);
	struct pmem_image *mine = this_cpu_ptr(&here);

	if (read_image(mine) || memcmp(mine, &reading.image, sizeof(*mine)))
		atomic_set(&reading.differ, 1);
}

long pmem_shim_read(struct pmem_image *image)
{
	int bad;

	cpus_read_lock();
	preempt_disable();
	bad = read_image(&reading.image);
	atomic_set(&reading.differ, 0);
	preempt_enable();
	on_each_cpu(compare_here, NULL, 1);
	cpus_read_unlock();
	if (bad || atomic_read(&reading.differ))
		return -EIO;
	*image = reading.image;
	return 0;
}

/* --- The rendezvous: Intel SDM vol. 3A, section 13.11.8 ------------------------------------------------------------- */

static struct {
	const struct pmem_image *from, *to;
	atomic_t arrived, left, changed, failed, broken;
} meet;

static DEFINE_PER_CPU(struct pmem_image, live);

static void barrier_of_all(atomic_t *count)
{
	atomic_inc(count);
	/* Inside stop_machine none comes or goes. */
	while (atomic_read(count) < num_online_cpus())
		cpu_relax();
	smp_mb();
}

static unsigned long cr0_get(void)
{
	unsigned long value;

	asm volatile("mov %%cr0, %0" : "=r"(value)::"memory");
	return value;
}

static void cr0_set(unsigned long value)
{
	asm volatile("mov %0, %%cr0" ::"r"(value) : "memory");
}

static unsigned long cr4_get(void)
{
	unsigned long value;

	asm volatile("mov %%cr4, %0" : "=r"(value)::"memory");
	return value;
}

static void cr4_set(unsigned long value)
{
	asm volatile("mov %0, %%cr4" ::"r"(value) : "memory");
}

static void flush_tlb(void)
{
	unsigned long value;

	asm volatile("mov %%cr3, %0; mov %0, %%cr3" : "=&r"(value)::"memory");
}

static int write_changed(const struct pmem_image *now, const struct pmem_image *to)
{
	unsigned int i;
	int bad = 0;

	for (i = 0; i < 11; i++)
		if (now->fixed[i] != to->fixed[i])
			bad |= wrmsrl_safe(fixed_msrs[i], to->fixed[i]);
	for (i = 0; i < variable_count; i++) {
		if (now->base[i] == to->base[i] && now->mask[i] == to->mask[i])
			continue;
		if (now->mask[i] & DEF_E)
			bad |= wrmsrl_safe(0x201 + 2 * i, now->mask[i] & ~DEF_E);
		bad |= wrmsrl_safe(0x200 + 2 * i, to->base[i]);
		bad |= wrmsrl_safe(0x201 + 2 * i, to->mask[i]);
	}
	return bad;
}

/* Changes this processor's registers with its caches off. */
static int reprogram(const struct pmem_image *now, const struct pmem_image *to)
{
	unsigned long cr0 = cr0_get(), cr4;
	int bad = 0;

	cr0_set((cr0 | X86_CR0_CD) & ~X86_CR0_NW);
	asm volatile("wbinvd" ::: "memory");
	cr4 = cr4_get();
	if (cr4 & X86_CR4_PGE)
		cr4_set(cr4 & ~X86_CR4_PGE);
	flush_tlb();
	bad |= wrmsrl_safe(MSR_DEF, now->def & ~DEF_E);
	bad |= write_changed(now, to);
	bad |= wrmsrl_safe(MSR_DEF, to->def);
	asm volatile("wbinvd" ::: "memory");
	flush_tlb();
	cr0_set(cr0);
	if (cr4 & X86_CR4_PGE)
		cr4_set(cr4);
	return bad;
}

#if HAS_MTRR_STATE
static void tell_kernel(const struct pmem_image *to)
{
	unsigned int i;

	for (i = 0; i < variable_count && i < MTRR_MAX_VAR_RANGES; i++) {
		mtrr_state.var_ranges[i].base_lo = lower_32_bits(to->base[i]);
		mtrr_state.var_ranges[i].base_hi = upper_32_bits(to->base[i]);
		mtrr_state.var_ranges[i].mask_lo = lower_32_bits(to->mask[i]);
		mtrr_state.var_ranges[i].mask_hi = upper_32_bits(to->mask[i]);
	}
	BUILD_BUG_ON(sizeof(mtrr_state.fixed_ranges) != sizeof(to->fixed));
	memcpy(mtrr_state.fixed_ranges, to->fixed, sizeof(to->fixed));
	mtrr_state.def_type = to->def & 0xff;
	mtrr_state.enabled = (to->def & 0xc00) >> 10;
}
#else
static void tell_kernel(const struct pmem_image *to)
{
}
#endif

static int on_every_cpu(void *unused)
{
	struct pmem_image *here = this_cpu_ptr(&live);
	bool is_first = smp_processor_id() == cpumask_first(cpu_online_mask);

	if (read_image(here) || memcmp(here, meet.from, sizeof(*here)))
		atomic_set(&meet.changed, 1);
	barrier_of_all(&meet.arrived);
	if (atomic_read(&meet.changed))
		return 0;
	if (reprogram(meet.from, meet.to))
		atomic_set(&meet.failed, 1);
	if (read_image(here) || memcmp(here, meet.to, sizeof(*here)))
		atomic_set(&meet.failed, 1);
	barrier_of_all(&meet.left);
	if (atomic_read(&meet.failed)) {
		if (reprogram(here, meet.from) || read_image(here) || memcmp(here, meet.from, sizeof(*here)))
			atomic_set(&meet.broken, 1);
	}
	if (is_first && !atomic_read(&meet.failed))
		tell_kernel(meet.to);
	return 0;
}

long pmem_shim_program(const struct pmem_image *from, const struct pmem_image *to)
{
	meet.from = from;
	meet.to = to;
	atomic_set(&meet.arrived, 0);
	atomic_set(&meet.left, 0);
	atomic_set(&meet.changed, 0);
	atomic_set(&meet.failed, 0);
	atomic_set(&meet.broken, 0);
	stop_machine(on_every_cpu, NULL, cpu_online_mask);
	if (atomic_read(&meet.changed))
		return -EAGAIN;
	if (atomic_read(&meet.broken))
		return -ENXIO;
	return atomic_read(&meet.failed) ? -EIO : 0;
}

/* --- Requests ----------------------------------------------------------------------------------------------------- */

struct request {
	u32 op;
	void *arg;
	u64 session;
};

static long run_request(void *arg)
{
	struct request *request = arg;

	return pmem_arena_request(request->op, request->arg, request->session);
}

static long run_dump(void *arg)
{
	struct request *request = arg;

	return pmem_arena_dump(request->arg, request->session);
}

static long run_close(void *arg)
{
	return pmem_arena_close(*(u64 *)arg);
}

#if !HAS_MTRR_STATE
static long run_resync(void *unused)
{
	return pmem_arena_resync();
}
#endif

static long run_stop(void *unused)
{
	return pmem_arena_stop();
}

/* Whether a claim lies within one BAR, and no driver is bound to its device. */
static long check_bar(struct pmem_arena_region *region)
{
	struct pci_dev *dev = NULL;
	bool bound;
	int i;

	for_each_pci_dev(dev) {
		for (i = 0; i < PCI_STD_NUM_BARS; i++) {
			struct resource *bar = &dev->resource[i];

			if (!(bar->flags & IORESOURCE_MEM) || !bar->parent || bar->start > region->start ||
			    bar->end < region->last)
				continue;
			device_lock(&dev->dev);
			bound = dev->driver && !(region->flags & PMEM_ARENA_FORCE);
			if (bound)
				snprintf(region->why, sizeof(region->why), "driver %s is bound to %s", dev->driver->name,
					 pci_name(dev));
			device_unlock(&dev->dev);
			pci_dev_put(dev);
			return bound ? -EBUSY : 0;
		}
	}
	snprintf(region->why, sizeof(region->why), "not within one BAR of a PCI function");
	return -EINVAL;
}

/* Puts in where a claim is. */
static long find(struct pmem_arena_region *region, u64 session)
{
	struct request request = { PMEM_OP_FIND, region, session };

	return call(run_request, &request);
}

static long dump(struct pmem_arena_text *text, u64 session)
{
	struct request request = { 0 };
	long done;

	if (!text->len || text->len > 65536)
		return -EINVAL;
	request.arg = kvzalloc(text->len, GFP_KERNEL);
	if (!request.arg)
		return -ENOMEM;
	request.session = text->len;
	mutex_lock(&lock);
	done = has_memory() ? call(run_dump, &request) : -ENOMEM;
	mutex_unlock(&lock);
	if (done >= 0) {
		text->len = done;
		if (copy_to_user(u64_to_user_ptr(text->buffer), request.arg, done))
			done = -EFAULT;
	}
	kvfree(request.arg);
	return done < 0 ? done : 0;
}

static long device_ioctl(struct file *file, unsigned int command, unsigned long user)
{
	union {
		struct pmem_arena_head head;
		struct pmem_arena_info info;
		struct pmem_arena_span span;
		struct pmem_arena_region region;
		struct pmem_arena_text text;
	} *arg;
	static const struct {
		unsigned int command;
		u32 op;
	} commands[] = {
		{ PMEM_ARENA_INFO, PMEM_OP_INFO },	 { PMEM_ARENA_SPAN, PMEM_OP_SPAN },
		{ PMEM_ARENA_REGION, PMEM_OP_REGION },	 { PMEM_ARENA_ALLOC, PMEM_OP_ALLOC },
		{ PMEM_ARENA_SET, PMEM_OP_SET },	 { PMEM_ARENA_RELEASE, PMEM_OP_RELEASE },
		{ PMEM_ARENA_PLAN, PMEM_OP_PLAN },	 { PMEM_ARENA_DUMP, ~0u },
	};
	struct request request = { .session = (u64)(unsigned long)file->private_data };
	size_t size = _IOC_SIZE(command);
	unsigned int i;
	long done;

	for (i = 0; i < ARRAY_SIZE(commands) && commands[i].command != command; i++)
		;
	if (i == ARRAY_SIZE(commands))
		return -ENOTTY;
	if (security_locked_down(LOCKDOWN_MSR))
		return -EPERM;
	arg = kzalloc(sizeof(*arg), GFP_KERNEL);
	if (!arg)
		return -ENOMEM;
	done = -EFAULT;
	if (copy_from_user(arg, (void __user *)user, size))
		goto out;
	done = -EINVAL;
	if (arg->head.version != PMEM_ARENA_VERSION || arg->head.size != size)
		goto out;
	if (command == PMEM_ARENA_DUMP) {
		done = dump(&arg->text, request.session);
	} else {
		request.op = commands[i].op;
		request.arg = arg;
		mutex_lock(&lock);
		done = has_memory() || request.op == PMEM_OP_RELEASE ? 0 : -ENOMEM;
		if (!done && request.op >= PMEM_OP_ALLOC) {
			memset(arg->region.why, 0, sizeof(arg->region.why));
			if (arg->region.flags & ~PMEM_ARENA_FORCE)
				done = -EINVAL;
			else if (request.op == PMEM_OP_SET)
				done = find(&arg->region, request.session);
			if (!done && request.op != PMEM_OP_RELEASE)
				done = check_bar(&arg->region);
		}
		if (!done)
			done = call(run_request, &request);
		mutex_unlock(&lock);
	}
	if (copy_to_user((void __user *)user, arg, size) && !done)
		done = -EFAULT;
out:
	kfree(arg);
	return done;
}

static int device_open(struct inode *inode, struct file *file)
{
	static atomic64_t next = ATOMIC64_INIT(0);

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (security_locked_down(LOCKDOWN_MSR))
		return -EPERM;
	file->private_data = (void *)(unsigned long)atomic64_inc_return(&next);
	return 0;
}

static int device_release(struct inode *inode, struct file *file)
{
	u64 session = (u64)(unsigned long)file->private_data;

	mutex_lock(&lock);
	call(run_close, &session);
	mutex_unlock(&lock);
	return 0;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "pmem_arena",
	.fops = &operations,
	.mode = 0600,
};

/* --- Load and unload ------------------------------------------------------------------------------------------------ */

#define MOST_SPANS 256

struct spans {
	struct pmem_span all[MOST_SPANS];
	unsigned int count;
};

static int take_span(struct resource *resource, void *arg)
{
	struct spans *spans = arg;
	u32 kind = 2;

	if (spans->count == MOST_SPANS)
		return -E2BIG;
	if ((resource->flags & IORESOURCE_SYSTEM_RAM) == IORESOURCE_SYSTEM_RAM)
		kind = 1;
	else if (resource->name && !strncmp(resource->name, "PCI Bus", 7))
		kind = 4;
	spans->all[spans->count++] = (struct pmem_span){ resource->start, resource->end, kind, 0 };
	return 0;
}

static long run_start(void *arg)
{
	struct spans *spans = arg;
	struct resource *at;

	/* At load nothing is plugged in or out: the children of the root stay. */
	for (at = iomem_resource.child; at; at = at->sibling) {
		long error = take_span(at, spans);

		/* What is not taken in could be taken for nothing. */
		if (error)
			return error;
	}
	return pmem_arena_start(boot_cpu_data.x86_phys_bits, is_amd, spans->all, spans->count);
}

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
		pr_err("the kernel is locked down: registers are not to be written\n");
		return -EPERM;
	}
	if (rdmsrl_safe(MSR_DEF, &def) || !(def & DEF_E)) {
		pr_err("MTRRs are switched off, and stay so\n");
		return -ENODEV;
	}
	if (boot_cpu_has(X86_FEATURE_HYPERVISOR)) {
		if (!force) {
			pr_err("this is a virtual machine, where MTRRs may have no effect: force=1 loads all the same\n");
			return -ENODEV;
		}
		pr_warn("this is a virtual machine: MTRRs may have no effect\n");
	}
	return 0;
}

#if !HAS_MTRR_STATE
/* The kernel has just restored what it believes in on the new processor. */
static struct pmem_image reference;

/* Gives a processor that differs what the first one has. */
static int follow_first(void *unused)
{
	struct pmem_image *here = this_cpu_ptr(&live);

	if (smp_processor_id() == cpumask_first(cpu_online_mask))
		read_image(&reference);
	barrier_of_all(&meet.arrived);
	if (!read_image(here) && memcmp(here, &reference, sizeof(*here)))
		reprogram(here, &reference);
	return 0;
}

static void resync_later(struct work_struct *unused)
{
	mutex_lock(&lock);
	atomic_set(&meet.arrived, 0);
	stop_machine(follow_first, NULL, cpu_online_mask);
	call(run_resync, NULL);
	mutex_unlock(&lock);
}

static DECLARE_WORK(resync_work, resync_later);

/* The caller holds the lock of hot-plug, which reading and programming take. */
static int cpu_is_online(unsigned int cpu)
{
	schedule_work(&resync_work);
	return 0;
}

static void resume(void)
{
	schedule_work(&resync_work);
}

static struct syscore_ops on_resume = { .resume = resume };
static int hotplug_state;
#endif

static void stop_worker(void)
{
	if (!dead) {
		work.run = NULL;
		complete(&work.begin);
		wait_for_completion(&work.end);
	}
	kthread_stop(worker);
	put_task_struct(worker);
}

static void free_reserve(void)
{
	/* After a panic some of it may still be in use; the pool would not go then. */
	if (pool && gen_pool_avail(pool) == gen_pool_size(pool))
		gen_pool_destroy(pool);
	vfree(reserve);
}

static int __init pmem_arena_init(void)
{
	struct spans *spans;
	bool started;
	u64 cap;
	int error = may_load();

	if (error)
		return error;
	if (rdmsrl_safe(MSR_CAP, &cap))
		return -ENODEV;
	variable_count = min_t(unsigned int, cap & 0xff, PMEM_ARENA_VARIABLE);
	is_amd = boot_cpu_data.x86_vendor == X86_VENDOR_AMD || boot_cpu_data.x86_vendor == X86_VENDOR_HYGON;
	reserve = vmalloc(RESERVE);
	pool = gen_pool_create(6, -1);
	spans = kvzalloc(sizeof(*spans), GFP_KERNEL);
	error = -ENOMEM;
	if (!reserve || !spans || !pool || gen_pool_add(pool, (unsigned long)reserve, RESERVE, -1))
		goto no_memory;
	init_completion(&work.begin);
	init_completion(&work.end);
	worker = kthread_run(worker_main, NULL, "pmem_arena");
	if (IS_ERR(worker)) {
		error = PTR_ERR(worker);
		goto no_memory;
	}
	get_task_struct(worker);
	mutex_lock(&lock);
	error = call(run_start, spans);
	mutex_unlock(&lock);
	started = !error;
	if (!error)
		error = misc_register(&device);
#if !HAS_MTRR_STATE
	if (!error) {
		hotplug_state = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "x86/pmem_arena:online", cpu_is_online, NULL);
		if (hotplug_state < 0) {
			error = hotplug_state;
			misc_deregister(&device);
		} else {
			register_syscore_ops(&on_resume);
		}
	}
#endif
	if (error) {
		if (started) {
			mutex_lock(&lock);
			call(run_stop, NULL);
			mutex_unlock(&lock);
		}
		stop_worker();
		goto no_memory;
	}
	kvfree(spans);
	pr_info("%u variable registers, %u address bits, %u processors\n", variable_count,
		boot_cpu_data.x86_phys_bits, num_online_cpus());
	return 0;
no_memory:
	kvfree(spans);
	free_reserve();
	return error;
}

static void __exit pmem_arena_exit(void)
{
#if !HAS_MTRR_STATE
	unregister_syscore_ops(&on_resume);
	cpuhp_remove_state_nocalls(hotplug_state);
	cancel_work_sync(&resync_work);
#endif
	misc_deregister(&device);
	mutex_lock(&lock);
	call(run_stop, NULL);
	mutex_unlock(&lock);
	stop_worker();
	free_reserve();
	pr_info("unloaded\n");
}

module_init(pmem_arena_init);
module_exit(pmem_arena_exit);
MODULE_DESCRIPTION("A manager of physical address space: memory types by MTRRs");
MODULE_LICENSE("Dual MIT/GPL");
