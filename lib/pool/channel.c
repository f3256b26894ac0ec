/* SPDX-License-Identifier: MIT */
/* See channel.h. */
#include "pool/channel.h"

#include "os/atomic.h"

uint64_t ft__channel_length(const struct ft__channel *channel)
{
	uint64_t head = ft__load64_acquire(&channel->head); /* the consumer's release */
	uint64_t tail = ft__load64_seq_cst(&channel->tail); /* the producer's seq_cst */

	/* Head first: it may only grow, so the difference is never negative
	 * unless somebody scribbled, and then it is nothing. */
	return tail > head ? tail - head : 0;
}

bool ft__channel_push(struct ft__channel *channel, uint64_t *cells, uint64_t capacity, uint64_t ref)
{
	uint64_t tail = ft__load64_relaxed(&channel->tail); /* ours alone */

	/* Acquire, with the consumer's release: it has read the cell we reuse. */
	if (tail - ft__load64_acquire(&channel->head) >= capacity)
		return false;
	ft__store64_relaxed(&cells[tail & (capacity - 1)], ref); /* the tail publishes it */
	ft__store64_seq_cst(&channel->tail, tail + 1);
	return true;
}

bool ft__channel_pop(struct ft__channel *channel, const uint64_t *cells, uint64_t capacity,
		     uint64_t *ref)
{
	uint64_t head = ft__load64_relaxed(&channel->head); /* ours alone */

	/* Seq_cst, with the producer's: makes the cell visible. */
	if (head >= ft__load64_seq_cst(&channel->tail))
		return false;
	*ref = ft__load64_relaxed(&cells[head & (capacity - 1)]);
	ft__store64_release(&channel->head, head + 1); /* the producer's acquire */
	return true;
}

bool ft__channel_peek(const struct ft__channel *channel, const uint64_t *cells, uint64_t capacity,
		      uint64_t *at, uint64_t *ref)
{
	uint64_t head = ft__load64_acquire(&channel->head);

	if (*at < head)
		*at = head;
	if (*at >= ft__load64_seq_cst(&channel->tail)) /* the producer's seq_cst */
		return false;
	*ref = ft__load64_relaxed(&cells[*at & (capacity - 1)]);
	return true;
}

bool ft__channel_beyond(const struct ft__channel *channel, uint64_t at)
{
	uint64_t head = ft__load64_acquire(&channel->head);
	uint64_t tail = ft__load64_seq_cst(&channel->tail); /* the producer's seq_cst */

	return tail > (at > head ? at : head);
}
