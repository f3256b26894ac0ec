/* SPDX-License-Identifier: MIT */
/*
 * Between Python's words and the library's: arguments, seconds and deadlines,
 * sets of CPUs, answers and exceptions, waits and signals.
 */
#ifndef FT_PYBIND_CONVERT_H
#define FT_PYBIND_CONVERT_H

#include <errno.h>

#include "module.h"

/* Sorts the arguments of a fast call into out[], one for each of `names` (NULL
 * ends them); what was not given is NULL.  The first `required` must be there.
 * References are borrowed from the caller of the method.  0, or -1. */
int core_args(const char *function, const char *const *names, Py_ssize_t required,
	      PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject **out);

/* Seconds to a deadline: NULL and None are for ever, negative is at once,
 * rounded up to nanoseconds.  0, or -1 with TypeError or ValueError. */
int core_deadline(PyObject *timeout, ft_deadline *deadline);

/* The pair (block, timeout) that locks and queues take.  0, or -1. */
int core_block_deadline(PyObject *block, PyObject *timeout, ft_deadline *deadline);

/* The same for acquire(blocking, timeout).  Between processes a timeout that is
 * of no use is ignored; between threads it is a ValueError that says `useless`,
 * and -1 is as good as None if `forever`, as threading has it. */
struct core_shared;
int core_acquire_deadline(const struct core_shared *self, PyObject *const given[2],
			  const char *useless, int forever, ft_deadline *deadline);

/* The same for a queue between threads, which takes no negative timeout. */
int core_queue_deadline(PyObject *block, PyObject *timeout, ft_deadline *deadline);

/* An iterable of ints to a set of CPUs, and back.  0 or -1; NULL on failure. */
int core_cpus_from(PyObject *iterable, struct ft_cpus *cpus);
PyObject *core_cpus_to(const struct ft_cpus *cpus, PyTypeObject *type);

/* Turns a -errno into the exception that Python users expect; always returns
 * NULL.  An exception that is set already stays. */
PyObject *core_raise(int rc);

/* The same as an OSError whose text names what failed, and the remedy. */
PyObject *core_raise_os(int rc, const char *what);

/* Calls pickle's dumps or loads, of core_state; RuntimeError when it is too late for
 * that: an interpreter that ends takes them down before it is done with the rest,
 * and those before 3.12 crash then. */
PyObject *core_pickling(PyObject *function, PyObject *const *args, size_t count, PyObject *names);

/* None for 0, else core_raise. */
static inline PyObject *core_none(int rc)
{
	return rc < 0 ? core_raise(rc) : Py_NewRef(Py_None);
}

/* True for 0, False for -ETIMEDOUT, else core_raise. */
static inline PyObject *core_in_time(int rc)
{
	if (rc == 0)
		return Py_NewRef(Py_True);
	return rc == -ETIMEDOUT ? Py_NewRef(Py_False) : core_raise(rc);
}

/* Takes the exception that is set, with its traceback, and sets it again. */
PyObject *core_exception_take(void);
void core_exception_give(PyObject *exception);

/*
 * Waits without holding the GIL: tries `call` at once, and only if that would
 * block detaches and calls it with the deadline.  After -EINTR Python's signal
 * handlers run and the wait goes on with the same deadline; -EINTR is returned
 * only if one of them raised.  `away` skips the first try, for calls that take
 * long by themselves.
 */
typedef int core_call(void *ctx, ft_deadline deadline);
int core_wait_away(core_call *call, void *ctx, ft_deadline deadline);

/* Inline, so that the first try costs no more than the call itself. */
static inline int core_wait(core_call *call, void *ctx, ft_deadline deadline, int away)
{
	if (!away) {
		int rc = call(ctx, FT_NOW);

		if (rc != -ETIMEDOUT || deadline == FT_NOW)
			return rc;
	}
	return core_wait_away(call, ctx, deadline);
}

/*
 * Takes a private lock that guards an object of ours, and waits for it without
 * the GIL.  Only an attached thread ever holds it: when the interpreter ends, a
 * daemon that is to attach again is stopped for ever, with all that it holds.
 */
void core_lock(struct ft_lock *lock);

#endif
