// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* How processors change their registers together. */
#include "rendezvous.h"

void meeting_begin(struct meeting *meeting, const struct pmem_image *from, const struct pmem_image *to)
{
	meeting->from = from;
	meeting->to = to;
	atomic_set(&meeting->arrived, 0);
	atomic_set(&meeting->left, 0);
	atomic_set(&meeting->changed, 0);
	atomic_set(&meeting->failed, 0);
	atomic_set(&meeting->broken, 0);
}

/* A barrier: returns when `count` processors have called it. */
static void wait_for_all(atomic_t *gone, int count)
{
	atomic_inc(gone);
	while (atomic_read(gone) < count)
		cpu_relax();
	smp_mb();
}

/*
 * Changes this processor's registers from `now` to `to`, in the manual's steps: disable caches and flush them, disable global pages and
 * flush the TLB, write the registers; then flush both again, and enable what was enabled before. Returns the first register that was
 * refused, or 0.
 */
static u32 reprogram(const struct pmem_image *now, const struct pmem_image *to)
{
	unsigned long cr0 = cr0_get(), cr4;
	u32 bad;

	cr0_set((cr0 | CR0_CD) & ~CR0_NW);
	wbinvd_here();
	cr4 = cr4_get();
	if (cr4 & CR4_PGE)
		cr4_set(cr4 & ~CR4_PGE);
	cr3_reload();
	bad = registers_write(now, to);
	wbinvd_here();
	cr3_reload();
	cr0_set(cr0);
	if (cr4 & CR4_PGE)
		cr4_set(cr4);
	return bad;
}

/* Does that and reads the registers back. Returns whether all is well; if not, stores in `refused` where it is not. */
static bool bring(struct place *place, const struct pmem_image *to, struct pmem_difference *refused)
{
	u32 bad = reprogram(&place->here, to);
	bool differs;

	refused->msr = registers_read(&place->here);
	differs = registers_differ(&place->here, to, refused);
	if (bad && !differs) {
		/* A write was refused on the way, but in the end the registers have the right effect. Report what the register holds. */
		u64 held = 0;

		msr_read(bad, &held);
		refused->msr = bad;
		refused->here = refused->there = held;
	}
	return !bad && !differs && !refused->msr;
}

void meet(struct meeting *meeting, struct place *place, u32 cpu, int count, bool is_first)
{
	struct pmem_difference back;
	bool differs;

	memset(&place->differed, 0, sizeof(place->differed));
	memset(&place->refused, 0, sizeof(place->refused));
	differs = registers_read(&place->here) != 0;
	if (meeting->from)
		differs |= registers_differ(&place->here, meeting->from, &place->differed);
	place->differed.cpu = cpu;
	/* Others that differ do not stop the change: it makes them equal. */
	if (is_first && differs)
		atomic_set(&meeting->changed, 1);
	wait_for_all(&meeting->arrived, count);
	if (atomic_read(&meeting->changed))
		return;
	if (!bring(place, meeting->to, &place->refused))
		atomic_set(&meeting->failed, 1);
	place->refused.cpu = cpu;
	wait_for_all(&meeting->left, count);
	/* Every processor sees the same result here, because all have passed the second barrier. So either all go back or none. */
	if (!atomic_read(&meeting->failed) || !meeting->from)
		return;
	bring(place, meeting->from, &back);
	/* A refusal on the way back does not matter if the registers have the effect of `from` in the end. */
	if (registers_differ(&place->here, meeting->from, &back))
		atomic_set(&meeting->broken, 1);
}

int meeting_result(const struct meeting *meeting)
{
	if (atomic_read(&meeting->changed))
		return -EAGAIN;
	if (atomic_read(&meeting->broken))
		return -ENXIO;
	return atomic_read(&meeting->failed) ? -EIO : 0;
}
