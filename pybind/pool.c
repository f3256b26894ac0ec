/* SPDX-License-Identifier: MIT */
#include "pool.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#include "module.h"

#include "child.h"
#include "convert.h"
#include "ticket.h"

/* A pool that is dropped while it is open is killed; its processes are gone
 * long before this, and the interpreter never waits longer. */
#define END_NS INT64_C(5000000000)

struct core_pool {
	PyObject_HEAD
	PyObject *weakrefs; /* the interpreter's */
	struct core_state *state;
	struct ft_pool *pool; /* NULL once it was ended by the finalizer */
	PyObject *start;      /* callable(seat, handle, cpus) -> Child */
	struct core_news news;
	pid_t maker;          /* the process it belongs to: in a forked child, hands off */
};

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

static int pool_open(struct core_pool *self, struct ft_pool_options *options)
{
	struct ft_pool *pool = NULL;
	int rc;

	options->start_ctx = self;
	Py_BEGIN_ALLOW_THREADS
	rc = ft_pool_open(&pool, options);
	Py_END_ALLOW_THREADS
	self->pool = rc ? NULL : pool;
	if (!rc) {
		core_pool_start_report();
		return 0;
	}
	if (!core_pool_start_failed())
		core_raise_os(rc, "the pool can't be opened");
	return -1;
}

static PyObject *pool_make(PyTypeObject *type, PyObject *start, struct ft_pool_options *options)
{
	struct core_state *state = core_state_of_type(type);
	PyObject *op = state ? type->tp_alloc(type, 0) : NULL;

	if (!op)
		return NULL;
	pool_of(op)->state = state;
	pool_of(op)->start = Py_NewRef(start);
	pool_of(op)->maker = getpid();
	core_news_init(&pool_of(op)->news);
	if (pool_open(pool_of(op), options))
		Py_CLEAR(op);
	return op;
}

static PyObject *pool_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "workers", "start", "name", "place", "tasks_per_worker", NULL };
	struct ft_pool_options options = {
		.size = sizeof(options),
		.kind = FT_WORKER_PROCESS,
		.flags = FT_INTERRUPTIBLE,
		.name = "ft",
		.start = start_worker,
	};
	int workers, place = FT_PLACE_NONE, tasks_per_worker = 0;
	PyObject *start;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iO|sii:Pool", names, &workers, &start,
					 &options.name, &place, &tasks_per_worker))
		return NULL;
	if (workers < 0 || place < 0 || tasks_per_worker < 0) {
		PyErr_SetString(PyExc_ValueError, "workers, place and tasks_per_worker must not "
						  "be negative");
		return NULL;
	}
	if (!PyCallable_Check(start)) {
		PyErr_SetString(PyExc_TypeError, "start must be a callable");
		return NULL;
	}
	options.workers = (uint32_t)workers;
	options.place = (uint32_t)place;
	options.tasks_per_worker = (uint32_t)tasks_per_worker;
	return pool_make(type, start, &options);
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
	Py_BEGIN_ALLOW_THREADS
	kill_all(pool);
	Py_END_ALLOW_THREADS
	core_news_clear(&self->news);
	ft_pool_free(pool);
}

static int pool_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(op));
	Py_VISIT(pool_of(op)->start);
	return core_news_traverse(&pool_of(op)->news, visit, arg);
}

static int pool_clear(PyObject *op)
{
	Py_CLEAR(pool_of(op)->start);
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
	type->tp_free(op);
	Py_DECREF(type);
}

/* ---- submit ---- */

static int submit_call(struct core_pool *self, const struct ft_call *call,
		       struct ft_future **future)
{
	int rc;

	if (call->arg_size <= CORE_BIG)
		return ft_pool_submit(self->pool, call, future);
	Py_BEGIN_ALLOW_THREADS
	rc = ft_pool_submit(self->pool, call, future);
	Py_END_ALLOW_THREADS
	return rc;
}

static PyObject *raise_submit(int rc)
{
	if (core_pool_start_failed())
		return NULL;
	if (rc == -EPIPE)
		PyErr_SetString(PyExc_ValueError, "the pool is closed");
	else if (rc == -EOWNERDEAD)
		PyErr_SetString(PyExc_RuntimeError,
				"workers end faster than they work: the pool has given up");
	return core_raise(rc);
}

/* One task, as `call` has it but for the argument. */
static PyObject *submit_one(struct core_pool *self, PyObject *payload, PyObject *user,
			    struct ft_call *call)
{
	PyObject *ticket = core_ticket_new(self->state, user);
	struct ft_future *future;
	Py_buffer view;
	int rc, notify = call->flags & FT_CALL_NOTIFY;

	if (!ticket || PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)) {
		Py_XDECREF(ticket);
		return NULL;
	}
	call->arg = view.buf;
	call->arg_size = (size_t)view.len;
	call->user = ticket;
	if (notify)
		core_news_add(&self->news, ticket);
	rc = submit_call(self, call, &future);
	PyBuffer_Release(&view);
	if (!rc) {
		core_ticket_set(ticket, future);
		core_pool_start_report();
		return ticket;
	}
	if (notify) {
		core_news_take(&self->news, ticket);
		Py_DECREF(ticket);
	}
	Py_DECREF(ticket);
	return raise_submit(rc);
}

/* How a task is to be announced.  0 or -1. */
static int announce_from(PyObject *notify, PyObject *code, PyObject *group, struct ft_call *call)
{
	int wanted = notify ? PyObject_IsTrue(notify) : 0;

	if (wanted < 0)
		return -1;
	*call = (struct ft_call){ .flags = wanted ? FT_CALL_NOTIFY : 0 };
	if (code)
		call->code = PyLong_AsUnsignedLongLong(code);
	if (group && !PyErr_Occurred())
		call->group = PyLong_AsUnsignedLongLong(group);
	return PyErr_Occurred() ? -1 : 0;
}

static PyObject *pool_submit(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			     PyObject *kwnames)
{
	static const char *const names[] = { "payload", "notify", "user", "code", "group", NULL };
	PyObject *given[5];
	struct ft_call call;

	if (core_args("submit", names, 1, args, nargs, kwnames, given) ||
	    announce_from(given[1], given[3], given[4], &call))
		return NULL;
	return submit_one(pool_of(op), given[0], given[2], &call);
}

static int submit_into(struct core_pool *self, PyObject *list, PyObject *payload, PyObject *user,
		       struct ft_call *call)
{
	PyObject *ticket = submit_one(self, payload, user, call);
	int rc = ticket ? PyList_Append(list, ticket) : -1;

	Py_XDECREF(ticket);
	return rc;
}

/* The list is ours alone until it is returned. */
static void cancel_all(struct core_pool *self, PyObject *list)
{
	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++)
		ft_future_cancel(core_ticket_future(self->state, PyList_GET_ITEM(list, i)));
}

static PyObject *submit_all(struct core_pool *self, PyObject *payloads, PyObject *users,
			    struct ft_call *call)
{
	Py_ssize_t count = PyTuple_GET_SIZE(payloads);
	PyObject *list;

	if (users && PyTuple_GET_SIZE(users) != count) {
		PyErr_SetString(PyExc_ValueError, "user_list must be as long as payloads");
		return NULL;
	}
	list = PyList_New(0);
	for (Py_ssize_t i = 0; list && i < count; i++)
		if (submit_into(self, list, PyTuple_GET_ITEM(payloads, i),
				users ? PyTuple_GET_ITEM(users, i) : NULL, call)) {
			cancel_all(self, list);
			Py_CLEAR(list);
		}
	return list;
}

static PyObject *pool_submit_many(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
				  PyObject *kwnames)
{
	static const char *const names[] = { "payloads", "notify", "user_list", "code", "group",
					     NULL };
	PyObject *given[5], *payloads, *users = NULL, *list = NULL;
	struct ft_call call;

	if (core_args("submit_many", names, 1, args, nargs, kwnames, given) ||
	    announce_from(given[1], given[3], given[4], &call))
		return NULL;
	payloads = PySequence_Tuple(given[0]);
	if (payloads && given[2] && given[2] != Py_None)
		users = PySequence_Tuple(given[2]);
	if (payloads && !PyErr_Occurred())
		list = submit_all(pool_of(op), payloads, users, &call);
	Py_XDECREF(payloads);
	Py_XDECREF(users);
	return list;
}

/* ---- next, wait_all ---- */

struct next_call {
	struct ft_pool *pool;
	uint64_t group;
	struct ft_future *future;
};

static int next_call(void *ctx, ft_deadline deadline)
{
	struct next_call *next = ctx;

	return ft_pool_next_in(next->pool, next->group, &next->future, deadline);
}

static PyObject *raise_next(int rc)
{
	if (core_pool_start_failed())
		return NULL;
	if (rc == -ETIMEDOUT)
		Py_RETURN_NONE;
	if (rc == -EPIPE)
		PyErr_SetString(PyExc_EOFError, "the pool is closed, and no task is left");
	return core_raise(rc);
}

static PyObject *pool_next(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			   PyObject *kwnames)
{
	static const char *const names[] = { "timeout", "group", NULL };
	struct next_call next = { .pool = pool_of(op)->pool };
	PyObject *given[2], *ticket;
	ft_deadline deadline;
	int rc;

	if (core_args("next", names, 0, args, nargs, kwnames, given) ||
	    core_deadline(given[0], &deadline))
		return NULL;
	if (given[1])
		next.group = PyLong_AsUnsignedLongLong(given[1]);
	if (PyErr_Occurred())
		return NULL;
	rc = core_wait(next_call, &next, deadline, 0);
	if (rc)
		return raise_next(rc);
	core_pool_start_report();
	ticket = ft_future_user(next.future);
	core_ticket_set(ticket, next.future);
	core_news_take(&pool_of(op)->news, ticket);
	return ticket;
}

struct crowd {
	struct ft_future **futures;
	size_t count;
};

static int wait_all_call(void *ctx, ft_deadline deadline)
{
	struct crowd *crowd = ctx;

	return ft_future_wait_all(crowd->futures, crowd->count, deadline);
}

/* The futures of a tuple of tickets.  0 or -1. */
static int crowd_of(struct core_state *state, PyObject *tickets, struct crowd *crowd)
{
	crowd->count = (size_t)PyTuple_GET_SIZE(tickets);
	crowd->futures = PyMem_New(struct ft_future *, crowd->count + 1);
	if (!crowd->futures) {
		PyErr_NoMemory();
		return -1;
	}
	for (size_t i = 0; i < crowd->count; i++) {
		crowd->futures[i] = core_ticket_future(state,
						       PyTuple_GET_ITEM(tickets, (Py_ssize_t)i));
		if (!crowd->futures[i])
			return -1;
	}
	return 0;
}

static PyObject *pool_wait_all(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			       PyObject *kwnames)
{
	static const char *const names[] = { "tickets", "timeout", NULL };
	PyObject *given[2], *tickets, *result = NULL;
	struct crowd crowd = { NULL, 0 };
	ft_deadline deadline;

	if (core_args("wait_all", names, 1, args, nargs, kwnames, given) ||
	    core_deadline(given[1], &deadline))
		return NULL;
	tickets = PySequence_Tuple(given[0]);
	if (tickets && !crowd_of(pool_of(op)->state, tickets, &crowd)) {
		int rc = core_wait(wait_all_call, &crowd, deadline, 0);
		result = core_pool_start_failed() ? NULL : core_in_time(rc);
	}
	PyMem_Free(crowd.futures);
	Py_XDECREF(tickets);
	return result;
}

/* ---- the rest of a pool's life ---- */

/* A call that may start workers, and has no result but its success. */
static PyObject *pool_simple(PyObject *op, int (*call)(struct ft_pool *pool))
{
	struct ft_pool *pool = pool_of(op)->pool;
	int rc;

	Py_BEGIN_ALLOW_THREADS
	rc = call(pool);
	Py_END_ALLOW_THREADS
	return core_pool_start_failed() ? NULL : core_none(rc);
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
	Py_BEGIN_ALLOW_THREADS
	rc = ft_pool_terminate(pool, (int64_t)(grace * 1e9));
	Py_END_ALLOW_THREADS
	return core_pool_start_failed() ? NULL : core_none(rc);
}

static PyObject *pool_join(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			   PyObject *kwnames)
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
	{ "submit", CORE_FAST(pool_submit),
	  "submit($self, /, payload, notify=False, user=None, code=0, group=0)\n--\n\n"
	  "Gives the workers a task; returns its Ticket at once.\n\n"
	  "payload: bytes or any buffer, copied; the worker's Task.arg.\n"
	  "notify: hand the ticket to next() when the task has ended.\n"
	  "user: any object, the ticket's user.\n"
	  "code: a number, the worker's Task.code.\n"
	  "group: a number; next() with the same one gets the ticket.\n\n"
	  "Raises ValueError after close(), RuntimeError when the pool has given up because\n"
	  "workers end faster than they work, and what start() raises." },
	{ "submit_many", CORE_FAST(pool_submit_many),
	  "submit_many($self, /, payloads, notify=False, user_list=None, code=0, group=0)\n--\n\n"
	  "As submit() for each of a sequence of payloads; returns the list of tickets.\n\n"
	  "user_list: one user for each payload, or None.\n\n"
	  "If one fails, those before it are cancelled as far as they have not started." },
	{ "next", CORE_FAST(pool_next),
	  "next($self, /, timeout=None, group=0)\n--\n\n"
	  "The next ticket with notify and of this group whose task has ended, in the order of\n"
	  "their ends, or None if time ran out first.\n\n"
	  "timeout: the longest wait in seconds; None waits for ever, a negative number not at\n"
	  "all.  Raises EOFError once the pool is closed and none is left." },
	{ "wait_all", CORE_FAST(pool_wait_all),
	  "wait_all($self, /, tickets, timeout=None)\n--\n\n"
	  "Waits until the tasks of all tickets have ended: True if they have, False if time ran\n"
	  "out first.  timeout as for next()." },
	{ "poll", pool_poll, METH_NOARGS,
	  "poll($self, /)\n--\n\n"
	  "Collects results that are there and deals out tasks that wait, without blocking." },
	{ "close", pool_close, METH_NOARGS,
	  "close($self, /)\n--\n\nTakes no more tasks; the workers leave when all are done." },
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
	     "tasks_per_worker: a worker leaves after so many tasks; 0 for never.\n\n"
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
