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

/* Recounts from the list, settles wake-ups; by the supervisor.  0, or -EAGAIN:
 * the lock could not be had (see ft__journal_settle). */
int ft__queue_settle(struct ft_queue *queue);

/* ft__block_linked for queues: is the block in its home's list?  Should the lock
 * not be had within FT__SETTLE_NS, the answer is yes: a block that is not freed
 * does less harm than one that is freed while it is linked. */
bool ft__queue_linked(uint64_t home, struct ft__block *block);

#endif
