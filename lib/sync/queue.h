/* SPDX-License-Identifier: MIT */
/* What lib/ needs of ft_queue beyond the public header.  Floor 2. */
#ifndef FT_SYNC_QUEUE_H
#define FT_SYNC_QUEUE_H

#include <stdbool.h>

#include <freethreading/queue.h>

#include "mem/block.h"

/* Is this a queue, and not what its memory was used for later? */
static inline bool ft__queue_marked(const struct ft_queue *queue)
{
	return ft__load64_relaxed(&queue->mark) == FT_QUEUE_MARK;
}

/* The supervisor's part, after a death inside: recounts from the list, makes the
 * blocks in it HELD, wakes every sleeper.  So a block that names the dead after
 * that is in no list, and may be swept: ft__block_sweep(dead, NULL).  0, or
 * -EAGAIN: the lock could not be had (see ft__journal_settle). */
int ft__queue_settle(struct ft_queue *queue);

#endif
