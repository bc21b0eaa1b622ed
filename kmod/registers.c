// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* The MTRRs of one processor, and a record of what was written to them. */
#include "registers.h"

struct shape shape;

#define FIXED 11

static const u32 fixed_msrs[FIXED] = {
	0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
};

/* Reads one register. Stores in `bad` the number of the first that cannot be read. */
static void read_one(u32 msr, __u64 *value, u32 *bad)
{
	u64 read = 0;

	if (msr_read(msr, &read) && !*bad)
		*bad = msr;
	*value = read;
}

u32 registers_read(struct pmem_image *image)
{
	u32 i, bad = 0, unneeded = 0;

	memset(image, 0, sizeof(*image));
	read_one(MSR_CAP, &image->cap, &bad);
	read_one(MSR_DEF, &image->def, &bad);
	for (i = 0; i < FIXED && (image->cap & 0x100); i++)
		read_one(fixed_msrs[i], &image->fixed[i], &bad);
	for (i = 0; i < shape.variable; i++) {
		read_one(MSR_BASE(i), &image->base[i], &bad);
		read_one(MSR_MASK(i), &image->mask[i], &bad);
	}
	if (shape.is_amd) {
		/* Guests may lack these. They are only read, and none is required. */
		read_one(MSR_SYSCFG, &image->syscfg, &unneeded);
		read_one(MSR_TOM, &image->top_mem, &unneeded);
		read_one(MSR_TOM2, &image->top_mem2, &unneeded);
	}
	return bad;
}

/* Writes one register. Stores in `bad` the number of the first that was refused. */
static void write_one(u32 msr, u64 value, u32 *bad)
{
	if (msr_write(msr, value) && !*bad)
		*bad = msr;
}

u32 registers_write(const struct pmem_image *now, const struct pmem_image *to)
{
	u32 i, bad = 0;

	write_one(MSR_DEF, now->def & ~REGISTER_ON, &bad);
	for (i = 0; i < FIXED; i++)
		if (now->fixed[i] != to->fixed[i])
			write_one(fixed_msrs[i], to->fixed[i], &bad);
	for (i = 0; i < shape.variable; i++) {
		if (now->base[i] == to->base[i] && now->mask[i] == to->mask[i])
			continue;
		/* Clear V first: a register must not be valid with a new base and its old mask. */
		if (now->mask[i] & REGISTER_ON)
			write_one(MSR_MASK(i), now->mask[i] & ~REGISTER_ON, &bad);
		write_one(MSR_BASE(i), to->base[i], &bad);
		write_one(MSR_MASK(i), to->mask[i], &bad);
	}
	write_one(MSR_DEF, to->def, &bad);
	return bad;
}

bool registers_differ(const struct pmem_image *here, const struct pmem_image *wanted, struct pmem_difference *difference)
{
	return pmem_arena_differ(here, wanted, shape.width, difference);
}

/* Records a write to one register. Returns whether the register must be given back from now on. */
static bool note(bool is_ours, u64 from, u64 to, __u64 *former, __u64 *value)
{
	if (from == to)
		return is_ours;
	/* The former value is what the register held before it was ours, or what somebody else has written since. */
	if (!is_ours || from != *value)
		*former = from;
	*value = to;
	return to != *former;
}

/* Likewise for base and mask of a variable register, which count as one register. */
static bool note_pair(struct written *written, const struct pmem_image *from, const struct pmem_image *to, u32 n)
{
	struct pmem_image *former = &written->former, *value = &written->value;
	bool is_ours = written->variable >> n & 1;

	if (from->base[n] == to->base[n] && from->mask[n] == to->mask[n])
		return is_ours;
	if (!is_ours || from->base[n] != value->base[n] || from->mask[n] != value->mask[n]) {
		former->base[n] = from->base[n];
		former->mask[n] = from->mask[n];
	}
	value->base[n] = to->base[n];
	value->mask[n] = to->mask[n];
	return to->base[n] != former->base[n] || to->mask[n] != former->mask[n];
}

void written_note(struct written *written, const struct pmem_image *from, const struct pmem_image *to)
{
	u32 i;

	for (i = 0; i < FIXED; i++) {
		bool is_ours = note(written->fixed >> i & 1, from->fixed[i], to->fixed[i], &written->former.fixed[i],
				    &written->value.fixed[i]);

		written->fixed = (written->fixed & ~(1u << i)) | (u32)is_ours << i;
	}
	for (i = 0; i < shape.variable; i++) {
		bool is_ours = note_pair(written, from, to, i);

		written->variable = (written->variable & ~(1ull << i)) | (u64)is_ours << i;
	}
	written->def = note(written->def, from->def, to->def, &written->former.def, &written->value.def);
}

static bool has_pair(const struct pmem_image *image, u64 base, u64 mask)
{
	u32 i;

	for (i = 0; i < shape.variable; i++)
		if (image->base[i] == base && image->mask[i] == mask)
			return true;
	return false;
}

/*
 * Returns whether a valid pair was there at load, and `to` no longer has it in any register. That happens when somebody took its register
 * and the module moved it to another one, which is now given back.
 */
static bool is_displaced(const struct pmem_image *load, const struct pmem_image *to, u64 base, u64 mask)
{
	return (mask & REGISTER_ON) && has_pair(load, base, mask) && !has_pair(to, base, mask);
}

bool written_back(const struct written *written, const struct pmem_image *now, struct pmem_image *to)
{
	const struct pmem_image *former = &written->former, *value = &written->value;
	u32 i;

	*to = *now;
	for (i = 0; i < FIXED; i++)
		if ((written->fixed >> i & 1) && now->fixed[i] == value->fixed[i])
			to->fixed[i] = former->fixed[i];
	for (i = 0; i < shape.variable; i++)
		if ((written->variable >> i & 1) && now->base[i] == value->base[i] && now->mask[i] == value->mask[i]) {
			to->base[i] = former->base[i];
			to->mask[i] = former->mask[i];
		}
	/* Then keep it where it is, unless the former value is needed there. */
	for (i = 0; i < shape.variable; i++)
		if (is_displaced(&written->load, to, now->base[i], now->mask[i]) && !(to->mask[i] & REGISTER_ON)) {
			to->base[i] = now->base[i];
			to->mask[i] = now->mask[i];
		}
	if (written->def && now->def == value->def)
		to->def = former->def;
	return memcmp(to, now, sizeof(*to)) != 0;
}
