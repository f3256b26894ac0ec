/* SPDX-License-Identifier: MIT */
#include "item.h"

#include <string.h>

#include "cargo.h"
#include "convert.h"

/* Items up to this many bytes are unpickled from a copy, which costs less than
 * the memoryview that spares it. */
#define SMALL_ITEM 4096

/* ---- to a block ---- */

/* `tag` (0: none), then `size` bytes. */
static void *block_of(char tag, const void *data, size_t size)
{
	size_t start = tag ? 1 : 0;
	void *block;
	int rc = ft_block_alloc(start + size, &block);

	if (rc)
		return core_raise(rc);
	if (tag)
		*(char *)block = tag;
	if (size <= CORE_BIG) {
		memcpy((char *)block + start, data, size);
		return block;
	}
	Py_BEGIN_ALLOW_THREADS
	memcpy((char *)block + start, data, size);
	Py_END_ALLOW_THREADS
	return block;
}

/* A block that carries what the pickle refers to. */
static void *block_with(const struct core_cargo *cargo, PyObject *bytes)
{
	size_t size = (size_t)PyBytes_GET_SIZE(bytes);
	void *block;
	int rc = ft_block_alloc(core_cargo_room(cargo, size), &block);

	if (rc)
		return core_raise(rc);
	memcpy(block, PyBytes_AS_STRING(bytes), size);
	rc = core_cargo_load(cargo, block, size);
	if (!rc)
		return block;
	ft_block_free(block);
	return core_raise(rc);
}

static void *block_of_bytes(const struct core_cargo *cargo, PyObject *bytes)
{
	if (!PyBytes_Check(bytes)) {
		PyErr_SetString(PyExc_TypeError, "pickle.dumps did not return bytes");
		return NULL;
	}
	if (cargo->count)
		return block_with(cargo, bytes);
	return block_of(0, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
}

static void *block_of_pickle(struct core_state *state, PyObject *item)
{
	PyObject *protocol = PyLong_FromLong(5);
	PyObject *arguments[] = { item, protocol }, *bytes = NULL;
	struct core_cargo cargo = { 0 };
	void *block = NULL;

	if (!protocol)
		return NULL;
	core_cargo_begin(&cargo);
	bytes = core_pickling(state->dumps, arguments, 2, NULL);
	core_cargo_end(&cargo);
	if (bytes)
		block = block_of_bytes(&cargo, bytes);
	core_cargo_clear(&cargo);
	Py_DECREF(protocol);
	Py_XDECREF(bytes);
	return block;
}

static void *block_of_int(struct core_state *state, PyObject *item)
{
	int overflow;
	long long number = PyLong_AsLongLongAndOverflow(item, &overflow);

	return overflow ? block_of_pickle(state, item) : block_of('i', &number, sizeof(number));
}

static void *block_of_float(PyObject *item)
{
	double number = PyFloat_AS_DOUBLE(item);

	return block_of('f', &number, sizeof(number));
}

/* Whatever is not exactly one of a few types goes the long way: a subclass may
 * pickle as it likes. */
void *core_item_dumps(struct core_state *state, PyObject *item)
{
	if (item == Py_None)
		return block_of('N', "", 0);
	if (PyBool_Check(item))
		return block_of(item == Py_True ? 'T' : 'F', "", 0);
	if (PyLong_CheckExact(item))
		return block_of_int(state, item);
	if (PyFloat_CheckExact(item))
		return block_of_float(item);
	if (PyBytes_CheckExact(item))
		return block_of('b', PyBytes_AS_STRING(item), (size_t)PyBytes_GET_SIZE(item));
	if (PyUnicode_CheckExact(item) && PyUnicode_IS_COMPACT_ASCII(item))
		return block_of('s', PyUnicode_DATA(item), (size_t)PyUnicode_GET_LENGTH(item));
	return block_of_pickle(state, item);
}

/* ---- from a block ---- */

static PyObject *unpickled(struct core_state *state, char *data, size_t size)
{
	PyObject *bytes, *item;

	if (size <= SMALL_ITEM)
		bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
	else
		bytes = PyMemoryView_FromMemory(data, (Py_ssize_t)size, PyBUF_READ);
	if (!bytes)
		return NULL;
	item = core_pickling(state->loads, &bytes, 1, NULL);
	Py_DECREF(bytes);
	return item;
}

static PyObject *number_of(char tag, const char *data, size_t size)
{
	long long whole;
	double number;

	if (size != sizeof(whole)) {
		PyErr_SetString(PyExc_ValueError, "this item of a queue was overwritten");
		return NULL;
	}
	if (tag == 'i') {
		memcpy(&whole, data, sizeof(whole));
		return PyLong_FromLongLong(whole);
	}
	memcpy(&number, data, sizeof(number));
	return PyFloat_FromDouble(number);
}

static PyObject *item_of(struct core_state *state, char *data, size_t size)
{
	switch (size ? data[0] : 0) {
	case 'N':
		return Py_NewRef(Py_None);
	case 'T':
		return Py_NewRef(Py_True);
	case 'F':
		return Py_NewRef(Py_False);
	case 'i':
	case 'f':
		return number_of(data[0], data + 1, size - 1);
	case 'b':
		return PyBytes_FromStringAndSize(data + 1, (Py_ssize_t)size - 1);
	case 's':
		return PyUnicode_DecodeASCII(data + 1, (Py_ssize_t)size - 1, NULL);
	default:
		return unpickled(state, data, size);
	}
}

PyObject *core_item_loads(struct core_state *state, void *block, size_t size)
{
	PyObject *item = item_of(state, block, size);

	ft_block_free(block);
	return item;
}
