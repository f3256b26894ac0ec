/* SPDX-License-Identifier: MIT */
/*
 * References that one thread makes and another drops.
 *
 * Without the GIL an object counts its owner's references apart from all others'
 * (PEP 703), so that the owner need not count atomically.  If another thread drops
 * a reference that the owner has counted, the object joins a queue, under a mutex
 * that all share, until its owner interrupts what it does and adds both counts up.
 * What is meant for another thread is therefore counted among the others' at once.
 *
 * What is done here to an object's counts, the interpreter's own Py_INCREF and
 * Py_SET_REFCNT do in a thread that is not its owner.  With a GIL there is one
 * count, and nothing to do.
 */
#ifndef FT_PYBIND_TRANSFER_H
#define FT_PYBIND_TRANSFER_H

#include "module.h"

#if defined(Py_GIL_DISABLED) && !defined(Py_REF_DEBUG) && PY_VERSION_HEX < 0x030f0000

/* A new reference, for another thread to drop. */
static inline PyObject *core_transfer_new(PyObject *op)
{
	if (!_Py_IsImmortal(op))
		_Py_atomic_add_ssize(&op->ob_ref_shared, _Py_REF_SHARED(1, 0));
	return op;
}

/* A reference that the caller has (one of several, if it has more), for another
 * thread to drop.  No other thread may be able to reach it: whoever reads it counts a
 * reference of its own, and that count could be overwritten here.  For what is in a
 * container that others may have, there is core_transfer_shared(). */
static inline PyObject *core_transfer(PyObject *op)
{
	if (_Py_atomic_load_uintptr_relaxed(&op->ob_tid) != _Py_ThreadId())
		return op;
	if (_Py_atomic_load_uint32_relaxed(&op->ob_ref_local) == 1 &&
	    _Py_atomic_load_ssize_relaxed(&op->ob_ref_shared) == 0) {
		/* It is the only one, and no weak reference leads here: nobody else
		 * counts.  In the order of the interpreter's own merging. */
		_Py_atomic_store_uint32_relaxed(&op->ob_ref_local, 0);
		_Py_atomic_store_uintptr_relaxed(&op->ob_tid, _Py_UNOWNED_TID);
		_Py_atomic_store_ssize_release(&op->ob_ref_shared,
					       _Py_REF_SHARED(1, _Py_REF_MERGED));
		return op;
	}
	core_transfer_new(op);
	Py_DECREF(op);
	return op;
}

/* The same for one that other threads can reach.  Each count is changed as it may be
 * at any time, and their sum is never too low. */
static inline void core_transfer_shared(PyObject *op)
{
	if (_Py_atomic_load_uintptr_relaxed(&op->ob_tid) != _Py_ThreadId())
		return;
	core_transfer_new(op);
	Py_DECREF(op);
}

#else

static inline PyObject *core_transfer_new(PyObject *op)
{
	return Py_NewRef(op);
}

static inline PyObject *core_transfer(PyObject *op)
{
	return op;
}

static inline void core_transfer_shared(PyObject *op)
{
	(void)op;
}

#endif

/* Keyword arguments for a call in another thread, as a reference; NULL: none. */
static inline PyObject *core_transfer_keywords(PyObject *dict)
{
	if (!dict || dict == Py_None || !PyDict_GET_SIZE(dict))
		return NULL;
	return core_transfer_new(dict);
}

/* The references of a tuple that another thread will free; others may read it, for
 * it may be the very one that the program has given. */
static inline void core_transfer_items(PyObject *tuple)
{
	for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++)
		core_transfer_shared(PyTuple_GET_ITEM(tuple, i));
}

#endif
