/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <errno.h>
#include <unistd.h>

#include "convert.h"
#include "lock.h"
#include "shared.h"

const struct core_kind core_lock_kind = {
	.name = "Lock",
	.size = sizeof(struct ft_lock),
	.inside = CORE_INSIDE(struct core_shared),
	.type = offsetof(struct core_types, lock),
};

static int lock_init(void *block, uint32_t flags, void *ctx)
{
	(void)ctx;
	return ft_lock_init(block, flags | FT_LOCK_UNOWNED);
}

static PyObject *lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	if (core_no_arguments("Lock", args, kwargs))
		return NULL;
	return core_shared_new(type, &core_lock_kind, lock_init, NULL);
}

static int lock_call(void *lock, ft_deadline deadline)
{
	return ft_lock_acquire(lock, deadline);
}

/* We hold it now, but what it protects is in an unknown state: whoever asked
 * must not go on as if nothing had happened. */
static PyObject *lock_orphaned(struct core_shared *self)
{
	pid_t pid = ft_lock_died(self->block);
	int rc = ft_lock_release(self->block);

	if (rc)
		return core_raise(rc);
	core_raise_owner_died(self->state, pid, "the lock itself is free again");
	return NULL;
}

PyObject *core_lock_take(struct core_shared *self, ft_deadline deadline)
{
	int rc = core_shared_check(self);

	if (!rc)
		rc = core_wait(lock_call, self->block, deadline, 0);
	return rc == -EOWNERDEAD ? lock_orphaned(self) : core_in_time(rc);
}

static PyObject *lock_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			      PyObject *kwnames)
{
	static const char *const names[] = { "blocking", "timeout", NULL };
	PyObject *given[2];
	ft_deadline deadline;

	if (!nargs && !kwnames)
		return core_lock_take((struct core_shared *)op, FT_FOREVER);
	if (core_args("acquire", names, 0, args, nargs, kwnames, given) ||
	    core_acquire_deadline((struct core_shared *)op, given, CORE_LOCK_USELESS,
				  1, &deadline))
		return NULL;
	return core_lock_take((struct core_shared *)op, deadline);
}

PyObject *core_lock_drop(struct core_shared *self)
{
	int rc = core_shared_check(self);

	if (!rc)
		rc = ft_lock_release(self->block);
	if (rc == -EPERM && self->threads)
		PyErr_SetString(PyExc_RuntimeError, "release unlocked lock");
	else if (rc == -EPERM)
		PyErr_SetString(PyExc_ValueError, "semaphore or lock released too many times");
	return core_none(rc);
}

static PyObject *lock_release(PyObject *op, PyObject *unused)
{
	(void)unused;
	return core_lock_drop((struct core_shared *)op);
}

static PyObject *lock_locked(PyObject *op, PyObject *unused)
{
	struct core_shared *self = (struct core_shared *)op;
	int rc = core_shared_check(self);

	(void)unused;
	return rc ? core_raise(rc) : PyBool_FromLong(ft_lock_held(self->block));
}

static PyObject *lock_enter(PyObject *op, PyObject *unused)
{
	(void)unused;
	return core_lock_take((struct core_shared *)op, FT_FOREVER);
}

static PyObject *lock_exit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
	(void)args;
	(void)nargs;
	return lock_release(op, NULL);
}

/* The name of what module.function() returns. */
static PyObject *name_of(const char *module, const char *function)
{
	PyObject *found = PyImport_ImportModule(module), *current, *name;

	current = found ? PyObject_CallMethod(found, function, NULL) : NULL;
	name = current ? PyObject_GetAttrString(current, "name") : NULL;
	Py_XDECREF(found);
	Py_XDECREF(current);
	return name;
}

static PyObject *my_name(void)
{
	PyObject *process = name_of("multiprocessing.process", "current_process");
	PyObject *thread = process ? name_of("threading", "current_thread") : NULL, *name = NULL;

	if (thread && PyUnicode_Check(thread) &&
	    PyUnicode_CompareWithASCIIString(thread, "MainThread") == 0)
		name = Py_NewRef(process);
	else if (thread)
		name = PyUnicode_FromFormat("%S|%S", process, thread);
	Py_XDECREF(process);
	Py_XDECREF(thread);
	return name;
}

PyObject *core_lock_owner_name(const struct ft_lock *lock)
{
	pid_t pid = ft_lock_owner(lock);

	if (ft_lock_mine(lock))
		return my_name();
	if (!pid)
		return PyUnicode_FromString("None");
	return PyUnicode_FromString(pid == getpid() ? "SomeOtherThread" : "SomeOtherProcess");
}

static PyObject *lock_repr(PyObject *op)
{
	struct core_shared *self = (struct core_shared *)op;
	PyObject *owner, *text;

	if (self->threads)
		return PyUnicode_FromFormat("<%s %s object at %p>",
					    ft_lock_held(self->block) ? "locked" : "unlocked",
					    Py_TYPE(op)->tp_name, op);
	owner = core_shared_check(self) ? PyUnicode_FromString("gone") :
					  core_lock_owner_name(self->block);
	text = owner ? PyUnicode_FromFormat("<Lock(owner=%U)>", owner) : NULL;
	Py_XDECREF(owner);
	return text;
}

/* In a child of os.fork(), whose other threads will release nothing. */
static PyObject *lock_at_fork_reinit(PyObject *op, PyObject *unused)
{
	struct core_shared *self = (struct core_shared *)op;

	(void)unused;
	return core_none(self->threads ? lock_init(self->block, FT_PRIVATE | FT_INTERRUPTIBLE,
						   NULL)
				       : -ECHILD);
}

static PyObject *lock_reduce(PyObject *op, PyObject *unused)
{
	(void)unused;
	return core_shared_reduce(op, &core_lock_kind);
}

static PyMethodDef lock_methods[] = {
	{ "acquire", CORE_FAST(lock_acquire),
	  "acquire($self, /, blocking=True, timeout=None)\n--\n\n"
	  "Takes the lock, and says whether it did.\n\n"
	  "blocking: False asks once and returns at once; timeout is then ignored, or between\n"
	  "threads a ValueError.\n"
	  "timeout: the longest wait in seconds; None waits for ever, and so does -1 between\n"
	  "threads; another negative number waits not at all.  Python's signal handlers run\n"
	  "during the wait.\n\n"
	  "Raises OwnerDiedError if the worker that held the lock died holding it.  That is told\n"
	  "once; the lock is free again, and not held by the caller." },
	{ "release", lock_release, METH_NOARGS,
	  "release($self, /)\n--\n\n"
	  "Frees the lock, whoever took it.  Raises ValueError, between threads RuntimeError, if\n"
	  "it is not locked." },
	{ "locked", lock_locked, METH_NOARGS,
	  "locked($self, /)\n--\n\nTrue if somebody holds the lock now." },
	{ "__enter__", lock_enter, METH_NOARGS,
	  "__enter__($self, /)\n--\n\nTakes the lock, waiting for ever; returns True." },
	{ "__exit__", CORE_EXIT(lock_exit),
	  "__exit__($self, /, *args)\n--\n\nFrees the lock." },
	{ "__reduce__", lock_reduce, METH_NOARGS,
	  "__reduce__($self, /)\n--\n\nPickles the lock's handle: the copy is the same lock." },
	{ "_at_fork_reinit", lock_at_fork_reinit, METH_NOARGS,
	  "_at_fork_reinit($self, /)\n--\n\nA free lock again, between threads." },
	{ NULL, NULL, 0, NULL },
};

static PyMemberDef lock_members[] = {
	CORE_SHARED_MEMBERS,
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(lock_doc,
	     "Lock()\n--\n\n"
	     "Mutual exclusion between the workers of one program.\n\n"
	     "Between processes it lives in memory that all workers share and may be\n"
	     "pickled to any of them.  It exists as long as any worker has it, or it is\n"
	     "on its way to one in a queue, with a task or in a result; a pickle made\n"
	     "otherwise does not keep it.  Whoever has it may release it, and taking it\n"
	     "twice blocks.  If its holder dies, the next acquire raises OwnerDiedError\n"
	     "instead of waiting for ever.");

static PyType_Slot lock_slots[] = {
	{ Py_tp_doc, (void *)lock_doc },
	{ Py_tp_new, lock_new },
	{ Py_tp_dealloc, core_shared_dealloc },
	{ Py_tp_repr, lock_repr },
	{ Py_tp_methods, lock_methods },
	{ Py_tp_members, lock_members },
	{ 0, NULL },
};

PyType_Spec core_lock_spec = {
	.name = "freethreading._core.Lock",
	.basicsize = sizeof(struct core_shared),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = lock_slots,
};

PyType_Spec core_thread_lock_spec = {
	.name = "freethreading.Lock",
	.basicsize = CORE_THREAD_SIZE(struct core_shared, struct ft_lock),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = lock_slots,
};
