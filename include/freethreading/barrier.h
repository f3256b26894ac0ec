/* SPDX-License-Identifier: MIT */
/*
 * ft_barrier: a place where `parties` threads or processes wait for each other,
 * again and again.
 *
 *     static struct ft_barrier barrier;
 *     ft_barrier_init(&barrier, 4, FT_PRIVATE);
 *     int index = ft_barrier_wait(&barrier, FT_FOREVER);   // in each of four
 *     if (index < 0)
 *             ...                                          // broken
 *
 * Each round is a generation.  `state`, under the lock:
 *
 *   state     meaning                     who leaves it, and how
 *   FILLING   arrived < parties           last to arrive: passes, or LEADING
 *   LEADING   all are there, the last     leader: passes
 *             one does something first
 *   BROKEN    nobody may wait             reset: FILLING
 *
 *   passing    generation + 1, arrived = 0, FILLING
 *   breaking   failed[1] = failed[0], failed[0] = generation, then as passing,
 *              but BROKEN: by abort, reset (which goes on to FILLING), a
 *              deadline that passed in FILLING, a death inside a wait
 *
 * A waiter keeps the number of its generation.  It may go once that is over:
 * with its index if the generation is younger than failed[0] (or than failed[1],
 * and not failed[0]), else with -EPIPE.  A waiter that slept through two
 * failures of later generations gets -EPIPE as well: the barrier was reset while
 * it was inside.
 *
 * The word (a futex), changed under the lock, but for SLEEPERS and DOOMED:
 *
 *   bit 0      SLEEPERS    somebody may be parked: set by CAS before parking,
 *                          goes when the generation ends, which wakes all
 *   bit 1      DOOMED      set by the supervisor, and by whose time is over but
 *                          cannot get the lock: who gets it next breaks the
 *                          barrier
 *   bits 2-31  GENERATION  the low bits: a waiter would oversleep if exactly a
 *                          multiple of 2^30 generations went by between its
 *                          last look and its sleep
 *
 * Death: whoever is inside (has arrived, and has not got its answer) has noted
 * the barrier in its journal.  After its death the supervisor marks the lock,
 * sets DOOMED and wakes everybody; it needs no lock.  So a party that dies
 * inside breaks the barrier; one that dies elsewhere is waited for until a
 * deadline.
 *
 * Who was stopped, and holds the lock, keeps nobody longer than half a second after
 * a deadline: a call that gives up so dooms the barrier, but for an arrival with
 * FT_NOW.  A generation that the stopped one was just letting go passes all the same,
 * for the others.
 *
 * FT_SHARED barriers must lie in an arena block (-EINVAL otherwise).
 * Algorithm: tests/model/barrier.pml (Spin, crash at any step).
 * Signals: no function is async-signal-safe.
 * Fork: a child of a plain fork() gets -ECHILD for FT_SHARED barriers.
 */
#ifndef FREETHREADING_BARRIER_H
#define FREETHREADING_BARRIER_H

#include <freethreading/lock.h>

FT_BEGIN_DECLS

#define FT_BARRIER_FILLING 0u
#define FT_BARRIER_LEADING 1u
#define FT_BARRIER_BROKEN 2u

#define FT_BARRIER_SLEEPERS 0x1u
#define FT_BARRIER_DOOMED 0x2u
#define FT_BARRIER_GENERATION 0x4u /* one */

#define FT_BARRIER_PARTIES 0x7fffffffu /* at most */

struct ft_barrier {
	struct ft_lock lock;
	uint32_t word;       /* futex, table above */
	uint32_t parties;    /* const after init */
	uint32_t arrived;    /* in this generation */
	uint32_t state;      /* table above */
	uint64_t generation; /* from 1; the committing store of each end */
	uint64_t failed[2];  /* the last two generations that failed; 0: none */
	uint32_t flags;      /* const after init */
	uint32_t zero;
	uint64_t mark;       /* FT_BARRIER_MARK after init */
	uint64_t reserved;   /* 0 */
};

#define FT_BARRIER_MARK UINT64_C(0x7265697272616266) /* "fbarrier" */

/* 0, -EINVAL (also parties 0), -ECHILD, -ENOMEM.  There is nothing to destroy;
 * its memory may go once every wait has returned. */
FT_API int ft_barrier_init(struct ft_barrier *barrier, uint32_t parties, uint32_t flags);

/*
 * Waits until all parties are here.  Returns the caller's index, 0 for the first
 * to arrive, parties - 1 for the last, who alone has that one.
 *
 * -EPIPE: the barrier is, or was, broken or reset; -ETIMEDOUT: the deadline
 * passed, and the others get -EPIPE; -EINTR (FT_INTERRUPTIBLE only): as if the
 * caller had not come, unless a thread was stopped inside: then the others may get
 * -EPIPE; -EAGAIN: the caller holds too many locks to be inside a barrier as well;
 * -EINVAL; -ECHILD.
 */
FT_API FT_NODISCARD int ft_barrier_wait(struct ft_barrier *barrier, ft_deadline deadline);

/* Breaks the barrier, now and for everybody, until it is reset. */
FT_API int ft_barrier_abort(struct ft_barrier *barrier);

/* Makes it empty and whole; whoever is waiting gets -EPIPE.  -ETIMEDOUT: somebody was
 * stopped in the middle of a call: the barrier is broken instead. */
FT_API int ft_barrier_reset(struct ft_barrier *barrier);

/* 1 if it is broken, else 0. */
FT_API int ft_barrier_broken(const struct ft_barrier *barrier);

/* How many have arrived and wait for others. */
FT_API uint32_t ft_barrier_waiting(const struct ft_barrier *barrier);

FT_API uint32_t ft_barrier_parties(const struct ft_barrier *barrier);

/*
 * A wait in steps, for those who do something while everybody is there, or must
 * run signal handlers in the middle of a wait.  After ft_barrier_arrive:
 *   - who is `last` does what it has to do, and calls ft_barrier_release, or
 *     ft_barrier_abort and then ft_barrier_await;
 *   - the others call ft_barrier_await, again after each -EINTR, or
 *     ft_barrier_withdraw.
 */
struct ft_barrier_ticket {
	uint64_t generation;
	uint32_t index;
	uint32_t last; /* 1: all are here, and wait for the caller */
};

/* 0; errors as ft_barrier_wait.  The deadline is for a barrier whose leader is
 * busy; -ETIMEDOUT breaks nothing then. */
FT_API FT_NODISCARD int ft_barrier_arrive(struct ft_barrier *barrier,
					  struct ft_barrier_ticket *ticket, ft_deadline deadline);

/* The index, as ft_barrier_wait; -EINTR: the caller is still counted.  When all
 * have arrived the deadline counts no more. */
FT_API FT_NODISCARD int ft_barrier_await(struct ft_barrier *barrier,
					 const struct ft_barrier_ticket *ticket,
					 ft_deadline deadline);

/* By who was last: lets everybody go.  The index, or -EPIPE. */
FT_API int ft_barrier_release(struct ft_barrier *barrier, const struct ft_barrier_ticket *ticket);

/* By who was not: 0: the caller is not counted any more; -EALREADY: all had
 * arrived, or the barrier was broken, before: it will, or did, end without the
 * caller, who shall not call ft_barrier_await. */
FT_API int ft_barrier_withdraw(struct ft_barrier *barrier,
			       const struct ft_barrier_ticket *ticket);

FT_END_DECLS

#endif
