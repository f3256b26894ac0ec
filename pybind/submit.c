/* SPDX-License-Identifier: MIT */
/* Tickets: tasks in, and tasks out in the order in which they ended. */
#include "submit.h"

#include <errno.h>

#include "convert.h"
#include "dispatch.h"
#include "future.h"

static struct core_pool *pool_of(PyObject *op)
{
	return (struct core_pool *)op;
}

/* ---- submit ---- */

static int submit_call(struct core_pool *self, const struct ft_call *call,
		       struct ft_future **future)
{
	int rc;

	if (call->arg_size <= CORE_BIG)
		return ft_pool_submit(self->pool, call, future);
	Py_BEGIN_ALLOW_THREADS rc = ft_pool_submit(self->pool, call, future);
	Py_END_ALLOW_THREADS return rc;
}

/* One task, as `call` has it but for the argument. */
static PyObject *submit_one(struct core_pool *self, PyObject *payload, PyObject *user,
			    struct ft_call *call)
{
	PyObject *ticket = core_ticket_new(self->state, user);
	struct ft_future *future;
	Py_buffer view;
	int rc, notify = call->flags & FT_CALL_NOTIFY;

	if (!ticket || PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)) {
		Py_XDECREF(ticket);
		return NULL;
	}
	call->arg = view.buf;
	call->arg_size = (size_t)view.len;
	call->user = ticket;
	if (notify)
		core_news_add(&self->news, core_ticket_item(ticket), ticket);
	rc = submit_call(self, call, &future);
	PyBuffer_Release(&view);
	if (!rc) {
		core_ticket_set(ticket, future);
		core_pool_start_report();
		return ticket;
	}
	if (notify) {
		core_news_take(&self->news, core_ticket_item(ticket));
		Py_DECREF(ticket);
	}
	Py_DECREF(ticket);
	return core_pool_refused(self, rc);
}

/* How a task is to be announced.  0 or -1. */
static int announce_from(PyObject *notify, PyObject *code, PyObject *group, struct ft_call *call)
{
	int wanted = notify ? PyObject_IsTrue(notify) : 0;

	if (wanted < 0)
		return -1;
	*call = (struct ft_call){ .flags = wanted ? FT_CALL_NOTIFY : 0 };
	if (code)
		call->code = PyLong_AsUnsignedLongLong(code);
	if (group && !PyErr_Occurred())
		call->group = PyLong_AsUnsignedLongLong(group);
	return PyErr_Occurred() ? -1 : 0;
}

PyObject *core_pool_submit(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const char *const names[] = { "payload", "notify", "user", "code", "group", NULL };
	PyObject *given[5];
	struct ft_call call;

	if (core_args("submit", names, 1, args, nargs, kwnames, given) ||
	    announce_from(given[1], given[3], given[4], &call))
		return NULL;
	return submit_one(pool_of(op), given[0], given[2], &call);
}

static int submit_into(struct core_pool *self, PyObject *list, PyObject *payload, PyObject *user,
		       struct ft_call *call)
{
	PyObject *ticket = submit_one(self, payload, user, call);
	int rc = ticket ? PyList_Append(list, ticket) : -1;

	Py_XDECREF(ticket);
	return rc;
}

/* The list is ours alone until it is returned. */
static void cancel_all(struct core_pool *self, PyObject *list)
{
	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++)
		ft_future_cancel(core_ticket_future(self->state, PyList_GET_ITEM(list, i)));
}

static PyObject *submit_all(struct core_pool *self, PyObject *payloads, PyObject *users,
			    struct ft_call *call)
{
	Py_ssize_t count = PyTuple_GET_SIZE(payloads);
	PyObject *list;

	if (users && PyTuple_GET_SIZE(users) != count) {
		PyErr_SetString(PyExc_ValueError, "user_list must be as long as payloads");
		return NULL;
	}
	list = PyList_New(0);
	for (Py_ssize_t i = 0; list && i < count; i++)
		if (submit_into(self, list, PyTuple_GET_ITEM(payloads, i),
				users ? PyTuple_GET_ITEM(users, i) : NULL, call)) {
			cancel_all(self, list);
			Py_CLEAR(list);
		}
	return list;
}

PyObject *core_pool_submit_many(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
				PyObject *kwnames)
{
	static const char *const names[] = { "payloads", "notify", "user_list",
					     "code",	 "group",  NULL };
	PyObject *given[5], *payloads, *users = NULL, *list = NULL;
	struct ft_call call;

	if (core_args("submit_many", names, 1, args, nargs, kwnames, given) ||
	    announce_from(given[1], given[3], given[4], &call))
		return NULL;
	payloads = PySequence_Tuple(given[0]);
	if (payloads && given[2] && given[2] != Py_None)
		users = PySequence_Tuple(given[2]);
	if (payloads && !PyErr_Occurred())
		list = submit_all(pool_of(op), payloads, users, &call);
	Py_XDECREF(payloads);
	Py_XDECREF(users);
	return list;
}

/* ---- next, wait_all ---- */

struct next_call {
	struct ft_pool *pool;
	uint64_t group;
	struct ft_future *future;
};

static int next_call(void *ctx, ft_deadline deadline)
{
	struct next_call *next = ctx;

	return ft_pool_next_in(next->pool, next->group, &next->future, deadline);
}

static PyObject *raise_next(int rc)
{
	if (core_pool_start_failed())
		return NULL;
	if (rc == -ETIMEDOUT)
		Py_RETURN_NONE;
	if (rc == -EPIPE)
		PyErr_SetString(PyExc_EOFError, "the pool is closed, and no task is left");
	return core_raise(rc);
}

PyObject *core_pool_next(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const char *const names[] = { "timeout", "group", NULL };
	struct next_call next = { .pool = pool_of(op)->pool };
	struct core_pool *self = pool_of(op);
	PyObject *given[2], *object;
	ft_deadline deadline;
	int rc;

	if (core_args("next", names, 0, args, nargs, kwnames, given) ||
	    core_deadline(given[0], &deadline))
		return NULL;
	if (given[1])
		next.group = PyLong_AsUnsignedLongLong(given[1]);
	if (PyErr_Occurred())
		return NULL;
	rc = core_wait(next_call, &next, deadline, 0);
	if (rc)
		return raise_next(rc);
	core_pool_start_report();
	object = ft_future_user(next.future);
	if (Py_IS_TYPE(object, self->state->ticket)) {
		core_ticket_set(object, next.future);
		core_news_take(&self->news, core_ticket_item(object));
	} else {
		core_news_take(&self->news, &((struct core_future *)object)->item);
	}
	return object;
}

struct crowd {
	struct ft_future **futures;
	size_t count;
};

static int wait_all_call(void *ctx, ft_deadline deadline)
{
	struct crowd *crowd = ctx;

	return ft_future_wait_all(crowd->futures, crowd->count, deadline);
}

/* The futures of a tuple of tickets.  0 or -1. */
static int crowd_of(struct core_state *state, PyObject *tickets, struct crowd *crowd)
{
	crowd->count = (size_t)PyTuple_GET_SIZE(tickets);
	crowd->futures = PyMem_New(struct ft_future *, crowd->count + 1);
	if (!crowd->futures) {
		PyErr_NoMemory();
		return -1;
	}
	for (size_t i = 0; i < crowd->count; i++) {
		crowd->futures[i] =
		    core_ticket_future(state, PyTuple_GET_ITEM(tickets, (Py_ssize_t)i));
		if (!crowd->futures[i])
			return -1;
	}
	return 0;
}

PyObject *core_pool_wait_all(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			     PyObject *kwnames)
{
	static const char *const names[] = { "tickets", "timeout", NULL };
	PyObject *given[2], *tickets, *result = NULL;
	struct crowd crowd = { NULL, 0 };
	ft_deadline deadline;

	if (core_args("wait_all", names, 1, args, nargs, kwnames, given) ||
	    core_deadline(given[1], &deadline))
		return NULL;
	tickets = PySequence_Tuple(given[0]);
	if (tickets && !crowd_of(pool_of(op)->state, tickets, &crowd)) {
		int rc = core_wait(wait_all_call, &crowd, deadline, 0);
		result = core_pool_start_failed() ? NULL : core_in_time(rc);
	}
	PyMem_Free(crowd.futures);
	Py_XDECREF(tickets);
	return result;
}

/* ---- calls ---- */

/* What dispatch.c has packed, as a ticket. */
static PyObject *submit_packed(struct core_pool *self, struct core_dispatch *dispatch,
			       PyObject *user, struct ft_call *call)
{
	PyObject *ticket = core_ticket_new(self->state, user);
	int rc, notify = call->flags & FT_CALL_NOTIFY;
	struct ft_future *future;

	if (!ticket)
		return NULL;
	call->user = ticket;
	core_ticket_tell(ticket, (PyObject *)self, dispatch->parcel.size);
	if (notify)
		core_news_add(&self->news, core_ticket_item(ticket), ticket);
	rc = core_dispatch_send(self, dispatch, call, &future);
	if (!rc) {
		core_ticket_set(ticket, future);
		core_pool_start_report();
		return ticket;
	}
	if (notify) {
		core_news_take(&self->news, core_ticket_item(ticket));
		Py_DECREF(ticket);
	}
	Py_DECREF(ticket);
	return core_pool_refused(self, rc);
}

/* kind, function, args, kwargs, notify, user, group */
PyObject *core_pool_ticket(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
	struct core_pool *self = pool_of(op);
	struct core_dispatch dispatch;
	PyObject *ticket = NULL;
	struct ft_call call;
	long kind;
	int rc;

	if (nargs != 7) {
		PyErr_SetString(PyExc_TypeError, "ticket() takes 7 arguments");
		return NULL;
	}
	kind = PyLong_AsLong(args[0]);
	if (announce_from(args[4], NULL, args[6], &call) || PyErr_Occurred())
		return NULL;
	if (kind < 0 || kind >= CORE_KINDS)
		return core_raise(-EINVAL);
	rc = kind == CORE_CALL ? core_dispatch_call(self, &dispatch, args[1], args[2], args[3])
			       : core_dispatch_items(self, &dispatch, (int)kind, args[1], args[2]);
	if (!rc)
		ticket = submit_packed(self, &dispatch, args[5], &call);
	core_dispatch_clear(&dispatch);
	return ticket;
}
