/* SPDX-License-Identifier: MIT */
/* The helper's side of a Spawner: an interpreter that is cloned. */
#include "module.h"

#include <errno.h>

#include "convert.h"

struct serving {
	PyObject *child;       /* what runs in each worker */
	PyThreadState *thread; /* ours, while the interpreter is released */
};

/* Around each clone the interpreter is prepared as for its own os.fork(). */
static void before_clone(void *ctx)
{
	struct serving *serving = ctx;

	PyEval_RestoreThread(serving->thread);
	PyOS_BeforeFork();
}

static void after_clone(void *ctx)
{
	struct serving *serving = ctx;

	PyOS_AfterFork_Parent();
	serving->thread = PyEval_SaveThread();
}

/* An exception that nobody caught.  PyErr_Print would run the interpreter's
 * whole exit for SystemExit, in a process that has no business with it. */
static int unhandled(PyObject *child)
{
	if (PyErr_ExceptionMatches(PyExc_SystemExit))
		PyErr_WriteUnraisable(child);
	else
		PyErr_Print();
	return 1;
}

static int in_worker(void *ctx, const void *payload, size_t size)
{
	struct serving *serving = ctx;
	PyObject *bytes, *answer = NULL;
	long status = -1;

	PyOS_AfterFork_Child();
	bytes = PyBytes_FromStringAndSize(payload, (Py_ssize_t)size);
	if (bytes)
		answer = PyObject_CallOneArg(serving->child, bytes);
	Py_XDECREF(bytes);
	if (answer)
		status = PyLong_AsLong(answer);
	Py_XDECREF(answer);
	return PyErr_Occurred() ? unhandled(serving->child) : (int)(status & 0xff);
}

static PyObject *serve(PyObject *module, PyObject *child)
{
	struct serving serving = { .child = child };
	const struct ft_spawner_hooks hooks = {
		.size = sizeof(hooks),
		.ctx = &serving,
		.before = before_clone,
		.parent = after_clone,
		.child = in_worker,
	};
	int rc;

	(void)module;
	if (!PyCallable_Check(child)) {
		PyErr_SetString(PyExc_TypeError, "serve() takes a callable");
		return NULL;
	}
	serving.thread = PyEval_SaveThread();
	rc = ft_spawner_serve(&hooks);
	PyEval_RestoreThread(serving.thread);
	if (rc)
		return core_raise_os(rc, "this helper can't make workers");
	return PyLong_FromLong(0);
}

PyMethodDef core_serve_functions[] = {
	{ "serve", serve, METH_O,
	  "serve($module, child, /)\n--\n\n"
	  "In a process that a Spawner started: makes workers until the program has gone.\n\n"
	  "child: called in each new worker with the bytes given to Spawner.spawn; the worker\n"
	  "leaves with the int it returns.  An exception is printed, and makes that 1.  Files are\n"
	  "not flushed after it, nor are exit handlers run.\n\n"
	  "Returns 0.  Raises OSError: EBUSY if this process has more than one thread, EPROTO if\n"
	  "no Spawner started it." },
	{ NULL, NULL, 0, NULL },
};
