/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <errno.h>
#include <stdatomic.h>

#include "convert.h"
#include "item.h"
#include "shared.h"

struct core_simple_queue {
	struct core_shared base;
	_Atomic int closed; /* by close() on this object: other users go on */
};

const struct core_kind core_simple_queue_kind = {
	.name = "SimpleQueue",
	.size = sizeof(struct ft_simple_queue),
	.type = offsetof(struct core_types, simple_queue),
};

static int simple_queue_init(void *block, uint32_t flags, void *ctx)
{
	(void)ctx;
	return ft_simple_queue_init(block, flags);
}

static PyObject *simple_queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	if (core_no_arguments("SimpleQueue", args, kwargs))
		return NULL;
	return core_shared_new(type, &core_simple_queue_kind, simple_queue_init, NULL);
}

static PyObject *raise_closed(PyObject *op)
{
	PyErr_Format(PyExc_OSError, "SimpleQueue %R is closed", op);
	return NULL;
}

/* 0, or -1 with an exception: it may be used through this object. */
static int simple_queue_enter(PyObject *op, struct ft_simple_queue **queue)
{
	struct core_simple_queue *self = (struct core_simple_queue *)op;
	int rc = core_shared_check(&self->base);

	*queue = self->base.block;
	if (rc)
		core_raise(rc);
	else if (atomic_load(&self->closed))
		raise_closed(op);
	return PyErr_Occurred() ? -1 : 0;
}

static PyObject *simple_queue_put(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
				  PyObject *kwnames)
{
	static const char *const names[] = { "item", NULL };
	struct ft_simple_queue *queue;
	PyObject *item;
	void *block;
	int rc;

	if (core_args("put", names, 1, args, nargs, kwnames, &item) ||
	    simple_queue_enter(op, &queue))
		return NULL;
	block = core_item_dumps(((struct core_shared *)op)->state, item);
	if (!block)
		return NULL;
	rc = ft_simple_queue_put_block(queue, block);
	if (rc)
		ft_block_free(block);
	return rc == -EPIPE ? raise_closed(op) : core_none(rc);
}

struct get_call {
	struct ft_simple_queue *queue;
	void *block;
	size_t size;
};

static int get_call(void *ctx, ft_deadline deadline)
{
	struct get_call *get = ctx;

	return ft_simple_queue_get(get->queue, &get->block, &get->size, deadline);
}

static PyObject *simple_queue_get(PyObject *op, PyObject *unused)
{
	struct get_call get = { .block = NULL };
	int rc;

	(void)unused;
	if (simple_queue_enter(op, &get.queue))
		return NULL;
	rc = core_wait(get_call, &get, FT_FOREVER, 0);
	if (rc == -EPIPE)
		return raise_closed(op);
	if (rc)
		return core_raise(rc);
	return core_item_loads(((struct core_shared *)op)->state, get.block, get.size);
}

static PyObject *simple_queue_empty(PyObject *op, PyObject *unused)
{
	struct ft_simple_queue *queue;

	(void)unused;
	if (simple_queue_enter(op, &queue))
		return NULL;
	return PyBool_FromLong(ft_simple_queue_size(queue) == 0);
}

static PyObject *simple_queue_close(PyObject *op, PyObject *unused)
{
	(void)unused;
	atomic_store(&((struct core_simple_queue *)op)->closed, 1);
	Py_RETURN_NONE;
}

static PyObject *simple_queue_repr(PyObject *op)
{
	struct core_shared *self = (struct core_shared *)op;

	if (core_shared_check(self))
		return PyUnicode_FromFormat("<SimpleQueue(gone) at %p>", op);
	return PyUnicode_FromFormat("<SimpleQueue(%llu items) at %p>",
				    (unsigned long long)ft_simple_queue_size(self->block), op);
}

static PyObject *simple_queue_reduce(PyObject *op, PyObject *unused)
{
	(void)unused;
	return core_shared_reduce(op, &core_simple_queue_kind);
}

static PyMethodDef simple_queue_methods[] = {
	{ "put", CORE_FAST(simple_queue_put),
	  "put($self, /, item)\n--\n\n"
	  "Pickles item and appends it; it can be got as soon as put returns, which it does\n"
	  "without waiting: there is no limit but memory.\n\n"
	  "Raises MemoryError, OSError after close(), and whatever pickle raises; nothing is\n"
	  "appended then." },
	{ "get", simple_queue_get, METH_NOARGS,
	  "get($self, /)\n--\n\n"
	  "Takes the oldest item, waiting for ever if there is none.  Python's signal handlers\n"
	  "run during the wait.\n\n"
	  "Raises OSError after close(), and whatever unpickling raises; the item is gone then." },
	{ "empty", simple_queue_empty, METH_NOARGS,
	  "empty($self, /)\n--\n\nTrue if there was no item at some moment during the call." },
	{ "close", simple_queue_close, METH_NOARGS,
	  "close($self, /)\n--\n\n"
	  "Ends the use of the queue through this object: put, get and empty raise OSError from\n"
	  "now on.  Other workers' objects for the same queue are not concerned." },
	{ "__reduce__", simple_queue_reduce, METH_NOARGS,
	  "__reduce__($self, /)\n--\n\nPickles the queue's handle: the copy is the same queue." },
	{ NULL, NULL, 0, NULL },
};

static PyMemberDef simple_queue_members[] = {
	CORE_SHARED_MEMBERS,
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(simple_queue_doc,
	     "SimpleQueue()\n--\n\n"
	     "First in, first out, between the workers of one program, without a limit.\n\n"
	     "Items are pickled, and may be of any size.  The queue lives in memory that\n"
	     "all workers share and may itself be pickled to any of them.  It exists as\n"
	     "long as any worker has it, or it is on its way to one; the items that are\n"
	     "left then go with it.\n\n"
	     ">>> from freethreading import SimpleQueue\n"
	     ">>> queue = SimpleQueue()\n"
	     ">>> queue.put([1, 2])\n"
	     ">>> queue.get(), queue.empty()\n"
	     "([1, 2], True)");

static PyType_Slot simple_queue_slots[] = {
	{ Py_tp_doc, (void *)simple_queue_doc },
	{ Py_tp_new, simple_queue_new },
	{ Py_tp_dealloc, core_shared_dealloc },
	{ Py_tp_repr, simple_queue_repr },
	{ Py_tp_methods, simple_queue_methods },
	{ Py_tp_members, simple_queue_members },
	{ 0, NULL },
};

PyType_Spec core_simple_queue_spec = {
	.name = "freethreading._core.SimpleQueue",
	.basicsize = sizeof(struct core_simple_queue),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = simple_queue_slots,
};
