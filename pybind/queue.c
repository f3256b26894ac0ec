/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <errno.h>
#include <stdatomic.h>

#include "convert.h"
#include "item.h"
#include "shared.h"

struct core_queue {
	struct core_shared base;
	_Atomic int closed; /* by close() on this object: other users go on */
	_Atomic int used;   /* something was put through this object */
};

const struct core_kind core_queue_kind = {
	.name = "Queue",
	.size = sizeof(struct ft_queue),
	.type = offsetof(struct core_types, queue),
};

static int queue_init(void *block, uint32_t flags, void *ctx)
{
	return ft_queue_init(block, *(uint64_t *)ctx, flags);
}

static PyObject *queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "maxsize", NULL };
	long long maxsize = 0;
	uint64_t limit;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|L:Queue", names, &maxsize))
		return NULL;
	limit = maxsize > 0 ? (uint64_t)maxsize : 0;
	return core_shared_new(type, &core_queue_kind, queue_init, &limit);
}

static int queue_check(PyObject *op, struct ft_queue **queue)
{
	struct core_shared *self = (struct core_shared *)op;

	*queue = self->block;
	return core_shared_check(self);
}

static PyObject *raise_closed(PyObject *op)
{
	PyErr_Format(PyExc_ValueError, "Queue %R is closed", op);
	return NULL;
}

/* ---- put ---- */

struct put_call {
	struct ft_queue *queue;
	void *item; /* ours until it is put */
};

static int put_call(void *ctx, ft_deadline deadline)
{
	struct put_call *put = ctx;

	return ft_queue_put_block(put->queue, put->item, deadline);
}

static int put_block(PyObject *op, void *block, ft_deadline deadline)
{
	struct put_call put = { .item = block };
	int rc = queue_check(op, &put.queue);

	if (!rc)
		rc = core_wait(put_call, &put, deadline, 0);
	if (rc)
		ft_block_free(block);
	return rc;
}

static PyObject *put_item(PyObject *op, PyObject *item, ft_deadline deadline)
{
	struct core_queue *self = (struct core_queue *)op;
	void *block;
	int rc;

	if (atomic_load(&self->closed))
		return raise_closed(op);
	if (!atomic_load_explicit(&self->used, memory_order_relaxed))
		atomic_store(&self->used, 1);
	block = core_item_dumps(self->base.state, item);
	if (!block)
		return NULL;
	rc = put_block(op, block, deadline);
	if (rc == -ETIMEDOUT)
		core_raise_queue(self->base.state, CORE_FULL);
	return rc == -EPIPE ? raise_closed(op) : core_none(rc);
}

static PyObject *queue_put(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			   PyObject *kwnames)
{
	static const char *const names[] = { "item", "block", "timeout", NULL };
	PyObject *given[3];
	ft_deadline deadline;

	if (nargs == 1 && !kwnames)
		return put_item(op, args[0], FT_FOREVER);
	if (core_args("put", names, 1, args, nargs, kwnames, given) ||
	    core_block_deadline(given[1], given[2], &deadline))
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

struct get_call {
	struct ft_queue *queue;
	void *block;
	size_t size;
};

static int get_call(void *ctx, ft_deadline deadline)
{
	struct get_call *get = ctx;

	return ft_queue_get(get->queue, &get->block, &get->size, deadline);
}

static PyObject *get_item(PyObject *op, ft_deadline deadline)
{
	struct core_state *state = ((struct core_shared *)op)->state;
	struct get_call get = { .block = NULL };
	int rc = queue_check(op, &get.queue);

	if (atomic_load(&((struct core_queue *)op)->closed))
		return raise_closed(op);
	if (!rc)
		rc = core_wait(get_call, &get, deadline, 0);
	if (rc == -ETIMEDOUT)
		core_raise_queue(state, CORE_EMPTY);
	if (rc == -EPIPE)
		PyErr_Format(PyExc_EOFError, "Queue %R is closed and empty", op);
	if (rc)
		return core_raise(rc);
	return core_item_loads(state, get.block, get.size);
}

static PyObject *queue_get(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			   PyObject *kwnames)
{
	static const char *const names[] = { "block", "timeout", NULL };
	PyObject *given[2];
	ft_deadline deadline;

	if (!nargs && !kwnames)
		return get_item(op, FT_FOREVER);
	if (core_args("get", names, 0, args, nargs, kwnames, given) ||
	    core_block_deadline(given[0], given[1], &deadline))
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
	struct ft_queue *queue;
	int rc = queue_check(op, &queue);

	(void)unused;
	return rc ? core_raise(rc) : PyLong_FromUnsignedLongLong(ft_queue_size(queue));
}

static PyObject *queue_empty(PyObject *op, PyObject *unused)
{
	struct core_queue *self = (struct core_queue *)op;
	struct ft_queue *queue;
	int rc = queue_check(op, &queue);

	(void)unused;
	/* Before it is used there is nothing that close() closes in multiprocessing. */
	if (atomic_load(&self->closed) && atomic_load(&self->used)) {
		PyErr_SetString(PyExc_OSError, "this Queue is closed");
		return NULL;
	}
	return rc ? core_raise(rc) : PyBool_FromLong(ft_queue_size(queue) == 0);
}

static PyObject *queue_full(PyObject *op, PyObject *unused)
{
	struct ft_queue *queue;
	int rc = queue_check(op, &queue);

	(void)unused;
	if (rc)
		return core_raise(rc);
	return PyBool_FromLong(queue->maxsize && ft_queue_size(queue) >= queue->maxsize);
}

static PyObject *queue_maxsize(PyObject *op, void *unused)
{
	struct ft_queue *queue;
	int rc = queue_check(op, &queue);

	(void)unused;
	return rc ? core_raise(rc) : PyLong_FromUnsignedLongLong(queue->maxsize);
}

/* ---- work that is done ---- */

static PyObject *queue_task_done(PyObject *op, PyObject *unused)
{
	struct ft_queue *queue;
	int rc = queue_check(op, &queue);

	(void)unused;
	if (!rc)
		rc = ft_queue_task_done(queue);
	if (rc == -EINVAL) {
		PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
		return NULL;
	}
	return core_none(rc);
}

static int join_call(void *queue, ft_deadline deadline)
{
	return ft_queue_join(queue, deadline);
}

static PyObject *queue_join(PyObject *op, PyObject *unused)
{
	struct ft_queue *queue;
	int rc = queue_check(op, &queue);

	(void)unused;
	return core_none(rc ? rc : core_wait(join_call, queue, FT_FOREVER, 0));
}

/* ---- what multiprocessing's queue has because of its feeder thread ---- */

static PyObject *queue_close(PyObject *op, PyObject *unused)
{
	(void)unused;
	atomic_store(&((struct core_queue *)op)->closed, 1);
	Py_RETURN_NONE;
}

static PyObject *queue_nothing(PyObject *op, PyObject *unused)
{
	(void)op;
	(void)unused;
	Py_RETURN_NONE;
}

static PyObject *queue_repr(PyObject *op)
{
	struct ft_queue *queue;

	if (queue_check(op, &queue))
		return PyUnicode_FromFormat("<Queue(gone) at %p>", op);
	return PyUnicode_FromFormat("<Queue(%llu items) at %p>",
				    (unsigned long long)ft_queue_size(queue), op);
}

static PyObject *queue_reduce(PyObject *op, PyObject *unused)
{
	(void)unused;
	return core_shared_reduce(op, &core_queue_kind);
}

static PyMethodDef queue_methods[] = {
	{ "put", CORE_FAST(queue_put),
	  "put($self, /, item, block=True, timeout=None)\n--\n\n"
	  "Pickles item and appends it; it can be got as soon as put returns.\n\n"
	  "block: False does not wait for room.\n"
	  "timeout: the longest wait for room in seconds; None waits for ever, a negative number\n"
	  "not at all.\n\n"
	  "Raises queue.Full if there was no room, ValueError after close(), and whatever pickle\n"
	  "raises; nothing is appended then." },
	{ "put_nowait", CORE_FAST(queue_put_nowait),
	  "put_nowait($self, /, item)\n--\n\nput(item, block=False)." },
	{ "get", CORE_FAST(queue_get),
	  "get($self, /, block=True, timeout=None)\n--\n\n"
	  "Takes the oldest item.\n\n"
	  "block: False does not wait for one.\n"
	  "timeout: the longest wait in seconds; None waits for ever, a negative number not at\n"
	  "all.\n\n"
	  "Raises queue.Empty if there was none, ValueError after close(), and whatever\n"
	  "unpickling raises; the item is gone then." },
	{ "get_nowait", queue_get_nowait, METH_NOARGS,
	  "get_nowait($self, /)\n--\n\nget(block=False)." },
	{ "qsize", queue_qsize, METH_NOARGS,
	  "qsize($self, /)\n--\n\nThe number of items, exact at some moment during the call." },
	{ "empty", queue_empty, METH_NOARGS,
	  "empty($self, /)\n--\n\nTrue if there is no item.  Raises OSError when\n"
	  "something was put through this object and it is closed." },
	{ "full", queue_full, METH_NOARGS,
	  "full($self, /)\n--\n\n"
	  "True if there are maxsize items; never for a queue without limit." },
	{ "task_done", queue_task_done, METH_NOARGS,
	  "task_done($self, /)\n--\n\n"
	  "Says that one item that was got has been dealt with.  Raises ValueError if called more\n"
	  "often than items were put." },
	{ "join", queue_join, METH_NOARGS,
	  "join($self, /)\n--\n\nWaits until task_done() was called for every item ever put." },
	{ "close", queue_close, METH_NOARGS,
	  "close($self, /)\n--\n\n"
	  "Ends the use of the queue through this object: put and get raise ValueError from now\n"
	  "on.  Other workers' objects for the same queue are not concerned." },
	{ "join_thread", queue_nothing, METH_NOARGS,
	  "join_thread($self, /)\n--\n\nDoes nothing: no thread works behind this queue." },
	{ "cancel_join_thread", queue_nothing, METH_NOARGS,
	  "cancel_join_thread($self, /)\n--\n\nDoes nothing: no thread works behind this queue." },
	{ "__reduce__", queue_reduce, METH_NOARGS,
	  "__reduce__($self, /)\n--\n\nPickles the queue's handle: the copy is the same queue." },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef queue_getset[] = {
	{ "maxsize", queue_maxsize, NULL, "The most items it holds; 0: no limit.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyMemberDef queue_members[] = {
	CORE_SHARED_MEMBERS,
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(queue_doc,
	     "Queue(maxsize=0)\n--\n\n"
	     "First in, first out, between the workers of one program.\n\n"
	     "maxsize: the most items it holds; 0 or less means no limit but memory.\n\n"
	     "Items are pickled.  The queue lives in memory that all workers share and\n"
	     "may itself be pickled to any of them.  It exists as long as any worker has\n"
	     "it, or it is on its way to one; the items that are left then go with it.\n"
	     "A queue that is in itself, however deep, lasts until the program ends.");

static PyType_Slot queue_slots[] = {
	{ Py_tp_doc, (void *)queue_doc },
	{ Py_tp_new, queue_new },
	{ Py_tp_dealloc, core_shared_dealloc },
	{ Py_tp_repr, queue_repr },
	{ Py_tp_methods, queue_methods },
	{ Py_tp_getset, queue_getset },
	{ Py_tp_members, queue_members },
	{ 0, NULL },
};

PyType_Spec core_queue_spec = {
	.name = "freethreading._core.Queue",
	.basicsize = sizeof(struct core_queue),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = queue_slots,
};
