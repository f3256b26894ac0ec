/* SPDX-License-Identifier: MIT */
/* A Block: memory of the arena that belongs to a Python object, and is freed
 * with it. */
#ifndef FT_PYBIND_BLOCK_H
#define FT_PYBIND_BLOCK_H

#include <stdatomic.h>

#include "module.h"

struct core_block {
	PyObject_HEAD void *memory;
	size_t size;
	_Atomic Py_ssize_t views; /* buffers that are in use */
};

/* Takes the block over, also when it fails. */
PyObject *core_block_new(struct core_state *state, void *memory);

#endif
