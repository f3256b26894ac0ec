/* SPDX-License-Identifier: MIT */
/*
 * A thread of the library's that runs Python as if the interpreter had started
 * it.
 */
#include "module.h"

#include <errno.h>
#include <pthread.h>

#include "convert.h"
#include "crew.h"
#include "thread_state.h"

struct core_thread {
	PyObject_HEAD
	PyObject *weakrefs; /* the interpreter's */
	struct ft_worker *worker; /* NULL before start, which is called once at a time */
	unsigned long ident; /* 0 before start */
};

/* What start hands to the new thread. */
struct errand {
	PyInterpreterState *interpreter;
	PyObject *function;
	struct core_berth berth;
};

static void errand_run(PyObject *function)
{
	PyObject *result = PyObject_CallNoArgs(function);

	if (!result && PyErr_ExceptionMatches(PyExc_SystemExit))
		PyErr_Clear();
	else if (!result)
		PyErr_WriteUnraisable(function);
	Py_XDECREF(result);
	Py_DECREF(function);
}

/* From its attaching on, this thread may end in any call that attaches again:
 * that is how the interpreter gets rid of daemons.  So `errand` is gone first. */
static int thread_main(void *arg)
{
	struct errand errand = *(struct errand *)arg;
	PyThreadState *state;

	PyMem_RawFree(arg);
	state = core_thread_attach(errand.interpreter, &errand.berth);
	errand_run(errand.function);
	core_thread_detach(state, &errand.berth);
	return 0;
}

static struct core_thread *thread_of(PyObject *op)
{
	return (struct core_thread *)op;
}

static struct errand *errand_new(PyObject *function, int daemon, struct core_crew *crew)
{
	struct errand *errand = PyMem_RawMalloc(sizeof(*errand));

	if (!errand) {
		PyErr_NoMemory();
		return NULL;
	}
	*errand = (struct errand){ .interpreter = PyInterpreterState_Get(),
				   .function = function,
				   .berth = { .crew = crew, .daemon = daemon } };
	if (core_crew_enter(&errand->berth)) {
		PyErr_SetString(PyExc_RuntimeError,
				"can't start a worker at interpreter shutdown");
		PyMem_RawFree(errand);
		return NULL;
	}
	Py_INCREF(function);
	return errand;
}

static void errand_cancel(struct errand *errand)
{
	core_crew_born(&errand->berth);
	core_crew_leave(&errand->berth);
	Py_DECREF(errand->function);
	PyMem_RawFree(errand);
}

static int launch(struct core_thread *self, const char *name, const struct ft_cpus *cpus,
		  struct errand *errand)
{
	struct ft_worker_options options = {
		.size = sizeof(options),
		.kind = FT_WORKER_THREAD,
		.flags = FT_INTERRUPTIBLE | FT_WORKER_REUSE,
		.name = name,
		.cpus = cpus,
		.stack_size = PyThread_get_stacksize(),
	};
	pthread_t thread;
	int rc = ft_worker_start(&self->worker, &options, thread_main, errand);

	if (rc)
		return rc;
	(void)ft_worker_thread(self->worker, &thread);
	self->ident = (unsigned long)thread;
	return 0;
}

static PyObject *thread_start(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			      PyObject *kwnames)
{
	static const char *const names[] = { "function", "name", "daemon", "cpus", NULL };
	struct core_thread *self = thread_of(op);
	struct core_state *state = core_state_of_type(Py_TYPE(op));
	PyObject *given[4];
	struct ft_cpus cpus;
	struct errand *errand;
	const char *name;
	int daemon, rc;

	if (!state || core_args("start", names, 3, args, nargs, kwnames, given))
		return NULL;
	name = PyUnicode_AsUTF8(given[1]);
	daemon = PyObject_IsTrue(given[2]);
	if (!name || daemon < 0 || (given[3] && core_cpus_from(given[3], &cpus)))
		return NULL;
	errand = errand_new(given[0], daemon, state->crew);
	if (!errand)
		return NULL;
	rc = launch(self, name, given[3] ? &cpus : NULL, errand);
	if (!rc)
		Py_RETURN_NONE;
	errand_cancel(errand);
	if (rc == -EAGAIN || rc == -ENOMEM) {
		PyErr_SetString(PyExc_RuntimeError,
				"can't start new thread: no memory for its stack, or no more "
				"threads allowed (see ulimit -u and -v)");
		return NULL;
	}
	return core_raise(rc);
}

static int join_call(void *worker, ft_deadline deadline)
{
	int rc = ft_worker_join(worker, deadline);

	return rc == -ECHILD ? 0 : rc; /* of the process that this is a fork of */
}

static PyObject *thread_join(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			     PyObject *kwnames)
{
	static const char *const names[] = { "timeout", NULL };
	PyObject *given[1];
	ft_deadline deadline;
	int rc;

	if (core_args("join", names, 0, args, nargs, kwnames, given) ||
	    core_deadline(given[0], &deadline))
		return NULL;
	if (!thread_of(op)->worker) {
		PyErr_SetString(PyExc_RuntimeError, "thread not started");
		return NULL;
	}
	rc = core_wait(join_call, thread_of(op)->worker, deadline, 0);
	if (rc == -EDEADLK) {
		PyErr_SetString(PyExc_RuntimeError, "Cannot join current thread");
		return NULL;
	}
	return core_none(rc == -ETIMEDOUT ? 0 : rc);
}

static PyObject *thread_is_done(PyObject *op, PyObject *unused)
{
	struct ft_worker *worker = thread_of(op)->worker;

	(void)unused;
	return PyBool_FromLong(worker && !ft_worker_is_alive(worker));
}

static PyObject *thread_ident(PyObject *op, void *unused)
{
	(void)unused;
	return PyLong_FromUnsignedLong(thread_of(op)->ident);
}

static PyObject *thread_native_id(PyObject *op, void *unused)
{
	struct ft_worker *worker = thread_of(op)->worker;

	(void)unused;
	return PyLong_FromLong(worker ? ft_worker_pid(worker) : 0);
}

static void thread_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);

	if (thread_of(op)->weakrefs)
		PyObject_ClearWeakRefs(op);
	(void)ft_worker_release(thread_of(op)->worker);
	type->tp_free(op);
	Py_DECREF(type);
}

static PyMethodDef thread_methods[] = {
	{ "start", CORE_FAST(thread_start),
	  "start($self, /, function, name, daemon, cpus=None)\n--\n\n"
	  "Starts the thread, which calls function().  It may be called again if it fails.\n\n"
	  "name: what the kernel shows, at most 15 bytes of it.  daemon: true if the end of the\n"
	  "interpreter does not wait for it.  cpus: where it may run." },
	{ "join", CORE_FAST(thread_join),
	  "join($self, /, timeout=None)\n--\n\n"
	  "Waits until the thread has ended, at most `timeout` seconds; None waits for ever." },
	{ "is_done", thread_is_done, METH_NOARGS,
	  "is_done($self, /)\n--\n\nTrue if the thread was started and has ended." },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef thread_getset[] = {
	{ "ident", thread_ident, NULL, "What get_ident() returns in the thread; 0 before start.",
	  NULL },
	{ "native_id", thread_native_id, NULL, "The kernel's number for it; 0 before start.",
	  NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyMemberDef thread_members[] = {
	{ "__weaklistoffset__", T_PYSSIZET, offsetof(struct core_thread, weakrefs), READONLY,
	  NULL },
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(thread_doc, "ThreadHandle()\n--\n\n"
			 "A thread of libfreethreading's that runs a Python function.\n\n"
			 "Dropping the object does not end the thread.");

static PyType_Slot thread_slots[] = {
	{ Py_tp_doc, (void *)thread_doc },
	{ Py_tp_new, PyType_GenericNew },
	{ Py_tp_dealloc, thread_dealloc },
	{ Py_tp_methods, thread_methods },
	{ Py_tp_getset, thread_getset },
	{ Py_tp_members, thread_members },
	{ 0, NULL },
};

PyType_Spec core_thread_spec = {
	.name = "freethreading._core.ThreadHandle",
	.basicsize = sizeof(struct core_thread),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = thread_slots,
};
