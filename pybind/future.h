/* SPDX-License-Identifier: MIT */
/*
 * The native part of concurrent.futures.Future: the outcome of one call, which
 * arrives once.  The class that users see, freethreading._future.Future, is a
 * subclass of this one and of the standard library's.
 *
 * What the standard library's functions touch (_condition, _waiters, _state, …)
 * is made when somebody touches it.  Until then a future is a state, an outcome
 * and an event.
 *
 *   PENDING -> RUNNING -> FINISHED
 *      |  `-----------------^
 *      `-> CANCELLED -> CANCELLED_AND_NOTIFIED
 *
 * There are two kinds.  One is completed by the thread that does the work, with
 * the functions below.  The other is driven (struct core_drive): whoever waits
 * collects the outcome itself, and only if somebody has asked for a callback, or
 * waits for several at once, another thread is told to complete it.
 */
#ifndef FT_PYBIND_FUTURE_H
#define FT_PYBIND_FUTURE_H

#include <pthread.h>
#include <stdatomic.h>

#include "convert.h"
#include "module.h"
#include "ticket.h"

enum core_future_state {
	CORE_PENDING,
	CORE_RUNNING,
	CORE_CANCELLED,
	CORE_CANCELLED_AND_NOTIFIED,
	CORE_FINISHED,
};

struct core_rest;

/* How a driven future gets its outcome.  Any thread may call these at any time;
 * each gets the future. */
struct core_drive {
	/* Waits until the outcome is there: 0, -ETIMEDOUT, -EINTR, -errno.  The
	 * interpreter may be released. */
	core_call *wait;
	/* After a wait: 1 with an exception that it has met, else 0. */
	int (*failed)(void);
	/* 1 if it is there, 0 if not, -1 with an exception. */
	int (*done)(PyObject *op);
	/* The outcome, once it is there, as a new reference.  A state: FINISHED
	 * with *result or *exception, or CANCELLED_AND_NOTIFIED; or -1 with an
	 * exception. */
	int (*outcome)(PyObject *op, PyObject **result, PyObject **exception);
	/* 1: it will not run; 0: it runs or has run; -1 with an exception. */
	int (*cancel)(PyObject *op);
	/* 1 if a worker is at it, else 0. */
	int (*running)(PyObject *op);
	/* Called at most once: from now on another thread waits for the outcome,
	 * and calls core_future_settle.  0, or -1 with an exception. */
	int (*watch)(PyObject *op);
};

struct core_future {
	PyObject_HEAD const struct core_drive *drive; /* NULL: completed by the worker's thread */
	pthread_mutex_t lock;			      /* for moments, never around Python code */
	_Atomic int state;			      /* written under lock; release */
	_Atomic int watched;   /* written under lock: another thread settles */
	struct ft_event ended; /* set once the state is a last one */
	/* Under lock until the state is FINISHED, const from then on. */
	PyObject *result, *exception;
	/* Under lock; made on demand, const from then on. */
	PyObject *condition, *waiters, *callbacks;
	/* Of a driven one; const. */
	PyObject *pool;
	struct ft_future *native;
	struct core_news_item item;
	struct ft_lock settling; /* one thread at a time takes the outcome in */
};

/* A pending future of a class that is or inherits from _core.Future. */
PyObject *core_future_new(PyTypeObject *type);

/* Before the call: 1: run it; 0: it was cancelled, and its waiters know now;
 * -1 with an exception. */
int core_future_set_running(PyObject *op);

/* After the call: completes the future, wakes who waits, and calls the callbacks.
 * 0, or -1 with an exception (InvalidStateError if it is complete).  `rest`: where
 * the calling thread, having nothing else to do, looks for work next; it says so
 * (core_rest_soon) unless Python is to be called here.  Or NULL. */
int core_future_set_result(PyObject *op, PyObject *value, struct core_rest *rest);
int core_future_set_exception(PyObject *op, PyObject *exception, struct core_rest *rest);

/* A driven future whose outcome is there: by the thread that was told to watch
 * it.  0 (also if it is complete already), or -1 with an exception. */
int core_future_settle(PyObject *op);

/* For types that embed it. */
void core_future_init(struct core_future *self, const struct core_drive *drive);
int core_future_traverse(PyObject *op, visitproc visit, void *arg);
int core_future_clear(PyObject *op);
/* Frees what is not an object. */
void core_future_fini(struct core_future *self);

#endif
