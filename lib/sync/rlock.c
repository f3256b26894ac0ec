/* SPDX-License-Identifier: MIT */
/* The lock that its owner may acquire again: see freethreading/rlock.h. */
#include "sync/rlock.h"

#include <errno.h>

#include "sync/lock.h"

int ft_rlock_init(struct ft_rlock *rlock, uint32_t flags)
{
	if (!rlock || (flags & FT_LOCK_UNOWNED))
		return -EINVAL;

	int rc = ft_lock_init(&rlock->lock, flags);

	if (rc == 0)
		rlock->depth = rlock->reserved = 0;
	return rc;
}

int ft__rlock_restore(struct ft_rlock *rlock, uint32_t depth, ft_deadline deadline)
{
	int rc = ft_lock_acquire(&rlock->lock, deadline);

	if (rc == 0 || rc == -EOWNERDEAD)
		rlock->depth = depth;
	return rc;
}

uint32_t ft__rlock_release_all(struct ft_rlock *rlock)
{
	uint32_t depth = rlock->depth;

	rlock->depth = 0;
	ft_lock_release(&rlock->lock);
	return depth;
}

int ft_rlock_acquire(struct ft_rlock *rlock, ft_deadline deadline)
{
	if (!rlock)
		return -EINVAL;
	if (FT__LIKELY(!ft__lock_mine(&rlock->lock)))
		return ft__rlock_restore(rlock, 1, deadline);
	if (rlock->depth == UINT32_MAX)
		return -EAGAIN;
	rlock->depth++;
	return 0;
}

int ft_rlock_release(struct ft_rlock *rlock)
{
	if (!rlock)
		return -EINVAL;
	if (!ft__lock_mine(&rlock->lock))
		return -EPERM;
	if (rlock->depth > 1) {
		rlock->depth--;
		return 0;
	}
	rlock->depth = 0;
	return ft_lock_release(&rlock->lock);
}

int ft_rlock_held(const struct ft_rlock *rlock)
{
	return rlock ? ft_lock_held(&rlock->lock) : 0;
}

int ft_rlock_mine(const struct ft_rlock *rlock)
{
	return rlock ? ft_lock_mine(&rlock->lock) : 0;
}

uint32_t ft_rlock_depth(const struct ft_rlock *rlock)
{
	return ft_rlock_mine(rlock) ? rlock->depth : 0;
}

pid_t ft_rlock_died(const struct ft_rlock *rlock)
{
	return rlock ? ft_lock_died(&rlock->lock) : 0;
}
