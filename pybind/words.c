/* SPDX-License-Identifier: MIT */
#include "words.h"

/* Takes over the tuple, whose items are bytes; NULL is allowed. */
static int words_of(PyObject *kept, struct core_words *words)
{
	Py_ssize_t count = kept ? PyTuple_GET_SIZE(kept) : 0;

	if (!kept)
		return -1;
	words->kept = kept;
	words->words = PyMem_Calloc((size_t)count + 1, sizeof(words->words[0]));
	if (!words->words) {
		PyErr_NoMemory();
		return -1;
	}
	for (Py_ssize_t i = 0; i < count; i++)
		words->words[i] = PyBytes_AS_STRING(PyTuple_GET_ITEM(kept, i));
	return 0;
}

static PyObject *word_of(PyObject *item)
{
	PyObject *bytes;

	return PyUnicode_FSConverter(item, &bytes) ? bytes : NULL;
}

static PyObject *assignment_of(PyObject *item)
{
	PyObject *key, *value, *word = NULL;

	if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != 2) {
		PyErr_SetString(PyExc_TypeError, "env must be a mapping");
		return NULL;
	}
	key = word_of(PyTuple_GET_ITEM(item, 0));
	value = key ? word_of(PyTuple_GET_ITEM(item, 1)) : NULL;
	if (value)
		word = PyBytes_FromFormat("%s=%s", PyBytes_AS_STRING(key),
					  PyBytes_AS_STRING(value));
	Py_XDECREF(key);
	Py_XDECREF(value);
	return word;
}

/* A tuple of convert(item) for each item; takes over `items`, NULL is allowed. */
static PyObject *converted(PyObject *items, PyObject *(*convert)(PyObject *item))
{
	Py_ssize_t count = items ? PyTuple_GET_SIZE(items) : 0;
	PyObject *kept = items ? PyTuple_New(count) : NULL;

	for (Py_ssize_t i = 0; kept && i < count; i++) {
		PyObject *word = convert(PyTuple_GET_ITEM(items, i));
		if (word)
			PyTuple_SET_ITEM(kept, i, word);
		else
			Py_CLEAR(kept);
	}
	Py_XDECREF(items);
	return kept;
}

int core_words_from(PyObject *sequence, struct core_words *words)
{
	if (PyUnicode_Check(sequence) || PyBytes_Check(sequence)) {
		PyErr_SetString(PyExc_TypeError, "argv must be a list of words, not one string");
		return -1;
	}
	return words_of(converted(PySequence_Tuple(sequence), word_of), words);
}

int core_words_from_mapping(PyObject *mapping, struct core_words *words)
{
	PyObject *list = PyMapping_Items(mapping);
	PyObject *items = list ? PySequence_Tuple(list) : NULL;

	Py_XDECREF(list);
	return words_of(converted(items, assignment_of), words);
}

void core_words_free(struct core_words *words)
{
	PyMem_Free(words->words);
	Py_CLEAR(words->kept);
}
