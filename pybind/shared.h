/* SPDX-License-Identifier: MIT */
/*
 * What Lock, Event, Queue and the others have in common: a Python object over a
 * struct of the library.  Each has two types, with the same methods.
 *
 * For processes the struct is an arena block.  It belongs to the process that made
 * it until it is pickled for the first time: then it is shared (ft_block_share),
 * and each object, wherever, is a hold.  What travels in an item of a queue or
 * with a task is held by the block that it travels in (cargo.h).  A pickle made by
 * anybody else is a name that holds nothing: loading it is refused when nobody
 * holds the object any more.
 *
 * An object that a worker was born with, as a copy of the process it was cloned
 * from, holds nothing, and neither does one of a block that its maker could not
 * share: each use first asks the arena whether the block still exists.
 *
 * For threads the struct is FT_PRIVATE and lies inside the Python object, which
 * never moves.  Whoever waits on it, or wakes others, is in a method of the
 * object, and so has a reference: the memory stays until the last of them is
 * through with its system call.  Its pickle is a number that finds the object
 * again, in the same interpreter and as long as something else refers to it.
 */
#ifndef FT_PYBIND_SHARED_H
#define FT_PYBIND_SHARED_H

#include <stdatomic.h>

#include "bound.h"

struct core_kind;

struct core_shared {
	PyObject_HEAD
	PyObject *weakrefs; /* the interpreter's */
	struct core_state *state;
	void *block;
	/* The block's; for threads 0 until it is pickled for the first time, and set
	 * once. */
	_Atomic uint64_t handle;
	_Atomic int shared; /* 1: the block is, since it was pickled, or unpickled */
	const struct core_kind *kind;
	uint32_t maker; /* core_shared_life of the process that holds it; 0: nobody */
	int threads;    /* 1: of the threads of this process */
	struct core_bounds bounds;
};

/* One sort of object. */
struct core_kind {
	const char *name;
	size_t size;   /* of the library's struct */
	size_t inside; /* where that lies in an object for threads */
	size_t type;   /* offset of the type in struct core_types */
	/* Gives a new copy what came with the handle (NULL: nothing).  0 or -1;
	 * may be NULL where nothing comes. */
	int (*complete)(PyObject *op, PyObject *extra);
};
extern const struct core_kind core_lock_kind, core_rlock_kind, core_condition_kind;
extern const struct core_kind core_semaphore_kind, core_bounded_semaphore_kind;
extern const struct core_kind core_event_kind, core_barrier_kind;
extern const struct core_kind core_queue_kind, core_simple_queue_kind;

/* Where the library's struct lies in an object for threads that begins with
 * `outer`, and the size of the whole. */
#define CORE_INSIDE(outer) ((sizeof(outer) + 15) / 16 * 16)
#define CORE_THREAD_SIZE(outer, inner) ((int)(CORE_INSIDE(outer) + sizeof(inner)))

/* A new object of `type`, a type of ours or a subclass, over a new struct that
 * `init` has made into something; `flags` are the library's.  NULL on failure. */
typedef int core_init(void *block, uint32_t flags, void *ctx);
PyObject *core_shared_new(PyTypeObject *type, const struct core_kind *kind, core_init *init,
			  void *ctx);

/* The same where the object is all there is. */
PyObject *core_shared_bare(PyTypeObject *type);

void core_shared_dealloc(PyObject *op);

/* Which life of this process it is: another one in a worker that is a copy, whose
 * objects are copies of others' too.  Written when it begins, before any thread. */
extern uint32_t core_shared_life __attribute__((visibility("hidden")));
void core_shared_reborn(void);

/* 0, or -ESTALE when nobody held it any more. */
int core_shared_stale(const struct core_shared *self);
static inline int core_shared_check(const struct core_shared *self)
{
	return self->maker == core_shared_life || self->threads ? 0 : core_shared_stale(self);
}

/* The handle of one for processes, for a pickle: the block is shared from now on,
 * and noted (cargo.h).  0 with an exception. */
uint64_t core_shared_name(PyObject *op);

/* __reduce__ for each kind. */
PyObject *core_shared_reduce(PyObject *op, const struct core_kind *kind);

/* The backend's types, of which the object is one. */
const struct core_types *core_shared_types(const struct core_shared *self);

/* The constructor's arguments where there are none.  0 or -1. */
int core_no_arguments(const char *name, PyObject *args, PyObject *kwargs);

#define CORE_SHARED_MEMBERS \
	{ "__weaklistoffset__", T_PYSSIZET, offsetof(struct core_shared, weakrefs), READONLY, NULL }

#endif
