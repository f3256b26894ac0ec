/* SPDX-License-Identifier: MIT */
#ifndef FT_PYBIND_WORK_H
#define FT_PYBIND_WORK_H

#include "seat.h"

/* Seat.work(raised, send, portable): runs the tasks of a pool until it wants no
 * more of this worker. */
PyObject *core_seat_work(PyObject *op, PyObject *args);

#endif
