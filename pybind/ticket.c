/* SPDX-License-Identifier: MIT */
#include "ticket.h"

#include <errno.h>
#include <stdatomic.h>

#include "convert.h"
#include "outcome.h"
#include "pool.h"

struct core_ticket {
	PyObject_HEAD PyObject *weakrefs;   /* the interpreter's */
	_Atomic(struct ft_future *) future; /* NULL until it is submitted */
	PyObject *pool;			    /* or NULL; const once it is submitted */
	PyObject *user;
	Py_ssize_t size; /* of the argument; const once it is submitted */
	struct core_news_item item;
};

/* ---- the news of a pool ---- */

void core_news_init(struct core_news *news)
{
	pthread_mutex_init(&news->lock, NULL);
	news->first = NULL;
}

void core_news_add(struct core_news *news, struct core_news_item *item, PyObject *object)
{
	item->object = Py_NewRef(object);
	pthread_mutex_lock(&news->lock);
	item->next = news->first;
	item->prev = NULL;
	if (item->next)
		item->next->prev = item;
	news->first = item;
	pthread_mutex_unlock(&news->lock);
}

void core_news_take(struct core_news *news, struct core_news_item *item)
{
	pthread_mutex_lock(&news->lock);
	if (item->next)
		item->next->prev = item->prev;
	if (item->prev)
		item->prev->next = item->next;
	else
		news->first = item->next;
	item->next = item->prev = NULL;
	pthread_mutex_unlock(&news->lock);
}

/* The collector runs while no thread is in the functions above: they neither
 * release the GIL nor let themselves be stopped. */
int core_news_traverse(struct core_news *news, visitproc visit, void *arg)
{
	for (struct core_news_item *item = news->first; item; item = item->next)
		Py_VISIT(item->object);
	return 0;
}

void core_news_clear(struct core_news *news)
{
	while (news->first) {
		PyObject *object = news->first->object;

		core_news_take(news, news->first);
		Py_DECREF(object);
	}
}

/* ---- the ticket ---- */

PyObject *core_ticket_new(struct core_state *state, PyObject *user)
{
	PyObject *op = state->ticket->tp_alloc(state->ticket, 0);

	if (op)
		((struct core_ticket *)op)->user = Py_NewRef(user ? user : Py_None);
	return op;
}

struct core_news_item *core_ticket_item(PyObject *op)
{
	return &((struct core_ticket *)op)->item;
}

static struct ft_future *future_of(PyObject *op)
{
	/* Acquire, with core_ticket_set. */
	return atomic_load_explicit(&((struct core_ticket *)op)->future, memory_order_acquire);
}

void core_ticket_tell(PyObject *op, PyObject *pool, size_t size)
{
	((struct core_ticket *)op)->pool = Py_NewRef(pool);
	((struct core_ticket *)op)->size = (Py_ssize_t)size;
}

void core_ticket_set(PyObject *op, struct ft_future *future)
{
	/* Release, with future_of. */
	atomic_store_explicit(&((struct core_ticket *)op)->future, future, memory_order_release);
}

struct ft_future *core_ticket_future(struct core_state *state, PyObject *op)
{
	if (Py_IS_TYPE(op, state->ticket))
		return future_of(op);
	PyErr_Format(PyExc_TypeError, "a Ticket was expected, not %.100s", Py_TYPE(op)->tp_name);
	return NULL;
}

static int ticket_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(op));
	Py_VISIT(((struct core_ticket *)op)->user);
	Py_VISIT(((struct core_ticket *)op)->pool);
	return 0;
}

static int ticket_clear(PyObject *op)
{
	Py_CLEAR(((struct core_ticket *)op)->user);
	return 0;
}

static void ticket_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	if (((struct core_ticket *)op)->weakrefs)
		PyObject_ClearWeakRefs(op);
	ticket_clear(op);
	ft_future_free(future_of(op));
	Py_XDECREF(((struct core_ticket *)op)->pool);
	type->tp_free(op);
	Py_DECREF(type);
}

/* ---- until it is done ---- */

static int wait_call(void *future, ft_deadline deadline)
{
	return ft_future_wait(future, deadline);
}

static PyObject *ticket_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			     PyObject *kwnames)
{
	static const char *const names[] = { "timeout", NULL };
	PyObject *given[1];
	ft_deadline deadline;
	int rc;

	if (core_args("wait", names, 0, args, nargs, kwnames, given) ||
	    core_deadline(given[0], &deadline))
		return NULL;
	rc = core_wait(wait_call, future_of(op), deadline, 0);
	return core_pool_start_failed() ? NULL : core_in_time(rc);
}

static PyObject *ticket_done(PyObject *op, PyObject *unused)
{
	int rc = ft_future_done(future_of(op));

	(void)unused;
	if (core_pool_start_failed())
		return NULL;
	return rc < 0 ? core_raise(rc) : PyBool_FromLong(rc);
}

static PyObject *ticket_cancel(PyObject *op, PyObject *unused)
{
	int rc = ft_future_cancel(future_of(op));

	(void)unused;
	if (core_pool_start_failed())
		return NULL;
	if (rc == -EBUSY)
		Py_RETURN_FALSE;
	return rc ? core_raise(rc) : Py_NewRef(Py_True);
}

/* ---- when it is done ---- */

/* 0, or -1 with an exception if it has not ended. */
static int outcome(PyObject *op, int *status, void **data, size_t *size)
{
	const void *result = NULL;
	int done = ft_future_done(future_of(op));

	if (core_pool_start_failed())
		return -1;
	if (done < 0) {
		core_raise(done);
		return -1;
	}
	if (!done) {
		PyErr_SetString(PyExc_RuntimeError, "the task has not ended yet");
		return -1;
	}
	*size = 0;
	*status = ft_future_result(future_of(op), &result, size);
	/* The block belongs to this process, and to this future only: writing
	 * to it hurts nobody, so that arrays may live in it. */
	*data = (void *)(uintptr_t)result;
	return 0;
}

static PyObject *ticket_status(PyObject *op, PyObject *unused)
{
	size_t size;
	void *data;
	int status;

	(void)unused;
	return outcome(op, &status, &data, &size) ? NULL : PyLong_FromLong(status);
}

static PyObject *ticket_result(PyObject *op, PyObject *unused)
{
	size_t size;
	void *data;
	int status;

	(void)unused;
	if (outcome(op, &status, &data, &size))
		return NULL;
	if (size >= CORE_BIG)
		return PyMemoryView_FromObject(op);
	return PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
}

static PyObject *ticket_outcome(PyObject *op, PyObject *unused)
{
	struct core_pool *pool = (struct core_pool *)((struct core_ticket *)op)->pool;
	int status, failed;
	PyObject *value;
	size_t size;
	void *data;

	(void)unused;
	if (!pool) {
		PyErr_SetString(PyExc_ValueError, "this ticket is none of Pool.ticket's");
		return NULL;
	}
	if (outcome(op, &status, &data, &size))
		return NULL;
	value = core_outcome(pool, future_of(op), &failed);
	return value ? Py_BuildValue("(ON)", failed ? Py_False : Py_True, value) : NULL;
}

/* A ticket is a buffer of its result, so that a memoryview keeps it alive. */
static int ticket_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
	static char nothing[1];
	size_t size;
	void *data;
	int status;

	view->obj = NULL;
	if (outcome(op, &status, &data, &size)) {
		PyErr_SetString(PyExc_BufferError, "the task has not ended yet");
		return -1;
	}
	return PyBuffer_FillInfo(view, op, data ? data : nothing, (Py_ssize_t)size, 0, flags);
}

static PyObject *ticket_death(PyObject *op, PyObject *unused)
{
	struct ft_worker_exit how;
	int rc = ft_future_death(future_of(op), &how);

	(void)unused;
	if (rc == -EINVAL) {
		PyErr_SetString(PyExc_ValueError, "the worker did not die while it ran this task");
		return NULL;
	}
	if (rc)
		return core_raise(rc);
	return Py_BuildValue("(iiiN)", (int)how.pid, how.signo, how.code,
			     PyUnicode_DecodeFSDefault(how.name));
}

static PyObject *ticket_id(PyObject *op, void *unused)
{
	(void)unused;
	return PyLong_FromUnsignedLongLong(ft_future_id(future_of(op)));
}

static PyObject *ticket_worker_pid(PyObject *op, void *unused)
{
	(void)unused;
	return PyLong_FromLong(ft_future_worker(future_of(op)));
}

static PyMethodDef ticket_methods[] = {
	{ "wait", CORE_FAST(ticket_wait),
	  "wait($self, /, timeout=None)\n--\n\n"
	  "Waits until the task has ended: True if it has, False if time ran out first.\n\n"
	  "timeout: the longest wait in seconds; None waits for ever, a negative number not at\n"
	  "all." },
	{ "done", ticket_done, METH_NOARGS,
	  "done($self, /)\n--\n\nTrue if the task has ended, well or not, or was cancelled." },
	{ "cancel", ticket_cancel, METH_NOARGS,
	  "cancel($self, /)\n--\n\n"
	  "True: the task will not run, and is done now.  False: it runs, or has ended." },
	{ "status", ticket_status, METH_NOARGS,
	  "status($self, /)\n--\n\n"
	  "How the task ended: 0, or the negative number that the worker gave, -ECANCELED, or\n"
	  "-EOWNERDEAD when the worker died.  Raises RuntimeError before the end." },
	{ "result", ticket_result, METH_NOARGS,
	  "result($self, /)\n--\n\n"
	  "What the worker replied: bytes, or from 64 KiB on a writable memoryview of the shared\n"
	  "memory itself, which keeps this ticket alive.  Empty if there was no reply.  Raises\n"
	  "RuntimeError before the end." },
	{ "outcome", ticket_outcome, METH_NOARGS,
	  "outcome($self, /)\n--\n\n"
	  "Of a call that Pool.ticket has submitted: (True, value) or (False, exception).  Once:\n"
	  "large values live in the result's memory, and take it away.  Raises RuntimeError\n"
	  "before the end." },
	{ "death", ticket_death, METH_NOARGS,
	  "death($self, /)\n--\n\n"
	  "How the worker died, after -EOWNERDEAD: (pid, signal or 0, exit status, name).  Raises\n"
	  "ValueError for any other task." },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef ticket_getset[] = {
	{ "id", ticket_id, NULL, "The task's number in its pool, from 1.", NULL },
	{ "worker_pid", ticket_worker_pid, NULL,
	  "The process that ran the task or runs it; 0 if none has begun.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyMemberDef ticket_members[] = {
	{ "__weaklistoffset__", T_PYSSIZET, offsetof(struct core_ticket, weakrefs), READONLY,
	  NULL },
	{ "size", T_PYSSIZET, offsetof(struct core_ticket, size), READONLY,
	  "How many bytes the argument has, if Pool.ticket made it." },
	{ "user", T_OBJECT, offsetof(struct core_ticket, user), READONLY,
	  "What was given to submit() as user." },
	{ NULL, 0, 0, 0, NULL },
};

PyDoc_STRVAR(ticket_doc, "A task that was given to a Pool.  Pool.submit makes them.\n\n"
			 "Dropping the ticket does not stop the task; its result is dropped.");

static PyType_Slot ticket_slots[] = {
	{ Py_tp_doc, (void *)ticket_doc },
	{ Py_tp_dealloc, ticket_dealloc },
	{ Py_tp_traverse, ticket_traverse },
	{ Py_tp_clear, ticket_clear },
	{ Py_tp_methods, ticket_methods },
	{ Py_tp_getset, ticket_getset },
	{ Py_tp_members, ticket_members },
	{ Py_bf_getbuffer, ticket_getbuffer },
	{ 0, NULL },
};

PyType_Spec core_ticket_spec = {
	.name = "freethreading._core.Ticket",
	.basicsize = sizeof(struct core_ticket),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
		 Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = ticket_slots,
};
