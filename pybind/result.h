/* SPDX-License-Identifier: MIT */
/* A Result: what will come of one or several tasks, for those who ask. */
#ifndef FT_PYBIND_RESULT_H
#define FT_PYBIND_RESULT_H

#include "pool.h"

/* Pool.apply(function, args, kwargs): submits, waits, and returns what came of it. */
PyObject *core_pool_apply(PyObject *op, PyObject *const *args, Py_ssize_t nargs);

/* Pool.call(type, owner, function, args, kwargs): submits, and returns a Result. */
PyObject *core_pool_call(PyObject *op, PyObject *const *args, Py_ssize_t nargs);

/* Pool.map(type, owner, kind, function, items, chunksize): the Result of many
 * tasks, a list in the order of the items. */
PyObject *core_pool_map(PyObject *op, PyObject *const *args, Py_ssize_t nargs);

#endif
