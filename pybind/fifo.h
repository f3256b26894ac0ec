/* SPDX-License-Identifier: MIT */
/*
 * What Queue and SimpleQueue for threads and the jobs of a pool are made of:
 * references to objects, first in, first out, any number of producers and consumers.
 *
 * Items lie in a list of chunks.  Two numbers only grow, puts and gets; what is
 * between them is in the queue.  Producers change the list at its tail, one at a
 * time, consumers at its head, one at a time; so that one of each side work at the
 * same time, and meet only in these numbers.  Each number has its side's guard as
 * its lowest bit:
 *
 *   turns      meaning                     who leaves it, and how
 *   2n         n puts (gets), guard free   who comes: CAS to 2n + 1
 *   2n + 1     n puts (gets), guard held   its holder: stores 2n + 2, the committing
 *                                          store, or 2n if nothing was done
 *
 * Lines are of threads that wait: for the guard, or for the other side to put or
 * get.  Whoever waits is either in its line's `waiters` or has a token:
 *
 *   field     who writes                          partner
 *   waiters   who waits: + 1 before its last      who stores turns: loads it after
 *             look at turns; who wakes it: - 1    that (seq_cst on both sides, so that
 *             before it gives a token             one of both sees the other)
 *   tokens    who wakes, who waits                a semaphore
 *
 * A token means "look again", and never more: what somebody was woken for it tries
 * to get like everybody else.
 *
 * Guards are held by threads that are attached to the interpreter, stay so, and
 * run no Python code meanwhile; who waits is detached, and holds none.  So a
 * collection, which stops the others at points where they may detach, finds no
 * list half-changed; neither does a finalizer, a signal handler or a forked child.
 */
#ifndef FT_PYBIND_FIFO_H
#define FT_PYBIND_FIFO_H

#include <stdatomic.h>

#include "module.h"

struct core_fifo_chunk;

struct core_fifo_line {
	_Atomic uint32_t waiters;
	struct ft_semaphore tokens;
};

/* Apart by more than a cache line: what one side writes does not slow the other. */
struct core_fifo_side {
	_Atomic uint64_t turns;	       /* table above */
	struct core_fifo_chunk *chunk; /* under the guard, as all up to `others` */
	uint32_t index;		       /* in the chunk, of the next item */
	uint64_t others;	       /* the other side's number, as last seen */
	struct core_fifo_line guard;   /* who wait for the guard */
	struct core_fifo_line room;    /* who wait for the other side */
	char apart[64];
};

struct core_fifo {
	struct core_fifo_side put, get;
	_Atomic(struct core_fifo_chunk *) spare; /* an empty one, for who needs one next */
	_Atomic uint64_t limit;			 /* of items; 0: none */
	_Atomic int closed;			 /* set once, under the guard of put */
};

/* 0 or -errno.  All zero bytes is a fifo that needs nothing but core_fifo_free. */
int core_fifo_init(struct core_fifo *fifo, uint64_t limit);
void core_fifo_free(struct core_fifo *fifo);

/* Another limit: who waits for room looks again. */
void core_fifo_set_limit(struct core_fifo *fifo, uint64_t limit);

/* No more puts.  Those that are in it can still be got. */
void core_fifo_close(struct core_fifo *fifo);

/* 0; -ETIMEDOUT: full; -ENOMEM; -EPIPE: closed; -EINTR: a signal handler has raised. */
int core_fifo_put(struct core_fifo *fifo, PyObject *item, ft_deadline deadline);

/* The same with a reference that is the queue's if that succeeds, else still the caller's. */
int core_fifo_give(struct core_fifo *fifo, PyObject *reference, ft_deadline deadline);

/* The oldest item, the reference being the caller's now: 0; -ETIMEDOUT: empty;
 * -EPIPE: empty and closed; -EINTR: as above. */
int core_fifo_get(struct core_fifo *fifo, PyObject **item, ft_deadline deadline);

/* Items ever put; and those in it, exact at some moment during the call. */
static inline uint64_t core_fifo_puts(struct core_fifo *fifo)
{
	return atomic_load(&fifo->put.turns) / 2;
}
uint64_t core_fifo_size(struct core_fifo *fifo);

/* For the collector. */
int core_fifo_traverse(struct core_fifo *fifo, visitproc visit, void *arg);
void core_fifo_clear(struct core_fifo *fifo);

#endif
