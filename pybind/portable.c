/* SPDX-License-Identifier: MIT */
/*
 * Can an object be pickled?  Of most that workers are given the type says so,
 * at a thousandth of the cost of pickling it.
 */
#include "module.h"

/* What is nested deeper, and so every cycle, is left to pickle. */
#define DEEPEST 8

static int is_portable(const struct core_state *state, PyObject *op, int depth);

static int is_plain(const PyTypeObject *type)
{
	return type == &PyLong_Type || type == &PyUnicode_Type || type == &PyFloat_Type ||
	       type == Py_TYPE(Py_None) || type == &PyBool_Type || type == &PyBytes_Type ||
	       type == &PyByteArray_Type || type == &PyComplex_Type || type == &PyRange_Type;
}

/* The primitives of one backend: not their subclasses, nor a Barrier, whose action
 * may be anything. */
static int is_among(const struct core_types *types, const PyTypeObject *type)
{
	return type == types->lock || type == types->queue || type == types->event ||
	       type == types->rlock || type == types->condition ||
	       type == types->semaphore || type == types->bounded_semaphore ||
	       type == types->simple_queue;
}

/* Is it what others find under this name in this module? */
static int is_found(PyObject *op, PyObject *home, PyObject *name)
{
	PyObject *module, *found = NULL;
	int same;

	if (!home || !name || !PyUnicode_Check(home) || !PyUnicode_Check(name))
		return 0;
	module = PyImport_GetModule(home);
	if (module)
		found = PyObject_GetAttr(module, name);
	same = found == op;
	Py_XDECREF(found);
	Py_XDECREF(module);
	return same;
}

static int is_named(PyObject *op)
{
	PyObject *home = PyObject_GetAttrString(op, "__module__");
	PyObject *name = home ? PyObject_GetAttrString(op, "__qualname__") : NULL;
	int same = is_found(op, home, name);

	Py_XDECREF(home);
	Py_XDECREF(name);
	return same;
}

/* Also where other threads change the list meanwhile: nobody is told how it was. */
static int is_portable_list(const struct core_state *state, PyObject *op, int depth)
{
	int portable = 1;

	CORE_BEGIN_CRITICAL(op);
	for (Py_ssize_t i = 0; portable && i < PyList_GET_SIZE(op); i++) {
		PyObject *item = PyList_GET_ITEM(op, i);

		if (is_plain(Py_TYPE(item)))
			continue;
		Py_INCREF(item);
		portable = is_portable(state, item, depth);
		Py_DECREF(item);
	}
	CORE_END_CRITICAL();
	return portable;
}

static int is_portable_tuple(const struct core_state *state, PyObject *op, int depth)
{
	int portable = 1;

	for (Py_ssize_t i = 0; portable && i < PyTuple_GET_SIZE(op); i++)
		portable = is_portable(state, PyTuple_GET_ITEM(op, i), depth);
	return portable;
}

/* Takes over a copy that nobody else knows; NULL is allowed. */
static int is_portable_copy(const struct core_state *state, PyObject *list, int depth)
{
	int portable = list && is_portable_list(state, list, depth);

	Py_XDECREF(list);
	return portable;
}

static int is_portable_dict(const struct core_state *state, PyObject *op, int depth)
{
	if (PyDict_GET_SIZE(op) == 0)
		return 1;
	return is_portable_copy(state, PyDict_Keys(op), depth) &&
	       is_portable_copy(state, PyDict_Values(op), depth);
}

static int is_portable(const struct core_state *state, PyObject *op, int depth)
{
	const PyTypeObject *type = Py_TYPE(op);

	if (is_plain(type))
		return 1;
	if (type == &PyFunction_Type)
		return is_found(op, PyFunction_GET_MODULE(op),
				((PyFunctionObject *)op)->func_qualname);
	if (type == &PyCFunction_Type || type == &PyType_Type)
		return is_named(op);
	if (is_among(&state->threads, type) || is_among(&state->processes, type))
		return 1;
	if (depth == DEEPEST)
		return 0;
	if (type == &PyTuple_Type)
		return is_portable_tuple(state, op, depth + 1);
	if (type == &PyList_Type)
		return is_portable_list(state, op, depth + 1);
	if (type == &PyDict_Type)
		return is_portable_dict(state, op, depth + 1);
	if (type == &PySet_Type || type == &PyFrozenSet_Type)
		return is_portable_copy(state, PySequence_List(op), depth + 1);
	return 0;
}

int core_portable(const struct core_state *state, PyObject *op)
{
	int yes = is_portable(state, op, 0);

	PyErr_Clear(); /* whatever could not be asked is not known */
	return yes;
}

static PyObject *portable(PyObject *module, PyObject *op)
{
	return PyBool_FromLong(core_portable(core_state(module), op));
}

PyMethodDef core_portable_functions[] = {
	{ "portable", portable, METH_O,
	  "portable($module, obj, /)\n--\n\n"
	  "True if the object can surely be pickled: numbers, strings, functions and classes of\n"
	  "modules, containers of such.  False if only pickling it will tell." },
	{ NULL, NULL, 0, NULL },
};
