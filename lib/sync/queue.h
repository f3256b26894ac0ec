/* SPDX-License-Identifier: MIT */
/* What lib/ needs of ft_queue beyond the public header.  Floor 2. */
#ifndef FT_SYNC_QUEUE_H
#define FT_SYNC_QUEUE_H

#include <stdbool.h>

#include <freethreading/queue.h>

#include "mem/block.h"

/* Recounts from the list, settles wake-ups; by the supervisor.  0, or -EAGAIN:
 * the lock could not be had (see ft__journal_settle). */
int ft__queue_settle(struct ft_queue *queue);

/* ft__block_linked for queues: is the block in its home's list? */
bool ft__queue_linked(uint64_t home, struct ft__block *block);

#endif
