/* SPDX-License-Identifier: MIT */
/*
 * A new worker process that is about to run a multiprocessing process object:
 * multiprocessing's own bootstrap, in C.
 *
 * A worker is a copy of the helper, and each page that it writes to is copied
 * for it then, which is most of what its start costs.  Executing Python code
 * writes to the reference counts of functions, code, names and constants, all
 * over the heap.  So what all workers do is done here; whatever a worker has to
 * do beyond that is Python's, in _helper.py.
 */
#ifndef FT_PYBIND_NEWBORN_H
#define FT_PYBIND_NEWBORN_H

#include "module.h"

struct core_newborn;

/* `world`: a dict of the objects that newborn.c names.  NULL with an exception. */
struct core_newborn *core_newborn_new(PyObject *world);
void core_newborn_free(struct core_newborn *newborn);

/* In a new process that may be a spare: writes to the pages that core_newborn_run
 * will write to, while nobody waits for it. */
void core_newborn_rehearse(struct core_newborn *newborn);

/* In the new process.  The exit status as an int; None: this payload is for
 * Python, and nothing has been done; NULL: an exception that nobody caught. */
PyObject *core_newborn_run(struct core_newborn *newborn, const char *payload, size_t size);

#endif
