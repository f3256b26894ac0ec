/* SPDX-License-Identifier: MIT */
/* Taking, giving back and naming blocks. */
#include "mem/block.h"

#include <errno.h>

#include "mem/cache.h"
#include "mem/share.h"
#include "mem/slot.h"
#include "mem/span.h"
#include "os/atomic.h"

#define GENERATION_MASK UINT64_C(0x3fffffff)

/* The block that starts `offset` bytes into the data, by its span's word. */
static struct ft__block *find(uint64_t offset, uint64_t *span)
{
	uint64_t index = offset >> FT__SPAN_SHIFT;

	if (index >= ft__spans_high())
		return NULL;
	/* Acquire: pairs with the stores that commit a span. */
	*span = ft__load64_acquire(&ft__arena.span[index]);

	uint64_t size = FT__SPAN;
	uint32_t class = FT__WORD_OWNER(*span);

	if (FT__WORD_STATE(*span) == FT__SPAN_CLASS && class < FT__CLASSES)
		size = ft__class_size(class);
	else if (FT__WORD_STATE(*span) != FT__SPAN_RUN)
		return NULL;
	return offset % size ? NULL : (struct ft__block *)(ft__arena.data + offset);
}

struct ft__block *ft__block_find(const void *payload, uint64_t *span)
{
	/* Pairs with publish() in arena.c. */
	if (!FT__LOAD_POINTER(&ft__arena.base))
		return NULL;
	/* Wraps round below the data, and is then beyond every span. */
	return find((uintptr_t)payload - sizeof(struct ft__block) - (uintptr_t)ft__arena.data,
		    span);
}

struct ft__block *ft__block_of(const void *payload)
{
	uint64_t span;

	return ft__block_find(payload, &span);
}

struct ft__block *ft__block_at_offset(uint64_t offset)
{
	if (!FT__LOAD_POINTER(&ft__arena.base)) /* pairs with publish() in arena.c */
		return NULL;
	return ft__block_of(ft__arena.base + (offset < ft__arena.size ? offset : 0) +
			    sizeof(struct ft__block));
}

/* Where the block begins that has this place of the data in it, by the words of its
 * spans.  Beyond every span: there is none. */
static uint64_t beginning(uint64_t offset)
{
	uint64_t index = offset >> FT__SPAN_SHIFT;
	/* Acquire: pairs with the stores that commit a span. */
	uint64_t span = ft__load64_acquire(&ft__arena.span[index]);
	uint32_t operand = FT__WORD_OWNER(span);

	if (FT__WORD_STATE(span) == FT__SPAN_CLASS && operand < FT__CLASSES)
		return offset & ~(ft__class_size(operand) - 1);
	if (FT__WORD_STATE(span) == FT__SPAN_REST)
		return (uint64_t)operand << FT__SPAN_SHIFT;
	return FT__WORD_STATE(span) == FT__SPAN_RUN ? index << FT__SPAN_SHIFT : UINT64_MAX;
}

bool ft__block_gone(const void *inside)
{
	struct ft__block *block;
	uint64_t offset, span;

	/* Pairs with publish() in arena.c. */
	if (!FT__LOAD_POINTER(&ft__arena.base))
		return false;
	/* Wraps round below the data, and is then beyond every span. */
	offset = (uintptr_t)inside - (uintptr_t)ft__arena.data;
	if (offset >> FT__SPAN_SHIFT >= ft__spans_high())
		return false;
	block = find(beginning(offset), &span);
	return !block || FT__WORD_STATE(ft__load64_relaxed(&block->word)) == FT__BLOCK_FREE;
}

uint64_t ft__block_room(uint64_t span)
{
	uint64_t size = FT__WORD_STATE(span) == FT__SPAN_RUN
				? (uint64_t)FT__WORD_OWNER(span) << FT__SPAN_SHIFT
				: ft__class_size(FT__WORD_OWNER(span));

	return size - sizeof(struct ft__block);
}

static uint64_t freed(uint64_t word)
{
	/* The generation is the highest field: its carry falls off. */
	return ft__word(FT__BLOCK_FREE, 0, FT__WORD_GENERATION(word) + 1);
}

static bool word_is(uint64_t word, uint32_t state, uint32_t owner)
{
	return FT__WORD_STATE(word) == state && FT__WORD_OWNER(word) == owner;
}

/* FREE -> OWNED(me). */
static bool own(struct ft__block *block, uint32_t me)
{
	uint64_t seen = ft__load64_relaxed(&block->word);

	/* Acquire: pairs with the CAS that freed it. */
	return FT__WORD_STATE(seen) == FT__BLOCK_FREE &&
	       ft__cas64_acquire(&block->word, &seen,
				 ft__word(FT__BLOCK_OWNED, me, FT__WORD_GENERATION(seen)));
}

static struct ft__block *alloc_small(struct ft__cache *cache, uint32_t class)
{
	struct ft__magazine *mag = &cache->magazine[class];

	for (;;) {
		if (FT__UNLIKELY(mag->count == 0) && ft__cache_fill(cache, class) != 0)
			return NULL;

		struct ft__block *block = mag->free[--mag->count];

		if (FT__LIKELY(own(block, cache->me)))
			return block;
	}
}

int ft_block_alloc(size_t size, void **payload)
{
	struct ft__cache *cache;
	struct ft__block *block;
	uint64_t whole = (uint64_t)size + sizeof(struct ft__block);

	if (!payload || size == 0 || size > FT__ARENA_MAX)
		return -EINVAL;

	int rc = ft__cache(&cache);

	if (FT__UNLIKELY(rc != 0))
		return rc;
	if (FT__LIKELY(whole <= FT__CLASS_MAX))
		block = alloc_small(cache, ft__class_of(whole));
	else
		block = ft__span_run((whole + FT__SPAN - 1) >> FT__SPAN_SHIFT, cache->me);
	if (FT__UNLIKELY(!block))
		return -ENOMEM;
	ft__store64_relaxed(&block->size, size);
	*payload = ft__block_payload(block);
	return 0;
}

/* OWNED(me) -> FREE.  Of two frees at once only one gets through. */
static int disown(struct ft__block *block, uint32_t me)
{
	uint64_t seen = ft__load64_relaxed(&block->word);

	if (FT__WORD_STATE(seen) == FT__BLOCK_FREE)
		return -EINVAL;
	if (!word_is(seen, FT__BLOCK_OWNED, me))
		return -EPERM;
	/* Release: pairs with own(); what we did with it is done. */
	return ft__cas64_release(&block->word, &seen, freed(seen)) ? 0 : -EINVAL;
}

/* A block that was freed goes where the next one is taken from. */
static void put_back(struct ft__cache *cache, struct ft__block *block, uint64_t span)
{
	if (FT__LIKELY(FT__WORD_STATE(span) == FT__SPAN_CLASS))
		ft__cache_put(cache, FT__WORD_OWNER(span), block);
	else
		ft__span_unrun((uint64_t)((char *)block - ft__arena.data) >> FT__SPAN_SHIFT, span,
			       cache->me);
}

int ft_block_free(void *payload)
{
	struct ft__cache *cache;
	uint64_t span;

	if (!payload)
		return 0;

	int rc = ft__arena.forked ? -ECHILD : 0;
	struct ft__block *block = ft__block_find(payload, &span);

	if (rc == 0 && !block)
		return -EINVAL;
	if (rc == 0)
		rc = ft__cache(&cache);
	if (rc == 0 && ft__share_unload(block, cache->me))
		return 0;
	if (rc == 0)
		rc = disown(block, cache->me);
	if (FT__UNLIKELY(rc != 0))
		return rc;
	put_back(cache, block, span);
	return 0;
}

bool ft__block_end(struct ft__block *block, uint64_t seen)
{
	struct ft__cache *cache;
	uint64_t span;

	/* Release, as in disown. */
	if (ft__cache(&cache) || ft__block_find(ft__block_payload(block), &span) != block ||
	    !ft__cas64_release(&block->word, &seen, freed(seen)))
		return false;
	put_back(cache, block, span);
	return true;
}

size_t ft_block_size(const void *payload)
{
	uint64_t span;
	struct ft__block *block = ft__block_find(payload, &span);

	/* Acquire: pairs with the CAS of whoever gave the block away. */
	if (!block || FT__WORD_STATE(ft__load64_acquire(&block->word)) == FT__BLOCK_FREE)
		return 0;

	uint64_t size = ft__block_bytes(block);

	return size <= ft__block_room(span) ? (size_t)size : 0;
}

uint64_t ft__block_name(const struct ft__block *block)
{
	uint64_t word = ft__load64_acquire(&block->word); /* pairs: as above */

	if (FT__WORD_STATE(word) == FT__BLOCK_FREE)
		return 0;
	return ft__offset(block) >> FT__CLASS_SHIFT << 30 | FT__WORD_GENERATION(word);
}

uint64_t ft_block_handle(const void *payload)
{
	struct ft__block *block = ft__block_of(payload);

	return block ? ft__block_name(block) : 0;
}

int ft_block_at(uint64_t handle, void **payload)
{
	if (!payload)
		return -EINVAL;

	int rc = ft__arena_ready();

	if (rc != 0)
		return rc;

	uint64_t offset = handle >> 30 << FT__CLASS_SHIFT;
	uint64_t data_at = (uint64_t)(ft__arena.data - ft__arena.base), span;

	if (offset < data_at || (offset - data_at) >> FT__SPAN_SHIFT >= ft__spans_high())
		return -EINVAL;

	struct ft__block *block = find(offset - data_at, &span);

	/* No block starts there now: one may have, where a span starts. */
	if (!block)
		return offset % FT__SPAN ? -EINVAL : -ESTALE;

	uint64_t word = ft__load64_acquire(&block->word); /* pairs: ft_block_size */

	if (FT__WORD_STATE(word) == FT__BLOCK_FREE ||
	    FT__WORD_GENERATION(word) != (handle & GENERATION_MASK))
		return -ESTALE;
	*payload = ft__block_payload(block);
	return 0;
}

/* One step in the table of block.h.  Seq_cst, so release and acquire: whoever
 * makes the next step sees what was done before this one. */
static int step(struct ft__block *block, uint64_t seen, uint32_t state, uint32_t owner)
{
	uint64_t next = ft__word(state, owner, FT__WORD_GENERATION(seen));

	return ft__cas64_seq_cst(&block->word, &seen, next) ? 0 : -EPERM;
}

int ft__block_assign(struct ft__block *block, uint32_t owner)
{
	if (!block || !owner)
		return -EINVAL;

	uint64_t seen = ft__load64_relaxed(&block->word);

	if (!word_is(seen, FT__BLOCK_OWNED, ft__process()))
		return -EPERM;
	return step(block, seen, FT__BLOCK_OWNED, owner);
}

static bool names(uint64_t handle, uint64_t word, uint32_t owner)
{
	return word_is(word, FT__BLOCK_OWNED, owner) &&
	       FT__WORD_GENERATION(word) == (handle & GENERATION_MASK);
}

int ft__block_seize(uint64_t handle, uint32_t from)
{
	void *payload;
	int rc = ft_block_at(handle, &payload);

	if (rc != 0)
		return rc;

	struct ft__block *block = ft__block_of(payload);
	uint64_t seen = block ? ft__load64_relaxed(&block->word) : 0;

	/* The step is a CAS of the word that was looked at, generation included. */
	if (!names(handle, seen, from))
		return -EPERM;
	return step(block, seen, FT__BLOCK_OWNED, ft__process());
}

int ft__block_release(uint64_t handle)
{
	void *payload;
	int rc = ft_block_at(handle, &payload);

	if (rc != 0)
		return rc;

	struct ft__block *block = ft__block_of(payload);
	uint64_t seen = block ? ft__load64_relaxed(&block->word) : 0;

	if (!names(handle, seen, ft__process()))
		return -EPERM;
	if (ft__share_unload(block, ft__process()))
		return 0;
	return ft__block_end(block, seen) ? 0 : -EPERM;
}

int ft__block_give(struct ft__block *block, uint64_t home)
{
	if (!block)
		return -EINVAL;

	uint32_t me = ft__process();
	uint64_t seen = ft__load64_relaxed(&block->word);

	if (!word_is(seen, FT__BLOCK_OWNED, me))
		return -EPERM;
	/* Before the step: a sweeper that sees GIVING asks this home. */
	ft__store64_relaxed(&block->home, home);
	return step(block, seen, FT__BLOCK_GIVING, me);
}

int ft__block_given(struct ft__block *block)
{
	if (!block)
		return -EINVAL;

	uint64_t seen = ft__load64_relaxed(&block->word);

	if (!word_is(seen, FT__BLOCK_GIVING, ft__process()))
		return -EPERM;
	return step(block, seen, FT__BLOCK_HELD, 0);
}

int ft__block_take(struct ft__block *block)
{
	if (!block)
		return -EINVAL;

	uint64_t seen = ft__load64_relaxed(&block->word);
	uint32_t state = FT__WORD_STATE(seen), me = ft__process();

	if (!me || (state != FT__BLOCK_HELD && state != FT__BLOCK_GIVING))
		return -EPERM;
	return step(block, seen, FT__BLOCK_TAKING, me);
}

int ft__block_taken(struct ft__block *block)
{
	if (!block)
		return -EINVAL;

	uint32_t me = ft__process();
	uint64_t seen = ft__load64_relaxed(&block->word);

	if (!word_is(seen, FT__BLOCK_TAKING, me))
		return -EPERM;
	return step(block, seen, FT__BLOCK_OWNED, me);
}
