/* SPDX-License-Identifier: MIT */
/* Looking the whole arena over. */
#include <freethreading/arena.h>

#include <errno.h>

#include "mem/hold.h"
#include "mem/slot.h"
#include "mem/span.h"
#include "os/atomic.h"

struct checking {
	uint64_t where; /* offset of the first wrong block; 0: none */
	uint64_t blocks;
};

static uint64_t span_at(uint64_t index)
{
	/* Acquire: pairs with the stores that commit a span. */
	return ft__load64_acquire(&ft__arena.span[index]);
}

static void wrong(struct checking *checking, const void *at)
{
	if (!checking->where)
		checking->where = ft__offset(at);
}

static bool block_is_right(const struct ft__block *block, uint64_t room)
{
	/* Acquire: pairs with the owner's step; its fields were written before. */
	uint64_t word = ft__load64_acquire(&block->word);
	uint32_t owner = FT__WORD_OWNER(word);
	void *home;

	switch (FT__WORD_STATE(word)) {
	case FT__BLOCK_FREE:
		return owner == 0;
	case FT__BLOCK_OWNED:
		return ft__slot_alive(owner) && ft__block_bytes(block) <= room;
	case FT__BLOCK_GIVING:
	case FT__BLOCK_TAKING:
		return ft__slot_alive(owner) && ft__at(ft__load64_relaxed(&block->home), 1);
	case FT__BLOCK_HELD:
		return owner == 0 && ft__at(ft__load64_relaxed(&block->home), 1);
	case FT__BLOCK_SHARED:
		return ft__block_bytes(block) <= room && ft__hold_count(block) > 0;
	case FT__BLOCK_ENDING:
		return ft__slot_alive(owner);
	case FT__BLOCK_PAGE:
		return (owner == 0 || ft__slot_alive(owner)) &&
		       ft_block_at(ft__load64_relaxed(&block->home), &home) == 0;
	default:
		return false;
	}
}

static void check_block(void *ctx, struct ft__block *block, uint64_t room)
{
	if (!block_is_right(block, room))
		wrong(ctx, block);
}

/* A run: its block is in use and of the same generation, its RESTs follow. */
static bool run_is_right(uint64_t index, uint64_t word)
{
	uint64_t length = FT__WORD_OWNER(word);
	const struct ft__block *block = (const struct ft__block *)ft__span_data(index);
	uint64_t inside = ft__load64_acquire(&block->word); /* pairs: block_is_right */

	if (length == 0 || length > ft__spans_high() - index ||
	    FT__WORD_STATE(inside) == FT__BLOCK_FREE ||
	    FT__WORD_GENERATION(inside) != FT__WORD_GENERATION(word))
		return false;
	for (uint64_t i = index + 1; i < index + length; i++)
		if (FT__WORD_STATE(span_at(i)) != FT__SPAN_REST ||
		    FT__WORD_OWNER(span_at(i)) != index)
			return false;
	return true;
}

static bool rest_is_right(uint64_t index, uint64_t word)
{
	uint64_t head = FT__WORD_OWNER(word);

	if (head >= index)
		return false;

	uint64_t run = span_at(head);

	return FT__WORD_STATE(run) == FT__SPAN_RUN && index - head < FT__WORD_OWNER(run);
}

/* CLAIM is for the moment of an allocation, and this is for quiet arenas. */
static bool span_is_right(uint64_t index, uint64_t word)
{
	switch (FT__WORD_STATE(word)) {
	case FT__SPAN_FREE:
		return FT__WORD_OWNER(word) == 0;
	case FT__SPAN_CLASS:
		return FT__WORD_OWNER(word) < FT__CLASSES;
	case FT__SPAN_RUN:
		return run_is_right(index, word);
	case FT__SPAN_REST:
		return rest_is_right(index, word);
	default:
		return false;
	}
}

int ft_arena_check(uint64_t *where)
{
	struct checking checking = { 0 };
	int rc = ft__arena_ready();

	if (rc != 0)
		return rc;

	uint64_t high = ft__spans_high();

	if (ft__load32_relaxed(&ft__arena.header->spans_high) > ft__arena.spans)
		return -EUCLEAN;
	for (uint64_t i = 0; i < high; i++)
		if (!span_is_right(i, span_at(i)))
			wrong(&checking, ft__span_data(i));
	ft__block_walk(check_block, &checking);
	if (where)
		*where = checking.where;
	return checking.where ? -EUCLEAN : 0;
}

static void count_block(void *ctx, struct ft__block *block, uint64_t room)
{
	struct checking *checking = ctx;
	uint32_t state = FT__WORD_STATE(ft__load64_relaxed(&block->word));

	(void)room;
	checking->blocks += state != FT__BLOCK_FREE && state != FT__BLOCK_PAGE;
}

int ft_arena_info(struct ft_arena_info *info)
{
	struct checking counting = { 0 };

	if (!info)
		return -EINVAL;

	int rc = ft__arena_ready();

	if (rc != 0)
		return rc;

	uint64_t used = ft__spans_high();

	while (used && FT__WORD_STATE(span_at(used - 1)) == FT__SPAN_FREE)
		used--;
	ft__block_walk(count_block, &counting);
	*info = (struct ft_arena_info){
		.size = ft__arena.size,
		.used = (uint64_t)(ft__span_data(used) - ft__arena.base),
		.blocks = counting.blocks,
		.slots = ft__slot_count(),
		.generation = FT__ARENA_ABI,
	};
	return 0;
}
