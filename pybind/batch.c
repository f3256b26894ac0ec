/* SPDX-License-Identifier: MIT */
#include "batch.h"

#include "convert.h"
#include "answer.h"
#include "transfer.h"

struct core_batch {
	struct core_answer answer;
	PyObject *func;
	PyObject *items;        /* a tuple; until the end, or its result is taken; NULL
				 * for a range: who takes a chunk makes its items */
	long long start, step;  /* of the range */
	PyObject *values;       /* a list; each slot is written by who took its chunk */
	int star;
	Py_ssize_t count, chunk;
	_Atomic Py_ssize_t next;     /* the first item that nobody has taken */
	_Atomic Py_ssize_t left;     /* items in chunks that have not ended */
	_Atomic(PyObject *) error;   /* the first exception, owned */
};

static struct core_batch *batch_of(PyObject *op)
{
	return (struct core_batch *)op;
}

static PyObject *item_at(const struct core_batch *self, Py_ssize_t at)
{
	if (self->items)
		return Py_NewRef(PyTuple_GET_ITEM(self->items, at));
	/* Modulo 2^64: a step may be longer than what is left of the numbers. */
	return PyLong_FromLongLong((long long)((uint64_t)self->start +
					       (uint64_t)at * (uint64_t)self->step));
}

/* Ends with an exception at the first that fails: the rest of the chunk is not
 * tried. */
static void run_items(struct core_batch *self, Py_ssize_t at, Py_ssize_t until)
{
	for (; at < until; at++) {
		PyObject *item = item_at(self, at);
		PyObject *value = item ? core_job_call(self->func, item, self->star) : NULL;

		Py_XDECREF(item);
		if (!value)
			return;
		PyList_SET_ITEM(self->values, at, core_transfer(value));
	}
}

/* Takes the exception that is set. */
static void fail(struct core_batch *self)
{
	PyObject *error = core_exception_take(), *nothing = NULL;

	if (!atomic_compare_exchange_strong(&self->error, &nothing, error))
		Py_DECREF(error);
}

/* By the thread that takes the result, since that is likely to own the items,
 * and what belongs to another thread takes long to let go. */
static void batch_let_go(PyObject *op)
{
	Py_XDECREF(__atomic_exchange_n(&batch_of(op)->items, NULL, __ATOMIC_SEQ_CST));
}

/* By who ended the last chunk, and so sees all that the others did. */
static void end(struct core_batch *self)
{
	PyObject *values = self->values, *error = atomic_exchange(&self->error, NULL);

	self->values = NULL;
	if (error) {
		batch_let_go((PyObject *)self);
		Py_DECREF(values);
		core_exception_give(error);
		core_answer_end(&self->answer, NULL);
	} else {
		PyObject_GC_Track(values);
		core_answer_end(&self->answer, values);
	}
}

/* The next chunk, or false. */
static int take(struct core_batch *self, Py_ssize_t *at, Py_ssize_t *until)
{
	*at = atomic_fetch_add_explicit(&self->next, self->chunk, memory_order_relaxed);
	*until = self->count - *at < self->chunk ? self->count : *at + self->chunk;
	return *at < self->count;
}

static void batch_run(PyObject *op, struct core_jobs *jobs)
{
	struct core_batch *self = batch_of(op);
	Py_ssize_t at, until, done = 0;

	while (take(self, &at, &until)) {
		if (core_jobs_ended(jobs))
			core_jobs_raise(jobs);
		else
			run_items(self, at, until);
		if (PyErr_Occurred())
			fail(self);
		done += until - at;
	}
	/* Acquire and release: the last one sees the values of all. */
	if (done && atomic_fetch_sub(&self->left, done) == done)
		end(self);
}

static int number_of(PyObject *range, const char *name, long long *number)
{
	PyObject *object = PyObject_GetAttrString(range, name);
	int overflow = 1;

	if (object)
		*number = PyLong_AsLongLongAndOverflow(object, &overflow);
	Py_XDECREF(object);
	return overflow || PyErr_Occurred() ? -1 : 0;
}

/* True for a range whose numbers, and count, are not out of the ordinary. */
static int range_set(struct core_batch *self, PyObject *items)
{
	long long stop;

	if (!PyRange_Check(items) || number_of(items, "start", &self->start) ||
	    number_of(items, "stop", &stop) || number_of(items, "step", &self->step)) {
		PyErr_Clear();
		return 0;
	}
	self->count = PyObject_Size(items);
	if (self->count >= 0)
		return 1;
	PyErr_Clear();
	return 0;
}

/* 0, or -1 with an exception. */
static int items_set(struct core_batch *self, PyObject *items)
{
	if (range_set(self, items))
		return 0;
	self->items = PySequence_Tuple(items);
	if (!self->items)
		return -1;
	self->count = PyTuple_GET_SIZE(self->items);
	return 0;
}

static int submit_all(struct core_batch *self, struct core_jobs *jobs)
{
	Py_ssize_t chunks = (self->count + self->chunk - 1) / self->chunk;

	for (Py_ssize_t i = 0; i < chunks && i < (Py_ssize_t)jobs->rest.count; i++) {
		if (!core_jobs_put(jobs, (PyObject *)self))
			continue;
		if (!i)
			return -1;
		/* Those that are in the queue do it all. */
		PyErr_Clear();
		break;
	}
	return 0;
}

/* Until all is there it is nobody's to see. */
static PyObject *blanks(Py_ssize_t count)
{
	PyObject *list = PyList_New(count);

	if (list)
		PyObject_GC_UnTrack(list);
	return list;
}

PyObject *core_batch_new(struct core_jobs *jobs, PyObject *func, PyObject *items, int star,
			 Py_ssize_t chunk, PyObject *const *given)
{
	PyObject *op = core_answer_new(jobs->state->batch, given);
	struct core_batch *self = batch_of(op);

	if (!op)
		return NULL;
	self->answer.job.run = batch_run;
	self->answer.job.drop = batch_run;
	self->answer.let_go = batch_let_go;
	self->func = Py_NewRef(func);
	self->star = star;
	self->values = items_set(self, items) ? NULL : blanks(self->count);
	/* Bounded, so that `next` cannot overflow. */
	self->chunk = chunk < 1 ? 1 : chunk > self->count ? self->count : chunk;
	self->left = self->count;
	if (!self->values)
		Py_CLEAR(op);
	else if (!self->count)
		end(self);
	else if (submit_all(self, jobs))
		Py_CLEAR(op);
	return op;
}

/* ---- the object ---- */

static int batch_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(batch_of(op)->func);
	Py_VISIT(batch_of(op)->items);
	Py_VISIT(batch_of(op)->values);
	Py_VISIT(atomic_load(&batch_of(op)->error));
	return core_answer_traverse(op, visit, arg);
}

static int batch_clear(PyObject *op)
{
	struct core_batch *self = batch_of(op);

	Py_CLEAR(self->func);
	Py_CLEAR(self->items);
	Py_CLEAR(self->values);
	Py_XDECREF(atomic_exchange(&self->error, NULL));
	return core_answer_clear(op);
}

static void batch_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	batch_clear(op);
	core_answer_finish(op);
	type->tp_free(op);
	Py_DECREF(type);
}

PyDoc_STRVAR(batch_doc, "Calls of one function that were given to Jobs, and their results.");

static PyType_Slot batch_slots[] = {
	{ Py_tp_doc, (void *)batch_doc },
	{ Py_tp_dealloc, batch_dealloc },
	{ Py_tp_traverse, batch_traverse },
	{ Py_tp_clear, batch_clear },
	{ Py_tp_methods, core_answer_methods },
	{ Py_tp_members, core_answer_members },
	{ 0, NULL },
};

PyType_Spec core_batch_spec = {
	.name = "freethreading._core.Batch",
	.basicsize = sizeof(struct core_batch),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
		 Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = batch_slots,
};
