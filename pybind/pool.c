/* SPDX-License-Identifier: MIT */
#include "pool.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#include "module.h"

#include "child.h"
#include "convert.h"
#include "dispatch.h"
#include "drive.h"
#include "flow.h"
#include "result.h"
#include "submit.h"
#include "ticket.h"

/* A pool that is dropped while it is open is killed; its processes are gone
 * long before this, and the interpreter never waits longer. */
#define END_NS INT64_C(5000000000)

static struct core_pool *pool_of(PyObject *op)
{
	return (struct core_pool *)op;
}

/* ---- starting workers ---- */

/* What start() raised, until the call that made it start returns. */
static _Thread_local PyObject *failure;

int core_pool_start_failed(void)
{
	PyObject *exception = failure;

	if (!exception)
		return 0;
	failure = NULL;
	/* If a signal handler has raised meanwhile, that is the newer one. */
	if (PyErr_Occurred())
		Py_DECREF(exception);
	else
		core_exception_give(exception);
	return 1;
}

void core_pool_start_report(void)
{
	if (!core_pool_start_failed())
		return;
	if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
		PyErr_Clear();
		PyErr_SetInterrupt();
		return;
	}
	PyErr_WriteUnraisable(NULL);
}

static PyObject *start_call(struct core_pool *self, uint32_t seat, uint64_t handle,
			    const struct ft_cpus *cpus)
{
	PyObject *set = cpus ? core_cpus_to(cpus, &PyFrozenSet_Type) : Py_NewRef(Py_None);
	PyObject *child = NULL;

	if (set)
		child = PyObject_CallFunction(self->start, "IKO", (unsigned int)seat,
					      (unsigned long long)handle, set);
	Py_XDECREF(set);
	return child;
}

/* Called by the C pool, on the thread that drives it and without its locks.
 * The pool gets a hold of its own, so that it does not matter how long the
 * Child object lives. */
static int start_worker(void *ctx, uint32_t seat, uint64_t handle, const struct ft_cpus *cpus,
			struct ft_worker **worker)
{
	PyGILState_STATE gil = PyGILState_Ensure();
	struct core_pool *self = ctx;
	PyObject *child = start_call(self, seat, handle, cpus);
	int rc = -EAGAIN;

	*worker = child ? core_child_worker(self->state, child) : NULL;
	if (*worker)
		rc = ft_worker_hold(*worker);
	Py_XDECREF(child);
	if (PyErr_Occurred())
		Py_XSETREF(failure, core_exception_take());
	PyGILState_Release(gil);
	return rc;
}

/* ---- new ---- */

/* Before 3.12 PyGILState knows only the first thread state of an OS thread,
 * whichever interpreter's that is; start_worker would run in the wrong one. */
static int in_main_interpreter(void)
{
#if PY_VERSION_HEX < 0x030c0000
	if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
		PyErr_SetString(PyExc_RuntimeError,
				"before Python 3.12 a sub-interpreter can't have a pool of worker "
				"processes: make it in the main interpreter, or have threads as "
				"workers (FT_BACKEND=threads)");
		return 0;
	}
#endif
	return 1;
}

static int pool_open(struct core_pool *self, struct ft_pool_options *options)
{
	struct ft_pool *pool = NULL;
	int rc;

	options->start_ctx = self;
	Py_BEGIN_ALLOW_THREADS rc = ft_pool_open(&pool, options);
	Py_END_ALLOW_THREADS self->pool = rc ? NULL : pool;
	if (!rc) {
		core_pool_start_report();
		return 0;
	}
	if (!core_pool_start_failed())
		core_raise_os(rc, "the pool can't be opened");
	return -1;
}

struct pool_calls {
	PyObject *start, *pack, *failure;
};

static int pool_fill(struct core_pool *self, const struct pool_calls *calls)
{
	self->start = Py_NewRef(calls->start);
	self->pack = Py_XNewRef(calls->pack);
	self->failure = Py_XNewRef(calls->failure);
	self->maker = getpid();
	core_news_init(&self->news);
	self->functions = PyDict_New();
	self->shipped = PyMem_Calloc(CORE_SHIPPED_MOST, sizeof(*self->shipped));
	if (!self->shipped)
		PyErr_NoMemory();
	return self->functions && self->shipped ? 0 : -1;
}

static PyObject *pool_make(PyTypeObject *type, const struct pool_calls *calls,
			   struct ft_pool_options *options)
{
	struct core_state *state = core_state_of_type(type);
	PyObject *op = state ? type->tp_alloc(type, 0) : NULL;

	if (!op)
		return NULL;
	pool_of(op)->state = state;
	if (pool_fill(pool_of(op), calls) || pool_open(pool_of(op), options))
		Py_CLEAR(op);
	return op;
}

static PyObject *pool_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "workers", "start",   "name",	  "place", "tasks_per_worker",
				 "pack",    "failure", "retries", NULL };
	struct ft_pool_options options = {
		.size = sizeof(options),
		.kind = FT_WORKER_PROCESS,
		.flags = FT_INTERRUPTIBLE,
		.name = "ft",
		.start = start_worker,
	};
	int workers, place = FT_PLACE_NONE, tasks_per_worker = 0, retries = 0;
	struct pool_calls calls = { NULL, NULL, NULL };

	if (!in_main_interpreter() ||
	    !PyArg_ParseTupleAndKeywords(args, kwargs, "iO|siiOOi:Pool", names, &workers,
					 &calls.start, &options.name, &place, &tasks_per_worker,
					 &calls.pack, &calls.failure, &retries))
		return NULL;
	if (workers < 0 || place < 0 || tasks_per_worker < 0 || retries < 0) {
		PyErr_SetString(PyExc_ValueError, "workers, place, tasks_per_worker and retries "
						  "must not be negative");
		return NULL;
	}
	if (!PyCallable_Check(calls.start)) {
		PyErr_SetString(PyExc_TypeError, "start must be a callable");
		return NULL;
	}
	options.workers = (uint32_t)workers;
	options.place = (uint32_t)place;
	options.tasks_per_worker = (uint32_t)tasks_per_worker;
	options.retries = (uint32_t)retries;
	return pool_make(type, &calls, &options);
}

/* ---- the end ---- */

static int join_call(void *pool, ft_deadline deadline)
{
	return ft_pool_join(pool, deadline);
}

static void kill_all(struct ft_pool *pool)
{
	ft_deadline deadline = ft_after(END_NS);

	ft_pool_terminate(pool, 0);
	while (ft_pool_join(pool, deadline) == -EINTR)
		continue;
}

/* Runs before anything of the object is torn down, since it may call back. */
static void pool_finalize(PyObject *op)
{
	struct core_pool *self = pool_of(op);
	struct ft_pool *pool = self->pool;

	self->pool = NULL;
	if (!pool || self->maker != getpid())
		return;
	Py_BEGIN_ALLOW_THREADS kill_all(pool);
	Py_END_ALLOW_THREADS core_news_clear(&self->news);
	ft_pool_free(pool);
}

static int pool_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(op));
	Py_VISIT(pool_of(op)->start);
	Py_VISIT(pool_of(op)->pack);
	Py_VISIT(pool_of(op)->failure);
	Py_VISIT(pool_of(op)->functions);
	return core_news_traverse(&pool_of(op)->news, visit, arg);
}

static int pool_clear(PyObject *op)
{
	Py_CLEAR(pool_of(op)->start);
	Py_CLEAR(pool_of(op)->pack);
	Py_CLEAR(pool_of(op)->failure);
	Py_CLEAR(pool_of(op)->functions);
	return 0;
}

static void pool_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);

	if (PyObject_CallFinalizerFromDealloc(op))
		return;
	PyObject_GC_UnTrack(op);
	if (pool_of(op)->weakrefs)
		PyObject_ClearWeakRefs(op);
	pool_clear(op);
	for (long i = 0; pool_of(op)->shipped && i < CORE_SHIPPED_MOST; i++)
		ft_block_free(pool_of(op)->shipped[i]);
	PyMem_Free(pool_of(op)->shipped);
	type->tp_free(op);
	Py_DECREF(type);
}

/* ---- refusals ---- */

/* Python has a better word for a pool that has given up. */
static void raise_given_up(struct core_pool *self)
{
	PyObject *error = NULL;

	if (self->failure) {
		error = PyObject_CallFunction(self->failure, "iO", -EOWNERDEAD, Py_None);
		if (error)
			core_exception_give(error);
		return;
	}
	PyErr_SetString(PyExc_RuntimeError,
			"workers end faster than they work: the pool has given up");
}

PyObject *core_pool_refused(struct core_pool *self, int rc)
{
	if (core_pool_start_failed())
		return NULL;
	if (rc == -EPIPE && !PyErr_Occurred())
		PyErr_SetString(PyExc_ValueError, "the pool is closed");
	else if (rc == -EOWNERDEAD)
		raise_given_up(self);
	return core_raise(rc);
}

/* ---- the rest of a pool's life ---- */

/* A call that may start workers, and has no result but its success. */
static PyObject *pool_simple(PyObject *op, int (*call)(struct ft_pool *pool))
{
	struct ft_pool *pool = pool_of(op)->pool;
	int rc;

	Py_BEGIN_ALLOW_THREADS rc = call(pool);
	Py_END_ALLOW_THREADS return core_pool_start_failed() ? NULL : core_none(rc);
}

static PyObject *pool_poll(PyObject *op, PyObject *unused)
{
	(void)unused;
	return pool_simple(op, ft_pool_poll);
}

static PyObject *pool_close(PyObject *op, PyObject *unused)
{
	(void)unused;
	return pool_simple(op, ft_pool_close);
}

static PyObject *pool_cancel(PyObject *op, PyObject *unused)
{
	(void)unused;
	return pool_simple(op, ft_pool_cancel);
}

static PyObject *pool_terminate(PyObject *op, PyObject *args)
{
	struct ft_pool *pool = pool_of(op)->pool;
	double grace = 1.0;
	int rc;

	if (!PyArg_ParseTuple(args, "|d:terminate", &grace))
		return NULL;
	if (!(grace >= 0 && grace < 9e9)) {
		PyErr_SetString(PyExc_ValueError, "grace must be a number of seconds");
		return NULL;
	}
	Py_BEGIN_ALLOW_THREADS rc = ft_pool_terminate(pool, (int64_t)(grace * 1e9));
	Py_END_ALLOW_THREADS return core_pool_start_failed() ? NULL : core_none(rc);
}

static PyObject *pool_join(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const char *const names[] = { "timeout", NULL };
	PyObject *given[1];
	ft_deadline deadline;
	int rc;

	if (core_args("join", names, 0, args, nargs, kwnames, given) ||
	    core_deadline(given[0], &deadline))
		return NULL;
	rc = core_wait(join_call, pool_of(op)->pool, deadline, 0);
	if (core_pool_start_failed())
		return NULL;
	if (rc == -EINVAL)
		PyErr_SetString(PyExc_ValueError, "Pool is still running");
	return core_in_time(rc);
}

static PyObject *pool_stats(PyObject *op, PyObject *unused)
{
	struct ft_pool_stats s;
	int rc = ft_pool_stats(pool_of(op)->pool, &s);

	(void)unused;
	if (rc)
		return core_raise(rc);
	return Py_BuildValue("{s:K,s:K,s:K,s:K,s:K,s:K,s:I,s:I,s:I,s:I,s:s}", "submitted",
			     (unsigned long long)s.submitted, "done", (unsigned long long)s.done,
			     "cancelled", (unsigned long long)s.cancelled, "lost",
			     (unsigned long long)s.lost, "stolen", (unsigned long long)s.stolen,
			     "sleeps", (unsigned long long)s.sleeps, "workers", s.workers, "idle",
			     s.idle, "restarts", s.restarts, "broken", s.broken, "collector",
			     s.collector);
}

static PyObject *pool_worker_pid(PyObject *op, PyObject *number)
{
	unsigned long seat = PyLong_AsUnsignedLong(number);
	pid_t pid;

	if (PyErr_Occurred())
		return NULL;
	pid = seat <= UINT32_MAX ? ft_pool_worker_pid(pool_of(op)->pool, (uint32_t)seat) : -EINVAL;
	return pid < 0 ? core_raise((int)pid) : PyLong_FromLong(pid);
}

static PyMethodDef pool_methods[] = {
	{ "submit", CORE_FAST(core_pool_submit),
	  "submit($self, /, payload, notify=False, user=None, code=0, group=0)\n--\n\n"
	  "Gives the workers a task; returns its Ticket at once.\n\n"
	  "payload: bytes or any buffer, copied; the worker's Task.arg.\n"
	  "notify: hand the ticket to next() when the task has ended.\n"
	  "user: any object, the ticket's user.\n"
	  "code: a number, the worker's Task.code.\n"
	  "group: a number; next() with the same one gets the ticket.\n\n"
	  "Raises ValueError after close(), RuntimeError when the pool has given up because\n"
	  "workers end faster than they work, and what start() raises." },
	{ "submit_many", CORE_FAST(core_pool_submit_many),
	  "submit_many($self, /, payloads, notify=False, user_list=None, code=0, group=0)\n--\n\n"
	  "As submit() for each of a sequence of payloads; returns the list of tickets.\n\n"
	  "user_list: one user for each payload, or None.\n\n"
	  "If one fails, those before it are cancelled as far as they have not started." },
	{ "apply", (PyCFunction)(void (*)(void))core_pool_apply, METH_FASTCALL,
	  "apply($self, function, args, kwargs, /)\n--\n\n"
	  "Has a worker, in Seat.work(), call function(*args, **kwargs); returns what it returns,\n"
	  "raises what it raises.  kwargs may be None." },
	{ "call", (PyCFunction)(void (*)(void))core_pool_call, METH_FASTCALL,
	  "call($self, type, owner, function, args, kwargs, /)\n--\n\n"
	  "The same without waiting: returns a Result of that type, which keeps the owner alive." },
	{ "map", (PyCFunction)(void (*)(void))core_pool_map, METH_FASTCALL,
	  "map($self, type, owner, kind, function, items, chunksize, /)\n--\n\n"
	  "The Result of function(item), or of function(*item), for each item; chunksize of them\n"
	  "are a task.  kind: MAP or STARMAP." },
	{ "future", (PyCFunction)(void (*)(void))core_pool_future, METH_FASTCALL,
	  "future($self, type, function, args, kwargs, /)\n--\n\n"
	  "As call(), but returns a Future of that type." },
	{ "future_each", (PyCFunction)(void (*)(void))core_pool_future_each, METH_FASTCALL,
	  "future_each($self, type, function, items, /)\n--\n\n"
	  "The Future of [function(*item) for item in items], computed as one task." },
	{ "ticket", (PyCFunction)(void (*)(void))core_pool_ticket, METH_FASTCALL,
	  "ticket($self, kind, function, args, kwargs, notify, user, group, /)\n--\n\n"
	  "The Ticket of a call, or for the other kinds than CALL of one for each of a tuple.\n"
	  "notify, user and group as for submit()." },
	{ "flow", (PyCFunction)(void (*)(void))core_pool_flow, METH_FASTCALL,
	  "flow($self, type, owner, ordered, function, iterable, chunksize, ahead, /)\n--\n\n"
	  "The Flow of function(item) for each item, in their order or as they come.  At least\n"
	  "`ahead` tasks of chunksize items each are under way, if there are as many." },
	{ "next", CORE_FAST(core_pool_next),
	  "next($self, /, timeout=None, group=0)\n--\n\n"
	  "The next ticket with notify and of this group whose task has ended, in the order of\n"
	  "their ends, or None if time ran out first.\n\n"
	  "timeout: the longest wait in seconds; None waits for ever, a negative number not at\n"
	  "all.  Raises EOFError once the pool is closed and none is left." },
	{ "wait_all", CORE_FAST(core_pool_wait_all),
	  "wait_all($self, /, tickets, timeout=None)\n--\n\n"
	  "Waits until the tasks of all tickets have ended: True if they have, False if time ran\n"
	  "out first.  timeout as for next()." },
	{ "poll", pool_poll, METH_NOARGS,
	  "poll($self, /)\n--\n\n"
	  "Collects results that are there and deals out tasks that wait, without blocking." },
	{ "close", pool_close, METH_NOARGS,
	  "close($self, /)\n--\n\nTakes no more tasks; the workers leave when all are done." },
	{ "cancel", pool_cancel, METH_NOARGS,
	  "cancel($self, /)\n--\n\nCancels all tasks that have not started." },
	{ "terminate", pool_terminate, METH_VARARGS,
	  "terminate($self, grace=1.0, /)\n--\n\n"
	  "Cancels what has not started, and ends the workers: SIGTERM, and SIGKILL grace seconds\n"
	  "later." },
	{ "join", CORE_FAST(pool_join),
	  "join($self, /, timeout=None)\n--\n\n"
	  "Waits until the workers have left: True if they have, False if time ran out first.\n\n"
	  "timeout as for next().  Raises ValueError before close() or terminate()." },
	{ "stats", pool_stats, METH_NOARGS, "stats($self, /)\n--\n\nA dict of counters." },
	{ "worker_pid", pool_worker_pid, METH_O,
	  "worker_pid($self, seat, /)\n--\n\n"
	  "The process in a seat (from 0) now; 0 while nobody sits there." },
	{ NULL, NULL, 0, NULL },
};

static PyMemberDef pool_members[] = {
	{ "__weaklistoffset__", T_PYSSIZET, offsetof(struct core_pool, weakrefs), READONLY, NULL },
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(pool_doc,
	     "Pool(workers, start, name=\"ft\", place=0, tasks_per_worker=0)\n--\n\n"
	     "Worker processes that take tasks and hand back results.\n\n"
	     "workers: how many; 0 for cpu_count().\n"
	     "start: called as start(seat, handle, cpus) for each worker and each replacement,\n"
	     "on any thread that uses the pool; returns the Child, which must open Seat(handle).\n"
	     "cpus is a frozenset or None.\n"
	     "name: for people.\n"
	     "place: the policy, as for place().\n"
	     "tasks_per_worker: a worker leaves after so many tasks; 0 for never.\n"
	     "retries: a task whose worker died begins anew, so often at most.\n\n"
	     "Raises what start() raises, and OSError.  Dropping an open pool kills its workers.");

static PyType_Slot pool_slots[] = {
	{ Py_tp_doc, (void *)pool_doc },
	{ Py_tp_new, pool_new },
	{ Py_tp_dealloc, pool_dealloc },
	{ Py_tp_finalize, pool_finalize },
	{ Py_tp_traverse, pool_traverse },
	{ Py_tp_clear, pool_clear },
	{ Py_tp_methods, pool_methods },
	{ Py_tp_members, pool_members },
	{ 0, NULL },
};

PyType_Spec core_pool_spec = {
	.name = "freethreading._core.Pool",
	.basicsize = sizeof(struct core_pool),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = pool_slots,
};
