/* SPDX-License-Identifier: MIT */
#include "newborn.h"

#include <sys/syscall.h>
#include <fcntl.h>
#include <unistd.h>

#include "convert.h"

#define HEAD 8 /* two sizes: see _spawner.py */

/* The world, by the names in `names`. */
enum object {
	PROCESS,	/* vars(multiprocessing.process) */
	UTIL,		/* vars(multiprocessing.util) */
	CURRENT,	/* the process object that the helper is */
	CONFIG,		/* its dict of options */
	PARENT,		/* the process object of the program */
	KEY_TYPE,	/* AuthenticationString */
	BASE_BOOTSTRAP, /* BaseProcess._bootstrap */
	BASE_RUN,	/* BaseProcess.run */
	AFTER_FORK,	/* what util._run_after_forkers would run, a dict */
	FINALIZERS,	/* what util._exit_function would run, a dict */
	MAIN_THREAD,
	THREAD_COUNT,  /* how many threads there are beside it */
	THREAD_EXITS,  /* what threading._shutdown would run, a list */
	RUN_EXITS,     /* atexit's handlers */
	LOADS,	       /* pickle.loads */
	BOOTSTRAP,     /* for a worker with a bootstrap of its own */
	AFTER_FORKERS, /* util._run_after_forkers */
	EXIT_FUNCTION, /* util._exit_function */
	SHUTDOWN,      /* threading._shutdown */
	REHEARSAL,     /* a pickled process object, whose target does nothing */
	CAUGHT,	       /* tells of an exception, answers the status */
	CHANGE,	       /* makes changes; answers the status to leave with, or None */
	CONTEXT,       /* multiprocessing.context._default_context */
	CONTEXTS,      /* what a start method is called: its context, a dict */
	OBJECTS,
};

static const char *const names[OBJECTS] = {
    "process",	      "util",	   "current",	 "config",     "parent",	"key_type",
    "base_bootstrap", "base_run",  "after_fork", "finalizers", "main_thread",	"thread_count",
    "thread_exits",   "run_exits", "loads",	 "bootstrap",  "after_forkers", "exit_function",
    "shutdown",	      "rehearsal", "caught",	 "change",     "context",	"contexts",
};

enum word {
	W_AUTHKEY,
	W_INHERITING,
	W_CONFIG,
	W_BOOTSTRAP,
	W_CURRENT,
	W_PARENT,
	W_PARENT_NAME,
	W_PARENT_PID,
	W_NAME,
	W_PID,
	W_SENTINEL,
	W_NATIVE_ID,
	W_RUN,
	W_TARGET,
	W_ARGS,
	W_KWARGS,
	W_CHILDREN,
	W_LOGGER,
	W_FLUSH,
	W_START_METHOD,
	W_ACTUAL_CONTEXT,
	WORDS,
};

static const char *const texts[WORDS] = {
    "authkey",	       "_inheriting",  "_config",     "_bootstrap", "_current_process",
    "_parent_process", "_parent_name", "_parent_pid", "_name",	    "_pid",
    "_sentinel",       "_native_id",   "run",	      "_target",    "_args",
    "_kwargs",	       "_children",    "_logger",     "flush",	    "start_method",
    "_actual_context",
};

struct core_newborn {
	PyObject *object[OBJECTS];
	PyObject *word[WORDS];
};

void core_newborn_free(struct core_newborn *newborn)
{
	for (int i = 0; i < OBJECTS; i++)
		Py_XDECREF(newborn->object[i]);
	for (int i = 0; i < WORDS; i++)
		Py_XDECREF(newborn->word[i]);
	PyMem_Free(newborn);
}

static int fill(struct core_newborn *newborn, PyObject *world)
{
	for (int i = 0; i < OBJECTS; i++) {
		newborn->object[i] = Py_XNewRef(PyDict_GetItemString(world, names[i]));
		if (!newborn->object[i]) {
			PyErr_SetString(PyExc_KeyError, names[i]);
			return -1;
		}
	}
	if (!PyBytes_Check(newborn->object[REHEARSAL])) {
		PyErr_SetString(PyExc_TypeError, "rehearsal must be bytes");
		return -1;
	}
	for (int i = 0; i < WORDS; i++) {
		newborn->word[i] = PyUnicode_InternFromString(texts[i]);
		if (!newborn->word[i])
			return -1;
	}
	return 0;
}

struct core_newborn *core_newborn_new(PyObject *world)
{
	struct core_newborn *newborn;

	if (!PyDict_Check(world)) {
		PyErr_SetString(PyExc_TypeError, "world must be a dict");
		return NULL;
	}
	newborn = PyMem_Calloc(1, sizeof(*newborn));
	if (!newborn) {
		PyErr_NoMemory();
	} else if (fill(newborn, world)) {
		core_newborn_free(newborn);
		newborn = NULL;
	}
	return newborn;
}

/* ---- becoming the process ---- */

static int set_from(PyObject *object, PyObject *name, PyObject *from, PyObject *attribute)
{
	PyObject *value = PyObject_GetAttr(from, attribute);
	int rc = value ? PyObject_SetAttr(object, name, value) : -1;

	Py_XDECREF(value);
	return rc;
}

static int set_number(PyObject *object, PyObject *name, long number)
{
	PyObject *value = PyLong_FromLong(number);
	int rc = value ? PyObject_SetAttr(object, name, value) : -1;

	Py_XDECREF(value);
	return rc;
}

/* Connections that are part of the job are fetched with the key. */
static PyObject *take_key(struct core_newborn *n, const char *bytes, size_t size)
{
	PyObject *raw = PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
	PyObject *key = raw ? PyObject_CallOneArg(n->object[KEY_TYPE], raw) : NULL;

	Py_XDECREF(raw);
	if (key && PyDict_SetItem(n->object[CONFIG], n->word[W_AUTHKEY], key))
		Py_CLEAR(key);
	return key;
}

static PyObject *load(struct core_newborn *n, const char *bytes, size_t size)
{
	PyObject *job = PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size), *worker = NULL;

	if (job && PyObject_SetAttr(n->object[CURRENT], n->word[W_INHERITING], Py_True) == 0)
		worker = PyObject_CallOneArg(n->object[LOADS], job);
	Py_XDECREF(job);
	if (worker && PyObject_SetAttr(n->object[CURRENT], n->word[W_INHERITING], NULL))
		Py_CLEAR(worker);
	return worker;
}

static int give_key(struct core_newborn *n, PyObject *worker, PyObject *key)
{
	PyObject *config = PyObject_GetAttr(worker, n->word[W_CONFIG]);
	int rc = config ? PyObject_SetItem(config, n->word[W_AUTHKEY], key) : -1;

	Py_XDECREF(config);
	return rc;
}

/* What the parent's death makes readable.  Where pidfds are refused, what nothing
 * does: a worker does not outlive its parent, and sees it alive until then. */
static long parent_sentinel(void)
{
	long fd = syscall(SYS_pidfd_open, getppid(), 0);
	int ends[2];

	if (fd >= 0)
		return fd;
	return pipe2(ends, O_CLOEXEC) ? -1 : ends[0];
}

static int know_parent(struct core_newborn *n, PyObject *worker)
{
	PyObject *parent = n->object[PARENT];
	long fd = parent_sentinel();

	if (fd < 0) {
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	if (set_from(parent, n->word[W_NAME], worker, n->word[W_PARENT_NAME]) ||
	    set_from(parent, n->word[W_PID], worker, n->word[W_PARENT_PID]) ||
	    set_number(parent, n->word[W_SENTINEL], fd))
		return -1;
	return PyDict_SetItem(n->object[PROCESS], n->word[W_PARENT], parent);
}

static int become(struct core_newborn *n, PyObject *worker)
{
	PyObject *rc = Py_None;

	if (PyDict_SetItem(n->object[PROCESS], n->word[W_CURRENT], worker) ||
	    know_parent(n, worker) ||
	    set_number(n->object[MAIN_THREAD], n->word[W_NATIVE_ID], syscall(SYS_gettid)))
		return -1;
	if (PyDict_GET_SIZE(n->object[AFTER_FORK])) {
		rc = PyObject_CallNoArgs(n->object[AFTER_FORKERS]);
		Py_XDECREF(rc);
	}
	return rc ? 0 : -1;
}

/* ---- running it ---- */

/* What BaseProcess.run does. */
static PyObject *call_target(struct core_newborn *n, PyObject *worker)
{
	PyObject *target = PyObject_GetAttr(worker, n->word[W_TARGET]);
	PyObject *args = target ? PyObject_GetAttr(worker, n->word[W_ARGS]) : NULL;
	PyObject *kwargs = args ? PyObject_GetAttr(worker, n->word[W_KWARGS]) : NULL;
	PyObject *answer = NULL;

	if (!kwargs)
		answer = NULL;
	else if (target == Py_None)
		answer = Py_NewRef(Py_None);
	else if (PyTuple_Check(args) && PyDict_Check(kwargs))
		answer = PyObject_Call(target, args, kwargs);
	else
		answer = PyObject_CallMethodNoArgs(worker, n->word[W_RUN]);
	Py_XDECREF(target);
	Py_XDECREF(args);
	Py_XDECREF(kwargs);
	return answer;
}

static int run(struct core_newborn *n, PyObject *worker)
{
	PyObject *how = PyObject_GetAttr((PyObject *)Py_TYPE(worker), n->word[W_RUN]);
	PyObject *answer;

	if (!how)
		return -1;
	if (how == n->object[BASE_RUN])
		answer = call_target(n, worker);
	else
		answer = PyObject_CallMethodNoArgs(worker, n->word[W_RUN]);
	Py_DECREF(how);
	Py_XDECREF(answer);
	return answer ? 0 : -1;
}

static int call(PyObject *function)
{
	PyObject *answer = PyObject_CallNoArgs(function);

	Py_XDECREF(answer);
	return answer ? 0 : -1;
}

/* Whether there is something in what the program may have put a thing of its own for. */
static int is_filled(PyObject *container)
{
	Py_ssize_t size = PyObject_Size(container);

	if (size < 0)
		PyErr_Clear();
	return size != 0;
}

/* New, or NULL. */
static PyObject *item_of(PyObject *dict, PyObject *key)
{
	PyObject *item = Py_XNewRef(PyDict_GetItemWithError(dict, key));

	if (!item)
		PyErr_Clear();
	return item;
}

/* Finalizers, children, and words in the log; what can't be told counts as some. */
static int leave_multiprocessing(struct core_newborn *n)
{
	PyObject *children = item_of(n->object[PROCESS], n->word[W_CHILDREN]);
	PyObject *logger = item_of(n->object[UTIL], n->word[W_LOGGER]);
	int some = PyDict_GET_SIZE(n->object[FINALIZERS]) || !children || is_filled(children) ||
		   logger != Py_None;

	Py_XDECREF(children);
	Py_XDECREF(logger);
	return some ? call(n->object[EXIT_FUNCTION]) : 0;
}

/* Whatever else the worker has run, its exception is told of at last. */
static PyObject *finish(struct core_newborn *n, PyObject *worker, int rc)
{
	PyObject *error = rc ? core_exception_take() : NULL, *status;

	if (leave_multiprocessing(n)) {
		Py_XDECREF(error);
		error = core_exception_take();
	}
	if (!error)
		return PyLong_FromLong(0);
	status = PyObject_CallFunctionObjArgs(n->object[CAUGHT], worker, error, NULL);
	Py_DECREF(error);
	return status;
}

static PyObject *bootstrap(struct core_newborn *n, PyObject *worker)
{
	PyObject *own = PyObject_GetAttr((PyObject *)Py_TYPE(worker), n->word[W_BOOTSTRAP]);
	PyObject *status;

	if (!own)
		return NULL;
	if (own != n->object[BASE_BOOTSTRAP])
		status = PyObject_CallOneArg(n->object[BOOTSTRAP], worker);
	else
		status = finish(n, worker, become(n, worker) || run(n, worker));
	Py_DECREF(own);
	return status;
}

/* ---- the end ---- */

static int await_threads(struct core_newborn *n)
{
	PyObject *count = PyObject_CallNoArgs(n->object[THREAD_COUNT]);
	int some = count ? PyObject_IsTrue(count) : -1;

	Py_XDECREF(count);
	if (some < 0)
		return -1;
	if (some || is_filled(n->object[THREAD_EXITS]))
		return call(n->object[SHUTDOWN]);
	return 0;
}

/* As util._flush_std_streams. */
static int flush(struct core_newborn *n, const char *name)
{
	/* Its flush may bind another one to the name. */
	PyObject *stream = Py_XNewRef(PySys_GetObject(name)), *answer;

	if (!stream)
		return 0;
	answer = PyObject_CallMethodNoArgs(stream, n->word[W_FLUSH]);
	Py_XDECREF(answer);
	if (!answer && (PyErr_ExceptionMatches(PyExc_AttributeError) ||
			PyErr_ExceptionMatches(PyExc_ValueError)))
		PyErr_Clear();
	Py_DECREF(stream);
	return PyErr_Occurred() ? -1 : 0;
}

/* What of all this leaves no trace but in the pages that it has written to. */
void core_newborn_rehearse(struct core_newborn *n)
{
	PyObject *rehearsal = n->object[REHEARSAL];
	PyObject *worker =
	    load(n, PyBytes_AS_STRING(rehearsal), (size_t)PyBytes_GET_SIZE(rehearsal));

	if (!worker || run(n, worker) || flush(n, "stdout") || flush(n, "stderr") ||
	    set_from(n->object[CONTEXT], n->word[W_ACTUAL_CONTEXT], n->object[CONTEXT],
		     n->word[W_ACTUAL_CONTEXT]))
		PyErr_Clear();
	Py_XDECREF(worker);
}

/* The context that is all there is to change, or NULL: a program has a start method
 * as soon as somebody has asked for it. */
static PyObject *only_context(struct core_newborn *n, PyObject *changes)
{
	PyObject *method;

	if (!PyDict_CheckExact(changes) || PyDict_GET_SIZE(changes) != 1)
		return NULL;
	method = PyDict_GetItem(changes, n->word[W_START_METHOD]);
	return method ? PyDict_GetItem(n->object[CONTEXTS], method) : NULL;
}

static PyObject *make_changes(struct core_newborn *n, PyObject *changes)
{
	PyObject *context = only_context(n, changes);

	if (!context)
		return PyObject_CallOneArg(n->object[CHANGE], changes);
	if (PyObject_SetAttr(n->object[CONTEXT], n->word[W_ACTUAL_CONTEXT], context))
		return NULL;
	Py_RETURN_NONE;
}

/* As the program is now: None, or the status to leave with. */
static PyObject *change(struct core_newborn *n, const char *bytes, size_t size)
{
	PyObject *pickled, *changes, *status;

	if (!size)
		Py_RETURN_NONE;
	pickled = PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
	changes = pickled ? PyObject_CallOneArg(n->object[LOADS], pickled) : NULL;
	status = changes ? make_changes(n, changes) : NULL;
	Py_XDECREF(pickled);
	Py_XDECREF(changes);
	return status;
}

static PyObject *live(struct core_newborn *n, PyObject *key, const char *job, size_t size)
{
	PyObject *worker = load(n, job, size), *status = NULL;

	if (worker && give_key(n, worker, key) == 0)
		status = bootstrap(n, worker);
	if (status && (await_threads(n) || call(n->object[RUN_EXITS]) || flush(n, "stdout") ||
		       flush(n, "stderr")))
		Py_CLEAR(status);
	Py_XDECREF(worker);
	return status;
}

PyObject *core_newborn_run(struct core_newborn *n, const char *payload, size_t size)
{
	PyObject *key, *status;
	uint32_t head[2];

	if (size < HEAD)
		Py_RETURN_NONE;
	memcpy(head, payload, HEAD);
	payload += HEAD;
	size -= HEAD;
	if (head[0] > size || head[1] > size - head[0])
		Py_RETURN_NONE;
	key = take_key(n, payload, head[0]);
	if (!key)
		return NULL;
	payload += head[0];
	size -= head[0];
	status = change(n, payload, head[1]);
	if (status == Py_None) {
		Py_DECREF(status);
		status = live(n, key, payload + head[1], size - head[1]);
	}
	Py_DECREF(key);
	return status;
}
