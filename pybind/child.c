/* SPDX-License-Identifier: MIT */
#include "child.h"

#include <errno.h>

#include "convert.h"

struct core_child {
	PyObject_HEAD
	PyObject *weakrefs; /* the interpreter's */
	struct ft_worker *worker;
};

PyObject *core_child_new(struct core_state *state, struct ft_worker *worker)
{
	PyObject *op = state->child->tp_alloc(state->child, 0);

	if (op)
		((struct core_child *)op)->worker = worker;
	else
		ft_worker_release(worker);
	return op;
}

struct ft_worker *core_child_worker(struct core_state *state, PyObject *child)
{
	if (Py_IS_TYPE(child, state->child))
		return ((struct core_child *)child)->worker;
	PyErr_Format(PyExc_TypeError, "a Child was expected, not %.100s", Py_TYPE(child)->tp_name);
	return NULL;
}

static struct ft_worker *worker_of(PyObject *op)
{
	return ((struct core_child *)op)->worker;
}

static void child_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);

	if (((struct core_child *)op)->weakrefs)
		PyObject_ClearWeakRefs(op);
	ft_worker_release(worker_of(op));
	type->tp_free(op);
	Py_DECREF(type);
}

static int wait_call(void *worker, ft_deadline deadline)
{
	return ft_worker_join(worker, deadline);
}

static PyObject *child_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			    PyObject *kwnames)
{
	static const char *const names[] = { "timeout", NULL };
	PyObject *given[1];
	ft_deadline deadline;

	if (core_args("wait", names, 0, args, nargs, kwnames, given) ||
	    core_deadline(given[0], &deadline))
		return NULL;
	return core_in_time(core_wait(wait_call, worker_of(op), deadline, 0));
}

static PyObject *child_kill(PyObject *op, PyObject *number)
{
	long signo = PyLong_AsLong(number);
	int rc;

	if (signo == -1 && PyErr_Occurred())
		return NULL;
	if (signo < 0 || signo > 64) {
		PyErr_Format(PyExc_ValueError, "there is no signal %ld", signo);
		return NULL;
	}
	rc = ft_worker_kill(worker_of(op), (int)signo);
	return core_none(rc == -ESRCH ? 0 : rc);
}

static PyObject *child_pid(PyObject *op, void *unused)
{
	(void)unused;
	return PyLong_FromLong(ft_worker_pid(worker_of(op)));
}

static PyObject *child_sentinel(PyObject *op, void *unused)
{
	int fd = ft_worker_pidfd(worker_of(op));

	(void)unused;
	return fd < 0 ? core_raise(fd) : PyLong_FromLong(fd);
}

static PyObject *child_name(PyObject *op, void *unused)
{
	(void)unused;
	return PyUnicode_DecodeFSDefault(ft_worker_name(worker_of(op)));
}

static PyObject *child_exitcode(PyObject *op, void *unused)
{
	struct ft_worker_exit how;
	int rc = ft_worker_exit_status(worker_of(op), &how);

	(void)unused;
	if (rc == -EAGAIN)
		Py_RETURN_NONE;
	if (rc)
		return core_raise(rc);
	return PyLong_FromLong(how.signo ? -how.signo : how.code);
}

static PyObject *child_repr(PyObject *op)
{
	return PyUnicode_FromFormat("<Child %s pid=%d at %p>", ft_worker_name(worker_of(op)),
				    (int)ft_worker_pid(worker_of(op)), op);
}

static PyMethodDef child_methods[] = {
	{ "wait", CORE_FAST(child_wait),
	  "wait($self, /, timeout=None)\n--\n\n"
	  "Waits until the process has ended: True if it has, False if time ran out first.\n\n"
	  "timeout: the longest wait in seconds; None waits for ever, a negative number not at\n"
	  "all.  Any number of threads may wait, any number of times." },
	{ "kill", child_kill, METH_O,
	  "kill($self, signo, /)\n--\n\n"
	  "Sends the process a signal; does nothing if it has ended." },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef child_getset[] = {
	{ "pid", child_pid, NULL, "The process id.", NULL },
	{ "sentinel", child_sentinel, NULL,
	  "A file descriptor (a pidfd) that becomes readable when the process has ended.\n"
	  "It lives as long as this object; do not close it.",
	  NULL },
	{ "name", child_name, NULL, "The name the kernel shows: at most 15 bytes.", NULL },
	{ "exitcode", child_exitcode, NULL,
	  "None while the process lives, then its exit status, -N if signal N killed it, or 255\n"
	  "if somebody else took the status.",
	  NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyMemberDef child_members[] = {
	{ "__weaklistoffset__", T_PYSSIZET, offsetof(struct core_child, weakrefs), READONLY, NULL },
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(child_doc,
	     "A worker process.  Spawner.spawn makes them.\n\n"
	     "Dropping the object neither ends the process nor leaves a zombie.");

static PyType_Slot child_slots[] = {
	{ Py_tp_doc, (void *)child_doc },
	{ Py_tp_dealloc, child_dealloc },
	{ Py_tp_repr, child_repr },
	{ Py_tp_methods, child_methods },
	{ Py_tp_getset, child_getset },
	{ Py_tp_members, child_members },
	{ 0, NULL },
};

PyType_Spec core_child_spec = {
	.name = "freethreading._core.Child",
	.basicsize = sizeof(struct core_child),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = child_slots,
};
