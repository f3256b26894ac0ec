/* SPDX-License-Identifier: MIT */
#ifndef FT_PYBIND_POOL_H
#define FT_PYBIND_POOL_H

#include <stdatomic.h>

#include "module.h"
#include "ticket.h"

struct core_pool {
	PyObject_HEAD PyObject *weakrefs; /* the interpreter's */
	struct core_state *state;
	struct ft_pool *pool; /* NULL once it was ended by the finalizer */
	PyObject *start;      /* callable(seat, handle, cpus) -> Child */
	PyObject *pack;	      /* callable(kind, function, args, kwargs) -> bytes, or NULL */
	PyObject *failure;    /* callable(status, ticket) -> exception, or NULL */
	PyObject *functions;  /* dict of shipped ones: function -> number */
	void **shipped;	      /* their blocks, by number; each written once */
	_Atomic long numbers; /* how many numbers were given */
	_Atomic long groups;  /* likewise, of streams */
	struct core_news news;
	pid_t maker; /* the process it belongs to: in a forked child, hands off */
};

/*
 * Any call of the C pool may start a worker, by the Python callable given to
 * Pool(), on the thread that made the call.  If that raised, the exception
 * waits on the thread: after each call either it becomes the exception of the
 * method, which returns 1 and is told so, ...
 */
int core_pool_start_failed(void);

/* ... or, where the method has a result that must not be lost, it is reported
 * through sys.unraisablehook; Ctrl-C is raised again a moment later. */
void core_pool_start_report(void);

/* The exception for a task that could not be submitted; NULL. */
PyObject *core_pool_refused(struct core_pool *self, int rc);

#endif
