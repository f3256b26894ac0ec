/* SPDX-License-Identifier: MIT */
/*
 * ft_condition: threads or processes that wait, with a lock, until somebody
 * tells them that something has changed.
 *
 *     ft_lock_acquire(&lock, FT_FOREVER);
 *     while (!ready)
 *             ft_condition_wait(&condition, &lock, FT_FOREVER);
 *     ft_lock_release(&lock);
 *
 *     ft_lock_acquire(&lock, FT_FOREVER);             // another thread
 *     ready = 1;
 *     ft_condition_notify(&condition, 1);
 *     ft_lock_release(&lock);
 *
 * Each waiting thread has a node with a word of its own (a futex): in its slot of
 * the arena (FT_SHARED), which outlives the thread, or in thread-local storage
 * (FT_PRIVATE).  Who waits in a signal handler that interrupted a wait has one
 * more, in another slot or from a stock: to others it is one more thread.  There
 * is no sequence counter that could wrap, nobody can take a notification that was
 * meant for another, and notify(n) wakes n waiters, in the order they came.  A
 * node's word:
 *
 *   state      meaning                     who leaves it, and how
 *   IDLE       not waiting                 waiter, under the lock: ARMED
 *   ARMED      waiting, awake              waiter: CAS to SLEEPING, parks
 *                                          notifier, under the lock: CAS to
 *                                          NOTIFIED
 *   SLEEPING   waiting, maybe parked       notifier: CAS to NOTIFIED, wakes
 *                                          waiter, when its time is over or a
 *                                          signal came: CAS to CANCELLED
 *   NOTIFIED   has a notification, is no   waiter, under the lock: IDLE
 *              longer in the list
 *   FORWARDED  has a dead waiter's, is     waiter, under the lock: leaves the
 *              still in the list           list, IDLE
 *   CANCELLED  gave up, still in the list  waiter, under the lock: leaves the
 *                                          list, IDLE
 *
 * Fields below are written under the user's lock only.  The list is a shortcut:
 * what holds is in the nodes (condition, ticket, word).  `busy` is 1 during
 * changes to the list; who finds it 1 has a dead predecessor, and builds the
 * list again from the nodes, by ticket.  A link names its own node and the next
 * one, so that a link into a slot that was settled is known for what it is.
 *
 * A notifier that will release the lock itself (one without FT_LOCK_UNOWNED) wakes
 * the first waiter then: before that, the waiter could only sleep again.
 *
 * Death: the supervisor needs no lock.  A dead waiter's node becomes IDLE; if it
 * had a notification, the oldest waiter gets that (FORWARDED).  A notifier notes
 * the condition in its journal, until it has woken all; after its death the
 * waiters that it had notified are woken.
 *
 * FT_SHARED conditions, and the locks used with them, must lie in an arena
 * block (-EINVAL otherwise).
 * Algorithm: tests/model/condition.pml (Spin, crash at any step).
 * Signals: no function is async-signal-safe.
 * Fork: a child of a plain fork() gets -ECHILD for FT_SHARED conditions.
 */
#ifndef FREETHREADING_CONDITION_H
#define FREETHREADING_CONDITION_H

#include <freethreading/lock.h>
#include <freethreading/rlock.h>

FT_BEGIN_DECLS

#define FT_CONDITION_IDLE 0u
#define FT_CONDITION_ARMED 1u
#define FT_CONDITION_SLEEPING 2u
#define FT_CONDITION_NOTIFIED 3u
#define FT_CONDITION_FORWARDED 4u
#define FT_CONDITION_CANCELLED 5u

struct ft_condition {
	uint64_t head;    /* who waits longest: owner id (FT_SHARED) or address, 0: nobody */
	uint64_t tail;    /* who came last */
	uint64_t tickets; /* given out so far, one a wait */
	uint64_t lock;    /* offset (FT_SHARED) or address of the lock in use; 0: none yet */
	uint32_t busy;    /* 1: the list is being changed */
	uint32_t flags;   /* const after init */
	uint64_t mark;    /* FT_CONDITION_MARK after init */
	uint64_t reserved[2]; /* 0 */
};

#define FT_CONDITION_MARK UINT64_C(0x646e6f6300007466) /* "ft\0\0cond" */

/* 0, -EINVAL, -ECHILD, -ENOMEM.  There is nothing to destroy; its memory may go
 * once every wait has returned. */
FT_API int ft_condition_init(struct ft_condition *condition, uint32_t flags);

/*
 * Releases the lock, waits for a notification, and acquires the lock again,
 * whatever happens.  All who wait at a time must use the same lock.
 *
 * 0: notified; -ETIMEDOUT; -EINTR (FT_INTERRUPTIBLE only; not notified then);
 * -EOWNERDEAD: the lock's last owner died holding it, and maybe notified.
 * Not waited at all, the lock as it was: -EPERM: the caller does not hold the
 * lock (with FT_LOCK_UNOWNED: nobody does); -EAGAIN, -ENOMEM: the thread is
 * waiting already, and there is no room for one more wait; -EINVAL; -ECHILD.
 */
FT_API FT_NODISCARD int ft_condition_wait(struct ft_condition *condition, struct ft_lock *lock,
					  ft_deadline deadline);

/* The same with an rlock, which is released and acquired whatever its depth. */
FT_API FT_NODISCARD int ft_condition_wait_rlock(struct ft_condition *condition,
						struct ft_rlock *rlock, ft_deadline deadline);

/* Wakes the n who have waited longest, or as many as there are, and returns how
 * many.  -EPERM: the caller does not hold the lock that they wait with. */
FT_API int ft_condition_notify(struct ft_condition *condition, uint32_t n);

FT_API int ft_condition_notify_all(struct ft_condition *condition);

/*
 * A wait in three steps, for those who must run signal handlers in the middle
 * of one: arm, then park as long as it returns -EINTR and no handler wants to
 * give up, then disarm as long as that returns -EINTR.  In between the thread
 * stays in line, without the lock.  A handler may wait too, at this condition or
 * another, at any depth.
 */
struct ft_condition_hold {
	struct ft_condition *condition;
	struct ft_lock *lock;
	struct ft_rlock *rlock; /* NULL: lock is none of an rlock */
	uint32_t depth;         /* of rlock */
	uint32_t armed;
	uint64_t node; /* the caller's, in line */
};

/* Lines up and releases the lock (exactly one of both is not NULL).  0; errors
 * as ft_condition_wait before it waits. */
FT_API FT_NODISCARD int ft_condition_arm(struct ft_condition *condition, struct ft_lock *lock,
					 struct ft_rlock *rlock, struct ft_condition_hold *hold);

/* 0: notified; -ETIMEDOUT; -EINTR: still in line, as after -ETIMEDOUT. */
FT_API FT_NODISCARD int ft_condition_park(struct ft_condition_hold *hold, ft_deadline deadline);

/* Acquires the lock, for ever if need be, and leaves the line.  0: was notified
 * (perhaps after the last park); -ECANCELED: was not; -EOWNERDEAD: as above;
 * -EINTR (if the lock is FT_INTERRUPTIBLE): not done yet, call it again. */
FT_API int ft_condition_disarm(struct ft_condition_hold *hold);

FT_END_DECLS

#endif
