/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <string.h>

#include "convert.h"

static PyObject *cpu_count(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return PyLong_FromUnsignedLong(ft_cpu_count());
}

static PyObject *usable_cpus(PyObject *module, PyObject *unused)
{
	struct ft_cpus cpus;
	int rc = ft_cpus_usable(&cpus);

	(void)module;
	(void)unused;
	return rc ? core_raise(rc) : core_cpus_to(&cpus, &PySet_Type);
}

/* None says "not pinned", which a set of all usable CPUs is as well. */
static PyObject *place_of(const struct ft_cpus *cpus, const struct ft_cpus *usable)
{
	if (memcmp(cpus, usable, sizeof(*cpus)) == 0)
		Py_RETURN_NONE;
	return core_cpus_to(cpus, &PyFrozenSet_Type);
}

static PyObject *places(const struct ft_cpus *plan, unsigned count)
{
	PyObject *list = PyList_New(count);
	struct ft_cpus usable;
	int rc = ft_cpus_usable(&usable);

	if (rc) {
		Py_XDECREF(list);
		return core_raise(rc);
	}
	for (unsigned i = 0; list && i < count; i++) {
		PyObject *place = place_of(&plan[i], &usable);
		if (place)
			PyList_SET_ITEM(list, i, place);
		else
			Py_CLEAR(list);
	}
	return list;
}

static PyObject *place(PyObject *module, PyObject *args)
{
	unsigned policy, count;
	struct ft_cpus *plan;
	PyObject *list;
	int rc;

	(void)module;
	if (!PyArg_ParseTuple(args, "II:place", &policy, &count))
		return NULL;
	if (count > 65536) {
		PyErr_SetString(PyExc_ValueError, "there can be at most 65536 workers");
		return NULL;
	}
	plan = PyMem_Calloc((size_t)count + 1, sizeof(*plan));
	if (!plan)
		return PyErr_NoMemory();
	rc = count ? ft_place_plan(policy, count, plan) : 0;
	list = rc ? core_raise(rc) : places(plan, count);
	PyMem_Free(plan);
	return list;
}

PyMethodDef core_place_functions[] = {
	{ "cpu_count", cpu_count, METH_NOARGS,
	  "cpu_count($module, /)\n--\n\n"
	  "How many workers keep this program's CPUs busy: the least of usable CPUs, control\n"
	  "group quota and FT_NUM_WORKERS; at least 1." },
	{ "usable_cpus", usable_cpus, METH_NOARGS,
	  "usable_cpus($module, /)\n--\n\nThe set of the CPUs that this process may run on." },
	{ "place", place, METH_VARARGS,
	  "place($module, policy, n, /)\n--\n\n"
	  "Where n workers should run: a list of frozensets of CPUs, None for a worker that is\n"
	  "not to be pinned.\n\n"
	  "policy: 0 none, 1 one core each, near each other, 2 one core each, nodes in turn, 3\n"
	  "one NUMA node each.  Raises ValueError for any other." },
	{ NULL, NULL, 0, NULL },
};
