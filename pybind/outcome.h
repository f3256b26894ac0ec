/* SPDX-License-Identifier: MIT */
/* What came of a task. */
#ifndef FT_PYBIND_OUTCOME_H
#define FT_PYBIND_OUTCOME_H

#include "pool.h"

/* Of a future that is done: a new reference to the value, or with *failed 1 to
 * the exception that it ended with; NULL with an exception if neither can be
 * told.  A large result is taken from the future. */
PyObject *core_outcome(struct core_pool *pool, struct ft_future *future, int *failed);

/* Sets an exception of core_outcome; NULL. */
PyObject *core_outcome_raise(PyObject *exception);

#endif
