/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <errno.h>

#include "convert.h"
#include "shared.h"

const struct core_kind core_semaphore_kind = {
	.name = "Semaphore",
	.size = sizeof(struct ft_semaphore),
	.inside = CORE_INSIDE(struct core_shared),
	.type = offsetof(struct core_types, semaphore),
};

const struct core_kind core_bounded_semaphore_kind = {
	.name = "BoundedSemaphore",
	.size = sizeof(struct ft_semaphore),
	.inside = CORE_INSIDE(struct core_shared),
	.type = offsetof(struct core_types, bounded_semaphore),
};

static int semaphore_init(void *block, uint32_t flags, void *ctx)
{
	return ft_semaphore_init(block, *(uint32_t *)ctx, 0, flags);
}

static int bounded_init(void *block, uint32_t flags, void *ctx)
{
	uint32_t value = *(uint32_t *)ctx;
	struct ft_semaphore *semaphore = block;
	/* The library has no name for a bound of 0, which is of no use but legal. */
	int rc = ft_semaphore_init(semaphore, value, value ? value : 1, flags);

	if (!rc)
		semaphore->max = value;
	return rc;
}

/* The constructor's argument.  0 or -1. */
static int initial_value(const char *format, PyObject *args, PyObject *kwargs, uint32_t *value)
{
	static char *names[] = { "value", NULL };
	PyObject *number = NULL;
	int overflow = 0;
	long given = 1;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, names, &number))
		return -1;
	if (number)
		given = PyLong_AsLongAndOverflow(number, &overflow);
	if (given == -1 && PyErr_Occurred())
		return -1;
	if (given < 0 || overflow) {
		PyErr_Format(PyExc_ValueError, "semaphore initial value must be %s",
			     overflow > 0 ? "< 2**31" : ">= 0");
		return -1;
	}
	if (given > (long)FT_SEMAPHORE_MAX) {
		PyErr_SetString(PyExc_ValueError, "semaphore initial value must be < 2**31");
		return -1;
	}
	*value = (uint32_t)given;
	return 0;
}

static PyObject *semaphore_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	uint32_t value;

	if (initial_value("|O:Semaphore", args, kwargs, &value))
		return NULL;
	return core_shared_new(type, &core_semaphore_kind, semaphore_init, &value);
}

static PyObject *bounded_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	uint32_t value;

	if (initial_value("|O:BoundedSemaphore", args, kwargs, &value))
		return NULL;
	return core_shared_new(type, &core_bounded_semaphore_kind, bounded_init, &value);
}

static int semaphore_call(void *semaphore, ft_deadline deadline)
{
	return ft_semaphore_acquire(semaphore, deadline);
}

static PyObject *semaphore_take(PyObject *op, ft_deadline deadline)
{
	struct core_shared *self = (struct core_shared *)op;
	int rc = core_shared_check(self);

	return core_in_time(rc ? rc : core_wait(semaphore_call, self->block, deadline, 0));
}

static PyObject *semaphore_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
				   PyObject *kwnames)
{
	static const char *const names[] = { "blocking", "timeout", NULL };
	PyObject *given[2];
	ft_deadline deadline;

	if (!nargs && !kwnames)
		return semaphore_take(op, FT_FOREVER);
	if (core_args("acquire", names, 0, args, nargs, kwnames, given) ||
	    core_acquire_deadline((struct core_shared *)op, given,
				  "can't specify timeout for non-blocking acquire", 0, &deadline))
		return NULL;
	return semaphore_take(op, deadline);
}

static PyObject *semaphore_give(PyObject *op, uint32_t n)
{
	struct core_shared *self = (struct core_shared *)op;
	int rc = core_shared_check(self);

	if (!rc)
		rc = ft_semaphore_release(self->block, n);
	if (rc == -EOVERFLOW)
		PyErr_SetString(PyExc_ValueError,
				self->threads ? "Semaphore released too many times"
					      : "semaphore or lock released too many times");
	return core_none(rc);
}

static PyObject *semaphore_release(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
				   PyObject *kwnames)
{
	static const char *const names[] = { "n", NULL };
	PyObject *given[1];
	long n = 1;

	if (!nargs && !kwnames)
		return semaphore_give(op, 1);
	if (core_args("release", names, 0, args, nargs, kwnames, given))
		return NULL;
	if (given[0])
		n = PyLong_AsLong(given[0]);
	if (n == -1 && PyErr_Occurred())
		return NULL;
	if (n < 1) {
		PyErr_SetString(PyExc_ValueError, "n must be one or more");
		return NULL;
	}
	return semaphore_give(op, n > (long)FT_SEMAPHORE_MAX ? FT_SEMAPHORE_MAX : (uint32_t)n);
}

static PyObject *semaphore_get_value(PyObject *op, PyObject *unused)
{
	struct core_shared *self = (struct core_shared *)op;
	int rc = core_shared_check(self);

	(void)unused;
	return rc ? core_raise(rc) : PyLong_FromUnsignedLong(ft_semaphore_value(self->block));
}

static PyObject *semaphore_locked(PyObject *op, PyObject *unused)
{
	struct core_shared *self = (struct core_shared *)op;
	int rc = core_shared_check(self);

	(void)unused;
	return rc ? core_raise(rc) : PyBool_FromLong(!ft_semaphore_value(self->block));
}

static PyObject *semaphore_enter(PyObject *op, PyObject *unused)
{
	(void)unused;
	return semaphore_take(op, FT_FOREVER);
}

static PyObject *semaphore_exit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
	(void)args;
	(void)nargs;
	return semaphore_give(op, 1);
}

static PyObject *semaphore_repr(PyObject *op)
{
	struct core_shared *self = (struct core_shared *)op;

	if (core_shared_check(self))
		return PyUnicode_FromFormat("<Semaphore(gone) at %p>", op);
	if (self->threads)
		return PyUnicode_FromFormat("<%s at %p: value=%lu>", Py_TYPE(op)->tp_name, op,
					    (unsigned long)ft_semaphore_value(self->block));
	return PyUnicode_FromFormat("<Semaphore(value=%lu)>",
				    (unsigned long)ft_semaphore_value(self->block));
}

static PyObject *bounded_repr(PyObject *op)
{
	struct core_shared *self = (struct core_shared *)op;
	const struct ft_semaphore *semaphore = self->block;

	if (core_shared_check(self))
		return PyUnicode_FromFormat("<BoundedSemaphore(gone) at %p>", op);
	if (self->threads)
		return PyUnicode_FromFormat("<%s at %p: value=%lu/%lu>", Py_TYPE(op)->tp_name, op,
					    (unsigned long)ft_semaphore_value(semaphore),
					    (unsigned long)semaphore->max);
	return PyUnicode_FromFormat("<BoundedSemaphore(value=%lu, maxvalue=%lu)>",
				    (unsigned long)ft_semaphore_value(semaphore),
				    (unsigned long)semaphore->max);
}

static PyObject *semaphore_reduce(PyObject *op, PyObject *unused)
{
	(void)unused;
	return core_shared_reduce(op, &core_semaphore_kind);
}

static PyObject *bounded_reduce(PyObject *op, PyObject *unused)
{
	(void)unused;
	return core_shared_reduce(op, &core_bounded_semaphore_kind);
}

/* Each type has its own: to call an inherited method costs a walk along the bases. */
#define METHODS(reduce) \
	{ "acquire", CORE_FAST(semaphore_acquire), \
	  "acquire($self, /, blocking=True, timeout=None)\n--\n\n" \
	  "Takes a unit, and says whether it did.\n\n" \
	  "blocking: False asks once and returns at once; between threads a timeout is then a\n" \
	  "ValueError, between processes it is ignored.\n" \
	  "timeout: the longest wait for a unit in seconds; None waits for ever, a negative\n" \
	  "number not at all.  Python's signal handlers run during the wait." }, \
	{ "release", CORE_FAST(semaphore_release), \
	  "release($self, /, n=1)\n--\n\n" \
	  "Gives n units, whoever took them, and wakes as many who wait.  Raises ValueError,\n" \
	  "and gives none, if there would be more units than there may be." }, \
	{ "get_value", semaphore_get_value, METH_NOARGS, \
	  "get_value($self, /)\n--\n\nThe free units at some moment during the call." }, \
	{ "locked", semaphore_locked, METH_NOARGS, \
	  "locked($self, /)\n--\n\nTrue if no unit is free now." }, \
	{ "__enter__", semaphore_enter, METH_NOARGS, \
	  "__enter__($self, /)\n--\n\nTakes a unit, waiting for ever; returns True." }, \
	{ "__exit__", CORE_EXIT(semaphore_exit), \
	  "__exit__($self, /, *args)\n--\n\nGives a unit." }, \
	{ "__reduce__", reduce, METH_NOARGS, \
	  "__reduce__($self, /)\n--\n\n" \
	  "Pickles the semaphore's handle: the copy is the same semaphore." }, \
	{ NULL, NULL, 0, NULL },

static PyMethodDef semaphore_methods[] = { METHODS(semaphore_reduce) };
static PyMethodDef bounded_methods[] = { METHODS(bounded_reduce) };

static PyMemberDef semaphore_members[] = {
	CORE_SHARED_MEMBERS,
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(semaphore_doc,
	     "Semaphore(value=1)\n--\n\n"
	     "A number of units; whoever finds none waits for one.\n\n"
	     "value: the units at first, from 0 (ValueError if less) to 2**31 - 1.\n\n"
	     "Between processes it lives in memory that all workers share and may be\n"
	     "pickled to any of them.  It exists as long as any worker has it, or it is\n"
	     "on its way to one.  Units do not know who took them: those that a dead\n"
	     "worker had taken do not come back by themselves.\n\n"
	     ">>> from freethreading import Semaphore\n"
	     ">>> seats = Semaphore(2)\n"
	     ">>> with seats:\n"
	     "...     seats.get_value()\n"
	     "1");

PyDoc_STRVAR(bounded_doc,
	     "BoundedSemaphore(value=1)\n--\n\n"
	     "A Semaphore that never has more units than at first.\n\n"
	     "value: the units at first, from 0 (ValueError if less) to 2**31 - 1.  A\n"
	     "release that would add one to these raises ValueError.\n\n"
	     ">>> from freethreading import BoundedSemaphore\n"
	     ">>> seat = BoundedSemaphore(1)\n"
	     ">>> seat.acquire(), seat.acquire(False)\n"
	     "(True, False)");

static PyType_Slot semaphore_slots[] = {
	{ Py_tp_doc, (void *)semaphore_doc },
	{ Py_tp_new, semaphore_new },
	{ Py_tp_dealloc, core_shared_dealloc },
	{ Py_tp_repr, semaphore_repr },
	{ Py_tp_methods, semaphore_methods },
	{ Py_tp_members, semaphore_members },
	{ 0, NULL },
};

PyType_Spec core_semaphore_spec = {
	.name = "freethreading._core.Semaphore",
	.basicsize = sizeof(struct core_shared),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = semaphore_slots,
};

PyType_Spec core_thread_semaphore_spec = {
	.name = "freethreading.Semaphore",
	.basicsize = CORE_THREAD_SIZE(struct core_shared, struct ft_semaphore),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = semaphore_slots,
};

static PyType_Slot bounded_slots[] = {
	{ Py_tp_doc, (void *)bounded_doc },
	{ Py_tp_new, bounded_new },
	{ Py_tp_repr, bounded_repr },
	{ Py_tp_methods, bounded_methods },
	{ 0, NULL },
};

PyType_Spec core_bounded_semaphore_spec = {
	.name = "freethreading._core.BoundedSemaphore",
	.basicsize = sizeof(struct core_shared),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = bounded_slots,
};

PyType_Spec core_thread_bounded_semaphore_spec = {
	.name = "freethreading.BoundedSemaphore",
	.basicsize = CORE_THREAD_SIZE(struct core_shared, struct ft_semaphore),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = bounded_slots,
};
