/* SPDX-License-Identifier: MIT */
/* Filling and emptying a thread's magazines. */
#include "mem/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/atomic.h"

int ft__cache_make(struct ft__cache **cache)
{
	struct ft__self *self;
	int rc = ft__self(&self);

	if (rc != 0)
		return rc;
	*cache = calloc(1, sizeof(**cache));
	if (!*cache)
		return -ENOMEM;
	(*cache)->me = ft__process();
	for (uint32_t class = 0; class < FT__CLASSES; class++)
		(*cache)->magazine[class].span = FT__SPAN_NONE;
	self->cache = *cache;
	return 0;
}

static bool is_class(uint32_t span, uint32_t class)
{
	/* Acquire: pairs with ft__span_open; its blocks are made. */
	uint64_t word = ft__load64_acquire(&ft__arena.span[span]);

	return FT__WORD_STATE(word) == FT__SPAN_CLASS && FT__WORD_OWNER(word) == class;
}

/* Goes on through the magazine's span until that is full or the span ends. */
static void look_through(struct ft__magazine *mag, uint32_t class)
{
	uint64_t size = ft__class_size(class), count = FT__SPAN / size;
	char *data = ft__span_data(mag->span);

	while (mag->next < count && mag->count < FT__MAGAZINE) {
		struct ft__block *block = (struct ft__block *)(data + mag->next++ * size);

		/* Relaxed: the CAS that takes it decides. */
		if (FT__WORD_STATE(ft__load64_relaxed(&block->word)) == FT__BLOCK_FREE)
			mag->free[mag->count++] = block;
	}
	if (mag->next == count)
		mag->span = FT__SPAN_NONE;
}

static void begin(struct ft__magazine *mag, uint32_t span)
{
	mag->span = span;
	mag->next = 0;
}

/* A span that may have free blocks, or a new one. */
static bool next_span(struct ft__cache *cache, uint32_t class)
{
	struct ft__magazine *mag = &cache->magazine[class];
	uint32_t span = ft__hint_take(class, mag->from);

	while (span != FT__SPAN_NONE && !is_class(span, class))
		span = ft__hint_take(class, span);
	if (span == FT__SPAN_NONE)
		span = ft__span_open(class, cache->me);
	if (span == FT__SPAN_NONE)
		return false;
	begin(mag, span);
	mag->from = span;
	return true;
}

/* The arena is full: blocks that no hint tells of are all that is left. */
static int look_everywhere(struct ft__magazine *mag, uint32_t class)
{
	uint64_t high = ft__spans_high();

	for (uint64_t i = 0; i < high && mag->count == 0; i++) {
		if (!is_class((uint32_t)i, class))
			continue;
		begin(mag, (uint32_t)i);
		look_through(mag, class);
	}
	return mag->count ? 0 : -ENOMEM;
}

int ft__cache_fill(struct ft__cache *cache, uint32_t class)
{
	struct ft__magazine *mag = &cache->magazine[class];

	while (mag->count == 0) {
		if (mag->span == FT__SPAN_NONE && !next_span(cache, class))
			return look_everywhere(mag, class);
		look_through(mag, class);
	}
	return 0;
}

static void tell(uint32_t class, const struct ft__block *block)
{
	ft__hint_set(class, (uint64_t)((const char *)block - ft__arena.data) >> FT__SPAN_SHIFT);
}

/* Drops the oldest `count`, which everybody may find now. */
static void flush(struct ft__magazine *mag, uint32_t class, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		tell(class, mag->free[i]);
	mag->count -= count;
	memmove(mag->free, mag->free + count, mag->count * sizeof(mag->free[0]));
}

void ft__cache_put(struct ft__cache *cache, uint32_t class, struct ft__block *block)
{
	struct ft__magazine *mag = &cache->magazine[class];

	if (mag->count == FT__MAGAZINE)
		flush(mag, class, FT__MAGAZINE / 2);
	mag->free[mag->count++] = block;
}

void ft__cache_leave(struct ft__cache *cache)
{
	if (!cache)
		return;
	for (uint32_t class = 0; class < FT__CLASSES; class++) {
		struct ft__magazine *mag = &cache->magazine[class];

		flush(mag, class, mag->count);
		if (mag->span != FT__SPAN_NONE)
			ft__hint_set(class, mag->span);
	}
	free(cache);
}
