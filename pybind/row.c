/* SPDX-License-Identifier: MIT */
#include "stream.h"

#define LEAST 16u

static PyObject *object(void *thing)
{
	return (PyObject *)((uintptr_t)thing & ~CORE_RAISED);
}

static int grow(struct core_row *row)
{
	uint64_t size = row->size ? row->size * 2 : LEAST;
	void **things = PyMem_RawCalloc(size, sizeof(*things));

	if (!things)
		return -1;
	for (uint64_t i = row->first; i != row->last; i++)
		things[i & (size - 1)] = row->things[i & (row->size - 1)];
	PyMem_RawFree(row->things);
	row->things = things;
	row->size = size;
	return 0;
}

int core_row_push(struct core_row *row, void *thing)
{
	if (row->last - row->first == row->size && grow(row))
		return -1;
	row->things[row->last++ & (row->size - 1)] = thing;
	return 0;
}

void *core_row_pop(struct core_row *row)
{
	void **place = &row->things[row->first++ & (row->size - 1)], *thing = *place;

	*place = NULL;
	return thing;
}

int core_row_traverse(const struct core_row *row, visitproc visit, void *arg)
{
	for (uint64_t i = row->first; i != row->last; i++)
		Py_VISIT(object(row->things[i & (row->size - 1)]));
	return 0;
}

void core_row_clear(struct core_row *row)
{
	while (row->first != row->last)
		Py_XDECREF(object(core_row_pop(row)));
	PyMem_RawFree(row->things);
	*row = (struct core_row){ .things = NULL };
}
