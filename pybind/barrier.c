/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <errno.h>
#include <stdatomic.h>

#include "convert.h"
#include "shared.h"

/* The action and the default timeout are the object's, not the block's: they
 * travel with each copy, after the handle, so that an action may be a method
 * of what holds the barrier. */
struct core_barrier {
	struct core_shared base;
	_Atomic int settled; /* 1: action and timeout are set, by who set this */
	PyObject *action;    /* callable, or NULL */
	PyObject *timeout;   /* number of seconds, or NULL */
};

static struct core_barrier *barrier_of(PyObject *op)
{
	return (struct core_barrier *)op;
}

const struct core_kind core_barrier_kind = {
	.name = "Barrier",
	.size = sizeof(struct ft_barrier),
	.inside = CORE_INSIDE(struct core_barrier),
	.type = offsetof(struct core_types, barrier),
};

static int barrier_init(void *block, uint32_t flags, void *ctx)
{
	return ft_barrier_init(block, *(uint32_t *)ctx, flags);
}

/* 0, or -1 with an exception. */
static int settle(struct core_barrier *self, PyObject *action, PyObject *timeout)
{
	ft_deadline unused;
	int before = 0;

	if (action != Py_None && !PyCallable_Check(action)) {
		PyErr_Format(PyExc_TypeError, "action must be callable or None, not %.100s",
			     Py_TYPE(action)->tp_name);
		return -1;
	}
	if (core_deadline(timeout, &unused))
		return -1;
	if (!atomic_compare_exchange_strong(&self->settled, &before, 1)) {
		PyErr_SetString(PyExc_ValueError, "this Barrier has its action already");
		return -1;
	}
	self->action = action == Py_None ? NULL : Py_NewRef(action);
	self->timeout = timeout == Py_None ? NULL : Py_NewRef(timeout);
	return 0;
}

static PyObject *barrier_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "parties", "action", "timeout", NULL };
	PyObject *action = Py_None, *timeout = Py_None, *op;
	long long given;
	uint32_t parties;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "L|OO:Barrier", names, &given, &action,
					 &timeout))
		return NULL;
	if (given < 1 || given > FT_BARRIER_PARTIES) {
		PyErr_Format(PyExc_ValueError, "parties must be %s, got %lld",
			     given < 1 ? ">= 1" : "< 2**31", given);
		return NULL;
	}
	parties = (uint32_t)given;
	op = core_shared_new(type, &core_barrier_kind, barrier_init, &parties);
	if (op && settle(barrier_of(op), action, timeout))
		Py_CLEAR(op);
	return op;
}

static int barrier_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(op));
	Py_VISIT(barrier_of(op)->action);
	Py_VISIT(barrier_of(op)->timeout);
	return 0;
}

static int barrier_clear(PyObject *op)
{
	Py_CLEAR(barrier_of(op)->action);
	Py_CLEAR(barrier_of(op)->timeout);
	return 0;
}

static void barrier_dealloc(PyObject *op)
{
	PyObject_GC_UnTrack(op);
	barrier_clear(op);
	core_shared_dealloc(op);
}

/* ---- waiting ---- */

struct visit {
	struct ft_barrier *barrier;
	struct ft_barrier_ticket ticket;
};

static int arrive_call(void *ctx, ft_deadline deadline)
{
	struct visit *visit = ctx;

	return ft_barrier_arrive(visit->barrier, &visit->ticket, deadline);
}

static int await_call(void *ctx, ft_deadline deadline)
{
	struct visit *visit = ctx;

	return ft_barrier_await(visit->barrier, &visit->ticket, deadline);
}

/* An index; or NULL with an exception, which may be there already. */
static PyObject *outcome(const struct core_barrier *self, int rc)
{
	if (PyErr_Occurred())
		return NULL;
	if (rc >= 0)
		return PyLong_FromLong(rc);
	if (rc == -EPIPE || rc == -ETIMEDOUT)
		PyErr_SetNone(self->base.state->broken);
	if (rc == -EAGAIN)
		PyErr_SetString(PyExc_RuntimeError,
				"this thread holds too many locks to wait at a barrier as well");
	return core_raise(rc);
}

/* All are here, and wait for us.  An action that raises breaks the barrier. */
static int lead(const struct core_barrier *self, struct visit *visit)
{
	PyObject *result = self->action ? PyObject_CallNoArgs(self->action) : Py_NewRef(Py_None);

	if (result) {
		Py_DECREF(result);
		return ft_barrier_release(visit->barrier, &visit->ticket);
	}
	ft_barrier_abort(visit->barrier);
	return ft_barrier_await(visit->barrier, &visit->ticket, FT_FOREVER);
}

/* How long an arrival that nobody may keep waiting for ever is tried at a time. */
#define TRY_NS INT64_C(100000000)

/* Time counts from the arrival: the action of the round before, for which the
 * library lets nobody in, is not the caller's fault.  One who was stopped inside is
 * why the library then breaks the barrier. */
static int arrive(struct visit *visit, ft_deadline *deadline)
{
	ft_deadline start = ft_now();
	int rc;

	do {
		ft_deadline until = ft_after(TRY_NS);

		rc = core_wait(arrive_call, visit, until > *deadline ? until : *deadline, 0);
	} while (rc == -ETIMEDOUT && !ft_barrier_broken(visit->barrier));

	if (*deadline != FT_NOW && *deadline < FT_FOREVER - (ft_now() - start))
		*deadline += ft_now() - start;
	return rc;
}

static PyObject *barrier_wait_until(struct core_barrier *self, ft_deadline deadline)
{
	struct visit visit = { .barrier = self->base.block };
	int rc = core_shared_check(&self->base);

	if (!rc)
		rc = arrive(&visit, &deadline);
	if (rc)
		return outcome(self, rc);
	if (visit.ticket.last)
		return outcome(self, lead(self, &visit));
	rc = core_wait(await_call, &visit, deadline, 1);
	if (rc == -EINTR)
		ft_barrier_withdraw(visit.barrier, &visit.ticket);
	return outcome(self, rc);
}

static PyObject *barrier_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			      PyObject *kwnames)
{
	static const char *const names[] = { "timeout", NULL };
	struct core_barrier *self = barrier_of(op);
	PyObject *given[1];
	ft_deadline deadline;

	if (core_args("wait", names, 0, args, nargs, kwnames, given))
		return NULL;
	if (!given[0] || given[0] == Py_None)
		given[0] = self->timeout;
	if (core_deadline(given[0], &deadline))
		return NULL;
	return barrier_wait_until(self, deadline);
}

/* ---- breaking and mending ---- */

static PyObject *barrier_abort(PyObject *op, PyObject *unused)
{
	struct core_barrier *self = barrier_of(op);
	int rc = core_shared_check(&self->base);

	(void)unused;
	if (!rc)
		rc = ft_barrier_abort(self->base.block);
	return rc ? outcome(self, rc) : core_none(rc);
}

static PyObject *barrier_reset(PyObject *op, PyObject *unused)
{
	struct core_barrier *self = barrier_of(op);
	int rc = core_shared_check(&self->base);

	(void)unused;
	if (!rc)
		rc = ft_barrier_reset(self->base.block);
	return rc ? outcome(self, rc) : core_none(rc);
}

static PyObject *barrier_parties(PyObject *op, void *unused)
{
	struct core_shared *self = (struct core_shared *)op;
	int rc = core_shared_check(self);

	(void)unused;
	return rc ? core_raise(rc) : PyLong_FromUnsignedLong(ft_barrier_parties(self->block));
}

static PyObject *barrier_n_waiting(PyObject *op, void *unused)
{
	struct core_shared *self = (struct core_shared *)op;
	int rc = core_shared_check(self);

	(void)unused;
	return rc ? core_raise(rc) : PyLong_FromUnsignedLong(ft_barrier_waiting(self->block));
}

static PyObject *barrier_broken(PyObject *op, void *unused)
{
	struct core_shared *self = (struct core_shared *)op;
	int rc = core_shared_check(self);

	(void)unused;
	return rc ? core_raise(rc) : PyBool_FromLong(ft_barrier_broken(self->block));
}

/* ---- the object ---- */

static PyObject *barrier_repr(PyObject *op)
{
	const struct core_shared *self = (struct core_shared *)op;

	if (core_shared_check(self))
		return PyUnicode_FromFormat("<freethreading.Barrier at %p: gone>", op);
	if (ft_barrier_broken(self->block))
		return PyUnicode_FromFormat("<freethreading.Barrier at %p: broken>", op);
	return PyUnicode_FromFormat("<freethreading.Barrier at %p: waiters=%lu/%lu>", op,
				    (unsigned long)ft_barrier_waiting(self->block),
				    (unsigned long)ft_barrier_parties(self->block));
}

static PyObject *barrier_reduce(PyObject *op, PyObject *unused)
{
	struct core_barrier *self = barrier_of(op);
	unsigned long long handle;

	(void)unused;
	if (self->base.threads)
		return core_shared_reduce(op, &core_barrier_kind);
	handle = core_shared_name(op);
	if (!handle)
		return NULL;
	return Py_BuildValue("O(sK)(OO)", self->base.state->attach, core_barrier_kind.name, handle,
			     self->action ? self->action : Py_None,
			     self->timeout ? self->timeout : Py_None);
}

static PyObject *barrier_setstate(PyObject *op, PyObject *pair)
{
	PyObject *action, *timeout;

	if (!PyTuple_Check(pair) || !PyArg_ParseTuple(pair, "OO", &action, &timeout)) {
		if (!PyErr_Occurred())
			PyErr_SetString(PyExc_TypeError, "state must be (action, timeout)");
		return NULL;
	}
	return settle(barrier_of(op), action, timeout) ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef barrier_methods[] = {
	{ "wait", CORE_FAST(barrier_wait),
	  "wait($self, /, timeout=None)\n--\n\n"
	  "Waits until all parties are here; returns the caller's index, 0 for the first to come\n"
	  "and parties - 1 for the last.\n\n"
	  "timeout: the longest wait in seconds; None means the barrier's own, a negative number\n"
	  "not at all.  Who gives up breaks the barrier.  Python's signal handlers run during the\n"
	  "wait; if one raises, it is as if the caller had not come.\n\n"
	  "Raises threading.BrokenBarrierError if the barrier is broken, or becomes so or is\n"
	  "reset during the wait, also because a worker died while it waited; and, in the one\n"
	  "that ran it, whatever the action raised." },
	{ "abort", barrier_abort, METH_NOARGS,
	  "abort($self, /)\n--\n\n"
	  "Breaks the barrier: who waits, or comes before a reset, gets BrokenBarrierError." },
	{ "reset", barrier_reset, METH_NOARGS,
	  "reset($self, /)\n--\n\n"
	  "Makes the barrier empty and whole; who waits gets BrokenBarrierError." },
	{ "__reduce__", barrier_reduce, METH_NOARGS,
	  "__reduce__($self, /)\n--\n\n"
	  "Pickles the barrier's handle, action and timeout: the copy is the same barrier." },
	{ "__setstate__", barrier_setstate, METH_O,
	  "__setstate__($self, state, /)\n--\n\n"
	  "Gives a copy that was just made its action and timeout." },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef barrier_getset[] = {
	{ "parties", barrier_parties, NULL, "How many must come.", NULL },
	{ "n_waiting", barrier_n_waiting, NULL, "How many have come and wait for others.", NULL },
	{ "broken", barrier_broken, NULL, "True if nobody may wait before a reset.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyMemberDef barrier_members[] = {
	CORE_SHARED_MEMBERS,
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(barrier_doc,
	     "Barrier(parties, action=None, timeout=None)\n--\n\n"
	     "A place where workers wait for each other, again and again.\n\n"
	     "parties: how many must come, at least 1 (ValueError if less).\n"
	     "action: called without arguments by the last to come, while the others\n"
	     "wait; if it raises, the barrier is broken.\n"
	     "timeout: what wait() without one takes, in seconds.\n\n"
	     "Between processes it lives in memory that all workers share and may be\n"
	     "pickled to any of them, if its action may.  It exists as long as any\n"
	     "worker has it, or it is on its way to one.  If a worker dies while it\n"
	     "waits, or during the action, the barrier is broken.\n\n"
	     ">>> from freethreading import Barrier\n"
	     ">>> alone = Barrier(1, action=lambda: print(\"all are here\"))\n"
	     ">>> alone.wait()\n"
	     "all are here\n"
	     "0");

static PyType_Slot barrier_slots[] = {
	{ Py_tp_doc, (void *)barrier_doc },
	{ Py_tp_new, barrier_new },
	{ Py_tp_dealloc, barrier_dealloc },
	{ Py_tp_traverse, barrier_traverse },
	{ Py_tp_clear, barrier_clear },
	{ Py_tp_repr, barrier_repr },
	{ Py_tp_methods, barrier_methods },
	{ Py_tp_getset, barrier_getset },
	{ Py_tp_members, barrier_members },
	{ 0, NULL },
};

PyType_Spec core_barrier_spec = {
	.name = "freethreading._core.Barrier",
	.basicsize = sizeof(struct core_barrier),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = barrier_slots,
};

PyType_Spec core_thread_barrier_spec = {
	.name = "freethreading.Barrier",
	.basicsize = CORE_THREAD_SIZE(struct core_barrier, struct ft_barrier),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = barrier_slots,
};
