/* SPDX-License-Identifier: MIT */
#include "flow.h"

#include <errno.h>

#include "convert.h"
#include "dispatch.h"
#include "outcome.h"

/* How far a flow runs ahead of its consumer: enough to keep workers busy with
 * tiny tasks, bounded in tasks and in bytes for everything else. */
#define AHEAD_MOST  1024
#define AHEAD_BYTES ((size_t)32 << 20)
/* Items between two looks whether a result is there already. */
#define ITEMS_A_LOOK 8

/* A task under way.  Ordered flows use them as a ring, others as a heap in
 * which the last one fills the gap. */
struct trip {
	struct ft_future *future;
	size_t size;
	uint32_t at; /* its place in `trips` */
};

/* All but the first three is under `busy`. */
struct core_flow {
	PyObject_HEAD struct core_pool *pool; /* const */
	PyObject *owner;		      /* const: the pool that users know */
	struct ft_lock busy;		      /* one thread at a time */
	int waiting;			      /* whose holder waits, and no more */
	uint32_t arrived;		      /* how many tasks have, so far */
	int ordered;
	PyObject *function, *iterator; /* iterator: NULL at its end */
	PyObject *error;	       /* what the iterator raised, not told yet */
	Py_ssize_t chunksize;
	PyObject *chunk; /* outcomes of a chunk, (success, value), or NULL */
	Py_ssize_t next; /* the first of them that was not handed out */
	uint64_t group;
	uint32_t least, count, head;
	size_t bytes;
	struct trip *order[AHEAD_MOST]; /* the first `count` from head on */
	struct trip trips[AHEAD_MOST];
};

static struct core_flow *flow_of(PyObject *op)
{
	return (struct core_flow *)op;
}

/* ---- life ---- */

static int flow_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(op));
	Py_VISIT((PyObject *)flow_of(op)->pool);
	Py_VISIT(flow_of(op)->owner);
	Py_VISIT(flow_of(op)->function);
	Py_VISIT(flow_of(op)->iterator);
	Py_VISIT(flow_of(op)->error);
	Py_VISIT(flow_of(op)->chunk);
	return 0;
}

static int flow_clear(PyObject *op)
{
	Py_CLEAR(flow_of(op)->owner);
	Py_CLEAR(flow_of(op)->function);
	Py_CLEAR(flow_of(op)->iterator);
	Py_CLEAR(flow_of(op)->error);
	Py_CLEAR(flow_of(op)->chunk);
	return 0;
}

static struct trip **order_at(struct core_flow *self, uint32_t i)
{
	return &self->order[(self->head + i) % AHEAD_MOST];
}

/* What nobody will ask for any more does not run. */
static void flow_dealloc(PyObject *op)
{
	struct core_flow *self = flow_of(op);
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	for (uint32_t i = 0; i < self->count; i++) {
		struct ft_future *future = (*order_at(self, i))->future;

		ft_future_cancel(future);
		ft_future_free(future);
	}
	core_pool_start_report();
	flow_clear(op);
	Py_CLEAR(self->pool);
	type->tp_free(op);
	Py_DECREF(type);
}

/* ---- ahead ---- */

/* The trips that are not under way are behind those that are. */
static struct trip *trip_free(struct core_flow *self)
{
	return *order_at(self, self->count);
}

static void trip_add(struct core_flow *self, struct trip *trip, size_t size)
{
	trip->size = size;
	self->bytes += size;
	self->count++;
}

/* Ends a trip that has come in; its future is the caller's. */
static struct ft_future *trip_end(struct core_flow *self, struct trip *trip)
{
	self->arrived++;
	self->bytes -= trip->size;
	self->count--;
	if (self->ordered) {
		self->head = (self->head + 1) % AHEAD_MOST;
	} else {
		struct trip *last = self->order[self->count];

		self->order[trip->at] = last;
		self->order[self->count] = trip;
		last->at = trip->at;
		trip->at = self->count;
	}
	return trip->future;
}

/* The next `chunksize` items as a tuple; NULL at the end, or with an exception. */
static PyObject *items_next(struct core_flow *self)
{
	PyObject *list = PyList_New(0), *item, *items = NULL;
	int rc = list ? 0 : -1;

	while (!rc && PyList_GET_SIZE(list) < self->chunksize &&
	       (item = PyIter_Next(self->iterator))) {
		rc = PyList_Append(list, item);
		Py_DECREF(item);
	}
	/* An error takes the chunk with it that it interrupts, as in the standard library. */
	if (!rc && !PyErr_Occurred() && PyList_GET_SIZE(list))
		items = PyList_AsTuple(list);
	Py_XDECREF(list);
	return items;
}

static PyObject *one_next(struct core_flow *self)
{
	PyObject *item = PyIter_Next(self->iterator), *items;

	if (!item)
		return NULL;
	items = PyTuple_Pack(1, item);
	Py_DECREF(item);
	return items;
}

static int submit_items(struct core_flow *self, PyObject *items)
{
	struct trip *trip = trip_free(self);
	struct ft_call call = { .user = trip, .group = self->group };
	struct core_dispatch dispatch;
	size_t size;
	int rc;

	if (!self->ordered)
		call.flags = FT_CALL_NOTIFY;
	/* A single item needs no list of outcomes. */
	rc = self->chunksize == 1
		 ? core_dispatch_call(self->pool, &dispatch, self->function, items, NULL)
		 : core_dispatch_items(self->pool, &dispatch, CORE_EACH, self->function, items);
	size = dispatch.parcel.size;
	if (!rc && (rc = core_dispatch_send(self->pool, &dispatch, &call, &trip->future)))
		core_pool_refused(self->pool, rc);
	core_dispatch_clear(&dispatch);
	if (rc)
		return -1;
	trip_add(self, trip, size);
	return 0;
}

/* Submits the next items.  0, or -1: there are none, or not now. */
static int go_ahead(struct core_flow *self)
{
	PyObject *items = self->chunksize == 1 ? one_next(self) : items_next(self);
	int rc = items ? submit_items(self, items) : -1;

	Py_XDECREF(items);
	if (!rc)
		return 0;
	if (PyErr_Occurred())
		Py_XSETREF(self->error, core_exception_take());
	Py_CLEAR(self->iterator);
	return -1;
}

static int has_room(struct core_flow *self)
{
	if (self->count < self->least)
		return 1;
	if (self->count == AHEAD_MOST || self->bytes >= AHEAD_BYTES)
		return 0;
	/* Whoever waits for a result does not wait for a slow iterable. */
	return self->count % ITEMS_A_LOOK || !ft_future_done((*order_at(self, 0))->future);
}

static void run_ahead(struct core_flow *self)
{
	while (self->iterator && has_room(self) && !go_ahead(self))
		continue;
	core_pool_start_report();
}

/* ---- new ---- */

static int flow_fill(struct core_flow *self, PyObject *const *args)
{
	self->ordered = PyObject_IsTrue(args[2]);
	self->chunksize = PyLong_AsSsize_t(args[5]);
	self->least = (uint32_t)PyLong_AsLong(args[6]);
	if (PyErr_Occurred())
		return -1;
	if (self->chunksize < 1 || self->least < 1 || self->least > AHEAD_MOST) {
		core_raise(-EINVAL);
		return -1;
	}
	for (uint32_t i = 0; i < AHEAD_MOST; i++) {
		self->order[i] = &self->trips[i];
		self->trips[i].at = i;
	}
	self->group = self->ordered ? 0 : (uint64_t)atomic_fetch_add(&self->pool->groups, 1) + 1;
	self->function = Py_NewRef(args[3]);
	self->iterator = PyObject_GetIter(args[4]);
	return self->iterator ? 0 : -1;
}

PyObject *core_pool_flow(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
	struct core_pool *pool = (struct core_pool *)op;
	PyTypeObject *type = nargs == 7 ? (PyTypeObject *)args[0] : NULL;
	struct core_flow *self;

	if (!type || !PyType_Check(args[0]) || !PyType_IsSubtype(type, pool->state->flow)) {
		PyErr_SetString(PyExc_TypeError, "flow() takes 7 arguments, and the first is a "
						 "subclass of Flow");
		return NULL;
	}
	self = flow_of(type->tp_alloc(type, 0));
	if (!self)
		return NULL;
	self->pool = (struct core_pool *)Py_NewRef(op);
	self->owner = Py_NewRef(args[1]);
	ft_lock_init(&self->busy, FT_PRIVATE | FT_INTERRUPTIBLE);
	if (flow_fill(self, args)) {
		Py_DECREF((PyObject *)self);
		return NULL;
	}
	run_ahead(self);
	return (PyObject *)self;
}

/* ---- next ---- */

struct arrival {
	struct core_flow *self;
	struct ft_future *future;
	uint32_t arrived; /* before */
};

/* The handler of a signal that came to this wait has taken something. */
static int is_overtaken(const struct arrival *arrival)
{
	return arrival->arrived != arrival->self->arrived;
}

static int ordered_call(void *ctx, ft_deadline deadline)
{
	struct arrival *arrival = ctx;

	if (is_overtaken(arrival))
		return 0;
	arrival->future = (*order_at(arrival->self, 0))->future;
	return ft_future_wait(arrival->future, deadline);
}

static int unordered_call(void *ctx, ft_deadline deadline)
{
	struct arrival *arrival = ctx;
	struct core_flow *self = arrival->self;

	if (is_overtaken(arrival))
		return 0;
	return ft_pool_next_in(self->pool->pool, self->group, &arrival->future, deadline);
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

/* A task that has ended; NULL with an exception, or without: look again. */
static struct ft_future *arrive(struct core_flow *self, ft_deadline deadline)
{
	struct arrival arrival = { self, NULL, self->arrived };
	int rc;

	self->waiting = 1;
	rc = core_wait(self->ordered ? ordered_call : unordered_call, &arrival, deadline, 0);
	self->waiting = 0;
	if (!rc) {
		core_pool_start_report();
		if (is_overtaken(&arrival))
			return NULL;
		return trip_end(self, ft_future_user(arrival.future));
	}
	if (core_pool_start_failed())
		return NULL;
	if (rc == -ETIMEDOUT)
		raise_timeout();
	else
		core_raise(rc);
	return NULL;
}

/* One of a chunk's outcomes. */
static PyObject *chunk_next(struct core_flow *self)
{
	PyObject *pair = PyList_GET_ITEM(self->chunk, self->next), *value = NULL;
	int success;

	if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2)
		return core_raise(-EINVAL);
	success = PyObject_IsTrue(PyTuple_GET_ITEM(pair, 0));
	if (success > 0)
		value = Py_NewRef(PyTuple_GET_ITEM(pair, 1));
	else if (!success)
		core_outcome_raise(PyTuple_GET_ITEM(pair, 1));
	if (++self->next == PyList_GET_SIZE(self->chunk))
		Py_CLEAR(self->chunk);
	return value;
}

static PyObject *take_in(struct core_flow *self, struct ft_future *future)
{
	int failed;
	PyObject *value = core_outcome(self->pool, future, &failed);

	ft_future_free(future);
	if (value && failed) {
		core_outcome_raise(value);
		Py_CLEAR(value);
	}
	if (!value || self->chunksize == 1)
		return value;
	if (!PyList_Check(value) || !PyList_GET_SIZE(value)) {
		Py_DECREF(value);
		return core_raise(-EINVAL);
	}
	self->chunk = value;
	self->next = 0;
	return chunk_next(self);
}

static PyObject *end(struct core_flow *self)
{
	PyObject *error = self->error;

	self->error = NULL;
	if (error)
		core_exception_give(error);
	return NULL;
}

/* The next value; NULL without an exception at the end.  Under busy. */
static PyObject *value_next(struct core_flow *self, ft_deadline deadline)
{
	struct ft_future *future = NULL;

	while (!future) {
		if (self->chunk)
			return chunk_next(self);
		if (!self->count)
			return end(self);
		future = arrive(self, deadline);
		if (!future && PyErr_Occurred())
			return NULL;
	}
	run_ahead(self);
	return take_in(self, future);
}

static PyObject *value_inside(struct core_flow *self, ft_deadline deadline)
{
	PyObject *value;

	self->waiting = 0;
	value = value_next(self, deadline);
	self->waiting = 1;
	return value;
}

static int lock_call(void *lock, ft_deadline deadline)
{
	return ft_lock_acquire(lock, deadline);
}

static PyObject *flow_wait(struct core_flow *self, ft_deadline deadline)
{
	int rc = core_wait(lock_call, &self->busy, deadline, 0);
	PyObject *value;

	/* In the handler of a signal that came to our own wait. */
	if (rc == -EDEADLK && self->waiting)
		return value_inside(self, deadline);
	if (rc == -ETIMEDOUT)
		raise_timeout();
	if (rc)
		return core_raise(rc);
	value = value_next(self, deadline);
	ft_lock_release(&self->busy);
	return value;
}

static PyObject *flow_iternext(PyObject *op)
{
	return flow_wait(flow_of(op), FT_FOREVER);
}

static PyObject *flow_next(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const char *const names[] = { "timeout", NULL };
	PyObject *given[1], *value;
	ft_deadline deadline;

	if (core_args("next", names, 0, args, nargs, kwnames, given) ||
	    core_deadline(given[0], &deadline))
		return NULL;
	value = flow_wait(flow_of(op), deadline);
	if (!value && !PyErr_Occurred())
		PyErr_SetNone(PyExc_StopIteration);
	return value;
}

static PyMethodDef flow_methods[] = {
	{ "next", CORE_FAST(flow_next),
	  "next($self, /, timeout=None)\n--\n\n"
	  "The next result; multiprocessing.TimeoutError if it takes longer than timeout seconds.\n"
	  "An exception is raised at its item's turn, and the iteration may go on after it." },
	{ NULL, NULL, 0, NULL },
};

PyDoc_STRVAR(flow_doc, "Results of a lazy iterable's items, as they are asked for.\n\n"
		       "Dropping it cancels what has not started.");

static PyType_Slot flow_slots[] = {
	{ Py_tp_doc, (void *)flow_doc },   { Py_tp_dealloc, flow_dealloc },
	{ Py_tp_traverse, flow_traverse }, { Py_tp_clear, flow_clear },
	{ Py_tp_iter, PyObject_SelfIter }, { Py_tp_iternext, flow_iternext },
	{ Py_tp_methods, flow_methods },   { 0, NULL },
};

PyType_Spec core_flow_spec = {
	.name = "freethreading._core.Flow",
	.basicsize = sizeof(struct core_flow),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = flow_slots,
};
