/* SPDX-License-Identifier: MIT */
#include "seat.h"

#include <errno.h>

#include "convert.h"

static struct core_task *task_of(PyObject *op)
{
	return (struct core_task *)op;
}

PyObject *core_task_new(struct core_seat *seat)
{
	PyObject *op = seat->state->task->tp_alloc(seat->state->task, 0);
	struct core_task *self = task_of(op);

	if (!op)
		return NULL;
	self->seat = (struct core_seat *)Py_NewRef((PyObject *)seat);
	self->task = seat->task;
	self->id = ft_task_id(seat->task);
	self->code = ft_task_code(seat->task);
	/* The block was made for this task alone: who runs it may write there. */
	self->data = (void *)(uintptr_t)ft_task_arg(seat->task, &self->size);
	return op;
}

/* ---- the argument ---- */

PyObject *core_task_arg(struct core_task *self)
{
	if (!self->arg && self->size < CORE_VIEW)
		self->arg = PyBytes_FromStringAndSize(atomic_load(&self->data),
						      (Py_ssize_t)self->size);
	else if (!self->arg)
		self->arg = PyMemoryView_FromObject((PyObject *)self);
	return Py_XNewRef(self->arg);
}

int core_task_revoke(struct core_task *self)
{
	PyObject *done = NULL;
	void *data;

	if (self->arg && PyMemoryView_Check(self->arg)) {
		done = PyObject_CallMethod(self->arg, "release", NULL);
		if (!done)
			return -1;
		Py_DECREF(done);
	}
	Py_CLEAR(self->arg);
	data = atomic_exchange(&self->data, NULL);
	if (atomic_load(&self->views)) {
		atomic_store(&self->data, data);
		PyErr_SetString(PyExc_BufferError,
				"a view of the task's argument is still in use: the memory goes "
				"back to the pool when the task ends, so copy what is to stay");
		return -1;
	}
	return 0;
}

void core_task_close(struct core_task *self)
{
	atomic_store(&self->task, NULL);
	atomic_store(&self->data, NULL);
}

static int task_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
	struct core_task *self = task_of(op);
	void *data;
	int rc = -1;

	view->obj = NULL;
	atomic_fetch_add(&self->views, 1);
	data = atomic_load(&self->data);
	if (data)
		rc = PyBuffer_FillInfo(view, op, data, (Py_ssize_t)self->size, 0, flags);
	else
		PyErr_SetString(PyExc_BufferError, "the task has ended, or has no argument");
	if (rc)
		atomic_fetch_sub(&self->views, 1);
	return rc;
}

static void task_releasebuffer(PyObject *op, Py_buffer *view)
{
	(void)view;
	atomic_fetch_sub(&task_of(op)->views, 1);
}

/* ---- inside ---- */

/* 0, or -1 with an exception if it has ended or the seat is in use. */
static int task_enter(struct core_task *self)
{
	if (core_seat_enter(self->seat))
		return -1;
	if (atomic_load(&self->task) && self->task == self->seat->task)
		return 0;
	core_seat_leave(self->seat);
	PyErr_SetString(PyExc_ValueError, "the task has ended");
	return -1;
}

static PyObject *task_arg(PyObject *op, void *unused)
{
	PyObject *arg;

	(void)unused;
	if (task_enter(task_of(op)))
		return NULL;
	arg = core_task_arg(task_of(op));
	core_seat_leave(task_of(op)->seat);
	return arg;
}

int core_task_reply(struct ft_task *task, PyObject *data)
{
	Py_buffer view;
	int rc;

	if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE))
		return -1;
	if ((size_t)view.len > CORE_BIG) {
		Py_BEGIN_ALLOW_THREADS
		rc = ft_task_reply(task, view.buf, (size_t)view.len);
		Py_END_ALLOW_THREADS
	} else {
		rc = ft_task_reply(task, view.buf, (size_t)view.len);
	}
	PyBuffer_Release(&view);
	return rc;
}

static PyObject *task_reply(PyObject *op, PyObject *data)
{
	int rc;

	if (task_enter(task_of(op)))
		return NULL;
	rc = core_task_reply(task_of(op)->task, data);
	core_seat_leave(task_of(op)->seat);
	if (rc == -EINVAL && !PyErr_Occurred())
		PyErr_SetString(PyExc_ValueError, "the task has its reply already");
	return core_none(rc);
}

static PyObject *task_end(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const char *const names[] = { "status", NULL };
	struct core_task *self = task_of(op);
	PyObject *given[1];
	int revoked;
	long status;

	if (core_args("end", names, 0, args, nargs, kwnames, given))
		return NULL;
	status = given[0] ? PyLong_AsLong(given[0]) : 0;
	if (PyErr_Occurred() || task_enter(self))
		return NULL;
	revoked = core_task_revoke(self);
	if (!revoked) {
		core_task_close(self);
		core_seat_end(self->seat, (int)status);
	}
	core_seat_leave(self->seat);
	return revoked ? NULL : Py_NewRef(Py_None);
}

/* ---- the object ---- */

static int task_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(op));
	Py_VISIT(task_of(op)->seat);
	Py_VISIT(task_of(op)->arg);
	return 0;
}

static int task_clear(PyObject *op)
{
	Py_CLEAR(task_of(op)->arg);
	return 0;
}

/* A task that was forgotten ends as failed: whoever waits must not hang.  It
 * can't be the one that Seat.serve runs, which holds a reference. */
static void task_dealloc(PyObject *op)
{
	struct core_task *self = task_of(op);
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	if (self->weakrefs)
		PyObject_ClearWeakRefs(op);
	task_clear(op);
	if (self->seat)
		core_seat_drop(self->seat, self->task);
	Py_XDECREF((PyObject *)self->seat);
	type->tp_free(op);
	Py_DECREF(type);
}

static PyMethodDef task_methods[] = {
	{ "reply", task_reply, METH_O,
	  "reply($self, data, /)\n--\n\n"
	  "Copies the task's result from bytes or any buffer; at most once.  Raises ValueError\n"
	  "the second time, and MemoryError." },
	{ "end", CORE_FAST(task_end),
	  "end($self, /, status=0)\n--\n\n"
	  "Ends the task with a status: 0, or a negative number, and releases arg if it is a\n"
	  "view.  Raises BufferError, and does not end it, if another view of it is still in\n"
	  "use." },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef task_getset[] = {
	{ "arg", task_arg, NULL,
	  "What was submitted: bytes, or from 4 KiB on a writable memoryview of the shared memory\n"
	  "itself, which is released when the task ends.",
	  NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyMemberDef task_members[] = {
	{ "__weaklistoffset__", T_PYSSIZET, offsetof(struct core_task, weakrefs), READONLY, NULL },
	{ "id", T_ULONGLONG, offsetof(struct core_task, id), READONLY,
	  "The task's number in its pool, from 1." },
	{ "code", T_ULONGLONG, offsetof(struct core_task, code), READONLY,
	  "The number that was given to submit()." },
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(task_doc,
	     "A task in a worker's hand.  Seat.next makes them.\n\n"
	     "It ends with end(); if it is dropped before, it ends as failed.");

static PyType_Slot task_slots[] = {
	{ Py_tp_doc, (void *)task_doc },
	{ Py_tp_dealloc, task_dealloc },
	{ Py_tp_traverse, task_traverse },
	{ Py_tp_clear, task_clear },
	{ Py_tp_methods, task_methods },
	{ Py_tp_getset, task_getset },
	{ Py_tp_members, task_members },
	{ Py_bf_getbuffer, task_getbuffer },
	{ Py_bf_releasebuffer, task_releasebuffer },
	{ 0, NULL },
};

PyType_Spec core_task_spec = {
	.name = "freethreading._core.Task",
	.basicsize = sizeof(struct core_task),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
		 Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = task_slots,
};
