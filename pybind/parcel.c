/* SPDX-License-Identifier: MIT */
/* Objects to bytes: see parcel.h. */
#include "parcel.h"

#include <errno.h>
#include <string.h>

#include "convert.h"
#include "crate.h"

/* Beyond so much text pickle is better: it writes each string only once, however
 * often it occurs.  For the same reason there is but one large bytes object. */
#define TEXT_MOST  4096u
#define TEXT_LARGE 65536u
#define DEPTH_MOST 16u

/* What is no plain object. */
#define NOT_PLAIN 1

void core_parcel_init(struct core_parcel *parcel)
{
	memset(parcel, 0, offsetof(struct core_parcel, small));
	parcel->data = parcel->small;
	parcel->room = sizeof(parcel->small);
}

void core_parcel_clear(struct core_parcel *parcel)
{
	ft_block_free(parcel->block);
	parcel->block = NULL;
	core_cargo_clear(&parcel->cargo);
}

static int grow(struct core_parcel *parcel, size_t more)
{
	size_t room = 2 * parcel->room;
	void *block;
	int rc;

	if (room < parcel->size + more)
		room = parcel->size + more;
	rc = ft_block_alloc(room, &block);
	if (rc) {
		core_raise(rc);
		return -1;
	}
	memcpy(block, parcel->data, parcel->size);
	ft_block_free(parcel->block);
	parcel->block = block;
	parcel->data = block;
	parcel->room = room;
	return 0;
}

int core_parcel_reserve(struct core_parcel *parcel, size_t more)
{
	return parcel->room - parcel->size < more ? grow(parcel, more) : 0;
}

/* Room for `size` more bytes, or NULL with an exception. */
static unsigned char *extend(struct core_parcel *parcel, size_t size)
{
	unsigned char *at;

	if (core_parcel_reserve(parcel, size))
		return NULL;
	at = parcel->data + parcel->size;
	parcel->size += size;
	return at;
}

int core_parcel_put(struct core_parcel *parcel, const void *data, size_t size)
{
	unsigned char *at = extend(parcel, size);

	if (!at)
		return -1;
	if (size > CORE_BIG) {
		Py_BEGIN_ALLOW_THREADS memcpy(at, data, size);
		Py_END_ALLOW_THREADS
	} else {
		memcpy(at, data, size);
	}
	return 0;
}

static int put_tag(struct core_parcel *parcel, char tag)
{
	unsigned char *at = extend(parcel, 1);

	if (at)
		*at = (unsigned char)tag;
	return at ? 0 : -1;
}

static int put_tagged(struct core_parcel *parcel, char tag, const void *word, size_t size)
{
	unsigned char *at = extend(parcel, 1 + size);

	if (!at)
		return -1;
	*at = (unsigned char)tag;
	memcpy(at + 1, word, size);
	return 0;
}

/* ---- plain objects: 0, NOT_PLAIN, or -1 ---- */

static int put_plain(struct core_parcel *parcel, PyObject *object);

static int put_int(struct core_parcel *parcel, PyObject *object)
{
	int overflow;
	int64_t value = PyLong_AsLongLongAndOverflow(object, &overflow);
	int8_t tiny = (int8_t)value;

	if (overflow)
		return NOT_PLAIN;
	if (tiny == value)
		return put_tagged(parcel, 'b', &tiny, sizeof(tiny));
	return put_tagged(parcel, 'q', &value, sizeof(value));
}

static int put_float(struct core_parcel *parcel, PyObject *object)
{
	double value = PyFloat_AS_DOUBLE(object);

	return put_tagged(parcel, 'd', &value, sizeof(value));
}

static int put_str(struct core_parcel *parcel, PyObject *object)
{
	struct {
		unsigned char kind;
		uint32_t length;
	} __attribute__((packed)) head = { .kind = (unsigned char)PyUnicode_KIND(object) };
	size_t size = (size_t)PyUnicode_GET_LENGTH(object) * head.kind;

	if (size > TEXT_MOST - parcel->text)
		return NOT_PLAIN;
	parcel->text += (unsigned)size;
	head.length = (uint32_t)PyUnicode_GET_LENGTH(object);
	return put_tagged(parcel, 's', &head, sizeof(head)) ||
		       core_parcel_put(parcel, PyUnicode_DATA(object), size)
		   ? -1
		   : 0;
}

static int put_bytes(struct core_parcel *parcel, PyObject *object)
{
	uint64_t size = (uint64_t)PyBytes_GET_SIZE(object);

	/* Not in a list, which could change while large bytes are copied. */
	if (size >= TEXT_LARGE && !parcel->large && !parcel->mutables)
		parcel->large = 1;
	else if (size > TEXT_MOST - parcel->text)
		return NOT_PLAIN;
	else
		parcel->text += (unsigned)size;
	return put_tagged(parcel, 'y', &size, sizeof(size)) ||
		       core_parcel_put(parcel, PyBytes_AS_STRING(object), size)
		   ? -1
		   : 0;
}

struct column {
	unsigned char tag, container;
	uint32_t count;
} __attribute__((packed));

/* Words of a column: all items, or NOT_PLAIN. */
static int fill_ints(unsigned char *at, PyObject *const *items, Py_ssize_t count)
{
	for (Py_ssize_t i = 0; i < count; i++) {
		int overflow = 1;
		int64_t value = PyLong_CheckExact(items[i])
				    ? PyLong_AsLongLongAndOverflow(items[i], &overflow)
				    : 0;

		if (overflow)
			return NOT_PLAIN;
		memcpy(at + i * 8, &value, 8);
	}
	return 0;
}

static int fill_floats(unsigned char *at, PyObject *const *items, Py_ssize_t count)
{
	for (Py_ssize_t i = 0; i < count; i++) {
		double value;

		if (!PyFloat_CheckExact(items[i]))
			return NOT_PLAIN;
		value = PyFloat_AS_DOUBLE(items[i]);
		memcpy(at + i * 8, &value, 8);
	}
	return 0;
}

/* A sequence of one kind of number, or NOT_PLAIN with nothing written. */
static int put_column(struct core_parcel *parcel, char container, PyObject *const *items,
		      Py_ssize_t count)
{
	int ints = PyLong_CheckExact(items[0]), rc;
	struct column head = { ints ? 'Q' : 'D', (unsigned char)container, (uint32_t)count };
	size_t before = parcel->size;
	unsigned char *at;

	if (!ints && !PyFloat_CheckExact(items[0]))
		return NOT_PLAIN;
	if (core_parcel_put(parcel, &head, sizeof(head)))
		return -1;
	at = extend(parcel, (size_t)count * 8);
	if (!at)
		return -1;
	rc = ints ? fill_ints(at, items, count) : fill_floats(at, items, count);
	if (rc)
		parcel->size = before;
	return rc;
}

static int put_sequence(struct core_parcel *parcel, char tag, PyObject *const *items,
			Py_ssize_t count)
{
	uint32_t length = (uint32_t)count;
	int rc = NOT_PLAIN;

	if (count > INT32_MAX || parcel->depth == DEPTH_MOST)
		return NOT_PLAIN;
	if (count > 3)
		rc = put_column(parcel, tag, items, count);
	if (rc != NOT_PLAIN)
		return rc;
	rc = put_tagged(parcel, tag, &length, sizeof(length));
	parcel->depth++;
	for (Py_ssize_t i = 0; !rc && i < count; i++)
		rc = put_plain(parcel, items[i]);
	parcel->depth--;
	return rc;
}

static int put_dict(struct core_parcel *parcel, PyObject *dict)
{
	uint32_t length = (uint32_t)PyDict_GET_SIZE(dict);
	PyObject *key, *value;
	Py_ssize_t at = 0;
	int rc;

	if (length > TEXT_MOST || parcel->depth == DEPTH_MOST)
		return NOT_PLAIN;
	rc = put_tagged(parcel, '{', &length, sizeof(length));
	parcel->depth++;
	while (!rc && PyDict_Next(dict, &at, &key, &value)) {
		rc = put_plain(parcel, key);
		if (!rc)
			rc = put_plain(parcel, value);
		length--;
	}
	parcel->depth--;
	return rc ? rc : length ? NOT_PLAIN : 0;
}

/* No code of the user's runs while an object is written, so it stays as it is. */
static int put_container(struct core_parcel *parcel, PyObject *object)
{
	int rc = NOT_PLAIN;

	if (PyTuple_CheckExact(object))
		return put_sequence(parcel, '(', &PyTuple_GET_ITEM(object, 0),
				    PyTuple_GET_SIZE(object));
	/* A second one might be the first one again. */
	if (parcel->mutables++)
		return NOT_PLAIN;
	CORE_BEGIN_CRITICAL(object);
	if (PyList_CheckExact(object))
		rc = put_sequence(parcel, '[', PySequence_Fast_ITEMS(object),
				  PyList_GET_SIZE(object));
	else if (PyDict_CheckExact(object))
		rc = put_dict(parcel, object);
	CORE_END_CRITICAL();
	return rc;
}

static int put_plain(struct core_parcel *parcel, PyObject *object)
{
	if (PyLong_CheckExact(object))
		return put_int(parcel, object);
	if (object == Py_None)
		return put_tag(parcel, 'N');
	if (PyFloat_CheckExact(object))
		return put_float(parcel, object);
	if (PyUnicode_CheckExact(object))
		return put_str(parcel, object);
	if (PyBool_Check(object))
		return put_tag(parcel, object == Py_True ? 'T' : 'F');
	if (PyBytes_CheckExact(object))
		return put_bytes(parcel, object);
	return put_container(parcel, object);
}

/* ---- any object ---- */

int core_parcel_object(struct core_state *state, struct core_parcel *parcel, PyObject *object)
{
	size_t before = parcel->size;
	int rc = put_plain(parcel, object);

	if (rc != NOT_PLAIN)
		return rc;
	parcel->size = before;
	return core_crate_pack(state, parcel, object);
}

int core_parcel_pickle(struct core_parcel *parcel, PyObject *pickle)
{
	Py_buffer view;
	uint64_t size;
	int rc;

	if (PyObject_GetBuffer(pickle, &view, PyBUF_SIMPLE))
		return -1;
	size = (uint64_t)view.len;
	rc = put_tagged(parcel, 'p', &size, sizeof(size)) ||
	     core_parcel_put(parcel, view.buf, (size_t)size);
	PyBuffer_Release(&view);
	return rc ? -1 : 0;
}

int core_parcel_range(struct core_parcel *parcel, int64_t first, int64_t step, int64_t count)
{
	int64_t words[3] = { first, step, count };

	return put_tagged(parcel, 'r', words, sizeof(words));
}

int core_parcel_seal(struct core_parcel *parcel)
{
	size_t room = core_cargo_room(&parcel->cargo, parcel->size);
	int rc;

	if (!parcel->cargo.count)
		return 0;
	if ((!parcel->block || parcel->room < room) && grow(parcel, room - parcel->size))
		return -1;
	rc = core_cargo_load(&parcel->cargo, parcel->block, parcel->size);
	if (rc)
		core_raise(rc);
	return rc ? -1 : 0;
}
