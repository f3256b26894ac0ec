/* SPDX-License-Identifier: MIT */
/* Lists of C strings, as exec takes them, from Python's lists and dicts. */
#ifndef FT_PYBIND_WORDS_H
#define FT_PYBIND_WORDS_H

#include "module.h"

struct core_words {
	PyObject *kept;     /* a tuple of bytes: what `words` points into */
	const char **words; /* ends with NULL */
};

/* From a sequence of str, bytes or paths (but no string itself).  0 or -1. */
int core_words_from(PyObject *sequence, struct core_words *words);

/* "key=value" from a mapping.  0 or -1. */
int core_words_from_mapping(PyObject *mapping, struct core_words *words);

/* All zero bytes is allowed. */
void core_words_free(struct core_words *words);

#endif
