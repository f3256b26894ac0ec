/* SPDX-License-Identifier: MIT */
#include "outcome.h"

#include "convert.h"
#include "parcel.h"

static void *take(void *future)
{
	void *block;

	return ft_future_take(future, &block) ? NULL : block;
}

/* Python tells what a status means.  It gets a ticket, for as long as it takes. */
static PyObject *failure(struct core_pool *self, struct ft_future *future, int status)
{
	PyObject *ticket = core_ticket_new(self->state, NULL), *exception = NULL;

	if (!ticket)
		return NULL;
	core_ticket_set(ticket, future);
	if (self->failure)
		exception = PyObject_CallFunction(self->failure, "iO", status, ticket);
	else
		core_raise(status);
	core_ticket_set(ticket, NULL);
	Py_DECREF(ticket);
	return exception;
}

PyObject *core_outcome(struct core_pool *self, struct ft_future *future, int *failed)
{
	struct core_delivery delivery = { .take = take, .ctx = future };
	const void *data;
	int status = ft_future_result(future, &data, &delivery.size);
	PyObject *value;

	*failed = status != 0;
	if (status)
		return failure(self, future, status);
	delivery.start = delivery.data = data;
	value = core_delivery_object(self->state, &delivery);
	if (value)
		return value;
	*failed = 1;
	return core_exception_take();
}

PyObject *core_outcome_raise(PyObject *exception)
{
	if (PyExceptionInstance_Check(exception))
		PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
	else
		PyErr_SetString(PyExc_TypeError, "what the task raised arrived as no exception");
	return NULL;
}
