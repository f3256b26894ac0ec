/* SPDX-License-Identifier: MIT */
#include "cargo.h"

/* Who notes on this thread: the innermost. */
static _Thread_local struct core_cargo *current;

void core_cargo_begin(struct core_cargo *cargo)
{
	cargo->outer = current;
	current = cargo;
}

void core_cargo_end(struct core_cargo *cargo)
{
	current = cargo->outer;
}

void core_cargo_clear(struct core_cargo *cargo)
{
	Py_CLEAR(cargo->things);
	PyMem_Free(cargo->handles);
	cargo->handles = NULL;
	cargo->count = cargo->room = 0;
}

static int grow(struct core_cargo *cargo)
{
	size_t room = cargo->room ? 2 * cargo->room : 8;
	uint64_t *handles = PyMem_Realloc(cargo->handles, room * sizeof(*handles));

	if (!handles) {
		PyErr_NoMemory();
		return -1;
	}
	cargo->handles = handles;
	cargo->room = room;
	return 0;
}

static int note(struct core_cargo *cargo, PyObject *thing, uint64_t handle)
{
	if (!cargo->things)
		cargo->things = PyList_New(0);
	if (!cargo->things || (cargo->count == cargo->room && grow(cargo)) ||
	    PyList_Append(cargo->things, thing))
		return -1;
	cargo->handles[cargo->count++] = handle;
	return 0;
}

/* A pickle may be made inside another one, and end up there. */
int core_cargo_note(PyObject *thing, uint64_t handle)
{
	for (struct core_cargo *cargo = current; cargo; cargo = cargo->outer)
		if (note(cargo, thing, handle))
			return -1;
	return 0;
}

static PyObject *noted(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
	struct core_cargo cargo = { 0 };
	PyObject *result, *things = NULL;

	(void)module;
	if (nargs == 0) {
		PyErr_SetString(PyExc_TypeError, "noted() takes what it is to call");
		return NULL;
	}
	core_cargo_begin(&cargo);
	result = PyObject_Vectorcall(args[0], args + 1, (size_t)nargs - 1, NULL);
	core_cargo_end(&cargo);
	if (result)
		things = cargo.things ? Py_NewRef(cargo.things) : PyList_New(0);
	Py_XDECREF(result);
	core_cargo_clear(&cargo);
	return things;
}

PyMethodDef core_cargo_functions[] = {
	{ "noted", (PyCFunction)(void (*)(void))noted, METH_FASTCALL,
	  "noted($module, call, /, *args)\n--\n\n"
	  "Call it, and return the primitives for processes that were pickled meanwhile.\n\n"
	  "A list, in which one that was pickled twice is twice.  What the call returns is\n"
	  "dropped." },
	{ NULL, NULL, 0, NULL },
};

size_t core_cargo_room(const struct core_cargo *cargo, size_t size)
{
	return cargo->count ? (size + 7) / 8 * 8 + (cargo->count + 1) * sizeof(uint64_t) : size;
}

int core_cargo_load(const struct core_cargo *cargo, void *block, size_t size)
{
	return cargo->count ? ft_block_carry(block, size, cargo->handles, cargo->count) : 0;
}
