/* SPDX-License-Identifier: MIT */
#ifndef FT_PYBIND_CHILD_H
#define FT_PYBIND_CHILD_H

#include "module.h"

/* A Child for a worker whose handle it takes over, also on failure. */
PyObject *core_child_new(struct core_state *state, struct ft_worker *worker);

/* The worker behind a Child, or NULL with TypeError. */
struct ft_worker *core_child_worker(struct core_state *state, PyObject *child);

#endif
