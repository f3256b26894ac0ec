/* SPDX-License-Identifier: MIT */
/* Walking over all blocks: for the dead, and for counts. */
#include "mem/block.h"

#include "mem/share.h"
#include "mem/slot.h"
#include "mem/span.h"
#include "os/atomic.h"

static struct ft__block *block_in(uint64_t index, uint64_t at)
{
	return (struct ft__block *)(ft__span_data(index) + at);
}

static uint64_t load_span(uint64_t index)
{
	/* Acquire: pairs with the stores that commit a span. */
	return ft__load64_acquire(&ft__arena.span[index]);
}

void ft__block_walk(ft__block_visit *visit, void *ctx)
{
	uint64_t high = FT__LOAD_POINTER(&ft__arena.base) ? ft__spans_high() : 0;

	for (uint64_t i = 0; i < high; i++) {
		uint64_t word = load_span(i), operand = FT__WORD_OWNER(word);

		if (FT__WORD_STATE(word) == FT__SPAN_RUN) {
			visit(ctx, block_in(i, 0),
			      (operand << FT__SPAN_SHIFT) - sizeof(struct ft__block));
			continue;
		}
		if (FT__WORD_STATE(word) != FT__SPAN_CLASS || operand >= FT__CLASSES)
			continue;

		uint64_t size = ft__class_size((uint32_t)operand);

		for (uint64_t at = 0; at < FT__SPAN; at += size)
			visit(ctx, block_in(i, at), size - sizeof(struct ft__block));
	}
}

struct counting {
	uint32_t owner;
	uint64_t blocks;
};

static void count_one(void *ctx, struct ft__block *block, uint64_t room)
{
	struct counting *counting = ctx;
	uint64_t word = ft__load64_relaxed(&block->word);
	uint32_t state = FT__WORD_STATE(word);

	(void)room;
	if (state == FT__BLOCK_FREE || state == FT__BLOCK_SHARED || state == FT__BLOCK_PAGE)
		return;
	if (counting->owner ? FT__WORD_OWNER(word) == counting->owner : state == FT__BLOCK_HELD)
		counting->blocks++;
}

uint64_t ft__block_count(uint32_t owner)
{
	struct counting counting = { .owner = owner };

	ft__block_walk(count_one, &counting);
	return counting.blocks;
}

struct sweeping {
	uint32_t dead, me;
	ft__block_linked *linked;
	uint64_t freed;
	bool shares; /* there are SHARED blocks, or PAGEs */
	bool ends;   /* there is what the dead has to end, or was ending */
};

static bool has_queue(const struct ft__block *block)
{
	return ft__load64_relaxed(&block->size) & FT__BLOCK_QUEUED;
}

/* In no home: what its owner was about to give or to take is the dead's alone.  Fails
 * if somebody took it meanwhile. */
static bool owned_again(struct ft__block *block, uint64_t seen, uint32_t dead)
{
	return ft__cas64_seq_cst(&block->word, &seen,
				 ft__word(FT__BLOCK_OWNED, dead, FT__WORD_GENERATION(seen)));
}

/* What the table in block.h says happens after a death.  True: it is free. */
static bool settle(struct sweeping *sweeping, struct ft__block *block)
{
	/* Acquire: pairs with the dead one's last step. */
	uint64_t seen = ft__load64_acquire(&block->word);
	uint32_t state = FT__WORD_STATE(seen), generation = FT__WORD_GENERATION(seen);

	if (state == FT__BLOCK_FREE)
		return true;
	if (state == FT__BLOCK_SHARED || state == FT__BLOCK_PAGE) {
		sweeping->shares = true;
		return false;
	}
	if (FT__WORD_OWNER(seen) != sweeping->dead)
		return false;
	if (state == FT__BLOCK_ENDING || (state == FT__BLOCK_OWNED && has_queue(block))) {
		sweeping->ends = true;
		return false;
	}
	if ((state == FT__BLOCK_GIVING || state == FT__BLOCK_TAKING) && sweeping->linked &&
	    sweeping->linked(ft__load64_relaxed(&block->home), block)) {
		ft__cas64_seq_cst(&block->word, &seen, ft__word(FT__BLOCK_HELD, 0, generation));
		return false;
	}
	if (has_queue(block)) {
		sweeping->ends |= owned_again(block, seen, sweeping->dead);
		return false;
	}
	/* Fails if somebody took it out of its home meanwhile. */
	if (!ft__cas64_seq_cst(&block->word, &seen, ft__word(FT__BLOCK_FREE, 0, generation + 1)))
		return false;
	sweeping->freed++;
	return true;
}

static void sweep_class(struct sweeping *sweeping, uint64_t index, uint32_t class)
{
	uint64_t size = ft__class_size(class);
	bool room = false;

	for (uint64_t at = 0; at < FT__SPAN; at += size)
		room |= settle(sweeping, block_in(index, at));
	/* The dead may have been the only one who knew. */
	if (room)
		ft__hint_set(class, index);
}

static void settle_end(void *ctx, struct ft__block *block, uint64_t room)
{
	(void)room;
	ft__share_resume(block, ((struct sweeping *)ctx)->dead);
}

static void settle_share(void *ctx, struct ft__block *block, uint64_t room)
{
	(void)room;
	ft__share_settle(block, ((struct sweeping *)ctx)->dead);
}

uint64_t ft__block_sweep(uint32_t dead, ft__block_linked *linked)
{
	struct sweeping sweeping = { .dead = dead, .me = ft__process(), .linked = linked };

	if (!dead || !sweeping.me)
		return 0;

	ft__share_sweep(dead);

	uint64_t high = ft__spans_high();

	for (uint64_t i = 0; i < high; i++) {
		uint64_t word = load_span(i), operand = FT__WORD_OWNER(word);

		if (FT__WORD_STATE(word) == FT__SPAN_CLASS && operand < FT__CLASSES)
			sweep_class(&sweeping, i, (uint32_t)operand);
		/* A free block in a run: its owner died, now or long ago, before
		 * it could take the run apart. */
		else if (FT__WORD_STATE(word) == FT__SPAN_RUN && settle(&sweeping, block_in(i, 0)))
			ft__span_unrun(i, word, sweeping.me);
	}
	if (sweeping.ends)
		ft__block_walk(settle_end, &sweeping);
	/* What was carried by a block that is free now is let go here, too, and what
	 * lost its block is freed: pages of one whose end was cut short. */
	if (sweeping.shares || sweeping.ends)
		ft__block_walk(settle_share, &sweeping);
	ft__span_sweep(dead);
	return sweeping.freed;
}
