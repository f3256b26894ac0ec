/* SPDX-License-Identifier: MIT */
/*
 * The methods of `with`, bound for less.
 *
 * Up to 3.13 the interpreter looks up __enter__ and __exit__ as bound methods for
 * each `with`: two objects that its collector watches.  Those made here it does
 * not watch, and the one that they are bound to keeps their memory for the next.
 *
 * What can be part of a cycle gets the interpreter's own kind: an instance of a
 * subclass, or one of a type that the collector watches.
 */
#ifndef FT_PYBIND_BOUND_H
#define FT_PYBIND_BOUND_H

#include <stdatomic.h>

#include "module.h"

struct core_bound {
	PyObject_HEAD
	vectorcallfunc call;
	PyMethodDescrObject *method; /* borrowed: the type of `op` keeps it */
	PyObject *op;
	int which; /* of its spare ones */
};

/* Two that nobody refers to, or NULL: __enter__, __exit__.  Without the GIL
 * atomic; who takes one out has it. */
struct core_bounds {
#ifdef Py_GIL_DISABLED
	struct core_bound *_Atomic spare[2];
#else
	struct core_bound *spare[2];
#endif
};
void core_bounds_free(struct core_bounds *bounds);

/* Puts descriptors that bind so in the place of a type's own __enter__ and
 * __exit__; its objects begin with struct core_shared.  0 or -1. */
int core_bound_install(struct core_state *state, PyTypeObject *type);

extern PyType_Spec core_bound_spec, core_binder_spec;

#endif
