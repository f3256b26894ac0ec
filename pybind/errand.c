/* SPDX-License-Identifier: MIT */
/* A call whose outcome goes to a concurrent.futures.Future. */
#include "call.h"
#include "convert.h"
#include "future.h"
#include "transfer.h"

struct core_errand {
	struct core_job job;
	PyObject *future, *func, *args, *kwargs;
};

static struct core_errand *errand_of(PyObject *op)
{
	return (struct core_errand *)op;
}

static void forget(struct core_errand *self)
{
	Py_CLEAR(self->func);
	Py_CLEAR(self->args);
	Py_CLEAR(self->kwargs);
}

static int errand_clear(PyObject *op)
{
	forget(errand_of(op));
	Py_CLEAR(errand_of(op)->future);
	return 0;
}

/* Whether the future still wants its call. */
static int begin(PyObject *future)
{
	int rc = core_future_set_running(future);

	if (rc < 0)
		PyErr_WriteUnraisable(future);
	return rc > 0;
}

/* The call is over, with `value` or, if that is NULL, the exception that is set.
 * What it needed goes first: afterwards nothing may be in the thread's way to its
 * next job.  The future itself goes with the errand, which is after that. */
static void end(struct core_errand *self, PyObject *value, struct core_rest *rest)
{
	PyObject *what = core_transfer(value ? value : core_exception_take());
	int rc;

	forget(self);
	rc = value ? core_future_set_result(self->future, what, rest)
		   : core_future_set_exception(self->future, what, rest);
	if (rc)
		PyErr_WriteUnraisable(self->future);
	Py_DECREF(what);
}

static void errand_run(PyObject *op, struct core_jobs *jobs)
{
	struct core_errand *self = errand_of(op);

	if (begin(self->future))
		end(self, PyObject_Call(self->func, self->args, self->kwargs), &jobs->rest);
	else
		errand_clear(op);
}

static void cancel(PyObject *future)
{
	PyObject *said = PyObject_CallMethod(future, "cancel", NULL);

	if (!said)
		PyErr_WriteUnraisable(future);
	Py_XDECREF(said);
	begin(future);
}

static void errand_drop(PyObject *op, struct core_jobs *jobs)
{
	struct core_errand *self = errand_of(op);

	if (!atomic_load(&jobs->why)) {
		cancel(self->future);
	} else if (begin(self->future)) {
		core_jobs_raise(jobs);
		end(self, NULL, NULL);
	}
	errand_clear(op);
}

int core_errand_new(struct core_jobs *jobs, PyObject *future, PyObject *func, PyObject *args,
		    PyObject *kwargs)
{
	PyObject *op = jobs->state->errand->tp_alloc(jobs->state->errand, 0);
	struct core_errand *self = errand_of(op);
	int rc;

	if (!op)
		return -1;
	self->job.run = errand_run;
	self->job.drop = errand_drop;
	self->future = core_transfer_new(future);
	self->func = core_transfer_new(func);
	self->args = core_transfer_new(args);
	core_transfer_items(args);
	self->kwargs = core_transfer_keywords(kwargs);
	rc = core_jobs_put(jobs, op);
	Py_DECREF(op);
	return rc;
}

static int errand_traverse(PyObject *op, visitproc visit, void *arg)
{
	struct core_errand *self = errand_of(op);

	Py_VISIT(Py_TYPE(op));
	Py_VISIT(self->future);
	Py_VISIT(self->func);
	Py_VISIT(self->args);
	Py_VISIT(self->kwargs);
	return 0;
}

static void errand_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	errand_clear(op);
	type->tp_free(op);
	Py_DECREF(type);
}

PyDoc_STRVAR(errand_doc, "A call that was given to Jobs for a future.");

static PyType_Slot errand_slots[] = {
	{ Py_tp_doc, (void *)errand_doc },
	{ Py_tp_dealloc, errand_dealloc },
	{ Py_tp_traverse, errand_traverse },
	{ Py_tp_clear, errand_clear },
	{ 0, NULL },
};

PyType_Spec core_errand_spec = {
	.name = "freethreading._core.Errand",
	.basicsize = sizeof(struct core_errand),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
		 Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = errand_slots,
};
