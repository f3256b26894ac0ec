/* SPDX-License-Identifier: MIT */
#include "result.h"

#include <errno.h>

#include "convert.h"
#include "dispatch.h"
#include "outcome.h"

struct core_result {
	PyObject_HEAD struct core_pool *pool;
	PyObject *owner; /* the pool that users know, which must not end before */
	Py_ssize_t count;
	Py_ssize_t items; /* of all chunks; -1: one value, not a list */
	struct ft_future **futures;
	struct ft_future *only;	 /* where futures points if there is one */
	struct ft_lock settling; /* one thread at a time takes the outcome in */
	_Atomic int settled;	 /* release; under settling */
	PyObject *list;		 /* under settling: the values up to ... */
	Py_ssize_t next, at;	 /* ... this chunk, and item */
	int waiting;		 /* under settling: whose holder waits, and no more */
	/* Const once settled. */
	PyObject *value, *exception;
};

/* So many chunks are worth being woken for one by one, to unpack the first ones
 * while the last ones are being worked at. */
#define PIECES_MOST 64

static struct core_result *result_of(PyObject *op)
{
	return (struct core_result *)op;
}

static int is_settled(struct core_result *self)
{
	/* Acquire, with settle(): the outcome is there. */
	return atomic_load_explicit(&self->settled, memory_order_acquire);
}

/* ---- life ---- */

static PyObject *result_new(struct core_pool *pool, PyTypeObject *type, PyObject *owner,
			    Py_ssize_t count, Py_ssize_t items)
{
	PyObject *op = type->tp_alloc(type, 0);
	struct core_result *self = result_of(op);

	if (!op)
		return NULL;
	self->pool = (struct core_pool *)Py_NewRef((PyObject *)pool);
	self->owner = Py_NewRef(owner);
	self->items = items;
	ft_lock_init(&self->settling, FT_PRIVATE | FT_INTERRUPTIBLE);
	self->futures = count > 1 ? PyMem_New(struct ft_future *, (size_t)count) : &self->only;
	if (self->futures)
		return op;
	Py_DECREF(op);
	return PyErr_NoMemory();
}

static int result_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(op));
	Py_VISIT((PyObject *)result_of(op)->pool);
	Py_VISIT(result_of(op)->owner);
	Py_VISIT(result_of(op)->list);
	Py_VISIT(result_of(op)->value);
	Py_VISIT(result_of(op)->exception);
	return 0;
}

static int result_clear(PyObject *op)
{
	Py_CLEAR(result_of(op)->owner);
	Py_CLEAR(result_of(op)->list);
	Py_CLEAR(result_of(op)->value);
	Py_CLEAR(result_of(op)->exception);
	return 0;
}

static void result_dealloc(PyObject *op)
{
	struct core_result *self = result_of(op);
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	for (Py_ssize_t i = 0; i < self->count; i++)
		ft_future_free(self->futures[i]);
	if (self->futures != &self->only)
		PyMem_Free(self->futures);
	result_clear(op);
	Py_CLEAR(self->pool);
	type->tp_free(op);
	Py_DECREF(type);
}

/* ---- submitting ---- */

static int check_type(struct core_state *state, PyObject *type)
{
	if (PyType_Check(type) && PyType_IsSubtype((PyTypeObject *)type, state->result))
		return 0;
	PyErr_SetString(PyExc_TypeError, "the first argument must be a subclass of Result");
	return -1;
}

static int check_count(const char *name, Py_ssize_t wanted, Py_ssize_t nargs)
{
	if (nargs == wanted)
		return 0;
	PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments", name, wanted);
	return -1;
}

static int submit_call(struct core_pool *self, PyObject *const *args, struct ft_future **future)
{
	struct core_dispatch dispatch;
	struct ft_call call = { .flags = 0 };
	int rc = core_dispatch_call(self, &dispatch, args[0], args[1], args[2]);

	if (!rc && (rc = core_dispatch_send(self, &dispatch, &call, future)))
		core_pool_refused(self, rc);
	core_dispatch_clear(&dispatch);
	return rc;
}

PyObject *core_pool_call(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
	struct core_pool *self = (struct core_pool *)op;
	PyObject *result;

	if (check_count("call", 5, nargs) || check_type(self->state, args[0]))
		return NULL;
	result = result_new(self, (PyTypeObject *)args[0], args[1], 1, -1);
	if (!result)
		return NULL;
	if (submit_call(self, args + 2, result_of(result)->futures)) {
		Py_DECREF(result);
		return NULL;
	}
	result_of(result)->count = 1;
	core_pool_start_report();
	return result;
}

/* What is to be mapped: a tuple, or a range of machine words. */
struct items {
	PyObject *tuple;
	int64_t first, step, count;
};

static int range_part(PyObject *range, const char *name, int64_t *value)
{
	PyObject *part = PyObject_GetAttrString(range, name);
	int overflow = 1;

	if (part)
		*value = PyLong_AsLongLongAndOverflow(part, &overflow);
	Py_XDECREF(part);
	return overflow || *value > INT64_MAX / 4 || *value < INT64_MIN / 4;
}

static int items_from(PyObject *object, struct items *items)
{
	int64_t stop;

	*items = (struct items){ NULL, 0, 0, 0 };
	if (Py_IS_TYPE(object, &PyRange_Type) && !range_part(object, "start", &items->first) &&
	    !range_part(object, "stop", &stop) && !range_part(object, "step", &items->step)) {
		items->count = PyObject_Size(object);
		return 0;
	}
	PyErr_Clear();
	items->tuple = PySequence_Tuple(object);
	items->count = items->tuple ? PyTuple_GET_SIZE(items->tuple) : 0;
	return items->tuple ? 0 : -1;
}

static int pack_chunk(struct core_pool *self, struct core_dispatch *dispatch, int kind,
		      PyObject *function, const struct items *items, int64_t at, int64_t count)
{
	PyObject *slice;
	int rc;

	if (!items->tuple)
		return core_dispatch_range(self, dispatch, kind, function,
					   items->first + at * items->step, items->step, count);
	slice = PyTuple_GetSlice(items->tuple, (Py_ssize_t)at, (Py_ssize_t)(at + count));
	if (!slice)
		return -1;
	rc = core_dispatch_items(self, dispatch, kind, function, slice);
	Py_DECREF(slice);
	return rc;
}

static int submit_chunk(struct core_result *self, int kind, PyObject *function,
			const struct items *items, int64_t at, int64_t count)
{
	struct core_dispatch dispatch = { .parcel = { .block = NULL } };
	struct ft_call call = { .flags = 0 };
	int rc = pack_chunk(self->pool, &dispatch, kind, function, items, at, count);

	if (!rc &&
	    (rc = core_dispatch_send(self->pool, &dispatch, &call, &self->futures[self->count])))
		core_pool_refused(self->pool, rc);
	core_dispatch_clear(&dispatch);
	self->count += !rc;
	return rc;
}

/* A call that can't be made as a whole is not made at all, as far as possible. */
static void cancel_all(struct core_result *self)
{
	for (Py_ssize_t i = 0; i < self->count; i++)
		ft_future_cancel(self->futures[i]);
}

static PyObject *map_items(struct core_pool *pool, PyObject *const *args, const struct items *items,
			   int64_t chunksize)
{
	int64_t chunks = (items->count + chunksize - 1) / chunksize;
	int kind = (int)PyLong_AsLong(args[2]);
	PyObject *op;

	if (kind < 0 || kind >= CORE_KINDS)
		return PyErr_Occurred() ? NULL : core_raise(-EINVAL);
	op = result_new(pool, (PyTypeObject *)args[0], args[1], (Py_ssize_t)chunks,
			(Py_ssize_t)items->count);
	for (int64_t at = 0; op && at < items->count; at += chunksize) {
		int64_t left = items->count - at;

		if (submit_chunk(result_of(op), kind, args[3], items, at,
				 left < chunksize ? left : chunksize)) {
			cancel_all(result_of(op));
			Py_CLEAR(op);
		}
	}
	core_pool_start_report();
	return op;
}

PyObject *core_pool_map(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
	struct core_pool *self = (struct core_pool *)op;
	struct items items;
	Py_ssize_t chunksize;
	PyObject *result;

	if (check_count("map", 6, nargs) || check_type(self->state, args[0]))
		return NULL;
	chunksize = PyLong_AsSsize_t(args[5]);
	if (chunksize < 1)
		return PyErr_Occurred() ? NULL : core_raise(-EINVAL);
	if (items_from(args[4], &items))
		return NULL;
	result = map_items(self, args, &items, chunksize);
	Py_XDECREF(items.tuple);
	return result;
}

/* ---- the outcome ---- */

static int wait_call(void *op, ft_deadline deadline)
{
	struct core_result *self = op;

	return ft_future_wait_all(self->futures, (size_t)self->count, deadline);
}

static int wait_one(void *future, ft_deadline deadline)
{
	return ft_future_wait(future, deadline);
}

/* Under `settling`. */
static int wait_in(struct core_result *self, core_call *call, void *ctx, ft_deadline deadline)
{
	int rc;

	self->waiting = 1;
	rc = core_wait(call, ctx, deadline, 0);
	self->waiting = 0;
	return rc;
}

/* The values of a chunk go into the list.  0, or -1 with an exception. */
static int spread(struct core_result *self, PyObject *chunk)
{
	PyObject *fast = PySequence_Fast(chunk, "a chunk's results are no list");
	Py_ssize_t count = fast ? PySequence_Fast_GET_SIZE(fast) : 0;

	if (!fast)
		return -1;
	if (count > self->items - self->at) {
		Py_DECREF(fast);
		PyErr_SetString(PyExc_ValueError, "a chunk has more results than items");
		return -1;
	}
	for (Py_ssize_t i = 0; i < count; i++)
		PyList_SET_ITEM(self->list, self->at++,
				Py_NewRef(PySequence_Fast_GET_ITEM(fast, i)));
	Py_DECREF(fast);
	return 0;
}

static int settled(struct core_result *self, PyObject *value, int failed)
{
	if (failed)
		self->exception = value;
	else
		self->value = value;
	/* Release, with is_settled. */
	atomic_store_explicit(&self->settled, 1, memory_order_release);
	return 0;
}

/* A chunk that has ended; if it has failed, so has everything.  0 or -1. */
static int gather_one(struct core_result *self)
{
	int failed, rc;
	PyObject *chunk = core_outcome(self->pool, self->futures[self->next], &failed);

	if (!chunk)
		return -1;
	if (failed)
		return settled(self, chunk, 1);
	rc = spread(self, chunk);
	Py_DECREF(chunk);
	self->next++;
	return rc;
}

/* Waits for all, or for each in its turn.  0, -errno, or -1 with an exception. */
static int gather_wait(struct core_result *self, ft_deadline deadline)
{
	if (self->count > PIECES_MOST)
		return self->next ? 0 : wait_in(self, wait_call, self, deadline);
	return wait_in(self, wait_one, self->futures[self->next], deadline);
}

/* The same for a chunk that has failed, which decides, but not before all have
 * ended.  1: the handler of a signal has been here meanwhile, so look again. */
static int gather_ready(struct core_result *self, ft_deadline deadline)
{
	Py_ssize_t next = self->next;
	int rc = gather_wait(self, deadline);

	if (!rc && !is_settled(self) && self->next == next &&
	    ft_future_result(self->futures[next], NULL, NULL))
		rc = wait_in(self, wait_call, self, deadline);
	return !rc && (is_settled(self) || self->next != next) ? 1 : rc;
}

static int gather(struct core_result *self, ft_deadline deadline)
{
	int rc = 0;

	if (!self->list)
		self->list = PyList_New(self->items);
	if (!self->list)
		return -1;
	while (rc >= 0 && !is_settled(self) && self->next < self->count) {
		rc = gather_ready(self, deadline);
		if (rc < 0)
			return rc;
		if (!rc)
			rc = gather_one(self);
	}
	if (rc < 0 || is_settled(self))
		return rc < 0 ? rc : 0;
	if (self->at != self->items) {
		core_raise(-EINVAL);
		return -1;
	}
	settled(self, self->list, 0);
	self->list = NULL;
	return 0;
}

/* Under `settling`.  0, -errno, or -1 with an exception. */
static int take_in(struct core_result *self, ft_deadline deadline)
{
	PyObject *value;
	int failed, rc;

	if (is_settled(self))
		return 0;
	if (self->items >= 0)
		return gather(self, deadline);
	rc = wait_in(self, wait_one, self->only, deadline);
	/* The handler of a signal may have been here meanwhile. */
	if (rc || is_settled(self))
		return rc;
	value = core_outcome(self->pool, self->only, &failed);
	return value ? settled(self, value, failed) : -1;
}

static int lock_call(void *lock, ft_deadline deadline)
{
	return ft_lock_acquire(lock, deadline);
}

/* Waits until all has ended, and takes the outcome in.  0, -errno, or -1 with an
 * exception. */
static int settle(struct core_result *self, ft_deadline deadline)
{
	int rc, inner;

	if (is_settled(self))
		return 0;
	rc = core_wait(lock_call, &self->settling, deadline, 0);
	/* In the handler of a signal that came to our own wait. */
	inner = rc == -EDEADLK && self->waiting;
	if (rc && !inner)
		return rc;
	self->waiting = 0;
	rc = take_in(self, deadline);
	if (inner)
		self->waiting = 1;
	else
		ft_lock_release(&self->settling);
	if (rc == -ETIMEDOUT && is_settled(self))
		rc = 0;
	return core_pool_start_failed() ? -1 : rc;
}

static void raise_timeout(void)
{
	PyObject *module = PyImport_ImportModule("multiprocessing");
	PyObject *type = module ? PyObject_GetAttrString(module, "TimeoutError") : NULL;

	if (type)
		PyErr_SetNone(type);
	Py_XDECREF(type);
	Py_XDECREF(module);
}

static PyObject *result_get(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			    PyObject *kwnames)
{
	static const char *const names[] = { "timeout", NULL };
	struct core_result *self = result_of(op);
	PyObject *given[1];
	ft_deadline deadline;
	int rc;

	if (core_args("get", names, 0, args, nargs, kwnames, given) ||
	    core_deadline(given[0], &deadline))
		return NULL;
	rc = settle(self, deadline);
	if (rc == -ETIMEDOUT)
		raise_timeout();
	if (rc)
		return core_raise(rc);
	return self->value ? Py_NewRef(self->value) : core_outcome_raise(self->exception);
}

static PyObject *result_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			     PyObject *kwnames)
{
	static const char *const names[] = { "timeout", NULL };
	struct core_result *self = result_of(op);
	PyObject *given[1];
	ft_deadline deadline;
	int rc = 0;

	if (core_args("wait", names, 0, args, nargs, kwnames, given) ||
	    core_deadline(given[0], &deadline))
		return NULL;
	if (self->count && !is_settled(self))
		rc = core_wait(wait_call, self, deadline, 0);
	if (core_pool_start_failed())
		return NULL;
	return core_none(rc == -ETIMEDOUT ? 0 : rc);
}

/* 1, 0, or -1 with an exception. */
static int is_ready(struct core_result *self)
{
	int rc = 1;

	if (is_settled(self))
		return 1;
	/* The last one first: it is the likeliest not to be done. */
	for (Py_ssize_t i = self->count; rc > 0 && i-- > 0;)
		rc = ft_future_done(self->futures[i]);
	if (core_pool_start_failed())
		return -1;
	if (rc < 0)
		core_raise(rc);
	return rc < 0 ? -1 : rc;
}

static PyObject *result_ready(PyObject *op, PyObject *unused)
{
	int rc = is_ready(result_of(op));

	(void)unused;
	return rc < 0 ? NULL : PyBool_FromLong(rc);
}

static PyObject *result_successful(PyObject *op, PyObject *unused)
{
	int rc = is_ready(result_of(op));

	(void)unused;
	if (!rc)
		PyErr_Format(PyExc_ValueError, "%R not ready", op);
	if (rc > 0)
		rc = settle(result_of(op), FT_FOREVER);
	else
		rc = -1;
	return rc ? core_raise(rc) : PyBool_FromLong(result_of(op)->value != NULL);
}

PyObject *core_pool_apply(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
	struct core_pool *self = (struct core_pool *)op;
	struct core_result call = { .count = 1, .items = -1 };
	PyObject *value = NULL;
	int rc, failed = 0;

	call.futures = &call.only;
	if (check_count("apply", 3, nargs) || submit_call(self, args, call.futures))
		return NULL;
	rc = core_wait(wait_call, &call, FT_FOREVER, 0);
	if (!core_pool_start_failed() && !rc)
		value = core_outcome(self, call.only, &failed);
	else if (rc)
		core_raise(rc);
	ft_future_free(call.only);
	if (!value || !failed)
		return value;
	core_outcome_raise(value);
	Py_DECREF(value);
	return NULL;
}

static PyMethodDef result_methods[] = {
	{ "get", CORE_FAST(result_get),
	  "get($self, /, timeout=None)\n--\n\n"
	  "Waits, then returns the result or raises what the task raised.\n\n"
	  "Raises multiprocessing.TimeoutError after timeout seconds, and WorkerDiedError if the\n"
	  "worker died while it ran the task." },
	{ "wait", CORE_FAST(result_wait),
	  "wait($self, /, timeout=None)\n--\n\n"
	  "Waits until it has ended, for at most timeout seconds." },
	{ "ready", result_ready, METH_NOARGS,
	  "ready($self, /)\n--\n\nWhether the task has ended, well or not." },
	{ "successful", result_successful, METH_NOARGS,
	  "successful($self, /)\n--\n\n"
	  "Whether it ended without an exception.  Raises ValueError if it has not ended yet." },
	{ NULL, NULL, 0, NULL },
};

PyDoc_STRVAR(result_doc, "What will come of one or several tasks.\n\n"
			 "Whoever waits for it drives the pool.");

static PyType_Slot result_slots[] = {
	{ Py_tp_doc, (void *)result_doc },   { Py_tp_dealloc, result_dealloc },
	{ Py_tp_traverse, result_traverse }, { Py_tp_clear, result_clear },
	{ Py_tp_methods, result_methods },   { 0, NULL },
};

PyType_Spec core_result_spec = {
	.name = "freethreading._core.Result",
	.basicsize = sizeof(struct core_result),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = result_slots,
};
