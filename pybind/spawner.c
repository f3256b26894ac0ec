/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "child.h"
#include "convert.h"
#include "words.h"

struct core_spawner {
	PyObject_HEAD
	PyObject *weakrefs; /* the interpreter's */
	struct core_state *state;
	pthread_mutex_t lock; /* taken without the GIL only: stop() waits for spawn() */
	struct ft_spawner *spawner; /* under lock; NULL after stop() */
	pid_t maker; /* the process it belongs to: in a forked child, hands off */
};

/* ---- new, stop ---- */

static int spawner_start(struct ft_spawner **spawner, const struct core_words *argv,
			 const struct core_words *envp)
{
	struct ft_spawner_options options = {
		.size = sizeof(options),
		.argv = argv->words,
		.envp = envp->words,
	};
	int rc;

	if (!argv->words[0]) {
		PyErr_SetString(PyExc_ValueError, "argv must not be empty");
		return -1;
	}
	Py_BEGIN_ALLOW_THREADS
	rc = ft_spawner_start(spawner, &options);
	Py_END_ALLOW_THREADS
	if (rc)
		core_raise_os(rc, "the worker helper can't be started");
	return rc;
}

static PyObject *spawner_wrap(PyTypeObject *type, struct core_state *state,
			      struct ft_spawner *spawner)
{
	PyObject *op = type->tp_alloc(type, 0);
	struct core_spawner *self = (struct core_spawner *)op;

	if (!op) {
		ft_spawner_stop(spawner);
		return NULL;
	}
	self->state = state;
	self->spawner = spawner;
	self->maker = getpid();
	pthread_mutex_init(&self->lock, NULL);
	return op;
}

static PyObject *spawner_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "argv", "env", NULL };
	struct core_words argv = { NULL, NULL }, envp = { NULL, NULL };
	struct core_state *state = core_state_of_type(type);
	PyObject *words, *env = Py_None, *op = NULL;
	struct ft_spawner *spawner;

	if (!state ||
	    !PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:Spawner", names, &words, &env))
		return NULL;
	if (!core_words_from(words, &argv) &&
	    (env == Py_None || !core_words_from_mapping(env, &envp)) &&
	    !spawner_start(&spawner, &argv, &envp))
		op = spawner_wrap(type, state, spawner);
	core_words_free(&argv);
	core_words_free(&envp);
	return op;
}

/* In a forked child the lock may be held by a thread that is not there. */
static int spawner_ours(const struct core_spawner *self)
{
	return self->maker == getpid();
}

static int spawner_end(struct core_spawner *self)
{
	struct ft_spawner *spawner;
	int rc;

	if (!spawner_ours(self))
		return -ECHILD;
	Py_BEGIN_ALLOW_THREADS
	pthread_mutex_lock(&self->lock);
	spawner = self->spawner;
	self->spawner = NULL;
	rc = spawner ? ft_spawner_stop(spawner) : 0;
	pthread_mutex_unlock(&self->lock);
	Py_END_ALLOW_THREADS
	return rc;
}

static PyObject *spawner_stop(PyObject *op, PyObject *unused)
{
	(void)unused;
	return core_none(spawner_end((struct core_spawner *)op));
}

static void spawner_dealloc(PyObject *op)
{
	struct core_spawner *self = (struct core_spawner *)op;
	PyTypeObject *type = Py_TYPE(op);

	if (self->weakrefs)
		PyObject_ClearWeakRefs(op);
	if (spawner_end(self) != -ECHILD)
		pthread_mutex_destroy(&self->lock);
	type->tp_free(op);
	Py_DECREF(type);
}

/* ---- spawn ---- */

static int spawn_locked(struct core_spawner *self, struct ft_worker_options *options,
			struct ft_worker **worker)
{
	int rc = -ESHUTDOWN;

	pthread_mutex_lock(&self->lock);
	options->spawner = self->spawner;
	if (self->spawner)
		rc = ft_worker_start(worker, options, NULL, NULL);
	pthread_mutex_unlock(&self->lock);
	return rc;
}

static PyObject *spawn(struct core_spawner *self, struct ft_worker_options *options)
{
	struct ft_worker *worker;
	int rc = -ECHILD;

	if (spawner_ours(self)) {
		Py_BEGIN_ALLOW_THREADS
		rc = spawn_locked(self, options, &worker);
		Py_END_ALLOW_THREADS
	}
	if (!rc)
		return core_child_new(self->state, worker);
	if (rc == -ESHUTDOWN) {
		PyErr_SetString(PyExc_ValueError, "this Spawner was stopped");
		return NULL;
	}
	return core_raise_os(rc, "a worker process can't be started");
}

static PyObject *spawner_spawn(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			       PyObject *kwnames)
{
	static const char *const names[] = { "payload", "name", "cpus", NULL };
	struct ft_worker_options options = {
		.size = sizeof(options),
		.kind = FT_WORKER_PROCESS,
		.flags = FT_INTERRUPTIBLE,
	};
	struct ft_cpus cpus;
	PyObject *given[3], *child;
	Py_buffer payload;

	if (core_args("spawn", names, 2, args, nargs, kwnames, given))
		return NULL;
	if (given[1] != Py_None && !(options.name = PyUnicode_AsUTF8(given[1])))
		return NULL;
	if (given[2] && given[2] != Py_None) {
		if (core_cpus_from(given[2], &cpus))
			return NULL;
		options.cpus = &cpus;
	}
	if (PyObject_GetBuffer(given[0], &payload, PyBUF_SIMPLE))
		return NULL;
	options.payload = payload.buf;
	options.payload_size = (size_t)payload.len;
	child = spawn((struct core_spawner *)op, &options);
	PyBuffer_Release(&payload);
	return child;
}

static PyObject *spawner_pid(PyObject *op, void *unused)
{
	struct core_spawner *self = (struct core_spawner *)op;
	pid_t pid = 0;

	(void)unused;
	if (!spawner_ours(self))
		return core_raise(-ECHILD);
	Py_BEGIN_ALLOW_THREADS
	pthread_mutex_lock(&self->lock);
	if (self->spawner)
		pid = ft_spawner_pid(self->spawner);
	pthread_mutex_unlock(&self->lock);
	Py_END_ALLOW_THREADS
	return PyLong_FromLong(pid);
}

static PyMethodDef spawner_methods[] = {
	{ "spawn", CORE_FAST(spawner_spawn),
	  "spawn($self, /, payload, name, cpus=None)\n--\n\n"
	  "Starts a worker process; returns its Child.\n\n"
	  "payload: bytes that the function given to serve() gets in the new process.\n"
	  "name: a str for people (the kernel keeps 15 bytes), or None.\n"
	  "cpus: the numbers of the CPUs it may run on, or None for all that this process may\n"
	  "use.\n\n"
	  "Raises OSError, whose text says what to do, RuntimeError in a forked child, and\n"
	  "ValueError after stop()." },
	{ "stop", spawner_stop, METH_NOARGS,
	  "stop($self, /)\n--\n\nEnds the helper.  The workers it has made live on." },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef spawner_getset[] = {
	{ "pid", spawner_pid, NULL,
	  "The helper's process id; 0 while there is none (it is started again when needed).",
	  NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyMemberDef spawner_members[] = {
	{ "__weaklistoffset__", T_PYSSIZET, offsetof(struct core_spawner, weakrefs), READONLY,
	  NULL },
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(spawner_doc,
	     "Spawner(argv, env=None)\n--\n\n"
	     "A helper process from which worker processes are cloned.\n\n"
	     "argv: the command of a program that ends up in serve().\n"
	     "env: its environment as a mapping, or None for this program's.\n\n"
	     "Returns at once: the helper gets ready while the program goes on.\n"
	     "Raises OSError, whose text says what to do, and RuntimeError in a\n"
	     "forked child.");

static PyType_Slot spawner_slots[] = {
	{ Py_tp_doc, (void *)spawner_doc },
	{ Py_tp_new, spawner_new },
	{ Py_tp_dealloc, spawner_dealloc },
	{ Py_tp_methods, spawner_methods },
	{ Py_tp_getset, spawner_getset },
	{ Py_tp_members, spawner_members },
	{ 0, NULL },
};

PyType_Spec core_spawner_spec = {
	.name = "freethreading._core.Spawner",
	.basicsize = sizeof(struct core_spawner),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = spawner_slots,
};
