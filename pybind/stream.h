/* SPDX-License-Identifier: MIT */
/*
 * A stream: func for each item of an iterable, by as many threads as are free,
 * and the outcomes for one consumer as it asks for them.
 *
 * The iterable is read a bounded way ahead of the consumer (`window`), or as
 * fast as it goes once somebody waits for the pool to end.
 * Built-in iterators that run no foreign code are read by the workers; any
 * other by a feeder, a thread of the stream's own, since they may block, or
 * wait for what the pool or the consumer does.  A feeder hands over whole chunks:
 * if the iterable raises, what it gave for the chunk before is not called for, as
 * multiprocessing has it.
 *
 * The stream is in the queue once for each worker that may help (`helpers`).
 * Who finds nothing to do leaves; whoever makes work calls helpers.
 */
#ifndef FT_PYBIND_STREAM_H
#define FT_PYBIND_STREAM_H

#include "jobs.h"

struct core_stream_plan {
	PyObject *func, *iterable;
	int star;          /* unpack each item as arguments */
	int ordered;       /* outcomes in the order of the items */
	int persist;       /* it goes on when the consumer's end is dropped */
	int single;        /* each chunk counts as a job */
	Py_ssize_t chunk;  /* items that a worker takes at a time */
	Py_ssize_t window; /* at most so far ahead; 0: as it seems fit */
};

/* A row of things, first in, first out. */
struct core_row {
	void **things;       /* of `size` places, a power of two, or NULL */
	uint64_t size, first, last; /* places first..last-1 are in use, modulo size */
};

/* An outcome: a value or, with this bit, an exception; NULL: not there yet. */
#define CORE_RAISED ((uintptr_t)1)

struct core_stream {
	struct core_job job;
	/* const */
	struct core_jobs *jobs;
	PyObject *func, *iterable, *source;
	int star, ordered, single, persist, fed_by_thread, grows;
	uint64_t chunk; /* at a time to a worker */
	uint64_t whole; /* at a time from a feeder */
	struct core_stream *next, **link; /* in the queue's list, under its lock */
	/* Under lock, never held while foreign code runs or a thread waits. */
	struct ft_lock lock;
	struct core_row items;    /* fed, not taken yet */
	struct core_row outcomes; /* of what was taken: numbers first..last-1 */
	uint64_t ended;           /* unordered: the number for the next outcome */
	uint64_t window;
	uint32_t helpers;
	int exhausted, dropped, full, waiting;
	PyObject *error;          /* what the iterable raised; before `exhausted` */
	struct ft_event progress; /* for the consumer, if it is waiting */
	struct ft_event room;     /* for the feeder */
};

/* A stream at work, or NULL with an exception.  One that is not fed_by_thread
 * needs no feeder. */
struct core_stream *core_stream_new(struct core_jobs *jobs, const struct core_stream_plan *plan);

/* Moves outcomes that are there to `ready`.  1: some; 0: not yet, and the
 * stream sets `progress` when there are; -1: no more will come, with the
 * exception that says why (StopIteration). */
int core_stream_take(struct core_stream *stream, struct core_row *ready);
/* Nobody will take any more. */
void core_stream_abandon(struct core_stream *stream);
/* The pool was terminated, or somebody waits for its end. */
void core_stream_hurry(struct core_stream *stream);

/* The consumer's end, an iterator; it keeps `owner` alive. */
PyObject *core_stream_results_new(struct core_jobs *jobs, const struct core_stream_plan *plan,
				  PyObject *owner);

/* 0 or -1 without an exception. */
int core_row_push(struct core_row *row, void *thing);
void *core_row_pop(struct core_row *row);
int core_row_traverse(const struct core_row *row, visitproc visit, void *arg);
void core_row_clear(struct core_row *row);

#endif
