/* SPDX-License-Identifier: MIT */
#include "item.h"

/* Items up to this many bytes are unpickled from a copy, which costs less than
 * the memoryview that spares it. */
#define SMALL_ITEM 4096

PyObject *core_item_dumps(struct core_state *state, PyObject *item)
{
	PyObject *bytes = PyObject_CallFunction(state->dumps, "Oi", item, 5);

	if (bytes && !PyBytes_Check(bytes)) {
		PyErr_SetString(PyExc_TypeError, "pickle.dumps did not return bytes");
		Py_CLEAR(bytes);
	}
	return bytes;
}

static PyObject *unpickled(struct core_state *state, char *data, size_t size)
{
	PyObject *bytes, *item;

	if (size <= SMALL_ITEM)
		bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
	else
		bytes = PyMemoryView_FromMemory(data, (Py_ssize_t)size, PyBUF_READ);
	if (!bytes)
		return NULL;
	item = PyObject_CallOneArg(state->loads, bytes);
	Py_DECREF(bytes);
	return item;
}

PyObject *core_item_loads(struct core_state *state, void *block, size_t size)
{
	PyObject *item = unpickled(state, block, size);

	ft_block_free(block);
	return item;
}
