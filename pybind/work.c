/* SPDX-License-Identifier: MIT */
/* A pool worker's loop: tasks that dispatch.c packed, run without a Python frame
 * of ours between. */
#include "work.h"

#include <errno.h>

#include "convert.h"
#include "dispatch.h"
#include "parcel.h"

/* What Python does for the cases that are not worth C. */
struct helpers {
	PyObject *raised;   /* callable(exception) -> (status, bytes) */
	PyObject *send;	    /* callable(error, value) -> (status, bytes) */
	PyObject *portable; /* callable(exception) -> exception that can be pickled */
};

/* ---- functions ---- */

static int functions_grow(struct core_seat *self, size_t number)
{
	size_t count = number + 64;
	PyObject **functions = PyMem_Resize(self->functions, PyObject *, count);

	if (!functions) {
		PyErr_NoMemory();
		return -1;
	}
	for (size_t i = self->known; i < count; i++)
		functions[i] = NULL;
	self->functions = functions;
	self->known = count;
	return 0;
}

static PyObject *function_load(struct core_seat *self, uint64_t handle)
{
	PyObject *view, *function;
	void *block;
	int rc = ft_block_at(handle, &block);

	if (rc)
		return core_raise(rc);
	view = PyMemoryView_FromMemory(block, (Py_ssize_t)ft_block_size(block), PyBUF_READ);
	function = view ? core_pickling(self->state->loads, &view, 1, NULL) : NULL;
	Py_XDECREF(view);
	return function;
}

/* A borrowed reference, or NULL with an exception. */
static PyObject *function_of(struct core_seat *self, uint64_t code, struct core_delivery *delivery)
{
	uint64_t number = code >> CORE_KIND_BITS, handle;

	if (number > CORE_SHIPPED_MOST || delivery->size < sizeof(handle))
		return core_raise(-EINVAL);
	memcpy(&handle, delivery->data, sizeof(handle));
	delivery->data += sizeof(handle);
	delivery->size -= sizeof(handle);
	if (number >= self->known && functions_grow(self, number))
		return NULL;
	if (!self->functions[number])
		self->functions[number] = function_load(self, handle);
	return self->functions[number];
}

/* ---- running ---- */

static PyObject *call_star(PyObject *function, PyObject *item)
{
	PyObject *args = PySequence_Tuple(item);
	PyObject *value = args ? PyObject_CallObject(function, args) : NULL;

	Py_XDECREF(args);
	return value;
}

/* (True, value) or (False, exception); NULL for what no handler should stop. */
static PyObject *call_each(const struct helpers *helpers, PyObject *function, PyObject *item)
{
	PyObject *value = PyObject_CallOneArg(function, item), *error, *portable;

	if (value)
		return Py_BuildValue("(ON)", Py_True, value);
	if (!PyErr_ExceptionMatches(PyExc_Exception))
		return NULL;
	error = core_exception_take();
	portable = PyObject_CallOneArg(helpers->portable, error);
	Py_DECREF(error);
	return portable ? Py_BuildValue("(ON)", Py_False, portable) : NULL;
}

static PyObject *call_item(const struct helpers *helpers, int kind, PyObject *function,
			   PyObject *item)
{
	if (kind == CORE_MAP)
		return PyObject_CallOneArg(function, item);
	return kind == CORE_STARMAP ? call_star(function, item)
				    : call_each(helpers, function, item);
}

static PyObject *run_items(const struct helpers *helpers, int kind, PyObject *function,
			   PyObject *items)
{
	PyObject *tuple = PySequence_Tuple(items), *list = NULL, *value;
	Py_ssize_t count = tuple ? PyTuple_GET_SIZE(tuple) : 0;

	if (tuple)
		list = PyList_New(count);
	for (Py_ssize_t i = 0; list && i < count; i++) {
		value = call_item(helpers, kind, function, PyTuple_GET_ITEM(tuple, i));
		if (value)
			PyList_SET_ITEM(list, i, value);
		else
			Py_CLEAR(list);
	}
	Py_XDECREF(tuple);
	return list;
}

/* As the kind demands, with what dispatch.c has packed behind the function. */
static PyObject *run(const struct helpers *helpers, int kind, PyObject *function, PyObject *object)
{
	PyObject *args = object, *kwargs = NULL;

	if (kind >= CORE_MAP)
		return run_items(helpers, kind, function, object);
	if (kind == CORE_CALL_KW && PyTuple_Check(object) && PyTuple_GET_SIZE(object) == 2) {
		args = PyTuple_GET_ITEM(object, 0);
		kwargs = PyTuple_GET_ITEM(object, 1);
	}
	if (!PyTuple_Check(args) || (kwargs && !PyDict_Check(kwargs)))
		return core_raise(-EINVAL);
	return PyObject_Call(function, args, kwargs);
}

/* Function, arguments and keywords, from one tuple. */
static PyObject *run_all(const struct helpers *helpers, int kind, PyObject *all)
{
	PyObject *function, *args, *kwargs;

	if (!PyTuple_Check(all) || PyTuple_GET_SIZE(all) != 3)
		return core_raise(-EINVAL);
	function = PyTuple_GET_ITEM(all, 0);
	args = PyTuple_GET_ITEM(all, 1);
	kwargs = PyTuple_GET_ITEM(all, 2);
	if (kind != CORE_CALL_KW)
		return run(helpers, kind, function, args);
	return PyObject_Call(function, args, kwargs);
}

static void *take(void *task)
{
	void *block;

	return ft_task_take(task, &block) ? NULL : block;
}

static PyObject *perform(struct core_seat *self, const struct helpers *helpers)
{
	uint64_t code = ft_task_code(self->task);
	int kind = (int)(code & ((1 << CORE_KIND_BITS) - 1));
	struct core_delivery delivery = { .take = take, .ctx = self->task, .ranges = 1 };
	PyObject *function = NULL, *object, *value;

	delivery.start = delivery.data = ft_task_arg(self->task, &delivery.size);
	if (code >> CORE_KIND_BITS) {
		function = function_of(self, code, &delivery);
		if (!function)
			return NULL;
	}
	object = core_delivery_object(self->state, &delivery);
	if (!object)
		return NULL;
	value = function ? run(helpers, kind, function, object) : run_all(helpers, kind, object);
	Py_DECREF(object);
	return value;
}

/* ---- replying ---- */

static int reply_parcel(struct ft_task *task, struct core_parcel *parcel)
{
	int rc;

	if (!parcel->block)
		return ft_task_reply(task, parcel->data, parcel->size);
	rc = ft_task_reply_block(task, parcel->block, parcel->size);
	if (!rc)
		parcel->block = NULL;
	return rc;
}

/* What Python has made of it: (status, bytes), and what these refer to.  The
 * status. */
static int reply_pair(struct ft_task *task, PyObject *pair, struct core_parcel *parcel)
{
	Py_buffer view;
	int status = -EFAULT, rc;

	if (!pair || !PyArg_ParseTuple(pair, "iy*", &status, &view)) {
		PyErr_Clear();
		return -EFAULT;
	}
	rc = status ? core_parcel_put(parcel, view.buf, (size_t)view.len)
		    : core_parcel_pickle(parcel, view.obj);
	rc = rc || core_parcel_seal(parcel) ? -ENOMEM : reply_parcel(task, parcel);
	PyErr_Clear();
	PyBuffer_Release(&view);
	return rc ? rc : status;
}

/* What one of the helpers makes of an exception, and of a value if there is one. */
static int reply_helped(struct core_seat *self, PyObject *helper, PyObject *error,
			PyObject *value)
{
	struct core_parcel parcel;
	PyObject *pair;
	int status;

	core_parcel_init(&parcel);
	core_cargo_begin(&parcel.cargo);
	pair = PyObject_CallFunctionObjArgs(helper, error, value, NULL);
	core_cargo_end(&parcel.cargo);
	status = reply_pair(self->task, pair, &parcel);
	core_parcel_clear(&parcel);
	Py_XDECREF(pair);
	return status;
}

/* The exception that is set, by way of Python. */
static int reply_raised(struct core_seat *self, const struct helpers *helpers)
{
	PyObject *error = core_exception_take();
	int status = reply_helped(self, helpers->raised, error, NULL);

	Py_DECREF(error);
	return status;
}

/* A value that plain pickle can't do. */
static int reply_otherwise(struct core_seat *self, const struct helpers *helpers, PyObject *value)
{
	PyObject *error = core_exception_take();
	int status = reply_helped(self, helpers->send, error, value);

	Py_DECREF(error);
	return status;
}

static int reply_value(struct core_seat *self, const struct helpers *helpers, PyObject *value)
{
	struct core_parcel parcel;
	int status;

	core_parcel_init(&parcel);
	if (core_parcel_object(self->state, &parcel, value) || core_parcel_seal(&parcel))
		status = reply_otherwise(self, helpers, value);
	else
		status = reply_parcel(self->task, &parcel);
	core_parcel_clear(&parcel);
	return status;
}

static void work_one(struct core_seat *self, const struct helpers *helpers)
{
	PyObject *value = perform(self, helpers);
	int status = value ? reply_value(self, helpers, value) : reply_raised(self, helpers);
	struct ft_task *task = self->task;

	Py_XDECREF(value);
	self->task = NULL;
	/* Refused in a child that the function has forked, and so is the next. */
	ft_task_end(task, status);
}

PyObject *core_seat_work(PyObject *op, PyObject *args)
{
	struct core_seat *self = (struct core_seat *)op;
	struct helpers helpers;
	int rc;

	if (!PyArg_ParseTuple(args, "OOO:work", &helpers.raised, &helpers.send, &helpers.portable))
		return NULL;
	if (core_seat_enter(self))
		return NULL;
	while ((rc = core_seat_take(self, FT_FOREVER)) == 0)
		work_one(self, &helpers);
	core_seat_leave(self);
	return core_none(rc == -EPIPE ? 0 : rc);
}
