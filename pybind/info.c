/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <errno.h>

#include "convert.h"

static PyObject *info(PyObject *module, PyObject *unused)
{
	int length = ft_info_text(NULL, 0);
	PyObject *text;
	char *page;

	(void)module;
	(void)unused;
	if (length < 0)
		return core_raise(length);
	page = PyMem_Malloc((size_t)length + 1);
	if (!page)
		return PyErr_NoMemory();
	length = ft_info_text(page, (size_t)length + 1);
	text = length < 0 ? core_raise(length) : PyUnicode_DecodeFSDefault(page);
	PyMem_Free(page);
	return text;
}

static int append(PyObject *list, PyObject *item)
{
	int rc = item ? PyList_Append(list, item) : -1;

	Py_XDECREF(item);
	return rc;
}

static PyObject *features(PyObject *module, PyObject *unused)
{
	PyObject *list = PyList_New(0);
	struct ft_feature f;

	(void)module;
	(void)unused;
	for (unsigned i = 0; list && ft_info_feature(i, &f) == 0; i++) {
		PyObject *feature = Py_BuildValue("{s:s,s:O,s:s,s:s}", "name", f.name,
						  "on", f.on ? Py_True : Py_False,
						  "since", f.since, "why", f.why);
		if (append(list, feature))
			Py_CLEAR(list);
	}
	return list;
}

static PyObject *arena_info(PyObject *module, PyObject *unused)
{
	struct ft_arena_info a;
	int rc = ft_arena_info(&a);

	(void)module;
	(void)unused;
	if (rc)
		return core_raise(rc);
	return Py_BuildValue("{s:K,s:K,s:K,s:I,s:I}", "size", (unsigned long long)a.size, "used",
			     (unsigned long long)a.used, "blocks", (unsigned long long)a.blocks,
			     "slots", (unsigned int)a.slots, "generation",
			     (unsigned int)a.generation);
}

static PyObject *arena_check(PyObject *module, PyObject *unused)
{
	char what[64];
	uint64_t where = 0;
	int rc;

	(void)module;
	(void)unused;
	Py_BEGIN_ALLOW_THREADS
	rc = ft_arena_check(&where);
	Py_END_ALLOW_THREADS
	if (rc != -EUCLEAN)
		return core_none(rc);
	PyOS_snprintf(what, sizeof(what), "the arena is damaged at offset %#llx",
		      (unsigned long long)where);
	return core_raise_os(rc, what);
}

static PyObject *version(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return PyUnicode_FromString(ft_version());
}

static PyObject *error_text(PyObject *module, PyObject *number)
{
	long error = PyLong_AsLong(number);

	(void)module;
	if (error == -1 && PyErr_Occurred())
		return NULL;
	if (error < -4095 || error > 4095)
		error = 0;
	return PyUnicode_FromString(ft_strerror((int)error));
}

PyMethodDef core_info_functions[] = {
	{ "info", info, METH_NOARGS,
	  "info($module, /)\n--\n\n"
	  "A page of text about this machine: kernel, features, CPUs, limits." },
	{ "features", features, METH_NOARGS,
	  "features($module, /)\n--\n\n"
	  "What of the kernel is used: a list of dicts with \"name\", \"on\", \"since\" (the\n"
	  "first Linux that has it) and \"why\" (why it is off, or what is used instead)." },
	{ "arena_info", arena_info, METH_NOARGS,
	  "arena_info($module, /)\n--\n\n"
	  "The shared memory: a dict of \"size\" and \"used\" in bytes, the number of \"blocks\"\n"
	  "and \"slots\" in use now, and the \"generation\" of its layout." },
	{ "arena_check", arena_check, METH_NOARGS,
	  "arena_check($module, /)\n--\n\n"
	  "Walks all of the shared memory; raises OSError if anything in it is inconsistent.\n"
	  "Exact only while nobody allocates." },
	{ "version", version, METH_NOARGS,
	  "version($module, /)\n--\n\nThe version of the C library that is running." },
	{ "strerror", error_text, METH_O,
	  "strerror($module, n, /)\n--\n\n"
	  "One sentence for a -errno of the library; the sign is ignored." },
	{ NULL, NULL, 0, NULL },
};
