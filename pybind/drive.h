/* SPDX-License-Identifier: MIT */
/* Futures of a pool: whoever waits for one drives the pool. */
#ifndef FT_PYBIND_DRIVE_H
#define FT_PYBIND_DRIVE_H

#include "future.h"
#include "pool.h"

/* Pool.future(type, function, args, kwargs): submits, and returns the Future. */
PyObject *core_pool_future(PyObject *op, PyObject *const *args, Py_ssize_t nargs);

/* Pool.future_each(type, function, items): of a task that calls function(*item) for
 * each of a tuple. */
PyObject *core_pool_future_each(PyObject *op, PyObject *const *args, Py_ssize_t nargs);

#endif
