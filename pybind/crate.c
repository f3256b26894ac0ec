/* SPDX-License-Identifier: MIT */
#include "crate.h"

#include <string.h>

#include "block.h"
#include "convert.h"

/* Buffers are as well aligned as malloc's large blocks, or better. */
#define ALIGN ((size_t)64)

/* ---- packing ---- */

/* pickle's buffer_callback: true for what is to stay inside the pickle. */
static PyObject *keep_large(PyObject *list, PyObject *buffer)
{
	const Py_buffer *view = PyPickleBuffer_GetBuffer(buffer);

	if (!view)
		return NULL;
	if (view->len < CORE_SLAB_LEAST || !PyBuffer_IsContiguous(view, 'A'))
		Py_RETURN_TRUE;
	return PyList_Append(list, buffer) ? NULL : Py_NewRef(Py_False);
}

static PyMethodDef keep_large_method = { "keep_large", keep_large, METH_O, NULL };

/* The pickle, and in *buffers a list of what is to travel beside it. */
static PyObject *pickle(struct core_state *state, struct core_cargo *cargo, PyObject *object,
			PyObject **buffers)
{
	PyObject *list = PyList_New(0);
	PyObject *keep = list ? PyCFunction_New(&keep_large_method, list) : NULL;
	PyObject *protocol = keep ? PyLong_FromLong(5) : NULL, *bytes = NULL;

	if (protocol) {
		PyObject *args[3] = { object, protocol, keep };

		core_cargo_begin(cargo);
		bytes = core_pickling(state->dumps, args, 2, state->dumps_names);
		core_cargo_end(cargo);
	}
	Py_XDECREF(protocol);
	Py_XDECREF(keep);
	if (!bytes)
		Py_CLEAR(list);
	*buffers = list;
	return bytes;
}

static size_t aligned(const unsigned char *start, size_t offset)
{
	uintptr_t at = (uintptr_t)start + offset;

	return offset + (size_t)(-at & (ALIGN - 1));
}

static const Py_buffer *buffer_at(PyObject *buffers, Py_ssize_t i)
{
	return PyPickleBuffer_GetBuffer(PyList_GET_ITEM(buffers, i));
}

/* Room for all of them, however the block lies. */
static size_t room_for(PyObject *buffers)
{
	size_t room = 0;

	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(buffers); i++)
		room += (size_t)buffer_at(buffers, i)->len + ALIGN;
	return room;
}

/* Copies one buffer behind what is there, and notes it. */
static int put_slab(struct core_parcel *parcel, const Py_buffer *view, size_t note)
{
	size_t offset = aligned(parcel->data, parcel->size);
	struct core_slab slab = { offset, (uint64_t)view->len, (uint64_t)view->readonly };

	memcpy(parcel->data + note, &slab, sizeof(slab));
	parcel->size = offset;
	return core_parcel_put(parcel, view->buf, (size_t)view->len);
}

static int put_crate(struct core_parcel *parcel, PyObject *bytes, PyObject *buffers)
{
	Py_ssize_t count = PyList_GET_SIZE(buffers);
	struct core_crate head = { (uint32_t)count, (uint64_t)PyBytes_GET_SIZE(bytes) };
	size_t notes = (size_t)count * sizeof(struct core_slab), at;
	int rc = core_parcel_reserve(parcel, 1 + sizeof(head) + notes + (size_t)head.pickle +
						 room_for(buffers));

	if (rc || core_parcel_put(parcel, "P", 1) || core_parcel_put(parcel, &head, sizeof(head)))
		return -1;
	at = parcel->size;
	parcel->size += notes;
	rc = core_parcel_put(parcel, PyBytes_AS_STRING(bytes), (size_t)head.pickle);
	for (Py_ssize_t i = 0; !rc && i < count; i++)
		rc = put_slab(parcel, buffer_at(buffers, i),
			      at + (size_t)i * sizeof(struct core_slab));
	return rc;
}

int core_crate_pack(struct core_state *state, struct core_parcel *parcel, PyObject *object)
{
	PyObject *buffers, *bytes = pickle(state, &parcel->cargo, object, &buffers);
	int rc = -1;

	if (bytes && PyList_GET_SIZE(buffers))
		rc = put_crate(parcel, bytes, buffers);
	else if (bytes)
		rc = core_parcel_pickle(parcel, bytes);
	Py_XDECREF(bytes);
	Py_XDECREF(buffers);
	return rc;
}

/* ---- opening ---- */

static PyObject *raise_damaged(void)
{
	PyErr_SetString(PyExc_ValueError, "what arrived is damaged: shared memory was "
					  "overwritten while it was on its way");
	return NULL;
}

/* Where the parts of a crate lie, checked. */
struct lid {
	struct core_crate head;
	const unsigned char *slabs, *pickle;
	size_t total; /* from the start of the delivery */
};

static int lid_read(const struct core_delivery *delivery, struct lid *lid)
{
	size_t left = delivery->size, notes;

	if (left < sizeof(lid->head))
		return -1;
	memcpy(&lid->head, delivery->data, sizeof(lid->head));
	left -= sizeof(lid->head);
	notes = lid->head.count * sizeof(struct core_slab);
	if (notes > left || lid->head.pickle > left - notes)
		return -1;
	lid->slabs = delivery->data + sizeof(lid->head);
	lid->pickle = lid->slabs + notes;
	lid->total = (size_t)(delivery->data - delivery->start) + delivery->size;
	return 0;
}

static int slab_read(const struct lid *lid, uint32_t i, struct core_slab *slab)
{
	memcpy(slab, lid->slabs + i * sizeof(*slab), sizeof(*slab));
	return slab->offset > lid->total || slab->size > lid->total - slab->offset ? -1 : 0;
}

/* A buffer of its own, or a piece of the block. */
static PyObject *slab_open(const struct core_slab *slab, const unsigned char *start,
			   PyObject *whole)
{
	PyObject *piece, *readonly;

	if (!whole)
		return PyByteArray_FromStringAndSize((const char *)start + slab->offset,
						     (Py_ssize_t)slab->size);
	piece = PySequence_GetSlice(whole, (Py_ssize_t)slab->offset,
				    (Py_ssize_t)(slab->offset + slab->size));
	if (!piece || !slab->readonly)
		return piece;
	readonly = PyObject_CallMethod(piece, "toreadonly", NULL);
	Py_DECREF(piece);
	return readonly;
}

static PyObject *slabs_open(const struct lid *lid, const unsigned char *start, PyObject *whole)
{
	PyObject *list = PyList_New(0), *piece;
	struct core_slab slab;

	for (uint32_t i = 0; list && i < lid->head.count; i++) {
		piece = slab_read(lid, i, &slab) ? raise_damaged() : slab_open(&slab, start, whole);
		if (!piece || PyList_Append(list, piece))
			Py_CLEAR(list);
		Py_XDECREF(piece);
	}
	return list;
}

static PyObject *unpickle(struct core_state *state, const struct lid *lid, PyObject *slabs)
{
	PyObject *view = PyMemoryView_FromMemory((char *)(uintptr_t)lid->pickle,
						 (Py_ssize_t)lid->head.pickle, PyBUF_READ);
	PyObject *args[2] = { view, slabs }, *object;

	object = view ? core_pickling(state->loads, args, 1, state->loads_names) : NULL;
	Py_XDECREF(view);
	return object;
}

/* A memoryview of the block, which belongs to it from now on; NULL without an
 * exception if the block can't be had. */
static PyObject *whole_take(struct core_state *state, const struct core_delivery *delivery)
{
	void *memory = delivery->take ? delivery->take(delivery->ctx) : NULL;
	PyObject *block = memory ? core_block_new(state, memory) : NULL, *whole;

	whole = block ? PyMemoryView_FromObject(block) : NULL;
	Py_XDECREF(block);
	return whole;
}

/* What it carried has been unpickled: the buffers alone need not hold it. */
static void whole_unload(PyObject *whole)
{
	void *memory = PyMemoryView_GET_BUFFER(whole)->buf;

	(void)ft_block_carry(memory, ft_block_size(memory), NULL, 0);
}

PyObject *core_crate_open(struct core_state *state, struct core_delivery *delivery)
{
	PyObject *whole, *slabs = NULL, *object = NULL;
	struct lid lid;

	if (lid_read(delivery, &lid))
		return raise_damaged();
	whole = whole_take(state, delivery);
	if (!PyErr_Occurred())
		slabs = slabs_open(&lid, delivery->start, whole);
	if (slabs)
		object = unpickle(state, &lid, slabs);
	if (whole)
		whole_unload(whole);
	delivery->data += delivery->size;
	delivery->size = 0;
	Py_XDECREF(slabs);
	Py_XDECREF(whole);
	return object;
}
