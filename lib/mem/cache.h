/* SPDX-License-Identifier: MIT */
/*
 * A thread's private memory of free blocks: for each class a few offsets of
 * blocks that were FREE when it last saw them, and the span it is looking
 * through.  Nothing here is needed for correctness: a block is taken by the CAS
 * on its word, and a lost cache costs a search.  Floor 1.
 */
#ifndef FT_MEM_CACHE_H
#define FT_MEM_CACHE_H

#include <stdint.h>

#include "mem/slot.h"
#include "mem/span.h"

#define FT__MAGAZINE 32u

struct ft__magazine {
	uint32_t count;
	uint32_t span; /* being looked through; FT__SPAN_NONE */
	uint32_t next; /* the first block in it not looked at yet */
	uint32_t from; /* where the search for hints goes on */
	struct ft__block *free[FT__MAGAZINE];
};

struct ft__cache {
	uint32_t me; /* the process */
	struct ft__magazine magazine[FT__CLASSES];
};

/* The calling thread's, made on first use.  0 or -errno. */
int ft__cache_make(struct ft__cache **cache);
static inline int ft__cache(struct ft__cache **cache)
{
	*cache = ft__self_tls.cache;
	return FT__LIKELY(*cache != NULL) ? 0 : ft__cache_make(cache);
}

/* Looks for free blocks of the class.  0, or -ENOMEM: there are none. */
int ft__cache_fill(struct ft__cache *cache, uint32_t class);

/* Remembers a block that was just freed. */
void ft__cache_put(struct ft__cache *cache, uint32_t class, struct ft__block *block);

/* A thread that leaves: makes its blocks known to all, and frees the cache. */
void ft__cache_leave(struct ft__cache *cache);

#endif
