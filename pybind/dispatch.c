/* SPDX-License-Identifier: MIT */
#include "dispatch.h"

#include <string.h>

#include "convert.h"

/* ---- functions ---- */

/* Whether a function is what its module knows by its name, so that its pickle is
 * that name, and says the same each time. */
static int is_known_by_name(PyObject *function)
{
	PyFunctionObject *self = (PyFunctionObject *)function;

	return PyDict_GetItemWithError(self->func_globals, self->func_qualname) == function;
}

static int is_shippable(PyObject *function)
{
	if (PyFunction_Check(function))
		return is_known_by_name(function);
	if (!PyCFunction_CheckExact(function))
		return 0;
	/* A module's own, not a bound method. */
	return !PyCFunction_GET_SELF(function) || PyModule_Check(PyCFunction_GET_SELF(function));
}

/* The function's pickle in a block, or NULL with an exception. */
static void *block_of(struct core_state *state, PyObject *function)
{
	PyObject *bytes = core_pickling(state->dumps, &function, 1, NULL);
	void *block = NULL;
	int rc = 0;

	if (bytes)
		rc = ft_block_alloc((size_t)PyBytes_GET_SIZE(bytes), &block);
	if (rc)
		core_raise(rc);
	else if (bytes)
		memcpy(block, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
	Py_XDECREF(bytes);
	return rc ? NULL : block;
}

/* Two threads may ship the same function: the dict decides whose number counts. */
static long ship(struct core_pool *self, PyObject *function)
{
	PyObject *number, *known;
	long mine = atomic_fetch_add(&self->numbers, 1) + 1, count;

	if (mine > CORE_SHIPPED_MOST) {
		atomic_store(&self->numbers, CORE_SHIPPED_MOST);
		return 0;
	}
	self->shipped[mine - 1] = block_of(self->state, function);
	number = self->shipped[mine - 1] ? PyLong_FromLong(mine) : NULL;
	known = number ? PyDict_SetDefault(self->functions, function, number) : NULL;
	count = known ? PyLong_AsLong(known) : -1;
	Py_XDECREF(number);
	return count;
}

/* A function's number; 0 if it is to travel with the call; -1 with an exception. */
static long number_of(struct core_pool *self, PyObject *function)
{
	PyObject *known;

	if (!is_shippable(function))
		return PyErr_Occurred() ? -1 : 0;
	known = PyDict_GetItemWithError(self->functions, function);
	if (known)
		return PyLong_AsLong(known);
	return PyErr_Occurred() ? -1 : ship(self, function);
}

/* ---- packing ---- */

static void begin(struct core_dispatch *dispatch, int kind)
{
	core_parcel_init(&dispatch->parcel);
	dispatch->code = (uint64_t)kind;
}

static int put_function(struct core_pool *self, struct core_dispatch *dispatch, long number)
{
	uint64_t handle = ft_block_handle(self->shipped[number - 1]);

	dispatch->code |= (uint64_t)number << CORE_KIND_BITS;
	return core_parcel_put(&dispatch->parcel, &handle, sizeof(handle));
}

/* Function and arguments in one pickle. */
static int put_all(struct core_pool *self, struct core_dispatch *dispatch, PyObject *function,
		   PyObject *args, PyObject *kwargs)
{
	PyObject *all = PyTuple_Pack(3, function, args, kwargs ? kwargs : Py_None);
	int rc = all ? core_parcel_object(self->state, &dispatch->parcel, all) : -1;

	Py_XDECREF(all);
	return rc;
}

/* Plain pickle has given up: Python knows other ways, or says what is wrong. */
static int put_otherwise(struct core_pool *self, struct core_dispatch *dispatch, int kind,
			 PyObject *function, PyObject *args, PyObject *kwargs)
{
	PyObject *bytes;
	int rc;

	if (!self->pack || !PyErr_ExceptionMatches(PyExc_Exception))
		return -1;
	PyErr_Clear();
	core_dispatch_clear(dispatch);
	begin(dispatch, kind);
	core_cargo_begin(&dispatch->parcel.cargo);
	bytes = PyObject_CallFunction(self->pack, "iOOO", kind, function, args,
				      kwargs ? kwargs : Py_None);
	core_cargo_end(&dispatch->parcel.cargo);
	rc = bytes ? core_parcel_pickle(&dispatch->parcel, bytes) : -1;
	Py_XDECREF(bytes);
	return rc;
}

static int put_arguments(struct core_pool *self, struct core_dispatch *dispatch, PyObject *args,
			 PyObject *kwargs)
{
	PyObject *both;
	int rc;

	if (!kwargs)
		return core_parcel_object(self->state, &dispatch->parcel, args);
	both = PyTuple_Pack(2, args, kwargs);
	rc = both ? core_parcel_object(self->state, &dispatch->parcel, both) : -1;
	Py_XDECREF(both);
	return rc;
}

static int pack(struct core_pool *self, struct core_dispatch *dispatch, int kind,
		PyObject *function, PyObject *args, PyObject *kwargs)
{
	long number = number_of(self, function);
	int rc = number < 0 ? -1 : 0;

	begin(dispatch, kind);
	if (!rc && number)
		rc = put_function(self, dispatch, number) ||
		     put_arguments(self, dispatch, args, kwargs);
	else if (!rc)
		rc = put_all(self, dispatch, function, args, kwargs);
	if (rc)
		rc = put_otherwise(self, dispatch, kind, function, args, kwargs);
	return rc ? rc : core_parcel_seal(&dispatch->parcel);
}

int core_dispatch_call(struct core_pool *self, struct core_dispatch *dispatch, PyObject *function,
		       PyObject *args, PyObject *kwargs)
{
	if (kwargs == Py_None || (kwargs && PyDict_Check(kwargs) && !PyDict_GET_SIZE(kwargs)))
		kwargs = NULL;
	return pack(self, dispatch, kwargs ? CORE_CALL_KW : CORE_CALL, function, args, kwargs);
}

int core_dispatch_items(struct core_pool *self, struct core_dispatch *dispatch, int kind,
			PyObject *function, PyObject *items)
{
	return pack(self, dispatch, kind, function, items, NULL);
}

static PyObject *range_tuple(int64_t first, int64_t step, int64_t count)
{
	PyObject *items = PyTuple_New((Py_ssize_t)count), *item;

	for (Py_ssize_t i = 0; items && i < count; i++) {
		item = PyLong_FromLongLong(first + i * step);
		if (item)
			PyTuple_SET_ITEM(items, i, item);
		else
			Py_CLEAR(items);
	}
	return items;
}

int core_dispatch_range(struct core_pool *self, struct core_dispatch *dispatch, int kind,
			PyObject *function, int64_t first, int64_t step, int64_t count)
{
	long number = number_of(self, function);
	PyObject *items;
	int rc;

	if (number > 0) {
		begin(dispatch, kind);
		return put_function(self, dispatch, number) ||
			       core_parcel_range(&dispatch->parcel, first, step, count)
			   ? -1
			   : 0;
	}
	PyErr_Clear(); /* it comes again */
	items = range_tuple(first, step, count);
	begin(dispatch, kind);
	rc = items ? pack(self, dispatch, kind, function, items, NULL) : -1;
	Py_XDECREF(items);
	return rc;
}

void core_dispatch_clear(struct core_dispatch *dispatch)
{
	core_parcel_clear(&dispatch->parcel);
}

int core_dispatch_send(struct core_pool *self, struct core_dispatch *dispatch, struct ft_call *call,
		       struct ft_future **future)
{
	struct core_parcel *parcel = &dispatch->parcel;
	int rc;

	call->code = dispatch->code;
	call->arg = parcel->block ? NULL : parcel->data;
	call->block = parcel->block;
	call->arg_size = parcel->size;
	rc = ft_pool_submit(self->pool, call, future);
	if (!rc)
		parcel->block = NULL;
	return rc;
}
