/* SPDX-License-Identifier: MIT */
/*
 * What Lock, Event, Queue and the others have in common: a Python object over an
 * arena block, that travels by pickling the block's handle.
 *
 * In the process that made the block, all its Python objects share one hold;
 * the last of them frees the block.  In other processes an object only points
 * there, and each use first asks the arena whether the block still exists.
 */
#ifndef FT_PYBIND_SHARED_H
#define FT_PYBIND_SHARED_H

#include "module.h"

struct core_hold;

struct core_shared {
	PyObject_HEAD
	PyObject *weakrefs; /* the interpreter's */
	struct core_state *state;
	void *block;
	uint64_t handle;
	struct core_hold *hold; /* NULL: another process made it */
};

/* One sort of object. */
struct core_kind {
	const char *name;
	size_t size;                 /* of the struct in the block */
	size_t type;                 /* offset of the type in struct core_state */
	int (*destroy)(void *block); /* before the block is freed; may be NULL */
	/* Gives a new copy what came with the handle (NULL: nothing).  0 or -1;
	 * may be NULL where nothing comes. */
	int (*complete)(PyObject *op, PyObject *extra);
};
extern const struct core_kind core_lock_kind, core_rlock_kind, core_condition_kind;
extern const struct core_kind core_semaphore_kind, core_bounded_semaphore_kind;
extern const struct core_kind core_event_kind, core_barrier_kind;
extern const struct core_kind core_queue_kind, core_simple_queue_kind;

/* A new object of `type`, a type of ours or a subclass, over a new block that
 * `init` has made into something.  NULL on failure. */
PyObject *core_shared_new(PyTypeObject *type, const struct core_kind *kind,
			  int (*init)(void *block, void *ctx), void *ctx);

void core_shared_dealloc(PyObject *op);

/* 0, or -ESTALE when the process that made it freed it. */
int core_shared_check(const struct core_shared *self);

/* __reduce__ for each kind. */
PyObject *core_shared_reduce(PyObject *op, const struct core_kind *kind);

/* The constructor's arguments where there are none.  0 or -1. */
int core_no_arguments(const char *name, PyObject *args, PyObject *kwargs);

#define CORE_SHARED_MEMBERS \
	{ "__weaklistoffset__", T_PYSSIZET, offsetof(struct core_shared, weakrefs), READONLY, NULL }

#endif
