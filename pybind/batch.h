/* SPDX-License-Identifier: MIT */
/*
 * A batch: func for each of a known number of items, by as many threads as
 * are free.  It is in the queue once for each thread that may help; who runs it
 * takes one chunk of items after the other.
 */
#ifndef FT_PYBIND_BATCH_H
#define FT_PYBIND_BATCH_H

#include "jobs.h"

/* With `star` each item is unpacked as arguments.  `given` is as for
 * core_answer_new. */
PyObject *core_batch_new(struct core_jobs *jobs, PyObject *func, PyObject *items, int star,
			 Py_ssize_t chunk, PyObject *const *given);

#endif
