/* SPDX-License-Identifier: MIT */
#include "seat.h"

#include <errno.h>
#include <unistd.h>

#include "convert.h"
#include "work.h"

static struct core_seat *seat_of(PyObject *op)
{
	return (struct core_seat *)op;
}

static int enter(struct core_seat *self)
{
	if (!atomic_exchange(&self->busy, 1))
		return 0;
	PyErr_SetString(PyExc_RuntimeError,
			"this seat is in use, by another thread or by its own serve()");
	return -1;
}

int core_seat_enter(struct core_seat *self)
{
	if (enter(self))
		return -1;
	if (self->seat && self->maker == getpid())
		return 0;
	if (self->seat)
		core_raise(-ECHILD);
	else
		PyErr_SetString(PyExc_ValueError, "this seat is closed");
	core_seat_leave(self);
	return -1;
}

/* Whoever forgets a task sets `forgotten`, then tries to get in; whoever is inside
 * leaves, then looks at `forgotten` (seq_cst): one of the two ends the task. */
static void settle(struct core_seat *self)
{
	while (atomic_load(&self->forgotten) && !atomic_exchange(&self->busy, 1)) {
		if (atomic_exchange(&self->forgotten, 0))
			core_seat_end(self, -EFAULT);
		atomic_store(&self->busy, 0);
	}
}

void core_seat_leave(struct core_seat *self)
{
	atomic_store(&self->busy, 0);
	settle(self);
}

/* The one inside may be this very thread, whose collection found the Task; it
 * can't take another task before it has left. */
void core_seat_drop(struct core_seat *self, const struct ft_task *task)
{
	if (!task || atomic_load(&self->task) != task || self->maker != getpid())
		return;
	atomic_store(&self->forgotten, 1);
	settle(self);
}

void core_seat_end(struct core_seat *self, int status)
{
	struct ft_task *task = atomic_exchange(&self->task, NULL);

	if (task && self->maker == getpid())
		ft_task_end(task, status);
}

/* ---- new, close ---- */

static PyObject *seat_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "handle", NULL };
	unsigned long long handle;
	PyObject *number, *op;
	int rc;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Seat", names, &number))
		return NULL;
	handle = PyLong_AsUnsignedLongLong(number);
	op = PyErr_Occurred() ? NULL : type->tp_alloc(type, 0);
	if (!op)
		return NULL;
	seat_of(op)->state = core_state_of_type(type);
	seat_of(op)->maker = getpid();
	rc = seat_of(op)->state ? ft_seat_open(handle, &seat_of(op)->seat) : -EINVAL;
	if (!rc)
		return op;
	Py_DECREF(op);
	if (rc == -ESTALE && !PyErr_Occurred())
		PyErr_SetString(PyExc_ValueError, "this seat's pool no longer exists");
	return core_raise(rc);
}

static PyObject *seat_close(PyObject *op, PyObject *unused)
{
	struct core_seat *self = seat_of(op);
	int rc = 0;

	(void)unused;
	if (enter(self))
		return NULL;
	if (self->seat && self->maker != getpid()) {
		rc = -ECHILD;
	} else if (self->seat) {
		core_seat_end(self, -EFAULT);
		rc = ft_seat_close(self->seat);
		self->seat = NULL;
	}
	core_seat_leave(self);
	return core_none(rc);
}

static void seat_dealloc(PyObject *op)
{
	struct core_seat *self = seat_of(op);
	PyTypeObject *type = Py_TYPE(op);

	if (self->weakrefs)
		PyObject_ClearWeakRefs(op);
	core_seat_end(self, -EFAULT);
	if (self->seat && self->maker == getpid())
		ft_seat_close(self->seat);
	for (size_t i = 0; i < self->known; i++)
		Py_XDECREF(self->functions[i]);
	PyMem_Free(self->functions);
	type->tp_free(op);
	Py_DECREF(type);
}

/* ---- next ---- */

static int next_call(void *ctx, ft_deadline deadline)
{
	struct core_seat *self = ctx;
	struct ft_task *task;
	int rc = ft_seat_next(self->seat, &task, deadline);

	if (!rc)
		atomic_store_explicit(&self->task, task, memory_order_relaxed);
	return rc;
}

int core_seat_take(struct core_seat *self, ft_deadline deadline)
{
	return core_wait(next_call, self, deadline, 0);
}

static PyObject *seat_next_task(struct core_seat *self, ft_deadline deadline)
{
	PyObject *task;
	int rc;

	if (self->task) {
		PyErr_SetString(PyExc_RuntimeError, "the task in hand must end first");
		return NULL;
	}
	rc = core_seat_take(self, deadline);
	if (rc == -EPIPE)
		Py_RETURN_NONE;
	if (rc == -ETIMEDOUT)
		PyErr_SetString(PyExc_TimeoutError, "there was no task in time");
	if (rc)
		return core_raise(rc);
	task = core_task_new(self);
	if (!task)
		core_seat_end(self, -ENOMEM);
	return task;
}

static PyObject *seat_next(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const char *const names[] = { "timeout", NULL };
	PyObject *given[1], *task;
	ft_deadline deadline;

	if (core_args("next", names, 0, args, nargs, kwnames, given) ||
	    core_deadline(given[0], &deadline) || core_seat_enter(seat_of(op)))
		return NULL;
	task = seat_next_task(seat_of(op), deadline);
	core_seat_leave(seat_of(op));
	return task;
}

/* ---- serve ---- */

/* What run() returned becomes the reply and the status.  0, or -1 with an
 * exception if it is neither. */
static int answer(struct ft_task *task, PyObject *result, int *status)
{
	PyObject *data = result;
	int rc;

	*status = 0;
	if (PyTuple_Check(result) && PyTuple_GET_SIZE(result) == 2) {
		*status = (int)PyLong_AsLong(PyTuple_GET_ITEM(result, 0));
		data = PyTuple_GET_ITEM(result, 1);
	} else if (PyLong_Check(result)) {
		*status = (int)PyLong_AsLong(result);
		data = NULL;
	}
	if (PyErr_Occurred())
		return -1;
	if (!data || data == Py_None)
		return 0;
	rc = core_task_reply(task, data);
	if (rc && PyErr_Occurred())
		return -1;
	/* No room for the reply is this task's misfortune, and not the worker's. */
	if (rc)
		*status = rc;
	return 0;
}

/* Calls run(arg), and ends the task in hand.  0, or -1 with the exception. */
static int run_with(struct core_seat *self, PyObject *run, PyObject *arg, struct core_task *view)
{
	PyObject *result = arg ? PyObject_CallOneArg(run, arg) : NULL;
	int rc = -1, status = -EFAULT;

	if (result)
		rc = answer(self->task, result, &status);
	Py_XDECREF(result);
	if (view && !rc)
		rc = core_task_revoke(view);
	if (view)
		core_task_close(view);
	core_seat_end(self, rc ? -EFAULT : status);
	return rc;
}

static int run_small(struct core_seat *self, PyObject *run, const void *data, size_t size)
{
	PyObject *arg = PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
	int rc = run_with(self, run, arg, NULL);

	Py_XDECREF(arg);
	return rc;
}

static int run_large(struct core_seat *self, PyObject *run)
{
	struct core_task *view = (struct core_task *)core_task_new(self);
	PyObject *arg = view ? core_task_arg(view) : NULL;
	int rc = run_with(self, run, arg, view);

	Py_XDECREF(arg);
	Py_XDECREF((PyObject *)view);
	return rc;
}

static int run_task(struct core_seat *self, PyObject *run)
{
	size_t size = 0;
	const void *data = ft_task_arg(self->task, &size);

	return size < CORE_VIEW ? run_small(self, run, data, size) : run_large(self, run);
}

static PyObject *seat_serve(PyObject *op, PyObject *run)
{
	struct core_seat *self = seat_of(op);
	int rc, failed = 0;

	if (core_seat_enter(self))
		return NULL;
	if (self->task) {
		core_seat_leave(self);
		PyErr_SetString(PyExc_RuntimeError, "the task in hand must end first");
		return NULL;
	}
	while (!failed && (rc = core_seat_take(self, FT_FOREVER)) == 0)
		failed = run_task(self, run);
	core_seat_leave(self);
	if (failed)
		return NULL;
	return core_none(rc == -EPIPE ? 0 : rc);
}

static PyMethodDef seat_methods[] = {
	{ "next", CORE_FAST(seat_next),
	  "next($self, /, timeout=None)\n--\n\n"
	  "The next Task, or None when the pool wants no more of this worker.\n\n"
	  "timeout: the longest wait in seconds; None waits for ever, a negative number not at\n"
	  "all.  Raises TimeoutError when it is over, and RuntimeError while a task is in hand." },
	{ "serve", seat_serve, METH_O,
	  "serve($self, run, /)\n--\n\n"
	  "Calls run(arg) for each task until the pool wants no more.\n\n"
	  "run: gets what was submitted, bytes or from 4 KiB on a memoryview that is released\n"
	  "afterwards.  It returns the reply as bytes or any buffer, a status as an int, or\n"
	  "(status, reply).\n\n"
	  "What run raises is raised here after its task has ended with -EFAULT; so is\n"
	  "BufferError if it keeps a view of its argument." },
	{ "work", core_seat_work, METH_VARARGS,
	  "work($self, raised, send, portable, /)\n--\n\n"
	  "Runs the calls that Pool.apply and its kin have submitted, until the pool wants no\n"
	  "more.\n\n"
	  "raised(exception): the (status, bytes) of a call that raised.\n"
	  "send(error, value): the same for a value that pickle refuses with that error.\n"
	  "portable(exception): the exception, or one like it that can be pickled." },
	{ "close", seat_close, METH_NOARGS,
	  "close($self, /)\n--\n\nLeaves the seat; a task in hand ends as failed." },
	{ NULL, NULL, 0, NULL },
};

static PyMemberDef seat_members[] = {
	{ "__weaklistoffset__", T_PYSSIZET, offsetof(struct core_seat, weakrefs), READONLY, NULL },
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(seat_doc, "Seat(handle)\n--\n\n"
		       "A worker's place at a Pool: where its tasks come from.\n\n"
		       "handle: what the Pool gave to its start().  One thread at a time may use\n"
		       "it.  Raises ValueError if it is no seat, or a taken one.");

static PyType_Slot seat_slots[] = {
	{ Py_tp_doc, (void *)seat_doc }, { Py_tp_new, seat_new },
	{ Py_tp_dealloc, seat_dealloc }, { Py_tp_methods, seat_methods },
	{ Py_tp_members, seat_members }, { 0, NULL },
};

PyType_Spec core_seat_spec = {
	.name = "freethreading._core.Seat",
	.basicsize = sizeof(struct core_seat),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = seat_slots,
};
