/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <errno.h>
#include <stdatomic.h>

#include "convert.h"
#include "fifo.h"
#include "shared.h"

struct core_thread_queue {
	struct core_shared base;
	_Atomic long long maxsize; /* as it was given */
	_Atomic uint64_t dealt; /* items answered by task_done, at most as many as were put */
	struct ft_event done;	/* set when there were as many; cleared by who waits */
	struct core_fifo fifo;
};

static struct core_thread_queue *queue_of(PyObject *op)
{
	return (struct core_thread_queue *)op;
}

static PyObject *queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "maxsize", NULL };
	struct core_thread_queue *self;
	long long maxsize = 0;
	PyObject *op;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|L:Queue", names, &maxsize))
		return NULL;
	op = core_shared_bare(type);
	if (!op)
		return NULL;
	self = queue_of(op);
	atomic_init(&self->maxsize, maxsize);
	ft_event_init(&self->done, FT_PRIVATE | FT_INTERRUPTIBLE);
	if (core_fifo_init(&self->fifo, maxsize > 0 ? (uint64_t)maxsize : 0) == 0)
		return op;
	Py_DECREF(op);
	return PyErr_NoMemory();
}

static int queue_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(op));
	return core_fifo_traverse(&queue_of(op)->fifo, visit, arg);
}

static int queue_clear(PyObject *op)
{
	core_fifo_clear(&queue_of(op)->fifo);
	return 0;
}

static void queue_dealloc(PyObject *op)
{
	PyObject_GC_UnTrack(op);
	core_fifo_free(&queue_of(op)->fifo);
	core_shared_dealloc(op);
}

/* ---- put ---- */

static PyObject *put_item(PyObject *op, PyObject *item, ft_deadline deadline)
{
	struct core_thread_queue *self = queue_of(op);
	int rc = core_fifo_put(&self->fifo, item, deadline);

	if (rc == -ETIMEDOUT)
		core_raise_queue(self->base.state, CORE_FULL);
	return core_none(rc);
}

static PyObject *queue_put(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const char *const names[] = { "item", "block", "timeout", NULL };
	ft_deadline deadline = FT_FOREVER;
	PyObject *given[3];

	if (nargs == 1 && !kwnames)
		return put_item(op, args[0], FT_FOREVER);
	if (core_args("put", names, 1, args, nargs, kwnames, given))
		return NULL;
	if (queue_of(op)->maxsize > 0 && core_queue_deadline(given[1], given[2], &deadline))
		return NULL;
	return put_item(op, given[0], deadline);
}

static PyObject *queue_put_nowait(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
				  PyObject *kwnames)
{
	static const char *const names[] = { "item", NULL };
	PyObject *given[1];

	if (core_args("put_nowait", names, 1, args, nargs, kwnames, given))
		return NULL;
	return put_item(op, given[0], FT_NOW);
}

/* ---- get ---- */

static PyObject *get_item(PyObject *op, ft_deadline deadline)
{
	struct core_thread_queue *self = queue_of(op);
	PyObject *item;
	int rc = core_fifo_get(&self->fifo, &item, deadline);

	if (!rc)
		return item;
	if (rc == -ETIMEDOUT)
		core_raise_queue(self->base.state, CORE_EMPTY);
	return core_raise(rc);
}

static PyObject *queue_get(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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

static PyObject *queue_get_nowait(PyObject *op, PyObject *unused)
{
	(void)unused;
	return get_item(op, FT_NOW);
}

/* ---- how full it is ---- */

static PyObject *queue_qsize(PyObject *op, PyObject *unused)
{
	(void)unused;
	return PyLong_FromUnsignedLongLong(core_fifo_size(&queue_of(op)->fifo));
}

static PyObject *queue_empty(PyObject *op, PyObject *unused)
{
	(void)unused;
	return PyBool_FromLong(core_fifo_size(&queue_of(op)->fifo) == 0);
}

static PyObject *queue_full(PyObject *op, PyObject *unused)
{
	struct core_fifo *fifo = &queue_of(op)->fifo;
	uint64_t limit = atomic_load(&fifo->limit);

	(void)unused;
	return PyBool_FromLong(limit && core_fifo_size(fifo) >= limit);
}

static PyObject *queue_maxsize(PyObject *op, void *unused)
{
	(void)unused;
	return PyLong_FromLongLong(atomic_load(&queue_of(op)->maxsize));
}

static int queue_set_maxsize(PyObject *op, PyObject *value, void *unused)
{
	struct core_thread_queue *self = queue_of(op);
	long long maxsize;

	(void)unused;
	if (!value) {
		PyErr_SetString(PyExc_AttributeError, "maxsize can't be deleted");
		return -1;
	}
	maxsize = PyLong_AsLongLong(value);
	if (maxsize == -1 && PyErr_Occurred())
		return -1;
	atomic_store(&self->maxsize, maxsize);
	core_fifo_set_limit(&self->fifo, maxsize > 0 ? (uint64_t)maxsize : 0);
	return 0;
}

/* ---- work that is done ---- */

static int all_dealt(struct core_thread_queue *self)
{
	uint64_t dealt = atomic_load(&self->dealt);

	return core_fifo_puts(&self->fifo) == dealt;
}

static PyObject *queue_task_done(PyObject *op, PyObject *unused)
{
	struct core_thread_queue *self = queue_of(op);
	uint64_t dealt = atomic_load(&self->dealt);

	(void)unused;
	do {
		if (dealt == core_fifo_puts(&self->fifo)) {
			PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
			return NULL;
		}
	} while (!atomic_compare_exchange_weak(&self->dealt, &dealt, dealt + 1));
	return core_none(all_dealt(self) ? ft_event_set(&self->done) : 0);
}

static int join_call(void *event, ft_deadline deadline)
{
	return ft_event_wait(event, deadline);
}

static PyObject *queue_join(PyObject *op, PyObject *unused)
{
	struct core_thread_queue *self = queue_of(op);
	int rc = 0;

	(void)unused;
	while (!rc && !all_dealt(self)) {
		/* Cleared before the last look: whoever comes to nought after that
		 * sets it again. */
		ft_event_clear(&self->done);
		if (!all_dealt(self))
			rc = core_wait(join_call, &self->done, FT_FOREVER, 0);
	}
	return core_none(rc);
}

/* ---- the object ---- */

static PyObject *queue_repr(PyObject *op)
{
	return PyUnicode_FromFormat("<%s object at %p: %llu items>", Py_TYPE(op)->tp_name, op,
				    (unsigned long long)core_fifo_size(&queue_of(op)->fifo));
}

static PyObject *queue_reduce(PyObject *op, PyObject *unused)
{
	(void)unused;
	return core_shared_reduce(op, &core_queue_kind);
}

static PyMethodDef queue_methods[] = {
	{ "put", CORE_FAST(queue_put),
	  "put($self, /, item, block=True, timeout=None)\n--\n\n"
	  "Appends item; it can be got as soon as put returns.\n\n"
	  "block: False does not wait for room.\n"
	  "timeout: the longest wait for room in seconds; None waits for ever.\n\n"
	  "Raises queue.Full if there was no room, and ValueError for a negative timeout if the\n"
	  "queue has a limit; nothing is appended then." },
	{ "put_nowait", CORE_FAST(queue_put_nowait),
	  "put_nowait($self, /, item)\n--\n\nput(item, block=False)." },
	{ "get", CORE_FAST(queue_get),
	  "get($self, /, block=True, timeout=None)\n--\n\n"
	  "Takes the oldest item.\n\n"
	  "block: False does not wait for one.\n"
	  "timeout: the longest wait in seconds; None waits for ever.\n\n"
	  "Raises queue.Empty if there was none, and ValueError for a negative timeout." },
	{ "get_nowait", queue_get_nowait, METH_NOARGS,
	  "get_nowait($self, /)\n--\n\nget(block=False)." },
	{ "qsize", queue_qsize, METH_NOARGS,
	  "qsize($self, /)\n--\n\nThe number of items, exact at some moment during the call." },
	{ "empty", queue_empty, METH_NOARGS, "empty($self, /)\n--\n\nTrue if there is no item." },
	{ "full", queue_full, METH_NOARGS,
	  "full($self, /)\n--\n\n"
	  "True if there are maxsize items; never for a queue without limit." },
	{ "task_done", queue_task_done, METH_NOARGS,
	  "task_done($self, /)\n--\n\n"
	  "Says that one item that was got has been dealt with.  Raises ValueError if called more\n"
	  "often than items were put." },
	{ "join", queue_join, METH_NOARGS,
	  "join($self, /)\n--\n\nWaits until task_done() was called for every item ever put." },
	{ "__reduce__", queue_reduce, METH_NOARGS,
	  "__reduce__($self, /)\n--\n\n"
	  "Pickles the queue's name in this process: there, the copy is this very queue." },
	{ "__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
	  "__class_getitem__($type, item, /)\n--\n\nQueue[item], for annotations." },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef queue_getset[] = {
	{ "maxsize", queue_maxsize, queue_set_maxsize,
	  "The most items it holds; 0 or less: no limit.  May be set: what is in it stays.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyMemberDef queue_members[] = {
	CORE_SHARED_MEMBERS,
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(queue_doc,
	     "Queue(maxsize=0)\n--\n\n"
	     "First in, first out, between threads.\n\n"
	     "maxsize: the most items it holds; 0 or less means no limit but memory.\n\n"
	     "Items are the very objects that were put: nothing is pickled.\n\n"
	     ">>> queue = Queue()\n"
	     ">>> queue.put([1, 2])\n"
	     ">>> queue.get(), queue.empty()\n"
	     "([1, 2], True)");

static PyType_Slot queue_slots[] = {
	{ Py_tp_doc, (void *)queue_doc },
	{ Py_tp_new, queue_new },
	{ Py_tp_dealloc, queue_dealloc },
	{ Py_tp_traverse, queue_traverse },
	{ Py_tp_clear, queue_clear },
	{ Py_tp_repr, queue_repr },
	{ Py_tp_methods, queue_methods },
	{ Py_tp_getset, queue_getset },
	{ Py_tp_members, queue_members },
	{ 0, NULL },
};

PyType_Spec core_thread_queue_spec = {
	.name = "freethreading.Queue",
	.basicsize = sizeof(struct core_thread_queue),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = queue_slots,
};
