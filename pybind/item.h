/* SPDX-License-Identifier: MIT */
/* What travels through queues: any picklable object, as bytes in a block. */
#ifndef FT_PYBIND_ITEM_H
#define FT_PYBIND_ITEM_H

#include "module.h"

/* An item as a bytes object, or NULL with what pickle raised. */
PyObject *core_item_dumps(struct core_state *state, PyObject *item);

/* The item in a block that was got, which is freed in any case; or NULL with
 * what unpickling raised. */
PyObject *core_item_loads(struct core_state *state, void *block, size_t size);

#endif
