/* SPDX-License-Identifier: MIT */
/*
 * ft_semaphore: a number of units; whoever finds none waits for one.
 *
 *     static struct ft_semaphore seats;
 *     ft_semaphore_init(&seats, 3, 3, FT_PRIVATE);     // 3 units, never more
 *     ft_semaphore_acquire(&seats, FT_FOREVER);
 *     ...
 *     ft_semaphore_release(&seats, 1);
 *
 * The word (a futex):
 *
 *   bits 0-30  VALUE    free units
 *   bit 31     WAITERS  somebody may be parked on the word
 *
 *   pattern     meaning                who leaves it, and how
 *   v           v free units           acquirer: CAS to v-1
 *                                      releaser: CAS to v+n
 *   0           none free              waiter: CAS adds WAITERS
 *   0|WAITERS   none, maybe sleepers   the only pattern that anybody parks on
 *                                      releaser: CAS to n|WAITERS, wakes n
 *   v|WAITERS   units, maybe sleepers  acquirer: CAS to v-1|WAITERS
 *                                      releaser: CAS to v+n|WAITERS, wakes n;
 *                                      CAS to v+n if it woke nobody
 *
 * Legality.  A late drop of WAITERS may hit a sleeper that came in between; the
 * one who was woken in between makes up for it.  So who has slept sets WAITERS
 * whatever it finds, and wakes one more if it leaves units behind; and nobody
 * gives up after a wake-up without another look.  Hence: whenever a unit is
 * free and somebody is parked, somebody is awake who will look.
 *
 * Death: who releases, or sleeps, has noted the semaphore in its journal; the
 * supervisor wakes every sleeper of a noted one, and each looks again.  Outside
 * the arena, sleepers look every FT_LOCK_RECHECK_NS.  A unit that a dead process
 * had acquired does not come back by itself: a semaphore does not know owners.
 * Whoever hands out units to processes that may die gives them back himself
 * after ft_worker_join, or uses a lock.
 *
 * Algorithm: tests/model/semaphore.pml (Spin, crash at any step).
 * Signals: no function is async-signal-safe but ft_semaphore_value.
 * Fork: a child of a plain fork() gets -ECHILD for FT_SHARED semaphores.
 */
#ifndef FREETHREADING_SEMAPHORE_H
#define FREETHREADING_SEMAPHORE_H

#include <freethreading/base.h>

FT_BEGIN_DECLS

#define FT_SEMAPHORE_VALUE 0x7fffffffu
#define FT_SEMAPHORE_WAITERS 0x80000000u
#define FT_SEMAPHORE_MAX FT_SEMAPHORE_VALUE

struct ft_semaphore {
	uint32_t word;     /* futex, table above */
	uint32_t max;      /* const after init */
	uint32_t flags;    /* const after init */
	uint32_t reserved; /* 0 */
};

/* `value` units, and never more than `max`; max 0 means FT_SEMAPHORE_MAX.
 * 0; -EINVAL: value > max, or max > FT_SEMAPHORE_MAX. */
FT_API int ft_semaphore_init(struct ft_semaphore *semaphore, uint32_t value, uint32_t max,
			     uint32_t flags);

/* Takes a unit.  0; -ETIMEDOUT; -EINTR (FT_INTERRUPTIBLE only); -EINVAL;
 * -ECHILD. */
FT_API FT_NODISCARD int ft_semaphore_acquire(struct ft_semaphore *semaphore, ft_deadline deadline);

/* Gives n units, all at once, and wakes as many waiters.  0; -EOVERFLOW: there
 * would be more than max, and nothing was given; -EINVAL (also n 0); -ECHILD. */
FT_API int ft_semaphore_release(struct ft_semaphore *semaphore, uint32_t n);

/* The free units at some moment during the call.  Async-signal-safe. */
FT_API uint32_t ft_semaphore_value(const struct ft_semaphore *semaphore);

FT_END_DECLS

#endif
