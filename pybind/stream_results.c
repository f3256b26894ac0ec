/* SPDX-License-Identifier: MIT */
/* What a stream's consumer holds: an iterator over the results. */
#include <errno.h>

#include "convert.h"
#include "stream.h"

struct core_stream_results {
	PyObject_HEAD
	PyObject *weakrefs; /* the interpreter's */
	PyObject *owner;
	struct core_stream *stream;
	uint32_t maker;
	struct ft_lock front;  /* held by the one consumer that is in here */
	struct core_row ready; /* under front: outcomes that were not handed out yet */
};

static struct core_stream_results *results_of(PyObject *op)
{
	return (struct core_stream_results *)op;
}

PyObject *core_stream_results_new(struct core_jobs *jobs, const struct core_stream_plan *plan,
				  PyObject *owner)
{
	struct core_stream *stream = core_stream_new(jobs, plan);
	PyTypeObject *type = jobs->state->stream_results;
	PyObject *op = stream ? type->tp_alloc(type, 0) : NULL;

	if (!op) {
		if (stream)
			core_stream_abandon(stream);
		Py_XDECREF((PyObject *)stream);
		return NULL;
	}
	results_of(op)->stream = stream;
	results_of(op)->owner = Py_NewRef(owner);
	results_of(op)->maker = core_generation();
	(void)!ft_lock_init(&results_of(op)->front, FT_PRIVATE | FT_INTERRUPTIBLE);
	return op;
}

static int front_call(void *front, ft_deadline deadline)
{
	return ft_lock_acquire(front, deadline);
}

static int progress_call(void *progress, ft_deadline deadline)
{
	return ft_event_wait(progress, deadline);
}

/* With the front.  0: something is ready; -1 with an exception; -ETIMEDOUT. */
static int await(struct core_stream_results *self, ft_deadline deadline)
{
	int rc = 0;

	while (self->ready.first == self->ready.last && !rc) {
		rc = core_stream_take(self->stream, &self->ready);
		if (!rc)
			rc = core_wait(progress_call, &self->stream->progress, deadline, 0);
		else if (rc > 0)
			rc = 0;
	}
	/* The handler of a signal may have left some there. */
	return rc == -ETIMEDOUT && self->ready.first != self->ready.last ? 0 : rc;
}

static PyObject *hand_out(uintptr_t outcome)
{
	PyObject *object = (PyObject *)(outcome & ~CORE_RAISED);

	if (!(outcome & CORE_RAISED))
		return object;
	core_exception_give(object);
	return NULL;
}

static PyObject *next_until(struct core_stream_results *self, ft_deadline deadline)
{
	void *outcome = NULL;
	int rc, inner;

	if (self->maker != core_generation())
		return core_raise(-ECHILD);
	if (!self->stream) /* the garbage collector was here */
		return NULL;
	rc = core_wait(front_call, &self->front, deadline, 0);
	/* In the handler of a signal that came to our own wait. */
	inner = rc == -EDEADLK;
	if (!rc || inner) {
		rc = await(self, deadline);
		if (!rc)
			outcome = core_row_pop(&self->ready);
		if (!inner)
			(void)ft_lock_release(&self->front);
	}
	if (!rc)
		return hand_out((uintptr_t)outcome);
	if (rc == -ETIMEDOUT && !PyErr_Occurred())
		return core_job_timeout();
	return core_raise(rc);
}

static PyObject *results_iternext(PyObject *op)
{
	return next_until(results_of(op), FT_FOREVER);
}

static PyObject *results_next(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			      PyObject *kwnames)
{
	static const char *const names[] = { "timeout", NULL };
	PyObject *given[1];
	ft_deadline deadline;

	if (core_args("next", names, 0, args, nargs, kwnames, given) ||
	    core_deadline(given[0], &deadline))
		return NULL;
	return next_until(results_of(op), deadline);
}

static PyObject *results_cancel(PyObject *op, PyObject *unused)
{
	(void)unused;
	if (results_of(op)->stream && results_of(op)->maker == core_generation())
		core_stream_abandon(results_of(op)->stream);
	Py_RETURN_NONE;
}

static PyObject *results_feeder(PyObject *op, void *unused)
{
	struct core_stream *stream = results_of(op)->stream;

	(void)unused;
	return Py_NewRef(stream && stream->fed_by_thread ? (PyObject *)stream : Py_None);
}

static int results_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(op));
	Py_VISIT(results_of(op)->owner);
	Py_VISIT((PyObject *)results_of(op)->stream);
	return core_row_traverse(&results_of(op)->ready, visit, arg);
}

static int results_clear(PyObject *op)
{
	struct core_stream *stream = results_of(op)->stream;

	results_of(op)->stream = NULL;
	if (stream && !stream->persist)
		core_stream_abandon(stream);
	Py_XDECREF((PyObject *)stream);
	core_row_clear(&results_of(op)->ready);
	Py_CLEAR(results_of(op)->owner);
	return 0;
}

static void results_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	if (results_of(op)->weakrefs)
		PyObject_ClearWeakRefs(op);
	results_clear(op);
	type->tp_free(op);
	Py_DECREF(type);
}

static PyMethodDef results_methods[] = {
	{ "next", CORE_FAST(results_next),
	  "next($self, /, timeout=None)\n--\n\n"
	  "The next result, or the exception in its place, after which the iteration may go on.\n\n"
	  "timeout: the longest wait in seconds; None waits for ever, a negative number not at\n"
	  "all.  Raises multiprocessing.TimeoutError when it is over." },
	{ "cancel", results_cancel, METH_NOARGS,
	  "cancel($self, /)\n--\n\nDrops what has not started; no more results are to be taken." },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef results_getset[] = {
	{ "feeder", results_feeder, NULL, "The Stream whose feed() a thread must call, or None.",
	  NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyMemberDef results_members[] = {
	{ "__weaklistoffset__", T_PYSSIZET, offsetof(struct core_stream_results, weakrefs),
	  READONLY, NULL },
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(results_doc, "The results of a Stream, as they are asked for.\n\n"
			  "Dropping the object ends the stream, unless that was to persist.");

static PyType_Slot results_slots[] = {
	{ Py_tp_doc, (void *)results_doc },
	{ Py_tp_dealloc, results_dealloc },
	{ Py_tp_traverse, results_traverse },
	{ Py_tp_clear, results_clear },
	{ Py_tp_iter, PyObject_SelfIter },
	{ Py_tp_iternext, results_iternext },
	{ Py_tp_methods, results_methods },
	{ Py_tp_getset, results_getset },
	{ Py_tp_members, results_members },
	{ 0, NULL },
};

PyType_Spec core_stream_results_spec = {
	.name = "freethreading._core.StreamResults",
	.basicsize = sizeof(struct core_stream_results),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
		 Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = results_slots,
};
