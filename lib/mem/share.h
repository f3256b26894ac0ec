/* SPDX-License-Identifier: MIT */
/*
 * Shares: blocks that exist as long as anybody in the program holds them.
 * Floor 1.
 *
 * A SHARED block's word (block.h) has the number of joins, modulo 2^30, where
 * other blocks have their owner.  Its `link` leads to the holds (hold.h).
 *
 *   To join, without holding it    1 slot.joining = handle
 *                                  2 word: SHARED(j) -> SHARED(j + 1), or it is gone
 *                                  3 the hold
 *                                  4 slot.joining = 0
 *                                  5 after a failure of 3: the same as 2 and 3 below
 *   To leave                       1 the hold, to less or 0
 *                                  2 word SHARED(j) is looked at; then every slot:
 *                                    does any join this handle?  then every hold
 *                                  3 if nobody: word SHARED(j) -> ENDING(me); who
 *                                    has joined meanwhile will look when it leaves
 *
 * Who joins is seen by whoever wants to end it from 1 on: by its slot until 4, by
 * its hold from 3 on; so slots are looked at first, holds then.  Who ended it before
 * 2 makes 2 fail.  Who looked before 1 finds another j.  A joiner or holder that
 * is seen looks itself when it leaves, or its sweeper does.  So whoever comes last
 * ends the block, and nobody after it touches more than the header, which is one
 * for ever, and reads a page (the generation in the word tells that it was late).
 * tests/model/share.pml checks this.
 */
#ifndef FT_MEM_SHARE_H
#define FT_MEM_SHARE_H

#include "mem/block.h"

/* What ends a queue in a block, before the block is freed; set by the floor
 * above, once. */
extern int (*ft__share_end_queue)(void *payload);

/* A queue is in the caller's block from now on, or is there no more.  Does nothing
 * for a queue that the block does not begin with. */
void ft__share_mark(void *queue, bool there);

/* The caller's block is about to be freed: what it carries is let go, and a queue
 * in it ended.  True: the block is free by now. */
bool ft__share_unload_now(struct ft__block *block, uint32_t me);
static inline bool ft__share_unload(struct ft__block *block, uint32_t me)
{
	uint64_t marks = FT__BLOCK_CARRIES | FT__BLOCK_QUEUED;

	return FT__UNLIKELY(ft__load64_relaxed(&block->size) & marks) &&
	       ft__share_unload_now(block, me);
}

/* For the sweeper of the dead process: before it looks at any block; at what was
 * ENDING(dead), or OWNED(dead) with a queue, after the other blocks that the dead
 * owned are free; at a SHARED block or a PAGE, after these. */
void ft__share_sweep(uint32_t dead);
void ft__share_resume(struct ft__block *block, uint32_t dead);
void ft__share_settle(struct ft__block *block, uint32_t dead);

#endif
