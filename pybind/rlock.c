/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <errno.h>

#include "convert.h"
#include "lock.h"
#include "shared.h"

const struct core_kind core_rlock_kind = {
	.name = "RLock",
	.size = sizeof(struct ft_rlock),
	.inside = CORE_INSIDE(struct core_shared),
	.type = offsetof(struct core_types, rlock),
};

static int rlock_init(void *block, uint32_t flags, void *ctx)
{
	(void)ctx;
	return ft_rlock_init(block, flags);
}

static PyObject *rlock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	if (core_no_arguments("RLock", args, kwargs))
		return NULL;
	return core_shared_new(type, &core_rlock_kind, rlock_init, NULL);
}

static int rlock_call(void *rlock, ft_deadline deadline)
{
	return ft_rlock_acquire(rlock, deadline);
}

/* As for Lock: whoever asked must not go on as if nothing had happened. */
static PyObject *rlock_orphaned(struct core_shared *self)
{
	pid_t pid = ft_rlock_died(self->block);
	int rc = ft_rlock_release(self->block);

	if (rc)
		return core_raise(rc);
	core_raise_owner_died(self->state, pid, "the lock itself is free again");
	return NULL;
}

PyObject *core_rlock_take(struct core_shared *self, ft_deadline deadline)
{
	int rc = core_shared_check(self);

	if (!rc)
		rc = core_wait(rlock_call, self->block, deadline, 0);
	if (rc == -EOWNERDEAD)
		return rlock_orphaned(self);
	if (rc == -EAGAIN) {
		PyErr_SetString(PyExc_OverflowError, "recursive lock acquired too many times");
		return NULL;
	}
	return core_in_time(rc);
}

PyObject *core_rlock_drop(struct core_shared *self)
{
	int rc = core_shared_check(self);

	if (!rc)
		rc = ft_rlock_release(self->block);
	if (rc == -EPERM && self->threads)
		PyErr_SetString(PyExc_RuntimeError, "cannot release un-acquired lock");
	else if (rc == -EPERM)
		PyErr_SetString(PyExc_AssertionError,
				"attempt to release recursive lock not owned by thread");
	return core_none(rc);
}

static PyObject *rlock_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			       PyObject *kwnames)
{
	static const char *const names[] = { "blocking", "timeout", NULL };
	PyObject *given[2];
	ft_deadline deadline;

	if (!nargs && !kwnames)
		return core_rlock_take((struct core_shared *)op, FT_FOREVER);
	if (core_args("acquire", names, 0, args, nargs, kwnames, given) ||
	    core_acquire_deadline((struct core_shared *)op, given, CORE_LOCK_USELESS,
				  1, &deadline))
		return NULL;
	return core_rlock_take((struct core_shared *)op, deadline);
}

static PyObject *rlock_release(PyObject *op, PyObject *unused)
{
	(void)unused;
	return core_rlock_drop((struct core_shared *)op);
}

static PyObject *rlock_locked(PyObject *op, PyObject *unused)
{
	struct core_shared *self = (struct core_shared *)op;
	int rc = core_shared_check(self);

	(void)unused;
	return rc ? core_raise(rc) : PyBool_FromLong(ft_rlock_held(self->block));
}

static PyObject *rlock_enter(PyObject *op, PyObject *unused)
{
	(void)unused;
	return core_rlock_take((struct core_shared *)op, FT_FOREVER);
}

static PyObject *rlock_exit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
	(void)args;
	(void)nargs;
	return core_rlock_drop((struct core_shared *)op);
}

/* Between processes. */
static PyObject *shared_repr(const struct ft_rlock *rlock)
{
	unsigned long depth = ft_rlock_mine(rlock) ? ft_rlock_depth(rlock) : 0;
	PyObject *owner = core_lock_owner_name(&rlock->lock), *text = NULL;

	if (owner && depth)
		text = PyUnicode_FromFormat("<RLock(%U, %lu)>", owner, depth);
	else if (owner)
		text = PyUnicode_FromFormat("<RLock(%U, %s)>", owner,
					    ft_rlock_held(rlock) ? "nonzero" : "0");
	Py_XDECREF(owner);
	return text;
}

static PyObject *rlock_repr(PyObject *op)
{
	struct core_shared *self = (struct core_shared *)op;

	if (core_shared_check(self))
		return PyUnicode_FromString("<RLock(gone, unknown)>");
	if (!self->threads)
		return shared_repr(self->block);
	return PyUnicode_FromFormat("<%s %s object count=%lu at %p>",
				    ft_rlock_held(self->block) ? "locked" : "unlocked",
				    Py_TYPE(op)->tp_name,
				    (unsigned long)ft_rlock_depth(self->block), op);
}

static PyObject *rlock_reduce(PyObject *op, PyObject *unused)
{
	(void)unused;
	return core_shared_reduce(op, &core_rlock_kind);
}

/* ---- what threading.Condition asks of a lock ---- */

static PyObject *rlock_is_owned(PyObject *op, PyObject *unused)
{
	struct core_shared *self = (struct core_shared *)op;
	int rc = core_shared_check(self);

	(void)unused;
	return rc ? core_raise(rc) : PyBool_FromLong(ft_rlock_mine(self->block));
}

static PyObject *rlock_recursion_count(PyObject *op, PyObject *unused)
{
	struct core_shared *self = (struct core_shared *)op;
	int rc = core_shared_check(self);

	(void)unused;
	return rc ? core_raise(rc) : PyLong_FromUnsignedLong(ft_rlock_depth(self->block));
}

static PyObject *rlock_release_save(PyObject *op, PyObject *unused)
{
	struct core_shared *self = (struct core_shared *)op;
	int rc = core_shared_check(self);
	uint32_t depth = rc ? 0 : ft_rlock_depth(self->block);

	(void)unused;
	if (!rc && !depth) {
		PyErr_SetString(PyExc_RuntimeError, "cannot release un-acquired lock");
		return NULL;
	}
	for (uint32_t i = 0; !rc && i < depth; i++)
		rc = ft_rlock_release(self->block);
	return rc ? core_raise(rc) : PyLong_FromUnsignedLong(depth);
}

/* Signals end no wait here: who comes back must have the lock. */
static PyObject *rlock_acquire_restore(PyObject *op, PyObject *state)
{
	struct core_shared *self = (struct core_shared *)op;
	unsigned long depth = PyLong_AsUnsignedLong(state);
	int rc = core_shared_check(self);

	if (PyErr_Occurred())
		return NULL;
	for (unsigned long i = 0; !rc && i < depth; i++) {
		Py_BEGIN_ALLOW_THREADS
		do
			rc = ft_rlock_acquire(self->block, FT_FOREVER);
		while (rc == -EINTR);
		Py_END_ALLOW_THREADS
	}
	return rc == -EOWNERDEAD ? rlock_orphaned(self) : core_none(rc);
}

/* In a child of os.fork(), whose other threads will release nothing. */
static PyObject *rlock_at_fork_reinit(PyObject *op, PyObject *unused)
{
	struct core_shared *self = (struct core_shared *)op;

	(void)unused;
	return core_none(self->threads ? rlock_init(self->block, FT_PRIVATE | FT_INTERRUPTIBLE,
						    NULL)
				       : -ECHILD);
}

static PyMethodDef rlock_methods[] = {
	{ "acquire", CORE_FAST(rlock_acquire),
	  "acquire($self, /, blocking=True, timeout=None)\n--\n\n"
	  "Takes the lock, or takes it once more, and says whether it did.\n\n"
	  "blocking: False asks once and returns at once; timeout is then ignored, or between\n"
	  "threads a ValueError.\n"
	  "timeout: the longest wait in seconds; None waits for ever, and so does -1 between\n"
	  "threads; another negative number waits not at all.  Python's signal handlers run\n"
	  "during the wait.\n\n"
	  "Raises OwnerDiedError if the thread that held the lock died holding it.  That is told\n"
	  "once; the lock is free again, and not held by the caller." },
	{ "release", rlock_release, METH_NOARGS,
	  "release($self, /)\n--\n\n"
	  "Undoes one acquire; the last one frees the lock.  Raises AssertionError, between\n"
	  "threads RuntimeError, if the calling thread does not hold it." },
	{ "locked", rlock_locked, METH_NOARGS,
	  "locked($self, /)\n--\n\nTrue if somebody holds the lock now." },
	{ "__enter__", rlock_enter, METH_NOARGS,
	  "__enter__($self, /)\n--\n\nTakes the lock, waiting for ever; returns True." },
	{ "__exit__", CORE_EXIT(rlock_exit),
	  "__exit__($self, /, *args)\n--\n\nUndoes one acquire." },
	{ "__reduce__", rlock_reduce, METH_NOARGS,
	  "__reduce__($self, /)\n--\n\nPickles the lock's handle: the copy is the same lock." },
	{ "_is_owned", rlock_is_owned, METH_NOARGS,
	  "_is_owned($self, /)\n--\n\nTrue if the calling thread holds the lock." },
	{ "_recursion_count", rlock_recursion_count, METH_NOARGS,
	  "_recursion_count($self, /)\n--\n\nHow often the calling thread holds the lock." },
	{ "_release_save", rlock_release_save, METH_NOARGS,
	  "_release_save($self, /)\n--\n\nFrees the lock; returns what _acquire_restore() wants." },
	{ "_acquire_restore", rlock_acquire_restore, METH_O,
	  "_acquire_restore($self, state, /)\n--\n\nTakes the lock as often as it was held." },
	{ "_at_fork_reinit", rlock_at_fork_reinit, METH_NOARGS,
	  "_at_fork_reinit($self, /)\n--\n\nA free lock again, between threads." },
	{ NULL, NULL, 0, NULL },
};

static PyMemberDef rlock_members[] = {
	CORE_SHARED_MEMBERS,
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(rlock_doc,
	     "RLock()\n--\n\n"
	     "A lock that the thread which holds it may take again.\n\n"
	     "It is free once it was released as often as it was taken, which only\n"
	     "the thread that took it may do.  Between processes it lives in memory that\n"
	     "all workers share and may be pickled to any of them.  It exists as long as\n"
	     "any worker has it, or it is on its way to one.  If its holder dies, the\n"
	     "next acquire raises OwnerDiedError instead of waiting for ever.\n\n"
	     ">>> from freethreading import RLock\n"
	     ">>> lock = RLock()\n"
	     ">>> with lock:\n"
	     "...     with lock:\n"
	     "...         print(\"twice\")\n"
	     "twice");

static PyType_Slot rlock_slots[] = {
	{ Py_tp_doc, (void *)rlock_doc },
	{ Py_tp_new, rlock_new },
	{ Py_tp_dealloc, core_shared_dealloc },
	{ Py_tp_repr, rlock_repr },
	{ Py_tp_methods, rlock_methods },
	{ Py_tp_members, rlock_members },
	{ 0, NULL },
};

PyType_Spec core_rlock_spec = {
	.name = "freethreading._core.RLock",
	.basicsize = sizeof(struct core_shared),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = rlock_slots,
};

PyType_Spec core_thread_rlock_spec = {
	.name = "freethreading.RLock",
	.basicsize = CORE_THREAD_SIZE(struct core_shared, struct ft_rlock),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = rlock_slots,
};
