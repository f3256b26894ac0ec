/* SPDX-License-Identifier: MIT */
/*
 * What travels through queues between processes: any picklable object, in a block.
 *
 *   first byte   the rest
 *   N T F        nothing: None, True, False
 *   i            an int of 64 bits, as this machine has it
 *   f            a float, likewise
 *   b s          bytes; an ASCII str
 *   0x80         a pickle, of which this byte is the first
 */
#ifndef FT_PYBIND_ITEM_H
#define FT_PYBIND_ITEM_H

#include "module.h"

/* A new block with the item in it; NULL with what pickle raised, or MemoryError. */
void *core_item_dumps(struct core_state *state, PyObject *item);

/* The item in a block that was got, which is freed in any case; or NULL with
 * what unpickling raised. */
PyObject *core_item_loads(struct core_state *state, void *block, size_t size);

#endif
