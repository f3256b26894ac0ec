/* SPDX-License-Identifier: MIT */
/*
 * The wait policy: how long to spin before parking, in one place.  Floor 2.
 *
 * Spinning pays only while a hand-off by cache line (about 0.15 µs) is likely
 * sooner than a futex wake (10-60 µs): with more than one usable CPU, nobody
 * parked on the word yet, and fewer spinners than CPUs.  FT_WAIT_POLICY says
 * passive (never spin), active (spin longer) or nothing (the default).
 */
#ifndef FT_SYNC_WAIT_H
#define FT_SYNC_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include <freethreading/base.h>

#include "os/compiler.h"

struct ft__spin {
	int64_t until; /* 0: not started; -1: over */
	int64_t patience; /* ns that are worth it here, if more than the policy's */
	uint32_t turns;
};

/* The patience of a place where answers often come within what one small Python
 * call takes: all of it after a spin that was answered, half after one that was
 * not, so that a place where nothing happens soon parks at once. */
#define FT__PATIENCE_NS INT64_C(50000)
static inline int64_t ft__patience(int64_t before, bool answered)
{
	return answered ? FT__PATIENCE_NS : before / 2;
}

/* The calling thread's own, for objects that remember none.  `since` is when it
 * came to wait, FT_FOREVER if it need not; what counts is how long it took, the
 * sleep included: else two that answer each other, each asleep when the other
 * has done its part, would go on like that. */
extern FT__THREAD int64_t ft__my_patience;
static inline void ft__waited(ft_deadline since, bool answered)
{
	if (since == FT_FOREVER)
		return;
	/* More in steps, less by halves: among many, a wait is fast by chance. */
	if (!answered || ft_now() - since >= FT__PATIENCE_NS)
		ft__my_patience /= 2;
	else if (ft__my_patience < FT__PATIENCE_NS)
		ft__my_patience += FT__PATIENCE_NS / 8;
}

/* One turn of a spin loop: true: look at the word again; false: park now, it
 * stays false until ft__spin_end. */
bool ft__spin(struct ft__spin *spin);

/* The loop was left: the thread counts as a spinner no more.  Does nothing when
 * ft__spin said so itself, or was never called. */
void ft__spin_end(struct ft__spin *spin);

/*
 * Parks while *word == expected.  0: look again; -ETIMEDOUT; -EINTR, only if
 * `flags` has FT_INTERRUPTIBLE (else it goes on sleeping).  FT_SHARED in flags
 * chooses the futex's key.
 */
int ft__park(const uint32_t *word, uint32_t expected, uint32_t flags, ft_deadline deadline);

static inline bool ft__flags_shared(uint32_t flags)
{
	return flags & FT_SHARED;
}

#endif
