/* SPDX-License-Identifier: MIT */
/* Bytes to objects: see parcel.h.  Nothing that arrives is trusted: it lies in
 * pages that others can write to. */
#include <string.h>

#include "crate.h"
#include "convert.h"
#include "parcel.h"

#define DEPTH_MOST 32

static PyObject *raise_damaged(void)
{
	if (!PyErr_Occurred())
		PyErr_SetString(PyExc_ValueError, "what arrived is damaged: shared memory was "
						  "overwritten while it was on its way");
	return NULL;
}

/* The next `size` bytes, or NULL. */
static const unsigned char *take(struct core_delivery *delivery, uint64_t size)
{
	const unsigned char *at = delivery->data;

	if (size > delivery->size)
		return NULL;
	delivery->data += size;
	delivery->size -= size;
	return at;
}

static int take_word(struct core_delivery *delivery, void *word, size_t size)
{
	const unsigned char *at = take(delivery, size);

	if (at)
		memcpy(word, at, size);
	return at ? 0 : -1;
}

static PyObject *open_plain(struct core_state *state, struct core_delivery *delivery, int depth);

/* ---- scalars ---- */

static PyObject *open_tiny(struct core_delivery *delivery)
{
	int8_t value;

	return take_word(delivery, &value, sizeof(value)) ? raise_damaged()
							  : PyLong_FromLong(value);
}

static PyObject *open_int(struct core_delivery *delivery)
{
	int64_t value;

	return take_word(delivery, &value, sizeof(value)) ? raise_damaged()
							  : PyLong_FromLongLong(value);
}

static PyObject *open_float(struct core_delivery *delivery)
{
	double value;

	return take_word(delivery, &value, sizeof(value)) ? raise_damaged()
							  : PyFloat_FromDouble(value);
}

static PyObject *open_str(struct core_delivery *delivery)
{
	unsigned char kind;
	uint32_t length;
	const unsigned char *at = NULL;

	if (!take_word(delivery, &kind, sizeof(kind)) &&
	    !take_word(delivery, &length, sizeof(length)) && (kind == 1 || kind == 2 || kind == 4))
		at = take(delivery, (uint64_t)length * kind);
	return at ? PyUnicode_FromKindAndData(kind, at, length) : raise_damaged();
}

static PyObject *open_bytes(struct core_delivery *delivery)
{
	uint64_t size;
	const unsigned char *at = NULL;
	PyObject *bytes;

	if (!take_word(delivery, &size, sizeof(size)))
		at = take(delivery, size);
	if (!at)
		return raise_damaged();
	if (size <= CORE_BIG)
		return PyBytes_FromStringAndSize((const char *)at, (Py_ssize_t)size);
	bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
	if (!bytes)
		return NULL;
	Py_BEGIN_ALLOW_THREADS memcpy(PyBytes_AS_STRING(bytes), at, size);
	Py_END_ALLOW_THREADS return bytes;
}

/* ---- containers ---- */

static PyObject *sequence_new(char container, uint32_t count)
{
	return container == '(' ? PyTuple_New(count) : PyList_New(count);
}

static void sequence_set(PyObject *sequence, char container, uint32_t at, PyObject *item)
{
	if (container == '(')
		PyTuple_SET_ITEM(sequence, at, item);
	else
		PyList_SET_ITEM(sequence, at, item);
}

static PyObject *open_sequence(struct core_state *state, struct core_delivery *delivery,
			       char container, int depth)
{
	PyObject *sequence, *item;
	uint32_t count;

	/* Each item takes a byte at least. */
	if (take_word(delivery, &count, sizeof(count)) || count > delivery->size)
		return raise_damaged();
	sequence = sequence_new(container, count);
	for (uint32_t i = 0; sequence && i < count; i++) {
		item = open_plain(state, delivery, depth);
		if (item)
			sequence_set(sequence, container, i, item);
		else
			Py_CLEAR(sequence);
	}
	return sequence;
}

static int open_pair(struct core_state *state, struct core_delivery *delivery, PyObject *dict,
		     int depth)
{
	PyObject *key = open_plain(state, delivery, depth);
	PyObject *value = key ? open_plain(state, delivery, depth) : NULL;
	int rc = value ? PyDict_SetItem(dict, key, value) : -1;

	Py_XDECREF(key);
	Py_XDECREF(value);
	return rc;
}

static PyObject *open_dict(struct core_state *state, struct core_delivery *delivery, int depth)
{
	PyObject *dict;
	uint32_t count;

	if (take_word(delivery, &count, sizeof(count)))
		return raise_damaged();
	dict = PyDict_New();
	while (dict && count--)
		if (open_pair(state, delivery, dict, depth))
			Py_CLEAR(dict);
	return dict;
}

static PyObject *number_from(const unsigned char *at, char tag)
{
	int64_t whole;
	double real;

	if (tag == 'Q') {
		memcpy(&whole, at, sizeof(whole));
		return PyLong_FromLongLong(whole);
	}
	memcpy(&real, at, sizeof(real));
	return PyFloat_FromDouble(real);
}

static PyObject *open_column(struct core_delivery *delivery, char tag)
{
	PyObject *sequence, *item;
	const unsigned char *at = NULL;
	char container;
	uint32_t count;

	if (!take_word(delivery, &container, sizeof(container)) &&
	    !take_word(delivery, &count, sizeof(count)))
		at = take(delivery, (uint64_t)count * 8);
	if (!at)
		return raise_damaged();
	sequence = sequence_new(container, count);
	for (uint32_t i = 0; sequence && i < count; i++) {
		item = number_from(at + (size_t)i * 8, tag);
		if (item)
			sequence_set(sequence, container, i, item);
		else
			Py_CLEAR(sequence);
	}
	return sequence;
}

/* first, step, count: is the last one a number of 64 bits, too? */
static int is_range(const int64_t *words)
{
	int64_t steps = words[2] > 0 ? words[2] - 1 : 0, last;

	return words[2] >= 0 && words[2] <= INT32_MAX &&
	       !__builtin_mul_overflow(words[1], steps, &last) &&
	       !__builtin_add_overflow(words[0], last, &last);
}

static PyObject *open_range(struct core_delivery *delivery)
{
	PyObject *tuple, *item;
	int64_t words[3];

	if (!delivery->ranges || take_word(delivery, words, sizeof(words)) || !is_range(words))
		return raise_damaged();
	tuple = PyTuple_New((Py_ssize_t)words[2]);
	for (Py_ssize_t i = 0; tuple && i < words[2]; i++) {
		/* Modulo 2^64: what was overwritten adds up to anything. */
		item = PyLong_FromLongLong((int64_t)((uint64_t)words[0] +
						     (uint64_t)i * (uint64_t)words[1]));
		if (item)
			PyTuple_SET_ITEM(tuple, i, item);
		else
			Py_CLEAR(tuple);
	}
	return tuple;
}

/* ---- pickles ---- */

static PyObject *open_pickle(struct core_state *state, struct core_delivery *delivery)
{
	const unsigned char *at = NULL;
	PyObject *view, *object;
	uint64_t size;

	if (!take_word(delivery, &size, sizeof(size)))
		at = take(delivery, size);
	if (!at)
		return raise_damaged();
	view = PyMemoryView_FromMemory((char *)(uintptr_t)at, (Py_ssize_t)size, PyBUF_READ);
	object = view ? core_pickling(state->loads, &view, 1, NULL) : NULL;
	Py_XDECREF(view);
	return object;
}

static PyObject *open_container(struct core_state *state, struct core_delivery *delivery, char tag,
				int depth)
{
	if (depth == DEPTH_MOST)
		return raise_damaged();
	switch (tag) {
	case '(':
	case '[':
		return open_sequence(state, delivery, tag, depth + 1);
	case '{':
		return open_dict(state, delivery, depth + 1);
	case 'Q':
	case 'D':
		return open_column(delivery, tag);
	case 'r':
		return open_range(delivery);
	case 'p':
		return open_pickle(state, delivery);
	case 'P':
		return core_crate_open(state, delivery);
	default:
		return raise_damaged();
	}
}

static PyObject *open_plain(struct core_state *state, struct core_delivery *delivery, int depth)
{
	char tag;

	if (take_word(delivery, &tag, sizeof(tag)))
		return raise_damaged();
	switch (tag) {
	case 'N':
		Py_RETURN_NONE;
	case 'T':
		Py_RETURN_TRUE;
	case 'F':
		Py_RETURN_FALSE;
	case 'b':
		return open_tiny(delivery);
	case 'q':
		return open_int(delivery);
	case 'd':
		return open_float(delivery);
	case 's':
		return open_str(delivery);
	case 'y':
		return open_bytes(delivery);
	default:
		return open_container(state, delivery, tag, depth);
	}
}

PyObject *core_delivery_object(struct core_state *state, struct core_delivery *delivery)
{
	return open_plain(state, delivery, 0);
}
