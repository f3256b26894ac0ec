/* SPDX-License-Identifier: MIT */
/* A Flow: results of a lazy iterable's items, as they are asked for. */
#ifndef FT_PYBIND_FLOW_H
#define FT_PYBIND_FLOW_H

#include "pool.h"

/* Pool.flow(type, owner, ordered, function, iterable, chunksize, ahead) */
PyObject *core_pool_flow(PyObject *op, PyObject *const *args, Py_ssize_t nargs);

#endif
