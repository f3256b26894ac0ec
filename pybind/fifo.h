/* SPDX-License-Identifier: MIT */
/*
 * What Queue and SimpleQueue for threads are made of: references to objects, first
 * in, first out, any number of producers and consumers.
 *
 * Items lie in a list of chunks.  Two numbers only grow: `puts` and `gets`; what
 * is between them is in the queue.  Producers change the list at its tail, one at
 * a time, consumers at its head, one at a time; so that one of each side work at
 * the same time and meet only in these numbers.
 *
 *   field       who writes                        partner
 *   puts        producer, under its guard,        consumer: acquire load before it
 *               after the item                    reads the item
 *   gets        consumer, under its guard,        producer: acquire load before it
 *               after it took the item            calls it full
 *   waiters     who is about to wait: +1 before   who puts or gets: looks after its
 *               its last look at puts or gets     store of puts or gets (seq_cst on
 *                                                 both sides: one sees the other);
 *                                                 takes 1 away and gives a token
 *   tokens      a semaphore                       who waits takes one.  Who waits
 *                                                 is in waiters, or has a token.
 *
 * Guards are held by threads that are attached to the interpreter, stay so, and
 * run no Python code meanwhile.  So a collection, which stops all others at
 * points where they may detach, finds no list half-changed; neither does a
 * finalizer, a signal handler or a forked child.  Who waits is detached, and has
 * no guard; what it was woken for it tries to get like everybody else.
 */
#ifndef FT_PYBIND_FIFO_H
#define FT_PYBIND_FIFO_H

#include <stdatomic.h>

#include "module.h"

struct core_fifo_chunk;

/* One side of the queue, and those who wait for the other to do something.
 * Aligned so that the sides do not share a cache line. */
struct core_fifo_side {
	struct ft_lock guard;
	struct core_fifo_chunk *chunk; /* under the guard */
	uint32_t index;                /* the next item's in the chunk; under the guard */
	_Atomic uint32_t waiters;
	uint64_t known;        /* the other side's number, as last seen; under the guard */
	_Atomic uint64_t done; /* puts or gets */
	struct ft_semaphore tokens;
	char apart[64];
};

struct core_fifo {
	struct core_fifo_side put, get;
	_Atomic(struct core_fifo_chunk *) spare; /* an empty one, for who needs one next */
	uint64_t limit;                          /* of items; 0: none; const */
};

/* 0 or -errno.  All zero bytes is a fifo that needs nothing but core_fifo_free. */
int core_fifo_init(struct core_fifo *fifo, uint64_t limit);
void core_fifo_free(struct core_fifo *fifo);

/* 0; -ETIMEDOUT: full; -ENOMEM.  -EINTR: a signal handler has raised. */
int core_fifo_put(struct core_fifo *fifo, PyObject *item, ft_deadline deadline);

/* The oldest item, the reference being the caller's now: 0; -ETIMEDOUT: empty;
 * -EINTR: as above. */
int core_fifo_get(struct core_fifo *fifo, PyObject **item, ft_deadline deadline);

/* Exact at some moment during the call. */
uint64_t core_fifo_size(struct core_fifo *fifo);

/* For the collector. */
int core_fifo_traverse(struct core_fifo *fifo, visitproc visit, void *arg);
void core_fifo_clear(struct core_fifo *fifo);

#endif
