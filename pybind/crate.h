/* SPDX-License-Identifier: MIT */
/*
 * Crates: pickles whose large buffers travel beside them (protocol 5), and the
 * memory that the receiver owns.
 *
 *     u8 'P'
 *     struct core_crate
 *     count * struct core_slab
 *     the pickle
 *     ... the buffers, at the offsets that the slabs tell (from the block's start)
 */
#ifndef FT_PYBIND_CRATE_H
#define FT_PYBIND_CRATE_H

#include "parcel.h"

/* Buffers from this size on travel beside the pickle. */
#define CORE_SLAB_LEAST ((Py_ssize_t)16384)

struct core_crate {
	uint32_t count;
	uint64_t pickle;
} __attribute__((packed));

struct core_slab {
	uint64_t offset, size, readonly;
};

/* Writes an object as `p` or `P`.  0, or -1 with what pickle raised. */
int core_crate_pack(struct core_state *state, struct core_parcel *parcel, PyObject *object);

/* The object behind a `P`, of which `delivery` is past the tag. */
PyObject *core_crate_open(struct core_state *state, struct core_delivery *delivery);

#endif
