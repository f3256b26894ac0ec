/* SPDX-License-Identifier: MIT */
/*
 * OS threads between two thread workers: the worker has ended, the thread waits
 * a moment for another one, which so begins without clone, stack and set-up.
 * Only for workers with FT_WORKER_REUSE.  Floor 3.
 *
 * `called` (a private futex) of a parked thread:
 *
 *   0 -> 1    who took it from the list, after writing `next`: a worker to run,
 *             or NULL: leave, you will be joined
 *
 * A thread that nobody calls takes itself from the list, and leaves.  In fork()
 * all are told to leave: a program whose workers have ended has no threads.
 */
#ifndef FT_WORK_PARKED_H
#define FT_WORK_PARKED_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "os/traits.h"

struct ft_worker;

struct ft__parked {
	uint32_t called;          /* table above */
	pthread_t thread;         /* const while in the list, as all below but `link` */
	pid_t tid;
	struct ft__traits traits;
	struct ft_worker *next;   /* see `called` */
	struct ft__parked *link;  /* under the list's lock */
};

/* Puts the calling thread in the list, if it is as it was when it began
 * (`traits`) and can be used again.  From then on all signals are blocked. */
bool ft__parked_enter(struct ft__parked *parked, const struct ft__traits *traits);

/* What it shall run now; NULL: leave.  `patience` is the thread's own, 0 at first. */
struct ft_worker *ft__parked_wait(struct ft__parked *parked, int64_t *patience);

/* Lets a parked thread run a worker that inherits what the caller has.  The
 * thread is written to the worker before it runs.  False: there is none. */
bool ft__parked_call(struct ft_worker *worker);

#endif
