/* SPDX-License-Identifier: MIT */
/*
 * A channel: a ring of 64-bit references from one producer to one consumer.
 * Floor 4.
 *
 *   field  who writes      partner
 *   tail   producer        seq_cst; the consumer's and peekers' loads.  It is
 *                          also one half of two Dekkers: against the idle bits
 *                          (pool/control.h) and the bell (sync/bell.h)
 *   head   consumer        release; producer loads it with acquire
 *   cell   producer, before the tail that covers it
 *
 * Synchronisation: one pusher at a time, one popper at a time; a push and a pop
 * need nothing between them.  Others may peek (a thief, the supervisor): what
 * they read is only a hint, the task's own state decides (pool/task.h).
 *
 * A dead producer's unpublished cell is invisible, a dead consumer's head may
 * lag: its successor sees some references twice, and again the state decides.
 * A consumer that must not lose one therefore peeks, acts, and pops last.
 * Both indexes count up for ever (64 bits) and are reduced when used, so a
 * scribbled index cannot lead outside the ring.
 */
#ifndef FT_POOL_CHANNEL_H
#define FT_POOL_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "os/compiler.h"

struct ft__channel {
	uint64_t tail FT__ALIGNED(FT__CACHE_LINE);
	uint64_t head FT__ALIGNED(FT__CACHE_LINE);
};

/* `cells` has `capacity` (a power of two) entries and lies elsewhere.
 * False: full, or empty. */
bool ft__channel_push(struct ft__channel *channel, uint64_t *cells, uint64_t capacity,
		      uint64_t ref);
bool ft__channel_pop(struct ft__channel *channel, const uint64_t *cells, uint64_t capacity,
		     uint64_t *ref);
/* The reference at index *at, or the oldest unread one if that was read
 * already: *at is raised to where it looked.  False past the end.  A walk
 * starts with *at 0, and goes on with *at + 1. */
bool ft__channel_peek(const struct ft__channel *channel, const uint64_t *cells, uint64_t capacity,
		      uint64_t *at, uint64_t *ref);
/* Whether a walk that got to `at` would find more. */
bool ft__channel_beyond(const struct ft__channel *channel, uint64_t at);
uint64_t ft__channel_length(const struct ft__channel *channel);

#endif
