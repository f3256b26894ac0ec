/* SPDX-License-Identifier: MIT */
/* What lib/ needs of ft_lock beyond the public header.  Floor 2. */
#ifndef FT_SYNC_LOCK_H
#define FT_SYNC_LOCK_H

#include <freethreading/lock.h>

#include "mem/slot.h"
#include "os/atomic.h"

/* How often a sleeper looks whether an owner that could not be noted lives. */
#define FT_LOCK_RECHECK_NS INT64_C(50000000)

/* Who the calling thread is to FT_PRIVATE locks, from 1 to FT_LOCK_OWNER_MASK: its
 * own until a process has had 2^30 threads, and kept in a forked child, which holds
 * what its thread held. */
uint32_t ft__thread_number_new(void);
static inline uint32_t ft__thread_number(void)
{
	uint32_t number = ft__self_tls.number;

	return FT__LIKELY(number) ? number : ft__thread_number_new();
}

/* As ft_lock_mine. */
static inline bool ft__lock_mine(const struct ft_lock *lock)
{
	const struct ft__self *self = &ft__self_tls;
	/* Who never registered holds no shared lock, who has no number no other. */
	uint32_t me = lock->flags & FT_SHARED ? self->owner : self->number;

	return me && (ft__load32_relaxed(&lock->word) & FT_LOCK_OWNER_MASK) == me;
}

/* For objects with a lock inside: the caller is registered, and has noted the
 * object, which stands for the lock.  As ft_lock_acquire and ft_lock_release. */
int ft__lock_enter(struct ft_lock *lock, ft_deadline deadline);
/* For a call with this deadline: -ETIMEDOUT half a second after it, as whoever has
 * the lock was stopped, and may never go on; not sooner, as a try must not fail
 * because another thread was inside. */
int ft__lock_enter_in_time(struct ft_lock *lock, ft_deadline deadline);
void ft__lock_leave(struct ft_lock *lock);

/* The supervisor's part: `dead` (an owner id) may have held, wanted or been
 * releasing it.  Marks it DIED if dead holds it, and wakes every sleeper. */
void ft__lock_settle(struct ft_lock *lock, uint32_t dead);

#endif
