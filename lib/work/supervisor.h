/* SPDX-License-Identifier: MIT */
/*
 * The supervisor: one thread per process that has process workers.  It sleeps
 * in epoll on their pidfds, and after a death, in this order: reaps, settles
 * the journals (sync/journal.h), sweeps the blocks (mem/block.h), frees the
 * slots, records the exit status, wakes joiners.  Whoever else notices a death
 * first may do the same through ft__supervisor_settle.  Floor 3.
 *
 * Workers of a dead worker die with it (work/lifeline.h), but nobody is left to
 * do all that for them: the supervisor adopts their slots and does it.
 *
 * It lives as long as the process, so helpers that must not lose their parent
 * thread (PDEATHSIG, CLONE_PARENT) are created on it.  It blocks all signals
 * and calls nothing of libc that takes a lock while it is parked.
 */
#ifndef FT_WORK_SUPERVISOR_H
#define FT_WORK_SUPERVISOR_H

#include "work/worker.h"

/* Starts the thread if there is none.  0 or -errno. */
int ft__supervisor_ready(void);

/* Watches a process worker from now on (takes a reference).  If it cannot, the
 * worker is killed and settled.  0 or -errno. */
int ft__supervisor_watch(struct ft_worker *worker);

/* If the worker is dead, makes sure that all of the above is done before this
 * returns.  Idempotent; any thread.  1: it has ended; 0: alive, or dead and
 * held up: the supervisor goes on trying. */
int ft__supervisor_settle(struct ft_worker *worker);

/* A child of ours that nobody can watch, for want of a descriptor: killed and
 * settled.  With pid 0 it is gone already, and only settled. */
void ft__supervisor_bury(struct ft_worker *worker);

/* Lets the supervisor thread call ft__spawner_tick (work/spawner.h) in so many
 * nanoseconds; an earlier wish is forgotten.  0 or -errno. */
int ft__supervisor_alarm(int64_t ns);

/* A helper that died may have left a child of ours behind that we know nothing
 * of, and that leaves by itself: somebody has to reap it. */
void ft__supervisor_expect_stranger(void);

/* Runs fn(arg) on the supervisor thread, and waits for its answer. */
int ft__supervisor_call(int (*fn)(void *arg), void *arg);

/* 1 if the only threads of this process are the caller and a parked supervisor;
 * holds the supervisor parked until ft__supervisor_resume. */
int ft__supervisor_pause_if_alone(void);
void ft__supervisor_resume(void);

/* After fork in a new worker: forget the parent's thread, its descriptors and
 * its handles.  Async-signal-safe; again does no harm. */
void ft__supervisor_forget(void);

/* work/death.c: the table of watched workers, by slot.  `lock` is held by
 * whoever settles; ft__death_retry tries all that were held up again, and
 * returns how many still are. */
int ft__death_watch(struct ft_worker *worker, int epoll);
/* A watched spare (work/spare.h) has become `worker`: descriptor, slot and status
 * are that one's from now on, and `payload` (NULL: none) goes with it. */
void ft__death_hand_over(struct ft_worker *spare, struct ft_worker *worker, void *payload);
void ft__death_notice(uint32_t owner);
/* Is there a worker with this pid, watched or not yet? */
bool ft__death_knows(pid_t pid);
int ft__death_retry(void);
void ft__death_forget(void);

#endif
