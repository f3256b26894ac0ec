/* SPDX-License-Identifier: MIT */
#include "answer.h"

#include <errno.h>

#include "convert.h"
#include "transfer.h"

static struct core_answer *answer_of(PyObject *op)
{
	return (struct core_answer *)op;
}

static PyObject *given_or_null(PyObject *object)
{
	return object && object != Py_None ? Py_NewRef(object) : NULL;
}

PyObject *core_answer_new(PyTypeObject *type, PyObject *const *given)
{
	struct core_answer *self = (struct core_answer *)type->tp_alloc(type, 0);

	if (!self)
		return NULL;
	self->maker = core_generation();
	ft_event_init(&self->done, FT_PRIVATE | FT_INTERRUPTIBLE);
	self->notify = given_or_null(given[0]);
	self->callback = given_or_null(given[1]);
	self->error_callback = given_or_null(given[2]);
	return (PyObject *)self;
}

/* ---- the end ---- */

static void outcome_set(struct core_answer *self, PyObject *value)
{
	self->failed = !value;
	self->value = core_transfer(value ? value : core_exception_take());
}

void core_answer_end(struct core_answer *self, PyObject *value)
{
	PyObject *notify = self->notify, *said = NULL;

	outcome_set(self, value);
	if (!notify) {
		ft_event_set(&self->done);
		return;
	}
	said = PyObject_CallOneArg(notify, (PyObject *)self);
	if (said) {
		Py_DECREF(said);
		return;
	}
	/* Better without a callback than never. */
	PyErr_WriteUnraisable(notify);
	ft_event_set(&self->done);
}

static PyObject *answer_settle(PyObject *op, PyObject *unused)
{
	struct core_answer *self = answer_of(op);
	PyObject *callback = self->failed ? self->error_callback : self->callback;
	PyObject *said;

	(void)unused;
	if (!self->value)
		return PyErr_Format(PyExc_ValueError, "%R not ready", op);
	said = callback ? PyObject_CallOneArg(callback, self->value) : Py_NewRef(Py_None);
	ft_event_set(&self->done);
	return said;
}

/* ---- for who waits ---- */

static int wait_call(void *done, ft_deadline deadline)
{
	return ft_event_wait(done, deadline);
}

static int ended(struct core_answer *self)
{
	if (self->let_go)
		self->let_go((PyObject *)self);
	return 1;
}

/* 1: it has ended; 0: time is over; -1 with an exception. */
static int await(struct core_answer *self, PyObject *timeout)
{
	ft_deadline deadline;
	int rc;

	if (ft_event_is_set(&self->done))
		return ended(self);
	if (core_deadline(timeout, &deadline))
		return -1;
	if (self->maker != core_generation()) {
		core_raise(-ECHILD);
		return -1;
	}
	rc = core_wait(wait_call, &self->done, deadline, 0);
	if (rc && rc != -ETIMEDOUT) {
		core_raise(rc);
		return -1;
	}
	return rc ? 0 : ended(self);
}

static PyObject *answer_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			     PyObject *kwnames)
{
	static const char *const names[] = { "timeout", NULL };
	PyObject *given[1];

	if (core_args("wait", names, 0, args, nargs, kwnames, given) ||
	    await(answer_of(op), given[0]) < 0)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *answer_get(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			    PyObject *kwnames)
{
	static const char *const names[] = { "timeout", NULL };
	struct core_answer *self = answer_of(op);
	PyObject *given[1];
	int rc;

	if (core_args("get", names, 0, args, nargs, kwnames, given))
		return NULL;
	rc = await(self, given[0]);
	if (rc <= 0)
		return rc ? NULL : core_job_timeout();
	if (!self->failed)
		return Py_NewRef(self->value);
	core_exception_give(Py_NewRef(self->value));
	return NULL;
}

static PyObject *answer_ready(PyObject *op, PyObject *unused)
{
	(void)unused;
	return PyBool_FromLong(ft_event_is_set(&answer_of(op)->done));
}

static PyObject *answer_successful(PyObject *op, PyObject *unused)
{
	(void)unused;
	if (!ft_event_is_set(&answer_of(op)->done))
		return PyErr_Format(PyExc_ValueError, "%R not ready", op);
	return PyBool_FromLong(!answer_of(op)->failed);
}

/* ---- the object ---- */

int core_answer_traverse(PyObject *op, visitproc visit, void *arg)
{
	struct core_answer *self = answer_of(op);

	Py_VISIT(Py_TYPE(op));
	Py_VISIT(self->value);
	Py_VISIT(self->notify);
	Py_VISIT(self->callback);
	Py_VISIT(self->error_callback);
	return 0;
}

int core_answer_clear(PyObject *op)
{
	struct core_answer *self = answer_of(op);

	Py_CLEAR(self->value);
	Py_CLEAR(self->notify);
	Py_CLEAR(self->callback);
	Py_CLEAR(self->error_callback);
	return 0;
}

void core_answer_finish(PyObject *op)
{
	if (answer_of(op)->weakrefs)
		PyObject_ClearWeakRefs(op);
	core_answer_clear(op);
}

PyMethodDef core_answer_methods[] = {
	{ "get", CORE_FAST(answer_get),
	  "get($self, /, timeout=None)\n--\n\n"
	  "Waits, then returns the result or raises what the task raised.\n\n"
	  "timeout: the longest wait in seconds; None waits for ever, a negative number not at\n"
	  "all.  Raises multiprocessing.TimeoutError when it is over." },
	{ "wait", CORE_FAST(answer_wait),
	  "wait($self, /, timeout=None)\n--\n\n"
	  "Waits until the task has ended, well or not; timeout as for get()." },
	{ "ready", answer_ready, METH_NOARGS,
	  "ready($self, /)\n--\n\nWhether the task has ended, well or not." },
	{ "successful", answer_successful, METH_NOARGS,
	  "successful($self, /)\n--\n\n"
	  "Whether it ended without an exception.  Raises ValueError before its end." },
	{ "settle", answer_settle, METH_NOARGS,
	  "settle($self, /)\n--\n\n"
	  "Calls the callback for the outcome, then lets go whoever waits.  For `notify` only." },
	{ NULL, NULL, 0, NULL },
};

PyMemberDef core_answer_members[] = {
	{ "__weaklistoffset__", T_PYSSIZET, offsetof(struct core_answer, weakrefs), READONLY,
	  NULL },
	{ NULL, 0, 0, 0, NULL },
};
