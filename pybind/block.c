/* SPDX-License-Identifier: MIT */
#include "block.h"

static struct core_block *block_of(PyObject *op)
{
	return (struct core_block *)op;
}

PyObject *core_block_new(struct core_state *state, void *memory)
{
	PyObject *op = state->block->tp_alloc(state->block, 0);

	if (!op) {
		ft_block_free(memory);
		return NULL;
	}
	block_of(op)->memory = memory;
	block_of(op)->size = ft_block_size(memory);
	return op;
}

static void block_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);

	ft_block_free(block_of(op)->memory);
	type->tp_free(op);
	Py_DECREF(type);
}

static int block_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
	struct core_block *self = block_of(op);
	int rc = PyBuffer_FillInfo(view, op, self->memory, (Py_ssize_t)self->size, 0, flags);

	if (!rc)
		atomic_fetch_add(&self->views, 1);
	return rc;
}

static void block_releasebuffer(PyObject *op, Py_buffer *view)
{
	(void)view;
	atomic_fetch_sub(&block_of(op)->views, 1);
}

PyDoc_STRVAR(block_doc, "Memory of the arena that is freed with this object.\n\n"
			"Arrays that came from another process live in it.");

static PyType_Slot block_slots[] = {
	{ Py_tp_doc, (void *)block_doc },
	{ Py_tp_dealloc, block_dealloc },
	{ Py_bf_getbuffer, block_getbuffer },
	{ Py_bf_releasebuffer, block_releasebuffer },
	{ 0, NULL },
};

PyType_Spec core_block_spec = {
	.name = "freethreading._core.Block",
	.basicsize = sizeof(struct core_block),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = block_slots,
};
