/* SPDX-License-Identifier: MIT */
/* The helper's side of a Spawner: an interpreter that is cloned. */
#include "module.h"

#include <errno.h>
#include <signal.h>

#include "convert.h"
#include "newborn.h"
#include "shared.h"

struct serving {
	PyObject *child;              /* what runs in each worker */
	struct core_newborn *newborn; /* NULL, or what does so first */
};

/* Around each clone the interpreter is prepared as for its own os.fork().  The
 * helper has one thread, so it stays attached to the interpreter all the time. */
static void before_clone(void *ctx)
{
	(void)ctx;
	PyOS_BeforeFork();
}

static void after_clone(void *ctx)
{
	(void)ctx;
	PyOS_AfterFork_Parent();
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

static PyObject *call_child(const struct serving *serving, const void *payload, size_t size)
{
	PyObject *bytes, *answer;

	answer = serving->newborn ? core_newborn_run(serving->newborn, payload, size)
				  : Py_NewRef(Py_None);
	if (answer != Py_None)
		return answer;
	Py_DECREF(answer);
	bytes = PyBytes_FromStringAndSize(payload, (Py_ssize_t)size);
	answer = bytes ? PyObject_CallOneArg(serving->child, bytes) : NULL;
	Py_XDECREF(bytes);
	return answer;
}

static void in_copy(void *ctx)
{
	struct serving *serving = ctx;

	core_shared_reborn();
	PyOS_AfterFork_Child();
	if (serving->newborn)
		core_newborn_rehearse(serving->newborn);
}

static int in_worker(void *ctx, const void *payload, size_t size)
{
	struct serving *serving = ctx;
	PyObject *answer;
	long status = -1;

	answer = call_child(serving, payload, size);
	if (answer)
		status = PyLong_AsLong(answer);
	Py_XDECREF(answer);
	return PyErr_Occurred() ? unhandled(serving->child) : (int)(status & 0xff);
}

/* Ctrl-C in a worker: KeyboardInterrupt.  No Python code runs in the helper from
 * here on, so what comes before ft_spawner_serve ignores it is not told of, and
 * forgotten in workers. */
static int expect_interrupts(void)
{
	PyObject *module = PyImport_ImportModule("_signal");
	PyObject *handler = NULL, *before = NULL;

	if (module)
		handler = PyObject_GetAttrString(module, "default_int_handler");
	if (handler)
		before = PyObject_CallMethod(module, "signal", "iO", SIGINT, handler);
	Py_XDECREF(module);
	Py_XDECREF(handler);
	Py_XDECREF(before);
	return before ? 0 : -1;
}

static PyObject *serve_on(struct serving *serving)
{
	const struct ft_spawner_hooks hooks = {
		.size = sizeof(hooks),
		.ctx = serving,
		.before = before_clone,
		.parent = after_clone,
		.ready = in_copy,
		.child = in_worker,
	};
	int rc;

	if (expect_interrupts())
		return NULL;
	rc = ft_spawner_serve(&hooks);
	if (rc)
		return core_raise_os(rc, "this helper can't make workers");
	return PyLong_FromLong(0);
}

static PyObject *serve(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
		       PyObject *kwnames)
{
	static const char *const words[] = { "child", "world", NULL };
	struct serving serving = { 0 };
	PyObject *given[2], *answer;

	(void)module;
	if (core_args("serve", words, 1, args, nargs, kwnames, given))
		return NULL;
	serving.child = given[0];
	if (!PyCallable_Check(serving.child)) {
		PyErr_SetString(PyExc_TypeError, "serve() takes a callable");
		return NULL;
	}
	if (given[1] && given[1] != Py_None) {
		serving.newborn = core_newborn_new(given[1]);
		if (!serving.newborn)
			return NULL;
	}
	answer = serve_on(&serving);
	if (serving.newborn)
		core_newborn_free(serving.newborn);
	return answer;
}

PyMethodDef core_serve_functions[] = {
	{ "serve", CORE_FAST(serve),
	  "serve($module, /, child, world=None)\n--\n\n"
	  "In a process that a Spawner started: makes workers until the program has gone.\n\n"
	  "child: called in each new worker with the bytes given to Spawner.spawn; the worker\n"
	  "leaves with the int it returns.  An exception is printed, and makes that 1.  Files are\n"
	  "not flushed after it, nor are exit handlers run.\n"
	  "world: None, or a dict of what it takes to run a pickled process object: workers whose\n"
	  "payload is just that do so without calling child.\n\n"
	  "Returns 0.  Raises OSError: EBUSY if this process has more than one thread, EPROTO if\n"
	  "no Spawner started it." },
	{ NULL, NULL, 0, NULL },
};
