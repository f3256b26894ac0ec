/* SPDX-License-Identifier: MIT */
/*
 * Jobs: the queue that a pool's threads serve.  A job is a Python object and
 * travels as a reference: nothing is pickled, copied or collected, and the
 * thread that runs a job gives its outcome to whoever waits for it.
 *
 * A queue's life (`stage`, which only rises):
 *
 *   OPEN -> CLOSED      no more jobs; serve() ends when none is left
 *        -> TERMINATED  what has not started will not run
 *        -> BROKEN      the same, with a reason: `why`
 */
#ifndef FT_PYBIND_JOBS_H
#define FT_PYBIND_JOBS_H

#include "fifo.h"
#include "module.h"
#include "rest.h"

#define CORE_JOBS_OPEN 0u
#define CORE_JOBS_CLOSED 1u
#define CORE_JOBS_TERMINATED 2u
#define CORE_JOBS_BROKEN 3u

struct core_stream;

struct core_jobs {
	PyObject_HEAD
	PyObject *weakrefs; /* the interpreter's */
	struct core_state *state;
	struct core_fifo queue;
	_Atomic uint32_t stage;
	_Atomic(PyObject *) why;     /* an exception; set once, before BROKEN */
	struct ft_lock lock;         /* of the list: the streams that may still want helpers */
	struct core_stream *streams;
	_Atomic int hurry;           /* somebody waits for the end: read all that there is */
	uint32_t maker;              /* core_generation(): in a forked child nobody serves */
	struct core_rest rest;       /* of those who serve */
	PyObject *check;             /* callable(func, args, kwargs): raises if not portable */
	PyObject *future;            /* the class of what submit() returns */
};

/* The head of every object that can be a job. */
struct core_job {
	PyObject_HEAD
	/* One of the two for each core_jobs_put, attached and without an
	 * exception; they leave none.  Dropped is what will not run. */
	void (*run)(PyObject *job, struct core_jobs *jobs);
	void (*drop)(PyObject *job, struct core_jobs *jobs);
};

/* 0, or -1 with an exception: closed, broken, in a forked child, no memory. */
int core_jobs_check(const struct core_jobs *jobs);
int core_jobs_put(struct core_jobs *jobs, PyObject *job);

/* A stream that will put itself: the queue stays open for it, and keeps it, until
 * it is removed.  0, or -1 with an exception. */
int core_jobs_add(struct core_jobs *jobs, struct core_stream *stream);
void core_jobs_remove(struct core_jobs *jobs, struct core_stream *stream);

/* Another number in each child of fork(). */
uint32_t core_generation(void);

/* func(item) or func(*item). */
PyObject *core_job_call(PyObject *func, PyObject *item, int star);
/* Sets multiprocessing.TimeoutError; NULL. */
PyObject *core_job_timeout(void);

/* Whether what has not started is to be dropped. */
int core_jobs_ended(const struct core_jobs *jobs);
/* Sets the exception for that: CancelledError, or why the queue is broken. */
void core_jobs_raise(const struct core_jobs *jobs);

#endif
