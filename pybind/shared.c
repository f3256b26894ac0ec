/* SPDX-License-Identifier: MIT */
#include "shared.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>
#include <unistd.h>

#include "cargo.h"
#include "convert.h"

uint32_t core_shared_life = 1;

void core_shared_reborn(void)
{
	core_shared_life++;
}

__attribute__((constructor)) static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, core_shared_reborn);
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

/* A hold of ours, or a block of ours that nobody else knows. */
static void let_go(const struct core_shared *self)
{
	if (atomic_load(&self->shared)) {
		ft_block_drop(self->block);
		return;
	}
	/* With what is in it, if it is a queue. */
	ft_block_free(self->block);
}

static PyObject *object_new(PyTypeObject *type, struct core_state *state,
			    const struct core_kind *kind, void *block, uint64_t handle)
{
	PyObject *op = type->tp_alloc(type, 0);
	struct core_shared *self = (struct core_shared *)op;

	if (!op)
		return NULL;
	self->state = state;
	self->kind = kind;
	self->block = block;
	atomic_init(&self->handle, handle);
	return op;
}

static PyObject *new_in_block(PyTypeObject *type, struct core_state *state,
			      const struct core_kind *kind, core_init *init, void *ctx)
{
	PyObject *op = NULL;
	void *block;
	int rc = ft_block_alloc(kind->size, &block);

	if (rc)
		return core_raise(rc);
	rc = init(block, FT_SHARED | FT_INTERRUPTIBLE, ctx);
	if (!rc)
		op = object_new(type, state, kind, block, ft_block_handle(block));
	if (op) {
		((struct core_shared *)op)->maker = core_shared_life;
		return op;
	}
	ft_block_free(block);
	return rc ? core_raise(rc) : NULL;
}

/* Before others hear of the block.  0 or -errno. */
static int share(struct core_shared *self)
{
	int rc = 0;

	if (atomic_load(&self->shared))
		return 0;
	CORE_BEGIN_CRITICAL((PyObject *)self);
	if (!atomic_load(&self->shared))
		rc = ft_block_share(self->block);
	if (!rc)
		atomic_store(&self->shared, 1);
	CORE_END_CRITICAL();
	return rc;
}

uint64_t core_shared_name(PyObject *op)
{
	struct core_shared *self = (struct core_shared *)op;
	uint64_t handle = atomic_load(&self->handle);
	/* What we do not hold is a name, and stays one. */
	int held = self->maker == core_shared_life, rc = held ? share(self) : 0;

	if (rc)
		core_raise(rc);
	return rc || (held && core_cargo_note(op, handle)) ? 0 : handle;
}

static PyObject *reduce_shared(PyObject *op, const struct core_kind *kind)
{
	struct core_shared *self = (struct core_shared *)op;
	unsigned long long handle = core_shared_name(op);

	return handle ? Py_BuildValue("O(sK)", self->state->attach, kind->name, handle) : NULL;
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
	if (self->maker == core_shared_life)
		let_go(self);
	core_bounds_free(&self->bounds);
	type->tp_free(op);
	Py_DECREF(type);
}

int core_shared_stale(const struct core_shared *self)
{
	void *block;

	return ft_block_at(atomic_load(&self->handle), &block);
}

PyObject *core_shared_reduce(PyObject *op, const struct core_kind *kind)
{
	return ((struct core_shared *)op)->threads ? reduce_local(op, kind)
						   : reduce_shared(op, kind);
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
		     "this %s no longer exists: the last process that held it dropped it (a "
		     "pickle alone does not keep it: keep a reference)",
		     kind->name);
	return NULL;
}

static PyObject *attach_kind(struct core_state *state, const struct core_kind *kind,
			     uint64_t handle)
{
	PyObject *op = NULL;
	void *block;
	int rc = ft_block_hold(handle, &block), held = !rc;

	/* What belongs to the process that we are a copy of is there, but not held. */
	if (rc == -EPERM)
		rc = ft_block_at(handle, &block);
	if (rc && rc != -ESTALE)
		return core_raise(rc);
	if (rc || ft_block_size(block) != kind->size)
		raise_gone(kind);
	else
		op = object_new(type_among(&state->processes, kind), state, kind, block, handle);
	if (!op && held)
		ft_block_drop(block);
	if (op && held) {
		((struct core_shared *)op)->maker = core_shared_life;
		atomic_init(&((struct core_shared *)op)->shared, 1);
	}
	return op;
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
	  "lock is what a Condition, and nothing else, works with.  Raises ValueError if\n"
	  "nobody held it any more: a pickle alone does not keep it." },
	{ NULL, NULL, 0, NULL },
};
