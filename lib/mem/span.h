/* SPDX-License-Identifier: MIT */
/*
 * Spans: the arena's data, cut into pieces of 64 KiB.  A span is free, or cut
 * into blocks of one size class, or part of a run that is one large block.
 * Floor 1.
 *
 * A span's word (atomic) has the fields of a block's word (block.h):
 *
 *   bits 0-2    state
 *   bit 3       WARM: free, but its pages are there
 *   bits 4-33   operand
 *   bits 34-63  generation of the block that starts where the span starts, +1
 *               at every free; 0 also says that nobody ever wrote to the span
 *
 *   state   operand   meaning                        who leaves it, and how
 *   FREE    0         free                           any process: CAS to CLAIM
 *   CLASS   class     blocks of 64 << class bytes;   nobody: it stays so
 *                     (operands: 0 to 9)
 *   CLAIM   owner     being built, or taken apart,   owner: CLASS, RUN, REST or
 *                     by that process                FREE; its sweeper: FREE
 *   RUN     length    first span of a large block    whoever frees the block:
 *                                                    CAS to CLAIM
 *   REST    head      further span of the run that   whoever has the head in
 *                     starts at that span            CLAIM
 *
 * A run is committed by the one store that turns its head from CLAIM to RUN,
 * after its RESTs and its block's word are written.  It is freed the other way
 * round: the block's word to FREE (which decides between two frees), the head to
 * CLAIM, the RESTs to FREE, the head to FREE.  So a REST's head is RUN or CLAIM
 * at every moment, and the sweeper of a dead process finds by the head's CLAIM
 * what it had in its hands; a RUN whose block is FREE may be taken apart by
 * anybody.
 *
 * Hints, one bitmap for each class and one for free spans: a set bit says that
 * the span has, or had lately, a free block (is a free span).  Who clears a bit
 * looks at the span and is alone with it, more or less.  Hints may be wrong both
 * ways; a search that found nothing by hints looks at every span before it
 * gives up, and a sweep sets those that are missing.
 */
#ifndef FT_MEM_SPAN_H
#define FT_MEM_SPAN_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/block.h"

#define FT__SPAN_FREE 0u
#define FT__SPAN_CLASS 1u
#define FT__SPAN_CLAIM 2u
#define FT__SPAN_RUN 3u
#define FT__SPAN_REST 4u
#define FT__SPAN_WARM 8u
#define FT__SPAN_NONE UINT32_MAX

#define FT__CLASSES 10u
#define FT__CLASS_SHIFT 6
#define FT__CLASS_MAX (UINT64_C(1) << (FT__CLASS_SHIFT + FT__CLASSES - 1))
#define FT__HINTS_FREE FT__CLASSES /* the bitmap of free spans */

/* Warm free spans beyond which freed runs give their pages back: 256 MiB. */
#define FT__WARM_MAX (UINT64_C(256) << 20 >> FT__SPAN_SHIFT)

static inline uint64_t ft__class_size(uint32_t class)
{
	return UINT64_C(1) << (FT__CLASS_SHIFT + class);
}

/* The class whose blocks hold `size` bytes (header included); <= FT__CLASS_MAX. */
static inline uint32_t ft__class_of(uint64_t size)
{
	return size <= 64 ? 0 : 58 - (uint32_t)__builtin_clzll(size - 1);
}

static inline char *ft__span_data(uint64_t index)
{
	return ft__arena.data + (index << FT__SPAN_SHIFT);
}

/* Spans ever used; never more than there are, whatever the header says. */
uint64_t ft__spans_high(void);

/* A span cut into blocks of the class, all FREE, known to nobody else yet.  Its
 * index, or FT__SPAN_NONE: the arena is full. */
uint32_t ft__span_open(uint32_t class, uint32_t me);

/* A large block: `length` spans, whose block's word is OWNED(me).  NULL: full. */
struct ft__block *ft__span_run(uint64_t length, uint32_t me);

/* Takes apart the run at `index`, whose block is FREE already.  False: somebody
 * else did. */
bool ft__span_unrun(uint64_t index, uint64_t word, uint32_t me);

/* A hint bit: sets it; finds one at or after `from`, round the end, and clears
 * it (FT__SPAN_NONE: none is set). */
void ft__hint_set(uint32_t map, uint64_t index);
uint32_t ft__hint_take(uint32_t map, uint32_t from);

/* Gives back what `dead` had claimed, and sets the hints of free spans. */
void ft__span_sweep(uint32_t dead);

#endif
