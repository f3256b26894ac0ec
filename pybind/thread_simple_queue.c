/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <errno.h>

#include "convert.h"
#include "fifo.h"
#include "shared.h"

struct core_thread_simple_queue {
	struct core_shared base;
	struct core_fifo fifo;
};

static struct core_fifo *fifo_of(PyObject *op)
{
	return &((struct core_thread_simple_queue *)op)->fifo;
}

static PyObject *simple_queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	PyObject *op;

	if (core_no_arguments("SimpleQueue", args, kwargs))
		return NULL;
	op = core_shared_bare(type);
	if (!op || core_fifo_init(fifo_of(op), 0) == 0)
		return op;
	Py_DECREF(op);
	return PyErr_NoMemory();
}

static int simple_queue_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(op));
	return core_fifo_traverse(fifo_of(op), visit, arg);
}

static int simple_queue_clear(PyObject *op)
{
	core_fifo_clear(fifo_of(op));
	return 0;
}

static void simple_queue_dealloc(PyObject *op)
{
	PyObject_GC_UnTrack(op);
	core_fifo_free(fifo_of(op));
	core_shared_dealloc(op);
}

static PyObject *simple_queue_put_nowait(PyObject *op, PyObject *item)
{
	return core_none(core_fifo_put(fifo_of(op), item, FT_NOW));
}

/* There is always room: block and timeout are as good as anything else. */
static PyObject *simple_queue_put(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
				  PyObject *kwnames)
{
	static const char *const names[] = { "item", "block", "timeout", NULL };
	PyObject *given[3];

	if (nargs == 1 && !kwnames)
		return simple_queue_put_nowait(op, args[0]);
	if (core_args("put", names, 1, args, nargs, kwnames, given))
		return NULL;
	return core_none(core_fifo_put(fifo_of(op), given[0], FT_NOW));
}

static PyObject *get_item(PyObject *op, ft_deadline deadline)
{
	PyObject *item;
	int rc = core_fifo_get(fifo_of(op), &item, deadline);

	if (!rc)
		return item;
	if (rc == -ETIMEDOUT)
		core_raise_queue(((struct core_shared *)op)->state, CORE_EMPTY);
	return core_raise(rc);
}

static PyObject *simple_queue_get(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
				  PyObject *kwnames)
{
	static const char *const names[] = { "block", "timeout", NULL };
	PyObject *given[2];
	ft_deadline deadline;

	if (!nargs && !kwnames)
		return get_item(op, FT_FOREVER);
	if (core_args("get", names, 0, args, nargs, kwnames, given) ||
	    core_queue_deadline(given[0], given[1], &deadline))
		return NULL;
	return get_item(op, deadline);
}

static PyObject *simple_queue_get_nowait(PyObject *op, PyObject *unused)
{
	(void)unused;
	return get_item(op, FT_NOW);
}

static PyObject *simple_queue_qsize(PyObject *op, PyObject *unused)
{
	(void)unused;
	return PyLong_FromUnsignedLongLong(core_fifo_size(fifo_of(op)));
}

static PyObject *simple_queue_empty(PyObject *op, PyObject *unused)
{
	(void)unused;
	return PyBool_FromLong(core_fifo_size(fifo_of(op)) == 0);
}

static PyObject *simple_queue_repr(PyObject *op)
{
	return PyUnicode_FromFormat("<%s object at %p: %llu items>", Py_TYPE(op)->tp_name, op,
				    (unsigned long long)core_fifo_size(fifo_of(op)));
}

static PyObject *simple_queue_reduce(PyObject *op, PyObject *unused)
{
	(void)unused;
	return core_shared_reduce(op, &core_simple_queue_kind);
}

static PyMethodDef simple_queue_methods[] = {
	{ "put", CORE_FAST(simple_queue_put),
	  "put($self, /, item, block=True, timeout=None)\n--\n\n"
	  "Appends item; it can be got as soon as put returns, which it does without waiting:\n"
	  "there is no limit but memory.  It may be called from a signal handler or a finalizer\n"
	  "that interrupts another call.\n\n"
	  "block, timeout: there for queue.SimpleQueue's callers, and without effect; a queue\n"
	  "between processes has none.\n\n"
	  "Raises MemoryError; nothing is appended then." },
	{ "put_nowait", simple_queue_put_nowait, METH_O,
	  "put_nowait($self, item, /)\n--\n\nput(item).  Not there between processes." },
	{ "get", CORE_FAST(simple_queue_get),
	  "get($self, /, block=True, timeout=None)\n--\n\n"
	  "Takes the oldest item, waiting for ever if there is none.  Python's signal handlers\n"
	  "run during the wait.\n\n"
	  "block, timeout: as of Queue.get; a queue between processes has none." },
	{ "get_nowait", simple_queue_get_nowait, METH_NOARGS,
	  "get_nowait($self, /)\n--\n\nget(block=False).  Not there between processes." },
	{ "qsize", simple_queue_qsize, METH_NOARGS,
	  "qsize($self, /)\n--\n\n"
	  "The number of items, exact at some moment during the call.  Not there between\n"
	  "processes." },
	{ "empty", simple_queue_empty, METH_NOARGS,
	  "empty($self, /)\n--\n\nTrue if there was no item at some moment during the call." },
	{ "__reduce__", simple_queue_reduce, METH_NOARGS,
	  "__reduce__($self, /)\n--\n\n"
	  "Pickles the queue's name in this process: there, the copy is this very queue." },
	{ "__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
	  "__class_getitem__($type, item, /)\n--\n\nSimpleQueue[item], for annotations." },
	{ NULL, NULL, 0, NULL },
};

static PyMemberDef simple_queue_members[] = {
	CORE_SHARED_MEMBERS,
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(simple_queue_doc,
	     "SimpleQueue()\n--\n\n"
	     "First in, first out, between threads, without a limit.\n\n"
	     "Items are the very objects that were put: nothing is pickled.\n\n"
	     ">>> queue = SimpleQueue()\n"
	     ">>> queue.put([1, 2])\n"
	     ">>> queue.get(), queue.empty()\n"
	     "([1, 2], True)");

static PyType_Slot simple_queue_slots[] = {
	{ Py_tp_doc, (void *)simple_queue_doc },
	{ Py_tp_new, simple_queue_new },
	{ Py_tp_dealloc, simple_queue_dealloc },
	{ Py_tp_traverse, simple_queue_traverse },
	{ Py_tp_clear, simple_queue_clear },
	{ Py_tp_repr, simple_queue_repr },
	{ Py_tp_methods, simple_queue_methods },
	{ Py_tp_members, simple_queue_members },
	{ 0, NULL },
};

PyType_Spec core_thread_simple_queue_spec = {
	.name = "freethreading.SimpleQueue",
	.basicsize = sizeof(struct core_thread_simple_queue),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = simple_queue_slots,
};
