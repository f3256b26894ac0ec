/* SPDX-License-Identifier: MIT */
/* Methods of Pool that have to do with tickets. */
#ifndef FT_PYBIND_SUBMIT_H
#define FT_PYBIND_SUBMIT_H

#include "pool.h"

PyObject *core_pool_submit(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			   PyObject *kwnames);
PyObject *core_pool_submit_many(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
				PyObject *kwnames);
PyObject *core_pool_ticket(PyObject *op, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_pool_next(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *core_pool_wait_all(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			     PyObject *kwnames);

#endif
