/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <errno.h>

#include "convert.h"
#include "lock.h"
#include "shared.h"

struct core_condition {
	struct core_shared base;
	struct core_shared *lock; /* set once, before anybody else knows the object */
	int recursive;            /* lock is an RLock; as lock */
};

static struct core_condition *condition_of(PyObject *op)
{
	return (struct core_condition *)op;
}

/* 0, or -1 with TypeError. */
static int set_lock(struct core_condition *self, PyObject *lock)
{
	const struct core_types *types = core_shared_types(&self->base);

	self->recursive = PyObject_TypeCheck(lock, types->rlock);
	if (!self->recursive && !PyObject_TypeCheck(lock, types->lock)) {
		PyErr_Format(PyExc_TypeError,
			     "lock must be a freethreading Lock or RLock, not %.100s",
			     Py_TYPE(lock)->tp_name);
		return -1;
	}
	Py_INCREF(lock);
	self->lock = (struct core_shared *)lock;
	return 0;
}

static int condition_complete(PyObject *op, PyObject *extra)
{
	if (extra)
		return set_lock(condition_of(op), extra);
	PyErr_SetString(PyExc_TypeError, "a Condition travels with its lock");
	return -1;
}

const struct core_kind core_condition_kind = {
	.name = "Condition",
	.size = sizeof(struct ft_condition),
	.inside = CORE_INSIDE(struct core_condition),
	.type = offsetof(struct core_types, condition),
	.complete = condition_complete,
};

static int condition_init(void *block, uint32_t flags, void *ctx)
{
	(void)ctx;
	return ft_condition_init(block, flags);
}

static PyObject *condition_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "lock", NULL };
	PyObject *lock = Py_None, *op;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Condition", names, &lock))
		return NULL;
	op = core_shared_new(type, &core_condition_kind, condition_init, NULL);
	if (!op)
		return NULL;
	if (lock == Py_None)
		lock = PyObject_CallNoArgs((PyObject *)core_shared_types((void *)op)->rlock);
	else
		Py_INCREF(lock);
	if (!lock || set_lock(condition_of(op), lock))
		Py_CLEAR(op);
	Py_XDECREF(lock);
	return op;
}

static int condition_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(op));
	Py_VISIT(condition_of(op)->lock);
	return 0;
}

/* No tp_clear: a cycle through the lock of a condition has a dict in it, which
 * is cleared, and a condition never is without its lock. */
static void condition_dealloc(PyObject *op)
{
	PyObject_GC_UnTrack(op);
	Py_XDECREF(condition_of(op)->lock);
	core_shared_dealloc(op);
}

/* ---- the lock ---- */

static PyObject *take(PyObject *op, ft_deadline deadline)
{
	struct core_condition *self = condition_of(op);

	return self->recursive ? core_rlock_take(self->lock, deadline) :
				 core_lock_take(self->lock, deadline);
}

static PyObject *condition_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
				   PyObject *kwnames)
{
	static const char *const names[] = { "blocking", "timeout", NULL };
	PyObject *given[2];
	ft_deadline deadline;

	if (!nargs && !kwnames)
		return take(op, FT_FOREVER);
	if (core_args("acquire", names, 0, args, nargs, kwnames, given) ||
	    core_acquire_deadline((struct core_shared *)op, given, CORE_LOCK_USELESS,
				  1, &deadline))
		return NULL;
	return take(op, deadline);
}

static PyObject *condition_release(PyObject *op, PyObject *unused)
{
	struct core_condition *self = condition_of(op);

	(void)unused;
	return self->recursive ? core_rlock_drop(self->lock) : core_lock_drop(self->lock);
}

static PyObject *condition_locked(PyObject *op, PyObject *unused)
{
	(void)unused;
	return PyObject_CallMethod((PyObject *)condition_of(op)->lock, "locked", NULL);
}

static PyObject *condition_enter(PyObject *op, PyObject *unused)
{
	(void)unused;
	return take(op, FT_FOREVER);
}

static PyObject *condition_exit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
	(void)args;
	(void)nargs;
	return condition_release(op, NULL);
}

/* A Lock for threads may be released by anybody, so it does not tell whose it is. */
static int is_held(const struct core_condition *self)
{
	void *lock = self->lock->block;

	if (self->recursive)
		return ft_rlock_mine(lock);
	return self->base.threads ? ft_lock_held(lock) : ft_lock_mine(lock);
}

/* Both blocks are there and the calling thread holds the lock: 0; else -1 with
 * an exception. */
static int check_held(const struct core_condition *self, const char *message,
		      const char *thread_message)
{
	int rc = core_shared_check(&self->base), mine;

	if (!rc)
		rc = core_shared_check(self->lock);
	if (rc) {
		core_raise(rc);
		return -1;
	}
	mine = is_held(self);
	if (!mine && self->base.threads)
		PyErr_SetString(PyExc_RuntimeError, thread_message);
	else if (!mine)
		PyErr_SetString(PyExc_AssertionError, message);
	return mine ? 0 : -1;
}

/* ---- waiting ---- */

static int park_call(void *hold, ft_deadline deadline)
{
	return ft_condition_park(hold, deadline);
}

static int arm(const struct core_condition *self, struct ft_condition_hold *hold)
{
	struct ft_lock *lock = self->recursive ? NULL : self->lock->block;
	struct ft_rlock *rlock = self->recursive ? self->lock->block : NULL;

	return ft_condition_arm(self->base.block, lock, rlock, hold);
}

/* The exception that is set joins those that signal handlers have raised so
 * far: the last one goes on, with the others as its context. */
static void keep(PyObject **kept)
{
	PyObject *last = core_exception_take();

	if (*kept)
		PyException_SetContext(last, *kept);
	*kept = last;
}

/* The lock is held again, but what it protects is in an unknown state.  Where a
 * handler has raised, that goes on, and this is its context. */
static void raise_orphaned(const struct core_condition *self, PyObject *kept)
{
	void *lock = self->lock->block;
	pid_t pid = self->recursive ? ft_rlock_died(lock) : ft_lock_died(lock);
	PyObject *orphaned;

	core_raise_owner_died(self->base.state, pid,
			      "the lock is held by the caller again, as after any wait");
	if (!kept)
		return;
	orphaned = core_exception_take();
	PyException_SetContext(orphaned, PyException_GetContext(kept));
	PyException_SetContext(kept, orphaned);
}

/* Comes back with the lock, whatever signal handlers raise meanwhile.  If one
 * did, a notification that was the caller's goes to the next who waits. */
static int disarm(const struct core_condition *self, struct ft_condition_hold *hold)
{
	PyObject *kept = NULL;
	int rc;

	if (PyErr_Occurred())
		keep(&kept);
	for (;;) {
		Py_BEGIN_ALLOW_THREADS
		rc = ft_condition_disarm(hold);
		Py_END_ALLOW_THREADS
		if (rc != -EINTR)
			break;
		if (PyErr_CheckSignals())
			keep(&kept);
	}
	if (rc == -EOWNERDEAD)
		raise_orphaned(self, kept);
	else if (rc == 0 && kept)
		ft_condition_notify(self->base.block, 1);
	if (kept)
		core_exception_give(kept);
	return rc;
}

/* 0: notified; -ETIMEDOUT; -1 with an exception.  Held before and after. */
static int wait_until(const struct core_condition *self, ft_deadline deadline)
{
	struct ft_condition_hold hold;
	int rc, end;

	if (check_held(self, "must acquire() condition before using wait()",
		       "cannot wait on un-acquired lock"))
		return -1;
	rc = arm(self, &hold);
	if (rc) {
		core_raise(rc);
		return -1;
	}
	rc = core_wait(park_call, &hold, deadline, 1);
	end = disarm(self, &hold);
	if (end != -ECANCELED)
		rc = end;
	if (rc && rc != -ETIMEDOUT)
		core_raise(rc);
	return PyErr_Occurred() ? -1 : rc;
}

static PyObject *condition_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
				PyObject *kwnames)
{
	static const char *const names[] = { "timeout", NULL };
	PyObject *given[1];
	ft_deadline deadline;
	int rc;

	if (core_args("wait", names, 0, args, nargs, kwnames, given) ||
	    core_deadline(given[0], &deadline))
		return NULL;
	rc = wait_until(condition_of(op), deadline);
	return rc == -1 ? NULL : core_in_time(rc);
}

static PyObject *condition_wait_for(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
				    PyObject *kwnames)
{
	static const char *const names[] = { "predicate", "timeout", NULL };
	PyObject *given[2], *result;
	ft_deadline deadline;

	if (core_args("wait_for", names, 1, args, nargs, kwnames, given) ||
	    core_deadline(given[1], &deadline))
		return NULL;
	for (;;) {
		int is_true;

		result = PyObject_CallNoArgs(given[0]);
		is_true = result ? PyObject_IsTrue(result) : -1;
		if (is_true < 0)
			Py_CLEAR(result);
		if (is_true || ft_now() >= deadline)
			return result;
		Py_DECREF(result);
		if (wait_until(condition_of(op), deadline) == -1)
			return NULL;
	}
}

/* ---- notifying ---- */

static PyObject *notify(PyObject *op, uint32_t n)
{
	struct core_condition *self = condition_of(op);
	int rc;

	if (check_held(self, "lock is not owned", "cannot notify on un-acquired lock"))
		return NULL;
	rc = n ? ft_condition_notify(self->base.block, n) : 0;
	return core_none(rc);
}

static PyObject *condition_notify(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
				  PyObject *kwnames)
{
	static const char *const names[] = { "n", NULL };
	PyObject *given[1];
	int overflow = 0;
	long long n = 1;

	if (core_args("notify", names, 0, args, nargs, kwnames, given))
		return NULL;
	if (given[0])
		n = PyLong_AsLongLongAndOverflow(given[0], &overflow);
	if (n == -1 && PyErr_Occurred())
		return NULL;
	if (overflow > 0 || n > UINT32_MAX)
		n = UINT32_MAX;
	return notify(op, n > 0 ? (uint32_t)n : 0);
}

static PyObject *condition_notify_all(PyObject *op, PyObject *unused)
{
	(void)unused;
	return notify(op, UINT32_MAX);
}

/* ---- the object ---- */

static PyObject *condition_repr(PyObject *op)
{
	const char *how = core_shared_check(&condition_of(op)->base) ? "gone, " : "";

	if (condition_of(op)->base.threads)
		return PyUnicode_FromFormat("<%s(%R) at %p>", Py_TYPE(op)->tp_name,
					    condition_of(op)->lock, op);
	return PyUnicode_FromFormat("<Condition(%s%R) at %p>", how, condition_of(op)->lock, op);
}

static PyObject *condition_reduce(PyObject *op, PyObject *unused)
{
	struct core_condition *self = condition_of(op);
	unsigned long long handle;

	(void)unused;
	if (self->base.threads)
		return core_shared_reduce(op, &core_condition_kind);
	handle = core_shared_name(op);
	if (!handle)
		return NULL;
	return Py_BuildValue("O(sKO)", self->base.state->attach, core_condition_kind.name, handle,
			     self->lock);
}

static PyMethodDef condition_methods[] = {
	{ "acquire", CORE_FAST(condition_acquire),
	  "acquire($self, /, blocking=True, timeout=None)\n--\n\nThe lock's acquire." },
	{ "release", condition_release, METH_NOARGS,
	  "release($self, /)\n--\n\nThe lock's release." },
	{ "locked", condition_locked, METH_NOARGS,
	  "locked($self, /)\n--\n\nTrue if somebody holds the lock now." },
	{ "wait", CORE_FAST(condition_wait),
	  "wait($self, /, timeout=None)\n--\n\n"
	  "Frees the lock, waits for a notification, and takes the lock again: True if there was\n"
	  "one, False if time ran out first.\n\n"
	  "timeout: the longest wait for a notification in seconds, to which the wait for the\n"
	  "lock is added; None waits for ever, a negative number not at all.  An RLock is freed\n"
	  "whatever its depth, and has it again afterwards.\n\n"
	  "However it ends, the caller holds the lock again, and has to release it as ever: after\n"
	  "an exception too, be it from a signal handler, which runs during the wait but whose\n"
	  "exception waits for the lock, or OwnerDiedError, which says that a worker died while\n"
	  "it held the lock.  A with block around the wait does so.\n\n"
	  "Raises AssertionError, between threads RuntimeError, without waiting, if the calling\n"
	  "thread does not hold the lock." },
	{ "wait_for", CORE_FAST(condition_wait_for),
	  "wait_for($self, /, predicate, timeout=None)\n--\n\n"
	  "Waits, again and again, until predicate() is true; returns what it returned last.\n\n"
	  "predicate: is called with the lock held, first of all before any wait.\n"
	  "timeout: the longest wait in seconds in all; None waits for ever, a negative number\n"
	  "not at all.  Exceptions are those of wait and of predicate." },
	{ "notify", CORE_FAST(condition_notify),
	  "notify($self, /, n=1)\n--\n\n"
	  "Wakes the n who have waited longest, or all if there are fewer.  Raises\n"
	  "AssertionError, between threads RuntimeError, if the calling thread does not hold the\n"
	  "lock." },
	{ "notify_all", condition_notify_all, METH_NOARGS,
	  "notify_all($self, /)\n--\n\n"
	  "Wakes all who wait.  Raises AssertionError, between threads RuntimeError, if the\n"
	  "calling thread does not hold the lock." },
	{ "__enter__", condition_enter, METH_NOARGS,
	  "__enter__($self, /)\n--\n\nTakes the lock, waiting for ever; returns True." },
	{ "__exit__", CORE_EXIT(condition_exit),
	  "__exit__($self, /, *args)\n--\n\nReleases the lock." },
	{ "__reduce__", condition_reduce, METH_NOARGS,
	  "__reduce__($self, /)\n--\n\n"
	  "Pickles the handles of the condition and its lock: the copy is the same condition with\n"
	  "the same lock." },
	{ NULL, NULL, 0, NULL },
};

static PyMemberDef condition_members[] = {
	CORE_SHARED_MEMBERS,
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(condition_doc,
	     "Condition(lock=None)\n--\n\n"
	     "Workers wait, with a lock, until another says that something has changed.\n\n"
	     "lock: a Lock or an RLock of freethreading (TypeError if anything else);\n"
	     "None makes an RLock.\n\n"
	     "Between processes it lives in memory that all workers share and may be\n"
	     "pickled to any of them, with its lock, which is the same one there.\n"
	     "It exists as long as any worker has it, or it is on its way to one.\n\n"
	     ">>> from freethreading import Condition\n"
	     ">>> changed = Condition()\n"
	     ">>> with changed:\n"
	     "...     changed.wait_for(lambda: 6 * 7, timeout=1)\n"
	     "42");

static PyType_Slot condition_slots[] = {
	{ Py_tp_doc, (void *)condition_doc },
	{ Py_tp_new, condition_new },
	{ Py_tp_dealloc, condition_dealloc },
	{ Py_tp_traverse, condition_traverse },
	{ Py_tp_repr, condition_repr },
	{ Py_tp_methods, condition_methods },
	{ Py_tp_members, condition_members },
	{ 0, NULL },
};

PyType_Spec core_condition_spec = {
	.name = "freethreading._core.Condition",
	.basicsize = sizeof(struct core_condition),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = condition_slots,
};

PyType_Spec core_thread_condition_spec = {
	.name = "freethreading.Condition",
	.basicsize = CORE_THREAD_SIZE(struct core_condition, struct ft_condition),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = condition_slots,
};
