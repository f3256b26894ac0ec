/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <errno.h>

#include "convert.h"
#include "shared.h"

const struct core_kind core_event_kind = {
	.name = "Event",
	.size = sizeof(struct ft_event),
	.inside = CORE_INSIDE(struct core_shared),
	.type = offsetof(struct core_types, event),
};

static int event_init(void *block, uint32_t flags, void *ctx)
{
	(void)ctx;
	return ft_event_init(block, flags);
}

static PyObject *event_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	if (core_no_arguments("Event", args, kwargs))
		return NULL;
	return core_shared_new(type, &core_event_kind, event_init, NULL);
}

struct visit {
	struct ft_event *event;
	uint32_t came; /* so that what a signal handler sets and clears counts */
};

static int event_call(void *ctx, ft_deadline deadline)
{
	const struct visit *visit = ctx;

	return ft_event_await(visit->event, visit->came, deadline);
}

static PyObject *event_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			    PyObject *kwnames)
{
	static const char *const names[] = { "timeout", NULL };
	struct core_shared *self = (struct core_shared *)op;
	struct visit visit = { .event = self->block };
	PyObject *given[1];
	ft_deadline deadline;
	int rc;

	if (core_args("wait", names, 0, args, nargs, kwnames, given) ||
	    core_deadline(given[0], &deadline))
		return NULL;
	rc = core_shared_check(self);
	if (rc)
		return core_raise(rc);
	visit.came = ft_event_arrive(visit.event);
	return core_in_time(core_wait(event_call, &visit, deadline, 0));
}

static PyObject *event_set(PyObject *op, PyObject *unused)
{
	struct core_shared *self = (struct core_shared *)op;
	int rc = core_shared_check(self);

	(void)unused;
	return core_none(rc ? rc : ft_event_set(self->block));
}

static PyObject *event_clear(PyObject *op, PyObject *unused)
{
	struct core_shared *self = (struct core_shared *)op;
	int rc = core_shared_check(self);

	(void)unused;
	return core_none(rc ? rc : ft_event_clear(self->block));
}

static PyObject *event_is_set(PyObject *op, PyObject *unused)
{
	struct core_shared *self = (struct core_shared *)op;
	int rc = core_shared_check(self);

	(void)unused;
	return rc ? core_raise(rc) : PyBool_FromLong(ft_event_is_set(self->block));
}

static PyObject *event_repr(PyObject *op)
{
	struct core_shared *self = (struct core_shared *)op;
	const char *how = "gone";

	if (core_shared_check(self) == 0)
		how = ft_event_is_set(self->block) ? "set" : "unset";
	if (self->threads)
		return PyUnicode_FromFormat("<%s at %p: %s>", Py_TYPE(op)->tp_name, op, how);
	return PyUnicode_FromFormat("<Event at %p %s>", op, how);
}

static PyObject *event_reduce(PyObject *op, PyObject *unused)
{
	(void)unused;
	return core_shared_reduce(op, &core_event_kind);
}

static PyMethodDef event_methods[] = {
	{ "set", event_set, METH_NOARGS,
	  "set($self, /)\n--\n\nSets the flag, and wakes everybody who waits for it." },
	{ "clear", event_clear, METH_NOARGS, "clear($self, /)\n--\n\nClears the flag." },
	{ "is_set", event_is_set, METH_NOARGS, "is_set($self, /)\n--\n\nTrue if the flag is set." },
	{ "wait", CORE_FAST(event_wait),
	  "wait($self, /, timeout=None)\n--\n\n"
	  "Waits until the flag is set: True if it was, False if time ran out first.\n\n"
	  "timeout: the longest wait in seconds; None waits for ever, a negative number not at\n"
	  "all.  A set that is cleared at once still releases those who were waiting." },
	{ "__reduce__", event_reduce, METH_NOARGS,
	  "__reduce__($self, /)\n--\n\nPickles the event's handle: the copy is the same event." },
	{ NULL, NULL, 0, NULL },
};

static PyMemberDef event_members[] = {
	CORE_SHARED_MEMBERS,
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(event_doc,
	     "Event()\n--\n\n"
	     "A flag that the workers of one program set, clear and wait for.\n\n"
	     "Between processes it lives in memory that all workers share and may be\n"
	     "pickled to any of them.  It exists as long as any worker has it, or it is\n"
	     "on its way to one.");

static PyType_Slot event_slots[] = {
	{ Py_tp_doc, (void *)event_doc },
	{ Py_tp_new, event_new },
	{ Py_tp_dealloc, core_shared_dealloc },
	{ Py_tp_repr, event_repr },
	{ Py_tp_methods, event_methods },
	{ Py_tp_members, event_members },
	{ 0, NULL },
};

PyType_Spec core_event_spec = {
	.name = "freethreading._core.Event",
	.basicsize = sizeof(struct core_shared),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = event_slots,
};

PyType_Spec core_thread_event_spec = {
	.name = "freethreading.Event",
	.basicsize = CORE_THREAD_SIZE(struct core_shared, struct ft_event),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = event_slots,
};
