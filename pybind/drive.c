/* SPDX-License-Identifier: MIT */
#include "drive.h"

#include <errno.h>

#include "convert.h"
#include "dispatch.h"
#include "outcome.h"

static struct core_future *future_of(PyObject *op)
{
	return (struct core_future *)op;
}

static int drive_wait(void *op, ft_deadline deadline)
{
	return ft_future_wait(future_of(op)->native, deadline);
}

static int drive_done(PyObject *op)
{
	int rc = ft_future_done(future_of(op)->native);

	if (core_pool_start_failed())
		return -1;
	if (rc < 0)
		core_raise(rc);
	return rc < 0 ? -1 : rc;
}

static int drive_outcome(PyObject *op, PyObject **result, PyObject **exception)
{
	struct core_pool *pool = (struct core_pool *)future_of(op)->pool;
	int failed;
	PyObject *value;

	if (ft_future_result(future_of(op)->native, NULL, NULL) == -ECANCELED)
		return CORE_CANCELLED_AND_NOTIFIED;
	value = core_outcome(pool, future_of(op)->native, &failed);
	*(failed ? exception : result) = value;
	return value ? CORE_FINISHED : -1;
}

static int drive_cancel(PyObject *op)
{
	int rc = ft_future_cancel(future_of(op)->native);

	core_pool_start_report();
	return !rc;
}

static int drive_running(PyObject *op)
{
	return ft_future_worker(future_of(op)->native) != 0;
}

static int drive_watch(PyObject *op)
{
	struct core_pool *pool = (struct core_pool *)future_of(op)->pool;
	int rc;

	core_news_add(&pool->news, &future_of(op)->item, op);
	rc = ft_future_notify(future_of(op)->native);
	if (!rc)
		return 0;
	core_news_take(&pool->news, &future_of(op)->item);
	Py_DECREF(op);
	core_raise(rc);
	return -1;
}

static const struct core_drive drive = {
	.wait = drive_wait,
	.failed = core_pool_start_failed,
	.done = drive_done,
	.outcome = drive_outcome,
	.cancel = drive_cancel,
	.running = drive_running,
	.watch = drive_watch,
};

static int check_type(struct core_state *state, PyObject *type)
{
	if (PyType_Check(type) && PyType_IsSubtype((PyTypeObject *)type, state->future))
		return 0;
	PyErr_SetString(PyExc_TypeError, "the first argument must be a subclass of Future");
	return -1;
}

static PyObject *refused(struct core_pool *self, int rc)
{
	if (rc == -EPIPE)
		PyErr_SetString(PyExc_RuntimeError, "cannot schedule new futures after shutdown");
	return core_pool_refused(self, rc);
}

/* What was packed becomes a task, and its future. */
static PyObject *send(struct core_pool *self, PyTypeObject *type, struct core_dispatch *dispatch)
{
	PyObject *op = core_future_new(type);
	struct ft_call call = { .user = op };

	int rc;

	if (!op)
		return NULL;
	rc = core_dispatch_send(self, dispatch, &call, &future_of(op)->native);
	if (rc) {
		Py_DECREF(op);
		return refused(self, rc);
	}
	future_of(op)->pool = Py_NewRef((PyObject *)self);
	future_of(op)->drive = &drive;
	core_pool_start_report();
	return op;
}

PyObject *core_pool_future(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
	struct core_pool *self = (struct core_pool *)op;
	struct core_dispatch dispatch;
	PyObject *future = NULL;

	if (nargs != 4) {
		PyErr_SetString(PyExc_TypeError, "future() takes 4 arguments");
		return NULL;
	}
	if (check_type(self->state, args[0]))
		return NULL;
	if (!core_dispatch_call(self, &dispatch, args[1], args[2], args[3]))
		future = send(self, (PyTypeObject *)args[0], &dispatch);
	core_dispatch_clear(&dispatch);
	return future;
}

PyObject *core_pool_future_each(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
	struct core_pool *self = (struct core_pool *)op;
	struct core_dispatch dispatch;
	PyObject *future = NULL;

	if (nargs != 3) {
		PyErr_SetString(PyExc_TypeError, "future_each() takes 3 arguments");
		return NULL;
	}
	if (check_type(self->state, args[0]))
		return NULL;
	if (!core_dispatch_items(self, &dispatch, CORE_STARMAP, args[1], args[2]))
		future = send(self, (PyTypeObject *)args[0], &dispatch);
	core_dispatch_clear(&dispatch);
	return future;
}
