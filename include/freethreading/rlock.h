/* SPDX-License-Identifier: MIT */
/*
 * ft_rlock: a lock that its owner may acquire again; it is free once it was
 * released as often.
 *
 *     static struct ft_rlock rlock;
 *     ft_rlock_init(&rlock, FT_PRIVATE);
 *     ft_rlock_acquire(&rlock, FT_FOREVER);   // depth 1
 *     ft_rlock_acquire(&rlock, FT_FOREVER);   // depth 2, at once
 *     ft_rlock_release(&rlock);
 *     ft_rlock_release(&rlock);               // free
 *
 *   lock.word   depth        meaning          who leaves it, and how
 *   free        any          free             acquirer: takes lock, depth = 1
 *   owner       n >= 1       held n times     owner: depth = n + 1, or n - 1;
 *                                             n = 1: depth = 0, releases lock
 *   owner       0            on its way in    owner: depth = 1
 *                            or out           owner: releases lock
 *
 * Only the owner reads or writes depth, so it is a plain number: what a dead
 * owner or a former one left there means nothing, a new owner starts at 1.
 *
 * Death, fork and signals: as for ft_lock, which it is made of.
 */
#ifndef FREETHREADING_RLOCK_H
#define FREETHREADING_RLOCK_H

#include <freethreading/lock.h>

FT_BEGIN_DECLS

struct ft_rlock {
	struct ft_lock lock;
	uint32_t depth;    /* times held; the owner only */
	uint32_t reserved; /* 0 */
};

/* 0; -EINVAL: also for FT_LOCK_UNOWNED, since depth needs an owner. */
FT_API int ft_rlock_init(struct ft_rlock *rlock, uint32_t flags);

/* As ft_lock_acquire; -EOWNERDEAD comes with depth 1.  -EAGAIN: held 2^32 - 1
 * times already. */
FT_API FT_NODISCARD int ft_rlock_acquire(struct ft_rlock *rlock, ft_deadline deadline);

/* 0; -EPERM: the caller does not hold it. */
FT_API int ft_rlock_release(struct ft_rlock *rlock);

/* 1 if somebody holds it now, else 0.  Async-signal-safe. */
FT_API int ft_rlock_held(const struct ft_rlock *rlock);

/* 1 if the calling thread holds it, else 0. */
FT_API int ft_rlock_mine(const struct ft_rlock *rlock);

/* How often the calling thread holds it; 0 if it does not. */
FT_API uint32_t ft_rlock_depth(const struct ft_rlock *rlock);

/* The pid of the last owner that died holding it, 0 if none did. */
FT_API pid_t ft_rlock_died(const struct ft_rlock *rlock);

FT_END_DECLS

#endif
