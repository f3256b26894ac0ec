/* SPDX-License-Identifier: MIT */
/* Jobs of a single call: one that is waited for, and one that belongs to a
 * concurrent.futures.Future. */
#ifndef FT_PYBIND_CALL_H
#define FT_PYBIND_CALL_H

#include "jobs.h"

/* Puts func(*args, **kwargs); kwargs may be None.  `given` is as for
 * core_answer_new. */
PyObject *core_call_new(struct core_jobs *jobs, PyObject *func, PyObject *args, PyObject *kwargs,
			PyObject *const *given);

/* The same for a future.  0, or -1 with an exception. */
int core_errand_new(struct core_jobs *jobs, PyObject *future, PyObject *func, PyObject *args,
		    PyObject *kwargs);

#endif
