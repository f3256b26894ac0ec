/* SPDX-License-Identifier: MIT */
/*
 * Cargo: the shared objects that a pickle on its way to another process refers to.
 * While one of ours is made, each primitive that is pickled, however deep inside
 * other objects or other pickles, is noted; then the block that the pickle travels
 * in carries them, so that they are there when it is loaded, whoever has dropped
 * them by then.
 */
#ifndef FT_PYBIND_CARGO_H
#define FT_PYBIND_CARGO_H

#include "module.h"

struct core_cargo {
	struct core_cargo *outer; /* of the same thread */
	PyObject *things;         /* a list of the primitives, so that they last; or NULL */
	uint64_t *handles;
	size_t count, room;
};

/* Between the two, on one thread, what is pickled is noted, in a cargo that is all
 * zero at first. */
void core_cargo_begin(struct core_cargo *cargo);
void core_cargo_end(struct core_cargo *cargo);

void core_cargo_clear(struct core_cargo *cargo);

/* By __reduce__; does nothing if nobody notes.  0, or -1 with MemoryError. */
int core_cargo_note(PyObject *thing, uint64_t handle);

/* How much room a block of `size` bytes needs to carry it, and doing so.  0, or
 * -errno. */
size_t core_cargo_room(const struct core_cargo *cargo, size_t size);
int core_cargo_load(const struct core_cargo *cargo, void *block, size_t size);

#endif
