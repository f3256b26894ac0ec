/* SPDX-License-Identifier: MIT */
#include "shared.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>
#include <unistd.h>

#include "convert.h"

/*
 * A block that this process made.  Blocks belong to the process and not to an
 * interpreter, so there is one table of holds per process.  A worker cloned
 * from us inherits the table: `pid` tells it that these are not its own.
 */
struct core_hold {
	struct core_hold *next; /* in its bucket, under holds_lock */
	size_t objects;         /* under holds_lock */
	const struct core_kind *kind;
	void *block;
	uint64_t handle;
	pid_t pid;
};

#define BUCKETS 1024
static struct core_hold *holds[BUCKETS];
static pthread_mutex_t holds_lock = PTHREAD_MUTEX_INITIALIZER;

static struct core_hold **bucket_of(uint64_t handle)
{
	return &holds[(handle * UINT64_C(0x9e3779b97f4a7c15)) >> 54];
}

static struct core_hold *hold_new(const struct core_kind *kind, void *block)
{
	struct core_hold *hold = PyMem_RawCalloc(1, sizeof(*hold));
	struct core_hold **bucket;

	if (!hold)
		return NULL;
	*hold = (struct core_hold){ .objects = 1, .kind = kind, .block = block, .pid = getpid() };
	hold->handle = ft_block_handle(block);
	bucket = bucket_of(hold->handle);
	pthread_mutex_lock(&holds_lock);
	hold->next = *bucket;
	*bucket = hold;
	pthread_mutex_unlock(&holds_lock);
	return hold;
}

/* The hold of a block that this process made, one object more, or NULL. */
static struct core_hold *hold_again(uint64_t handle, const struct core_kind *kind)
{
	struct core_hold *hold;
	pid_t pid = getpid();

	pthread_mutex_lock(&holds_lock);
	for (hold = *bucket_of(handle); hold; hold = hold->next)
		if (hold->handle == handle && hold->kind == kind && hold->pid == pid)
			break;
	if (hold)
		hold->objects++;
	pthread_mutex_unlock(&holds_lock);
	return hold;
}

/* One object less; true if it was the last, and the hold is now the caller's. */
static int hold_last(struct core_hold *hold)
{
	struct core_hold **at = bucket_of(hold->handle);
	int last;

	pthread_mutex_lock(&holds_lock);
	last = --hold->objects == 0;
	if (last) {
		while (*at != hold)
			at = &(*at)->next;
		*at = hold->next;
	}
	pthread_mutex_unlock(&holds_lock);
	return last;
}

/* In a forked child or a cloned worker the block is not ours, and the lock may
 * be held by a thread that does not exist here: hands off. */
static void hold_drop(struct core_hold *hold)
{
	if (!hold || hold->pid != getpid() || !hold_last(hold))
		return;
	if (hold->kind->destroy)
		hold->kind->destroy(hold->block);
	ft_block_free(hold->block);
	PyMem_RawFree(hold);
}

int core_no_arguments(const char *name, PyObject *args, PyObject *kwargs)
{
	if (PyTuple_GET_SIZE(args) == 0 && (!kwargs || PyDict_GET_SIZE(kwargs) == 0))
		return 0;
	PyErr_Format(PyExc_TypeError, "%s() takes no arguments", name);
	return -1;
}

static PyTypeObject *type_among(const struct core_types *types, const struct core_kind *kind)
{
	return *(PyTypeObject *const *)((const char *)types + kind->type);
}

/* ---- for processes ---- */

static PyObject *object_new(PyTypeObject *type, struct core_state *state, void *block,
			    uint64_t handle, struct core_hold *hold)
{
	PyObject *op = type->tp_alloc(type, 0);
	struct core_shared *self = (struct core_shared *)op;

	if (!op) {
		hold_drop(hold);
		return NULL;
	}
	self->state = state;
	self->block = block;
	atomic_init(&self->handle, handle);
	self->hold = hold;
	return op;
}

static PyObject *new_in_block(PyTypeObject *type, struct core_state *state,
			      const struct core_kind *kind, core_init *init, void *ctx)
{
	struct core_hold *hold;
	void *block;
	int rc = ft_block_alloc(kind->size, &block);

	if (rc)
		return core_raise(rc);
	rc = init(block, FT_SHARED | FT_INTERRUPTIBLE, ctx);
	hold = rc ? NULL : hold_new(kind, block);
	if (!hold) {
		ft_block_free(block);
		return core_raise(rc ? rc : -ENOMEM);
	}
	return object_new(type, state, block, hold->handle, hold);
}

/* ---- for threads ---- */

static PyObject *new_bare(PyTypeObject *type, struct core_state *state)
{
	PyObject *op = type->tp_alloc(type, 0);
	struct core_shared *self = (struct core_shared *)op;

	if (!op)
		return NULL;
	self->state = state;
	self->threads = 1;
	return op;
}

PyObject *core_shared_bare(PyTypeObject *type)
{
	struct core_state *state = core_state_of_type(type);

	return state ? new_bare(type, state) : NULL;
}

static PyObject *new_inside(PyTypeObject *type, struct core_state *state,
			    const struct core_kind *kind, core_init *init, void *ctx)
{
	PyObject *op = new_bare(type, state);
	struct core_shared *self = (struct core_shared *)op;
	int rc;

	if (!op)
		return NULL;
	self->block = (char *)op + kind->inside;
	rc = init(self->block, FT_PRIVATE | FT_INTERRUPTIBLE, ctx);
	if (!rc)
		return op;
	Py_DECREF(op);
	return core_raise(rc);
}

/* Tells this program's objects from those of another with the same pid. */
static uint64_t token;
static pthread_once_t token_once = PTHREAD_ONCE_INIT;

static void choose_token(void)
{
	if (getrandom(&token, sizeof(token), GRND_NONBLOCK) != sizeof(token))
		token = (uint64_t)ft_now() ^ (uintptr_t)&token;
}

static uint64_t handle_of(struct core_shared *self)
{
	static _Atomic uint64_t handles;
	uint64_t handle = atomic_load(&self->handle);

	if (!handle && atomic_compare_exchange_strong(&self->handle, &handle,
						      atomic_fetch_add(&handles, 1) + 1))
		handle = atomic_load(&self->handle);
	return handle;
}

static PyObject *reduce_local(PyObject *op, const struct core_kind *kind)
{
	struct core_shared *self = (struct core_shared *)op;
	PyObject *handle = PyLong_FromUnsignedLongLong(handle_of(self)), *result = NULL;

	pthread_once(&token_once, choose_token);
	if (handle && PyObject_SetItem(self->state->pickled, handle, op) == 0)
		result = Py_BuildValue("O(siKO)", self->state->local, kind->name, (int)getpid(),
				       (unsigned long long)token, handle);
	Py_XDECREF(handle);
	return result;
}

/* ---- for both ---- */

PyObject *core_shared_new(PyTypeObject *type, const struct core_kind *kind, core_init *init,
			  void *ctx)
{
	struct core_state *state = core_state_of_type(type);

	if (!state)
		return NULL;
	if (PyType_IsSubtype(type, type_among(&state->threads, kind)))
		return new_inside(type, state, kind, init, ctx);
	return new_in_block(type, state, kind, init, ctx);
}

const struct core_types *core_shared_types(const struct core_shared *self)
{
	return self->threads ? &self->state->threads : &self->state->processes;
}

void core_shared_dealloc(PyObject *op)
{
	struct core_shared *self = (struct core_shared *)op;
	PyTypeObject *type = Py_TYPE(op);

	if (self->weakrefs)
		PyObject_ClearWeakRefs(op);
	hold_drop(self->hold);
	core_bounds_free(&self->bounds);
	type->tp_free(op);
	Py_DECREF(type);
}

int core_shared_stale(const struct core_shared *self)
{
	void *block;

	return ft_block_at(self->handle, &block);
}

PyObject *core_shared_reduce(PyObject *op, const struct core_kind *kind)
{
	struct core_shared *self = (struct core_shared *)op;

	if (self->threads)
		return reduce_local(op, kind);
	return Py_BuildValue("O(sK)", self->state->attach, kind->name,
			     (unsigned long long)self->handle);
}

static const struct core_kind *kind_named(PyObject *name)
{
	static const struct core_kind *const kinds[] = {
		&core_lock_kind,      &core_rlock_kind,		    &core_condition_kind,
		&core_semaphore_kind, &core_bounded_semaphore_kind, &core_event_kind,
		&core_barrier_kind,   &core_queue_kind,		    &core_simple_queue_kind,
	};

	for (size_t i = 0; PyUnicode_Check(name) && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (PyUnicode_CompareWithASCIIString(name, kinds[i]->name) == 0)
			return kinds[i];
	PyErr_Format(PyExc_ValueError, "there is no shared type called %R", name);
	return NULL;
}

static PyObject *raise_gone(const struct core_kind *kind)
{
	PyErr_Format(PyExc_ValueError,
		     "this %s no longer exists: the process that made it dropped it (keep a "
		     "reference there while others use it)",
		     kind->name);
	return NULL;
}

static PyObject *attach_kind(struct core_state *state, const struct core_kind *kind,
			     uint64_t handle)
{
	void *block;
	int rc = ft_block_at(handle, &block);

	if (rc == -ESTALE || (rc == 0 && ft_block_size(block) != kind->size))
		return raise_gone(kind);
	if (rc)
		return core_raise(rc);
	return object_new(type_among(&state->processes, kind), state, block, handle,
			  hold_again(handle, kind));
}

static int complete(PyObject *op, const struct core_kind *kind, PyObject *extra)
{
	if (kind->complete)
		return kind->complete(op, extra);
	if (extra)
		PyErr_Format(PyExc_TypeError, "a %s travels by its handle alone", kind->name);
	return extra ? -1 : 0;
}

static PyObject *attach(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
			PyObject *kwnames)
{
	static const char *const names[] = { "typename", "handle", "lock", NULL };
	const struct core_kind *kind;
	PyObject *given[3], *op;
	uint64_t handle;

	if (core_args("attach", names, 2, args, nargs, kwnames, given))
		return NULL;
	kind = kind_named(given[0]);
	handle = kind ? PyLong_AsUnsignedLongLong(given[1]) : 0;
	if (PyErr_Occurred())
		return NULL;
	op = attach_kind(core_state(module), kind, handle);
	if (op && complete(op, kind, given[2]))
		Py_CLEAR(op);
	return op;
}

/* 0, or -1 with an exception: the handle is of this process. */
static int check_local(const char *name, int pid, uint64_t given)
{
	pthread_once(&token_once, choose_token);
	if (pid == getpid() && given == token)
		return 0;
	PyErr_Format(PyExc_ValueError,
		     "this %.100s belongs to the threads of process %d, and means nothing in "
		     "another: process workers have primitives of their own "
		     "(FT_BACKEND=processes)",
		     name, pid);
	return -1;
}

static PyObject *local(PyObject *module, PyObject *args)
{
	unsigned long long given;
	PyObject *handle, *op;
	const char *name;
	int pid;

	if (!PyArg_ParseTuple(args, "siKO!:local", &name, &pid, &given, &PyLong_Type, &handle) ||
	    check_local(name, pid, given))
		return NULL;
	op = PyObject_GetItem(core_state(module)->pickled, handle);
	if (!op && PyErr_ExceptionMatches(PyExc_KeyError))
		PyErr_Format(PyExc_ValueError,
			     "this %.100s no longer exists: a pickle alone does not keep it, and "
			     "other interpreters have their own",
			     name);
	return op;
}

PyMethodDef core_shared_functions[] = {
	{ "local", local, METH_VARARGS,
	  "local($module, typename, pid, token, handle, /)\n--\n\n"
	  "The primitive for threads that was pickled: unpickling one calls it.\n\n"
	  "The arguments are those that its __reduce__ gave.  Raises ValueError in another\n"
	  "process, and when nothing refers to the primitive any more." },
	{ "attach", CORE_FAST(attach),
	  "attach($module, typename, handle, lock=None)\n--\n\n"
	  "The Lock, Event, Queue or other primitive behind a handle: unpickling one calls it.\n\n"
	  "typename is \"Lock\", \"Event\" and so on; handle is the int that its __reduce__ gave;\n"
	  "lock is what a Condition, and nothing else, works with.  Raises ValueError if the\n"
	  "process that made it has dropped it meanwhile." },
	{ NULL, NULL, 0, NULL },
};
