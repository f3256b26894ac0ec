/* SPDX-License-Identifier: MIT */
#include "jobs.h"

#include <errno.h>
#include <pthread.h>

#include "batch.h"
#include "call.h"
#include "convert.h"
#include "future.h"
#include "stream.h"
#include "transfer.h"

static struct core_jobs *jobs_of(PyObject *op)
{
	return (struct core_jobs *)op;
}

/* ---- forks ---- */

static uint32_t generation = 1; /* written in a child that has no other thread yet */

static void count_fork(void)
{
	generation++;
}

__attribute__((constructor)) static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, count_fork);
}

uint32_t core_generation(void)
{
	return generation;
}

/* ---- how it ends ---- */

int core_jobs_ended(const struct core_jobs *jobs)
{
	return atomic_load_explicit(&jobs->stage, memory_order_relaxed) >= CORE_JOBS_TERMINATED;
}

/* A new one each time: an exception collects the tracebacks of who raises it. */
static void raise_like(PyObject *why)
{
	PyObject *args = PyObject_GetAttrString(why, "args");
	PyObject *copy = args ? PyObject_Call((PyObject *)Py_TYPE(why), args, NULL) : NULL;

	Py_XDECREF(args);
	if (copy)
		core_exception_give(copy);
}

static void raise_named(const char *module_name, const char *name)
{
	PyObject *module = PyImport_ImportModule(module_name);
	PyObject *type = module ? PyObject_GetAttrString(module, name) : NULL;

	if (type)
		PyErr_SetNone(type);
	Py_XDECREF(type);
	Py_XDECREF(module);
}

PyObject *core_job_timeout(void)
{
	raise_named("multiprocessing", "TimeoutError");
	return NULL;
}

void core_jobs_raise(const struct core_jobs *jobs)
{
	PyObject *why = atomic_load(&jobs->why);

	if (why)
		raise_like(why);
	else
		raise_named("concurrent.futures", "CancelledError");
}

static int raise_closed(const struct core_jobs *jobs)
{
	PyObject *why = atomic_load(&jobs->why);

	if (why)
		raise_like(why);
	else
		PyErr_SetString(PyExc_ValueError, "Pool not running");
	return -1;
}

/* ---- in and out ---- */

int core_jobs_check(const struct core_jobs *jobs)
{
	if (jobs->maker != generation) {
		core_raise(-ECHILD);
		return -1;
	}
	return atomic_load(&jobs->stage) == CORE_JOBS_OPEN ? 0 : raise_closed(jobs);
}

int core_jobs_put(struct core_jobs *jobs, PyObject *job)
{
	PyObject *reference = core_transfer_new(job);
	int rc = core_fifo_give(&jobs->queue, reference, FT_NOW);

	if (!rc) {
		core_rest_call(&jobs->rest);
		return 0;
	}
	Py_DECREF(reference);
	if (rc == -EPIPE)
		return raise_closed(jobs);
	core_raise(rc);
	return -1;
}

struct take {
	struct core_jobs *jobs;
	PyObject *job;
};

static int take(struct take *take)
{
	return core_fifo_get(&take->jobs->queue, &take->job, FT_NOW);
}

PyObject *core_job_call(PyObject *func, PyObject *item, int star)
{
	PyObject *args, *value;

	if (!star)
		return PyObject_CallOneArg(func, item);
	args = PySequence_Tuple(item);
	value = args ? PyObject_Call(func, args, NULL) : NULL;
	Py_XDECREF(args);
	return value;
}

static void drop(struct core_jobs *jobs, PyObject *job)
{
	((struct core_job *)job)->drop(job, jobs);
	Py_DECREF(job);
}

static void drop_all(struct core_jobs *jobs)
{
	struct take each = { .jobs = jobs };

	while (!take(&each))
		drop(jobs, each.job);
}

static void shut(struct core_jobs *jobs)
{
	core_fifo_close(&jobs->queue);
	core_rest_call_all(&jobs->rest);
}

/* ---- streams ---- */

static void lock(struct core_jobs *jobs)
{
	core_lock(&jobs->lock);
}

int core_jobs_add(struct core_jobs *jobs, struct core_stream *stream)
{
	int rc;

	lock(jobs);
	rc = atomic_load(&jobs->stage) == CORE_JOBS_OPEN ? 0 : -1;
	if (!rc) {
		Py_INCREF((PyObject *)stream);
		stream->next = jobs->streams;
		stream->link = &jobs->streams;
		if (stream->next)
			stream->next->link = &stream->next;
		jobs->streams = stream;
	}
	(void)ft_lock_release(&jobs->lock);
	return rc ? raise_closed(jobs) : 0;
}

void core_jobs_remove(struct core_jobs *jobs, struct core_stream *stream)
{
	int linked, last;

	lock(jobs);
	linked = stream->link != NULL;
	if (linked) {
		*stream->link = stream->next;
		if (stream->next)
			stream->next->link = stream->link;
		stream->link = NULL;
	}
	last = linked && !jobs->streams && atomic_load(&jobs->stage) != CORE_JOBS_OPEN;
	(void)ft_lock_release(&jobs->lock);
	if (last)
		shut(jobs);
	if (linked)
		Py_DECREF((PyObject *)stream);
}

static void hurry_all(struct core_jobs *jobs)
{
	lock(jobs);
	for (struct core_stream *stream = jobs->streams; stream; stream = stream->next)
		core_stream_hurry(stream);
	(void)ft_lock_release(&jobs->lock);
}

static void end(struct core_jobs *jobs, uint32_t stage)
{
	uint32_t seen;
	int last;

	lock(jobs);
	seen = atomic_load(&jobs->stage);
	if (seen < stage)
		atomic_store(&jobs->stage, stage);
	last = !jobs->streams || stage >= CORE_JOBS_TERMINATED;
	(void)ft_lock_release(&jobs->lock);
	if (last)
		shut(jobs);
	if (stage >= CORE_JOBS_TERMINATED) {
		drop_all(jobs);
		hurry_all(jobs);
	}
}

/* ---- serving ---- */

/* Sleeps until there is a job.  0; -EPIPE: closed and empty. */
static int await_job(struct take *next, uint32_t server)
{
	struct core_rest *rest = &next->jobs->rest;
	int rc;

	for (;;) {
		core_rest_lie_down(rest, server);
		rc = take(next);
		if (rc != -ETIMEDOUT) {
			core_rest_get_up(rest, server);
			return rc;
		}
		core_rest_sleep(rest, server);
		rc = take(next);
		if (rc != -ETIMEDOUT)
			return rc;
	}
}

/* The next job, and an end to the one before (or NULL), which is not kept while
 * the thread sleeps.  0; -EPIPE: closed and empty; what the queue says. */
static int take_patiently(struct take *next, PyObject *before, uint32_t server)
{
	struct core_rest *rest = &next->jobs->rest;
	int rc = take(next), rested = rc == -ETIMEDOUT;

	core_rest_looked(rest);
	/* It may have been left, or called, for more than it took. */
	if (!rc && core_fifo_size(&next->jobs->queue))
		core_rest_call(rest);
	Py_XDECREF(before);
	if (!rested)
		return rc;
	rc = await_job(next, server);
	if (!rc && core_fifo_size(&next->jobs->queue))
		core_rest_call(rest);
	return rc;
}

static void run(struct core_jobs *jobs, PyObject *job)
{
	if (core_jobs_ended(jobs))
		((struct core_job *)job)->drop(job, jobs);
	else
		((struct core_job *)job)->run(job, jobs);
}

/* 0, or -1 with an exception. */
static int server_from(const struct core_jobs *jobs, PyObject *number, uint32_t *server)
{
	size_t i = PyLong_AsSize_t(number);

	if (PyErr_Occurred())
		return -1;
	*server = (uint32_t)i;
	if (i < jobs->rest.count)
		return 0;
	PyErr_SetString(PyExc_ValueError, "there is no such worker");
	return -1;
}

static PyObject *serve(struct core_jobs *jobs, uint32_t server, Py_ssize_t limit)
{
	struct take next = { .jobs = jobs };
	PyObject *before = NULL;
	Py_ssize_t served = 0;
	int rc;

	while ((rc = take_patiently(&next, before, server)) == 0) {
		before = next.job;
		run(next.jobs, before);
		if (++served != limit)
			continue;
		core_rest_looked(&next.jobs->rest);
		core_rest_call(&next.jobs->rest);
		Py_DECREF(before);
		Py_RETURN_TRUE;
	}
	return rc == -EPIPE ? Py_NewRef(Py_False) : core_raise(rc);
}

static PyObject *jobs_serve(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			    PyObject *kwnames)
{
	static const char *const names[] = { "number", "limit", NULL };
	struct core_jobs *jobs = jobs_of(op);
	PyObject *given[2], *more;
	Py_ssize_t limit;
	uint32_t server;

	if (core_args("serve", names, 1, args, nargs, kwnames, given) ||
	    server_from(jobs, given[0], &server))
		return NULL;
	limit = given[1] ? PyLong_AsSsize_t(given[1]) : 0;
	if (PyErr_Occurred())
		return NULL;
	if (core_rest_enter(&jobs->rest, server)) {
		PyErr_SetString(PyExc_RuntimeError, "another thread serves with this number");
		return NULL;
	}
	more = serve(jobs, server, limit);
	core_rest_leave(&jobs->rest, server);
	return more;
}

/* ---- putting ---- */

/* What can't be pickled is refused here too, so that a program that works with
 * threads works with processes.  0, or -1 with an exception. */
static int check_call(struct core_jobs *jobs, PyObject *func, PyObject *args, PyObject *kwargs)
{
	PyObject *said;

	if (core_jobs_check(jobs))
		return -1;
	if (core_portable(jobs->state, func) && core_portable(jobs->state, args) &&
	    core_portable(jobs->state, kwargs))
		return 0;
	said = PyObject_CallFunctionObjArgs(jobs->check, func, args, kwargs, NULL);
	Py_XDECREF(said);
	return said ? 0 : -1;
}

static PyObject *jobs_call(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			   PyObject *kwnames)
{
	static const char *const names[] = { "func", "args", "kwargs", "notify", "callback",
					     "error_callback", NULL };
	PyObject *given[6], *tuple, *call = NULL;

	if (core_args("call", names, 2, args, nargs, kwnames, given))
		return NULL;
	if (!given[2])
		given[2] = Py_None;
	if (given[2] != Py_None && !PyDict_Check(given[2])) {
		PyErr_SetString(PyExc_TypeError, "kwds must be a dict");
		return NULL;
	}
	tuple = PySequence_Tuple(given[1]);
	if (tuple && !check_call(jobs_of(op), given[0], tuple, given[2]))
		call = core_call_new(jobs_of(op), given[0], tuple, given[2], given + 3);
	Py_XDECREF(tuple);
	return call;
}

static PyObject *jobs_submit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
	PyObject *future;

	if (nargs != 3 || !PyTuple_Check(args[1]) || !PyDict_Check(args[2])) {
		PyErr_SetString(PyExc_TypeError, "submit() takes a function, a tuple and a dict");
		return NULL;
	}
	if (check_call(jobs_of(op), args[0], args[1], args[2]))
		return NULL;
	future = core_future_new((PyTypeObject *)jobs_of(op)->future);
	if (future && core_errand_new(jobs_of(op), future, args[0], args[1], args[2]))
		Py_CLEAR(future);
	return future;
}

static PyObject *jobs_batch(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			    PyObject *kwnames)
{
	static const char *const names[] = { "func", "items", "star", "chunk", "notify",
					     "callback", "error_callback", NULL };
	PyObject *given[7];
	Py_ssize_t chunk;
	int star;

	if (core_args("batch", names, 4, args, nargs, kwnames, given) ||
	    core_jobs_check(jobs_of(op)))
		return NULL;
	star = PyObject_IsTrue(given[2]);
	chunk = PyNumber_AsSsize_t(given[3], NULL);
	if (PyErr_Occurred())
		return NULL;
	return core_batch_new(jobs_of(op), given[0], given[1], star, chunk, given + 4);
}

static int truth(PyObject *object)
{
	return object ? PyObject_IsTrue(object) : 0;
}

static PyObject *jobs_stream(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			     PyObject *kwnames)
{
	static const char *const names[] = { "func", "iterable", "ordered", "chunk", "star",
					     "window", "single", "persist", "owner", NULL };
	struct core_stream_plan plan;
	PyObject *given[9];

	if (core_args("stream", names, 4, args, nargs, kwnames, given) ||
	    core_jobs_check(jobs_of(op)))
		return NULL;
	plan = (struct core_stream_plan){
		.func = given[0],
		.iterable = given[1],
		.ordered = truth(given[2]),
		.chunk = PyNumber_AsSsize_t(given[3], NULL),
		.star = truth(given[4]),
		.window = given[5] ? PyNumber_AsSsize_t(given[5], NULL) : 0,
		.single = truth(given[6]),
		.persist = truth(given[7]),
	};
	if (PyErr_Occurred())
		return NULL;
	if (plan.chunk < 1 || plan.window < 0) {
		PyErr_SetString(PyExc_ValueError, "chunk must be at least 1, window not negative");
		return NULL;
	}
	return core_stream_results_new(jobs_of(op), &plan, given[8] ? given[8] : Py_None);
}

/* ---- ending ---- */

static PyObject *jobs_end(PyObject *op, uint32_t stage)
{
	/* In a forked child there is nothing to end. */
	if (jobs_of(op)->maker == generation)
		end(jobs_of(op), stage);
	Py_RETURN_NONE;
}

static PyObject *jobs_close(PyObject *op, PyObject *unused)
{
	(void)unused;
	return jobs_end(op, CORE_JOBS_CLOSED);
}

static PyObject *jobs_terminate(PyObject *op, PyObject *unused)
{
	(void)unused;
	return jobs_end(op, CORE_JOBS_TERMINATED);
}

static PyObject *jobs_hurry(PyObject *op, PyObject *unused)
{
	(void)unused;
	atomic_store(&jobs_of(op)->hurry, 1);
	if (jobs_of(op)->maker == generation)
		hurry_all(jobs_of(op));
	Py_RETURN_NONE;
}

/* The first reason counts. */
static PyObject *jobs_give_up(PyObject *op, PyObject *why)
{
	PyObject *nothing = NULL;

	if (!PyExceptionInstance_Check(why)) {
		PyErr_SetString(PyExc_TypeError, "why must be an exception");
		return NULL;
	}
	if (atomic_compare_exchange_strong(&jobs_of(op)->why, &nothing, why))
		Py_INCREF(why);
	return jobs_end(op, CORE_JOBS_BROKEN);
}

/* ---- the object ---- */

static int jobs_init(struct core_jobs *self, uint32_t workers)
{
	int rc = ft_lock_init(&self->lock, FT_PRIVATE);

	if (!rc)
		rc = core_rest_init(&self->rest, workers);
	if (!rc)
		rc = core_fifo_init(&self->queue, 0);
	if (!rc)
		self->maker = generation;
	return rc;
}

static PyObject *jobs_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "workers", "check", "future", NULL };
	struct core_state *state = core_state_of_type(type);
	PyObject *check, *future, *op;
	int workers, rc;

	if (!state || !PyArg_ParseTupleAndKeywords(args, kwargs, "iOO!:Jobs", names, &workers,
						   &check, &PyType_Type, &future))
		return NULL;
	if (workers < 1 || !PyType_IsSubtype((PyTypeObject *)future, state->future)) {
		PyErr_SetString(PyExc_ValueError, "workers must be at least 1, and future a "
						  "class that inherits from Future");
		return NULL;
	}
	op = type->tp_alloc(type, 0);
	if (!op)
		return NULL;
	jobs_of(op)->state = state;
	jobs_of(op)->check = Py_NewRef(check);
	jobs_of(op)->future = Py_NewRef(future);
	rc = jobs_init(jobs_of(op), (uint32_t)workers);
	if (!rc)
		return op;
	Py_DECREF(op);
	return core_raise(rc);
}

static int jobs_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(op));
	Py_VISIT(jobs_of(op)->check);
	Py_VISIT(jobs_of(op)->future);
	Py_VISIT(atomic_load(&jobs_of(op)->why));
	return 0;
}

static int jobs_clear(PyObject *op)
{
	Py_CLEAR(jobs_of(op)->check);
	Py_CLEAR(jobs_of(op)->future);
	Py_XDECREF(atomic_exchange(&jobs_of(op)->why, NULL));
	return 0;
}

/* Nobody serves it any more, nor will. */
static void jobs_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);
	struct core_jobs *self = jobs_of(op);

	PyObject_GC_UnTrack(op);
	if (self->weakrefs)
		PyObject_ClearWeakRefs(op);
	if (self->maker == generation) {
		end(self, CORE_JOBS_TERMINATED);
		core_fifo_free(&self->queue);
	}
	jobs_clear(op);
	core_rest_fini(&self->rest);
	type->tp_free(op);
	Py_DECREF(type);
}

static PyMethodDef jobs_methods[] = {
	{ "serve", CORE_FAST(jobs_serve),
	  "serve($self, /, number, limit=0)\n--\n\n"
	  "Runs jobs in the calling thread: False when the queue is closed and empty, True after\n"
	  "`limit` jobs, if that is not 0.\n\n"
	  "number: which worker the thread is, from 0." },
	{ "call", CORE_FAST(jobs_call),
	  "call($self, /, func, args, kwargs=None, notify=None, callback=None,\n"
	  "     error_callback=None)\n--\n\n"
	  "Has a worker call func(*args, **kwargs); returns a Call at once.\n\n"
	  "notify: called with the Call in the worker when it has ended, and must see to it\n"
	  "that somebody calls its settle(), which calls the callback for its outcome." },
	{ "submit", (PyCFunction)(void (*)(void))jobs_submit, METH_FASTCALL,
	  "submit($self, func, args, kwargs, /)\n--\n\n"
	  "The same, but returns a future, which gets the outcome from the worker." },
	{ "batch", CORE_FAST(jobs_batch),
	  "batch($self, /, func, items, star, chunk, notify=None, callback=None,\n"
	  "      error_callback=None)\n--\n\n"
	  "Has the workers call func(item), or with star func(*item), for each of the items.\n"
	  "Returns a Batch at once, whose result is the list of theirs.\n\n"
	  "chunk: how many items a worker takes at a time." },
	{ "stream", CORE_FAST(jobs_stream),
	  "stream($self, /, func, iterable, ordered, chunk, star=False, window=0, single=False,\n"
	  "       persist=False, owner=None)\n--\n\n"
	  "The same for an iterable that is read as the results are taken; returns their\n"
	  "StreamResults.  If that has a `feeder`, some thread must call its feed().\n\n"
	  "window: read at most so many items ahead; 0: what seems fit.\n"
	  "single: each chunk counts as a job of serve()'s limit.\n"
	  "persist: it goes on when the StreamResults is dropped.\n"
	  "owner: kept alive by the StreamResults." },
	{ "hurry", jobs_hurry, METH_NOARGS,
	  "hurry($self, /)\n--\n\n"
	  "Has the streams read all there is, since somebody waits for the end." },
	{ "close", jobs_close, METH_NOARGS,
	  "close($self, /)\n--\n\nTakes no more jobs; serve() returns when all are done." },
	{ "terminate", jobs_terminate, METH_NOARGS,
	  "terminate($self, /)\n--\n\nThe same, and cancels what has not started." },
	{ "give_up", jobs_give_up, METH_O,
	  "give_up($self, why, /)\n--\n\n"
	  "The same, and what has not started, and all that would come, fails with an exception\n"
	  "like `why`." },
	{ NULL, NULL, 0, NULL },
};

static PyMemberDef jobs_members[] = {
	{ "__weaklistoffset__", T_PYSSIZET, offsetof(struct core_jobs, weakrefs), READONLY, NULL },
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(jobs_doc,
	     "Jobs(workers, check, future)\n--\n\n"
	     "Calls for threads: what a pool of thread workers shares.\n\n"
	     "workers: how many threads will call serve(), each with a number of its own.\n"
	     "check: called as check(func, args, kwargs) if they may not be picklable.\n"
	     "future: the class of what submit() returns.");

static PyType_Slot jobs_slots[] = {
	{ Py_tp_doc, (void *)jobs_doc },
	{ Py_tp_new, jobs_new },
	{ Py_tp_dealloc, jobs_dealloc },
	{ Py_tp_traverse, jobs_traverse },
	{ Py_tp_clear, jobs_clear },
	{ Py_tp_methods, jobs_methods },
	{ Py_tp_members, jobs_members },
	{ 0, NULL },
};

PyType_Spec core_jobs_spec = {
	.name = "freethreading._core.Jobs",
	.basicsize = sizeof(struct core_jobs),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = jobs_slots,
};
