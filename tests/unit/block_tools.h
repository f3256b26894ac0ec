/* SPDX-License-Identifier: MIT */
/* What the tests of blocks and of sweeps have in common. */
#ifndef TESTS_BLOCK_TOOLS_H
#define TESTS_BLOCK_TOOLS_H

#include "child.h"
#include "mem/block.h"
#include "mem/span.h"
#include "os/atomic.h"

static inline void *get(size_t size)
{
	void *p = NULL;

	if (ft_block_alloc(size, &p) != 0)
		fail_msg("alloc of %zu", size);
	return p;
}

static inline struct ft__block *header(void *p)
{
	return (struct ft__block *)p - 1;
}

static inline uint64_t span_of(const void *p)
{
	return (uint64_t)((const char *)p - ft__arena.data) >> FT__SPAN_SHIFT;
}

static inline uint64_t owned(uint64_t word)
{
	return ft__word(FT__BLOCK_OWNED, ft__process(), FT__WORD_GENERATION(word));
}

static inline void clean(void)
{
	uint64_t where = 0;

	if (ft_arena_check(&where) != 0)
		fail_msg("the arena is wrong at %#llx", (unsigned long long)where);
}

static inline uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static inline size_t random_size(uint32_t *seed)
{
	uint32_t kind = next_random(seed) % 64;

	if (kind == 0)
		return 32769 + next_random(seed) % 500000;
	return 1 + next_random(seed) % (kind < 8 ? 32000 : 300);
}

#endif
