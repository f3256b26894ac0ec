/* SPDX-License-Identifier: MIT */
#include "future.h"

#include <errno.h>

#include "rest.h"

static struct core_future *future_of(PyObject *op)
{
	return (struct core_future *)op;
}

static int state_of(struct core_future *self)
{
	/* Acquire, with the release of whoever completed it: the outcome is there. */
	return atomic_load_explicit(&self->state, memory_order_acquire);
}

static int is_over(int state)
{
	return state >= CORE_CANCELLED;
}

/* Something of concurrent.futures, for the paths that are not worth a cache. */
static PyObject *futures_name(const char *name)
{
	PyObject *module = PyImport_ImportModule("concurrent.futures._base");
	PyObject *object = module ? PyObject_GetAttrString(module, name) : NULL;

	Py_XDECREF(module);
	return object;
}

static void raise_name(const char *name, PyObject *op)
{
	PyObject *type = futures_name(name);

	if (type && op)
		PyErr_Format(type, "the future is complete: %R", op);
	else if (type)
		PyErr_SetNone(type);
	Py_XDECREF(type);
}

/* ---- life ---- */

void core_future_init(struct core_future *self, const struct core_drive *drive)
{
	self->drive = drive;
	pthread_mutex_init(&self->lock, NULL);
	atomic_store_explicit(&self->state, CORE_PENDING, memory_order_relaxed);
	ft_event_init(&self->ended, FT_PRIVATE | FT_INTERRUPTIBLE);
	ft_lock_init(&self->settling, FT_PRIVATE | FT_INTERRUPTIBLE);
}

PyObject *core_future_new(PyTypeObject *type)
{
	PyObject *op = type->tp_alloc(type, 0);

	if (op)
		core_future_init(future_of(op), NULL);
	return op;
}

static PyObject *future_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	if (PyTuple_GET_SIZE(args) || (kwargs && PyDict_GET_SIZE(kwargs))) {
		PyErr_SetString(PyExc_TypeError, "Future() takes no arguments");
		return NULL;
	}
	return core_future_new(type);
}

/* The standard library's would set what is made on demand here. */
static int future_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
	(void)op;
	(void)args;
	(void)kwargs;
	return 0;
}

int core_future_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(op));
	Py_VISIT(future_of(op)->result);
	Py_VISIT(future_of(op)->exception);
	Py_VISIT(future_of(op)->condition);
	Py_VISIT(future_of(op)->waiters);
	Py_VISIT(future_of(op)->callbacks);
	Py_VISIT(future_of(op)->pool);
	return 0;
}

int core_future_clear(PyObject *op)
{
	Py_CLEAR(future_of(op)->result);
	Py_CLEAR(future_of(op)->exception);
	Py_CLEAR(future_of(op)->condition);
	Py_CLEAR(future_of(op)->waiters);
	Py_CLEAR(future_of(op)->callbacks);
	return 0;
}

void core_future_fini(struct core_future *self)
{
	ft_future_free(self->native);
	Py_CLEAR(self->pool);
	pthread_mutex_destroy(&self->lock);
}

static void future_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	core_future_clear(op);
	core_future_fini(future_of(op));
	type->tp_free(op);
	Py_DECREF(type);
}

/* ---- completing ---- */

struct outcome {
	int state;
	PyObject *result, *exception; /* borrowed */
};

/* How a completion may end, besides 0 and -1 with an exception. */
#define TOO_LATE (-2) /* it is complete already, or another thread's to settle */

/* With the lock. */
static int store(struct core_future *self, const struct outcome *outcome)
{
	int state = atomic_load_explicit(&self->state, memory_order_relaxed);

	if (is_over(state) && !(state == CORE_CANCELLED && outcome->state == state + 1))
		return TOO_LATE;
	/* A worker was faster than who cancels. */
	if (state == CORE_RUNNING && outcome->state == CORE_CANCELLED)
		return TOO_LATE;
	self->result = Py_XNewRef(outcome->result);
	self->exception = Py_XNewRef(outcome->exception);
	/* Release, with state_of. */
	atomic_store_explicit(&self->state, outcome->state, memory_order_release);
	return 0;
}

/* What is made on demand, as it is now. */
static PyObject *peek(struct core_future *self, PyObject *const *place)
{
	PyObject *object;

	pthread_mutex_lock(&self->lock);
	object = *place;
	pthread_mutex_unlock(&self->lock);
	return object;
}

static int call_each(PyObject *list, const char *method, PyObject *op)
{
	PyObject *copy = list ? PySequence_Tuple(list) : NULL, *done;
	int rc = list && !copy ? -1 : 0;

	for (Py_ssize_t i = 0; !rc && copy && i < PyTuple_GET_SIZE(copy); i++) {
		done = PyObject_CallMethod(PyTuple_GET_ITEM(copy, i), method, "O", op);
		rc = done ? 0 : -1;
		Py_XDECREF(done);
	}
	Py_XDECREF(copy);
	return rc;
}

static int call_simple(PyObject *op, const char *method)
{
	PyObject *done = PyObject_CallMethod(op, method, NULL);

	Py_XDECREF(done);
	return done ? 0 : -1;
}

/* With the condition held. */
static int tell(struct core_future *self, int state)
{
	const char *method = state == CORE_CANCELLED_AND_NOTIFIED ? "add_cancelled"
			     : self->exception			  ? "add_exception"
								  : "add_result";
	int rc = 0;

	if (state != CORE_CANCELLED)
		rc = call_each(peek(self, &self->waiters), method, (PyObject *)self);
	return call_simple(self->condition, "notify_all") ? -1 : rc;
}

/* Somebody has looked at the condition, and may hold it. */
static int store_told(struct core_future *self, const struct outcome *outcome)
{
	int rc;

	if (call_simple(self->condition, "acquire"))
		return -1;
	pthread_mutex_lock(&self->lock);
	rc = store(self, outcome);
	pthread_mutex_unlock(&self->lock);
	if (!rc) {
		ft_event_set(&self->ended);
		rc = tell(self, outcome->state);
	}
	return call_simple(self->condition, "release") ? -1 : rc;
}

static int complete(struct core_future *self, const struct outcome *outcome,
		    struct core_rest *rest)
{
	int rc = 0, seen;

	pthread_mutex_lock(&self->lock);
	seen = self->condition != NULL;
	if (!seen)
		rc = store(self, outcome);
	pthread_mutex_unlock(&self->lock);
	if (!seen) {
		if (!rc && rest)
			core_rest_soon(rest);
		if (!rc)
			ft_event_set(&self->ended);
		return rc;
	}
	rc = store_told(self, outcome);
	/* Cancelled in two steps, it calls back in the first one, as ever. */
	if (rc || !peek(self, &self->callbacks) ||
	    (outcome->state == CORE_CANCELLED_AND_NOTIFIED && !self->drive))
		return rc;
	return call_simple((PyObject *)self, "_invoke_callbacks");
}

static int in_time(int rc, PyObject *op)
{
	if (rc == TOO_LATE)
		raise_name("InvalidStateError", op);
	return rc ? -1 : 0;
}

int core_future_set_result(PyObject *op, PyObject *value, struct core_rest *rest)
{
	struct outcome outcome = { CORE_FINISHED, value, NULL };

	return in_time(complete(future_of(op), &outcome, rest), op);
}

int core_future_set_exception(PyObject *op, PyObject *exception, struct core_rest *rest)
{
	struct outcome outcome = { CORE_FINISHED, NULL, exception };

	return in_time(complete(future_of(op), &outcome, rest), op);
}

int core_future_set_running(PyObject *op)
{
	struct core_future *self = future_of(op);
	struct outcome notified = { CORE_CANCELLED_AND_NOTIFIED, NULL, NULL };
	int before = CORE_PENDING;

	pthread_mutex_lock(&self->lock);
	/* Nothing else is published by it: relaxed would do. */
	if (atomic_compare_exchange_strong(&self->state, &before, CORE_RUNNING))
		before = CORE_PENDING;
	pthread_mutex_unlock(&self->lock);
	if (before == CORE_PENDING)
		return 1;
	if (before == CORE_CANCELLED)
		return complete(self, &notified, NULL) == -1 ? -1 : 0;
	PyErr_SetString(PyExc_RuntimeError, "Future in unexpected state");
	return -1;
}

/* ---- driven futures ---- */

static int settling_call(void *settling, ft_deadline deadline)
{
	return ft_lock_acquire(settling, deadline);
}

/* Under `settling`, since the outcome may be had only once, and is large. */
static int take_in(struct core_future *self)
{
	PyObject *result = NULL, *exception = NULL;
	struct outcome outcome;
	int rc = self->drive->outcome((PyObject *)self, &result, &exception);

	if (rc < 0)
		return -1;
	outcome = (struct outcome){ rc, result, exception };
	rc = complete(self, &outcome, NULL);
	Py_XDECREF(result);
	Py_XDECREF(exception);
	return rc;
}

/* The outcome is there.  0; TOO_LATE, also if somebody else is at it and not through
 * by the deadline; or -1.  Who has taken the outcome stores it: a waiter leaves it to
 * the thread that watches, if there is one, before it takes it. */
static int settle(struct core_future *self, int by_waiter, ft_deadline deadline)
{
	int rc = core_wait(settling_call, &self->settling, deadline, 0);

	if (rc == -ETIMEDOUT || (rc == -EDEADLK && deadline == FT_NOW))
		return TOO_LATE;
	if (rc) {
		core_raise(rc);
		return -1;
	}
	if (is_over(state_of(self)) || (by_waiter && atomic_load(&self->watched)))
		rc = TOO_LATE;
	else
		rc = take_in(self);
	(void)ft_lock_release(&self->settling);
	return rc;
}

int core_future_settle(PyObject *op)
{
	if (is_over(state_of(future_of(op))))
		return 0;
	return settle(future_of(op), 0, FT_FOREVER) == -1 ? -1 : 0;
}

static int is_lean(struct core_future *self)
{
	return self->drive && !atomic_load(&self->watched);
}

/* Takes a lean future's outcome if it is there and nobody else does.  0 or -1. */
static int look(struct core_future *self)
{
	int rc;

	if (!is_lean(self) || is_over(state_of(self)))
		return 0;
	rc = self->drive->done((PyObject *)self);
	if (rc > 0)
		rc = settle(self, 1, FT_NOW);
	return rc == -1 ? -1 : 0;
}

/* Somebody wants to be told: from now on another thread settles it. */
static int watch(struct core_future *self)
{
	int first;

	if (!self->drive || look(self) || is_over(state_of(self)))
		return PyErr_Occurred() ? -1 : 0;
	pthread_mutex_lock(&self->lock);
	first = !atomic_exchange(&self->watched, 1);
	pthread_mutex_unlock(&self->lock);
	if (!first || self->drive->watch((PyObject *)self) == 0)
		return 0;
	atomic_store(&self->watched, 0);
	return -1;
}

/* ---- waiting ---- */

static int event_call(void *event, ft_deadline deadline)
{
	return ft_event_wait(event, deadline);
}

/* The same answers as await_end's, but that there is more to wait for after 0. */
static int await_lean(struct core_future *self, ft_deadline deadline)
{
	int rc = core_wait(self->drive->wait, self, deadline, 0);

	if (self->drive->failed())
		return -1;
	if (rc)
		return rc;
	rc = settle(self, 1, deadline);
	if (rc != TOO_LATE)
		return rc;
	return is_lean(self) && !is_over(state_of(self)) && deadline <= ft_now() ? -ETIMEDOUT : 0;
}

/* 0; -ETIMEDOUT; another -errno, or -1, with an exception. */
static int await_end(struct core_future *self, ft_deadline deadline)
{
	int rc = 0;

	while (!rc && !is_over(state_of(self)))
		rc = is_lean(self) ? await_lean(self, deadline)
				   : core_wait(event_call, &self->ended, deadline, 0);
	return rc;
}

/* Waits as the arguments of result() and exception() say.  0 if it finished, or
 * -1 with an exception. */
static int finished(PyObject *op, const char *name, PyObject *const *args, Py_ssize_t nargs,
		    PyObject *kwnames)
{
	static const char *const names[] = { "timeout", NULL };
	PyObject *given[1];
	ft_deadline deadline;
	int rc;

	if (core_args(name, names, 0, args, nargs, kwnames, given) ||
	    core_deadline(given[0], &deadline))
		return -1;
	rc = await_end(future_of(op), deadline);
	if (rc == -ETIMEDOUT)
		raise_name("TimeoutError", NULL);
	else if (rc)
		core_raise(rc);
	else if (state_of(future_of(op)) != CORE_FINISHED)
		raise_name("CancelledError", NULL);
	return PyErr_Occurred() ? -1 : 0;
}

static PyObject *future_result(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
			       PyObject *kwnames)
{
	PyObject *exception;

	if (finished(op, "result", args, nargs, kwnames))
		return NULL;
	exception = future_of(op)->exception;
	if (!exception)
		return Py_NewRef(future_of(op)->result);
	PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
	return NULL;
}

static PyObject *future_exception(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
				  PyObject *kwnames)
{
	PyObject *exception;

	if (finished(op, "exception", args, nargs, kwnames))
		return NULL;
	exception = future_of(op)->exception;
	return Py_NewRef(exception ? exception : Py_None);
}

/* ---- looking ---- */

static PyObject *future_done(PyObject *op, PyObject *unused)
{
	(void)unused;
	return look(future_of(op)) ? NULL : PyBool_FromLong(is_over(state_of(future_of(op))));
}

static PyObject *future_cancelled(PyObject *op, PyObject *unused)
{
	int state;

	(void)unused;
	if (look(future_of(op)))
		return NULL;
	state = state_of(future_of(op));
	return PyBool_FromLong(is_over(state) && state != CORE_FINISHED);
}

static int state_now(struct core_future *self)
{
	int state;

	if (look(self))
		return -1;
	state = state_of(self);
	if (state == CORE_PENDING && self->drive && self->drive->running((PyObject *)self))
		return CORE_RUNNING;
	return state;
}

static PyObject *future_running(PyObject *op, PyObject *unused)
{
	int state = state_now(future_of(op));

	(void)unused;
	return state < 0 ? NULL : PyBool_FromLong(state == CORE_RUNNING);
}

/* ---- cancelling ---- */

/* The state after a try to cancel, or -1. */
static int cancel(struct core_future *self)
{
	struct outcome outcome = { self->drive ? CORE_CANCELLED_AND_NOTIFIED : CORE_CANCELLED, NULL,
				   NULL };
	int state = state_of(self), rc;

	if (is_over(state) || state == CORE_RUNNING)
		return state;
	rc = self->drive ? self->drive->cancel((PyObject *)self) : 1;
	if (rc <= 0)
		return rc ? -1 : CORE_RUNNING;
	if (complete(self, &outcome, NULL) == -1)
		return -1;
	return state_of(self);
}

static PyObject *future_cancel(PyObject *op, PyObject *unused)
{
	int state = cancel(future_of(op));

	(void)unused;
	if (state < 0)
		return NULL;
	return PyBool_FromLong(is_over(state) && state != CORE_FINISHED);
}

/* ---- by the worker's thread ---- */

static PyObject *future_set_running(PyObject *op, PyObject *unused)
{
	int rc = core_future_set_running(op);

	(void)unused;
	return rc < 0 ? NULL : PyBool_FromLong(rc);
}

static PyObject *future_set_result(PyObject *op, PyObject *value)
{
	return core_future_set_result(op, value, NULL) ? NULL : Py_NewRef(Py_None);
}

static PyObject *future_set_exception(PyObject *op, PyObject *exception)
{
	return core_future_set_exception(op, exception, NULL) ? NULL : Py_NewRef(Py_None);
}

static PyObject *future_settle(PyObject *op, PyObject *unused)
{
	(void)unused;
	if (!future_of(op)->drive) {
		PyErr_SetString(PyExc_ValueError, "this future is completed by set_result()");
		return NULL;
	}
	return core_future_settle(op) ? NULL : Py_NewRef(Py_None);
}

/* ---- what the standard library's functions touch ---- */

/* *place, made by `make` if need be; the first one stays. */
static PyObject *made(struct core_future *self, PyObject **place, PyObject *(*make)(void))
{
	PyObject *object, *fresh = NULL;

	pthread_mutex_lock(&self->lock);
	object = Py_XNewRef(*place);
	pthread_mutex_unlock(&self->lock);
	if (!object)
		fresh = make();
	if (object || !fresh)
		return object;
	pthread_mutex_lock(&self->lock);
	if (!*place)
		*place = Py_NewRef(fresh);
	object = Py_NewRef(*place);
	pthread_mutex_unlock(&self->lock);
	Py_DECREF(fresh);
	return object;
}

static PyObject *make_condition(void)
{
	PyObject *module = PyImport_ImportModule("threading");
	PyObject *made = module ? PyObject_CallMethod(module, "Condition", NULL) : NULL;

	Py_XDECREF(module);
	return made;
}

static PyObject *make_list(void)
{
	return PyList_New(0);
}

static PyObject *future_condition(PyObject *op, void *unused)
{
	PyObject *condition = made(future_of(op), &future_of(op)->condition, make_condition);

	(void)unused;
	if (condition && watch(future_of(op)))
		Py_CLEAR(condition);
	return condition;
}

static PyObject *future_waiters(PyObject *op, void *unused)
{
	(void)unused;
	return made(future_of(op), &future_of(op)->waiters, make_list);
}

static PyObject *future_callbacks(PyObject *op, void *unused)
{
	(void)unused;
	return made(future_of(op), &future_of(op)->callbacks, make_list);
}

static PyObject *future_state(PyObject *op, void *unused)
{
	static const char *const names[] = { "PENDING", "RUNNING", "CANCELLED",
					     "CANCELLED_AND_NOTIFIED", "FINISHED" };
	int state = state_now(future_of(op));

	(void)unused;
	return state < 0 ? NULL : PyUnicode_InternFromString(names[state]);
}

static PyObject *outcome_part(PyObject *op, PyObject **part)
{
	if (look(future_of(op)))
		return NULL;
	if (state_of(future_of(op)) != CORE_FINISHED || !*part)
		Py_RETURN_NONE;
	return Py_NewRef(*part);
}

static PyObject *future_get_result(PyObject *op, void *unused)
{
	(void)unused;
	return outcome_part(op, &future_of(op)->result);
}

static PyObject *future_get_exception(PyObject *op, void *unused)
{
	(void)unused;
	return outcome_part(op, &future_of(op)->exception);
}

static PyMethodDef future_methods[] = {
	{ "result", CORE_FAST(future_result),
	  "result($self, /, timeout=None)\n--\n\n"
	  "The call's result, waiting for it if need be; raises what the call raised.\n\n"
	  "timeout: the longest wait in seconds; None waits for ever.  Raises TimeoutError when\n"
	  "it is over, and CancelledError if the call was cancelled." },
	{ "exception", CORE_FAST(future_exception),
	  "exception($self, /, timeout=None)\n--\n\n"
	  "What the call raised, or None; waits, and raises, as result()." },
	{ "done", future_done, METH_NOARGS,
	  "done($self, /)\n--\n\nTrue if the call has ended, well or not, or was cancelled." },
	{ "cancelled", future_cancelled, METH_NOARGS,
	  "cancelled($self, /)\n--\n\nTrue if the call was cancelled." },
	{ "running", future_running, METH_NOARGS,
	  "running($self, /)\n--\n\nTrue if a worker is running the call now." },
	{ "cancel", future_cancel, METH_NOARGS,
	  "cancel($self, /)\n--\n\n"
	  "Cancels the call if it has not started.  True if it never will." },
	{ "set_running_or_notify_cancel", future_set_running, METH_NOARGS,
	  "set_running_or_notify_cancel($self, /)\n--\n\n"
	  "By whoever is about to run the call: True, or False if it was cancelled." },
	{ "set_result", future_set_result, METH_O,
	  "set_result($self, result, /)\n--\n\nBy whoever has run the call." },
	{ "set_exception", future_set_exception, METH_O,
	  "set_exception($self, exception, /)\n--\n\nBy whoever has run the call." },
	{ "_settle", future_settle, METH_NOARGS,
	  "_settle($self, /)\n--\n\nBy the thread that watches it: takes the outcome in." },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef future_getset[] = {
	{ "_condition", future_condition, NULL, "Made when it is looked at.", NULL },
	{ "_waiters", future_waiters, NULL, "Made when it is looked at.", NULL },
	{ "_done_callbacks", future_callbacks, NULL, "Made when it is looked at.", NULL },
	{ "_state", future_state, NULL, "One of concurrent.futures' words.", NULL },
	{ "_result", future_get_result, NULL, "The result, once it is there.", NULL },
	{ "_exception", future_get_exception, NULL, "The exception, once it is there.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

PyDoc_STRVAR(future_doc,
	     "The native part of a Future.\n\n"
	     "It is to be inherited from together with concurrent.futures.Future, and first.");

static PyType_Slot future_slots[] = {
	{ Py_tp_doc, (void *)future_doc },
	{ Py_tp_new, future_new },
	{ Py_tp_init, future_init },
	{ Py_tp_dealloc, future_dealloc },
	{ Py_tp_traverse, core_future_traverse },
	{ Py_tp_clear, core_future_clear },
	{ Py_tp_methods, future_methods },
	{ Py_tp_getset, future_getset },
	{ 0, NULL },
};

PyType_Spec core_future_spec = {
	.name = "freethreading._core.Future",
	.basicsize = sizeof(struct core_future),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = future_slots,
};
