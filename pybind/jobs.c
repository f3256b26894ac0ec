/* SPDX-License-Identifier: MIT */
#include "jobs.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <freethreading/arena.h>

#include "batch.h"
#include "call.h"
#include "convert.h"
#include "stream.h"

static struct core_jobs *jobs_of(PyObject *op)
{
	return (struct core_jobs *)op;
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
	if (jobs->maker != getpid()) {
		core_raise(-ECHILD);
		return -1;
	}
	return atomic_load(&jobs->stage) == CORE_JOBS_OPEN ? 0 : raise_closed(jobs);
}

int core_jobs_put(struct core_jobs *jobs, PyObject *job)
{
	PyObject *reference = Py_NewRef(job);
	int rc = ft_queue_put(&jobs->queue, &reference, sizeof(reference), FT_FOREVER);

	if (!rc)
		return 0;
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

static int take_call(void *ctx, ft_deadline deadline)
{
	struct take *take = ctx;
	void *block;
	size_t size;
	int rc = ft_queue_get(&take->jobs->queue, &block, &size, deadline);

	if (!rc) {
		memcpy(&take->job, block, sizeof(take->job));
		ft_block_free(block);
	}
	return rc;
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
	struct take take = { .jobs = jobs };

	while (!take_call(&take, FT_NOW))
		drop(jobs, take.job);
}

/* ---- streams ---- */

static int lock_call(void *lock, ft_deadline deadline)
{
	return ft_lock_acquire(lock, deadline);
}

static void lock(struct core_jobs *jobs)
{
	(void)core_wait(lock_call, &jobs->lock, FT_FOREVER, 0);
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
		ft_queue_close(&jobs->queue);
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
		ft_queue_close(&jobs->queue);
	if (stage >= CORE_JOBS_TERMINATED) {
		drop_all(jobs);
		hurry_all(jobs);
	}
}

/* ---- serving ---- */

static void run(struct core_jobs *jobs, PyObject *job, struct core_server *server)
{
	atomic_store_explicit(&server->busy, 1, memory_order_relaxed);
	if (core_jobs_ended(jobs)) {
		drop(jobs, job);
	} else {
		((struct core_job *)job)->run(job, jobs);
		Py_DECREF(job);
	}
	atomic_store_explicit(&server->busy, 0, memory_order_relaxed);
}

/* Which server; NULL with an exception. */
static struct core_server *server_of(struct core_jobs *jobs, PyObject *number)
{
	size_t i = PyLong_AsSize_t(number);

	if (PyErr_Occurred())
		return NULL;
	if (i < jobs->workers)
		return &jobs->servers[i];
	PyErr_SetString(PyExc_ValueError, "there is no such worker");
	return NULL;
}

static PyObject *jobs_serve(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			    PyObject *kwnames)
{
	static const char *const names[] = { "number", "limit", NULL };
	struct take take = { .jobs = jobs_of(op) };
	struct core_server *server;
	Py_ssize_t limit, served = 0;
	PyObject *given[2];
	int rc;

	if (core_args("serve", names, 1, args, nargs, kwnames, given))
		return NULL;
	server = server_of(take.jobs, given[0]);
	limit = given[1] ? PyLong_AsSsize_t(given[1]) : 0;
	if (PyErr_Occurred())
		return NULL;
	while ((rc = core_wait(take_call, &take, FT_FOREVER, 0)) == 0) {
		run(take.jobs, take.job, server);
		if (++served == limit)
			Py_RETURN_TRUE;
	}
	return rc == -EPIPE ? Py_NewRef(Py_False) : core_raise(rc);
}

static PyObject *jobs_busy(PyObject *op, PyObject *number)
{
	struct core_server *server = server_of(jobs_of(op), number);

	return server ? PyBool_FromLong((long)atomic_load(&server->busy)) : NULL;
}

/* ---- putting ---- */

static int check_arguments(PyObject *args, PyObject *kwargs)
{
	if (PyTuple_Check(args) && (!kwargs || kwargs == Py_None || PyDict_Check(kwargs)))
		return 0;
	PyErr_SetString(PyExc_TypeError, "args must be a tuple, and kwargs a dict");
	return -1;
}

static PyObject *jobs_call(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			   PyObject *kwnames)
{
	static const char *const names[] = { "func", "args", "kwargs", "notify", "callback",
					     "error_callback", NULL };
	PyObject *given[6];

	if (core_args("call", names, 2, args, nargs, kwnames, given) ||
	    core_jobs_check(jobs_of(op)) || check_arguments(given[1], given[2]))
		return NULL;
	return core_call_new(jobs_of(op), given[0], given[1], given[2], given + 3);
}

static PyObject *jobs_submit(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			     PyObject *kwnames)
{
	static const char *const names[] = { "future", "func", "args", "kwargs", NULL };
	PyObject *given[4];

	if (core_args("submit", names, 3, args, nargs, kwnames, given) ||
	    core_jobs_check(jobs_of(op)) || check_arguments(given[2], given[3]))
		return NULL;
	if (!PyObject_TypeCheck(given[0], jobs_of(op)->state->future)) {
		PyErr_SetString(PyExc_TypeError, "future must be a Future of this module");
		return NULL;
	}
	if (core_errand_new(jobs_of(op), given[0], given[1], given[2], given[3]))
		return NULL;
	Py_RETURN_NONE;
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
	if (jobs_of(op)->maker == getpid())
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
	if (jobs_of(op)->maker == getpid())
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

static PyObject *jobs_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "workers", NULL };
	struct core_jobs *self;
	int workers, rc;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i:Jobs", names, &workers))
		return NULL;
	if (workers < 1) {
		PyErr_SetString(PyExc_ValueError, "workers must be at least 1");
		return NULL;
	}
	self = jobs_of(type->tp_alloc(type, 0));
	if (!self)
		return NULL;
	self->state = core_state_of_type(type);
	self->maker = getpid();
	self->workers = (uint32_t)workers;
	self->servers = PyMem_Calloc((size_t)workers, sizeof(*self->servers));
	(void)!ft_lock_init(&self->lock, FT_PRIVATE);
	rc = self->servers ? ft_queue_init(&self->queue, 0, FT_PRIVATE) : -ENOMEM;
	if (!rc)
		return (PyObject *)self;
	self->maker = 0;
	Py_DECREF(self);
	return core_raise(rc);
}

static int jobs_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(op));
	Py_VISIT(atomic_load(&jobs_of(op)->why));
	return 0;
}

static int jobs_clear(PyObject *op)
{
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
	if (self->maker == getpid()) {
		end(self, CORE_JOBS_TERMINATED);
		ft_queue_destroy(&self->queue);
	}
	jobs_clear(op);
	PyMem_Free(self->servers);
	type->tp_free(op);
	Py_DECREF(type);
}

static PyMethodDef jobs_methods[] = {
	{ "serve", CORE_FAST(jobs_serve),
	  "serve($self, /, number, limit=0)\n--\n\n"
	  "Runs jobs in the calling thread: False when the queue is closed and empty, True after\n"
	  "`limit` jobs, if that is not 0.\n\n"
	  "number: which worker the thread is, from 0." },
	{ "busy", jobs_busy, METH_O,
	  "busy($self, number, /)\n--\n\nWhether the worker is in a job now." },
	{ "call", CORE_FAST(jobs_call),
	  "call($self, /, func, args, kwargs=None, notify=None, callback=None,\n"
	  "     error_callback=None)\n--\n\n"
	  "Has a worker call func(*args, **kwargs); returns a Call at once.\n\n"
	  "notify: called with the Call in the worker when it has ended, and must see to it\n"
	  "that somebody calls its settle(), which calls the callback for its outcome." },
	{ "submit", CORE_FAST(jobs_submit),
	  "submit($self, /, future, func, args, kwargs=None)\n--\n\n"
	  "The same for a Future of this module, which gets the outcome from the worker." },
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

PyDoc_STRVAR(jobs_doc, "Jobs(workers)\n--\n\n"
		       "Calls for threads: what a pool of thread workers shares.\n\n"
		       "workers: how many threads will call serve(), each with a number of its own.");

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
