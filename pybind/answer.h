/* SPDX-License-Identifier: MIT */
/*
 * An answer: a job with one outcome, which any number of threads can
 * wait for.  The base of Call and Batch.
 */
#ifndef FT_PYBIND_ANSWER_H
#define FT_PYBIND_ANSWER_H

#include "jobs.h"

struct core_answer {
	struct core_job job;
	PyObject *weakrefs;       /* the interpreter's */
	uint32_t maker;           /* in a forked child it never ends */
	struct ft_event done;
	int failed;               /* before `done`, by who ended it; so is value */
	PyObject *value;          /* the result, or the exception */
	/* Called, perhaps more than once and by several threads, by who has seen
	 * `done`: what the job needed is needed no more.  Or NULL. */
	void (*let_go)(PyObject *op);
	PyObject *notify;         /* callable(result), or NULL: see core_answer_end */
	PyObject *callback, *error_callback; /* for settle(); may be None */
};

/* The three that every job method takes last: notify, callback, error_callback. */
PyObject *core_answer_new(PyTypeObject *type, PyObject *const *given);

/* Gives it its outcome, whose reference it takes; NULL takes the exception that
 * is set.  With `notify` that is called, and settle() says the last word. */
void core_answer_end(struct core_answer *answer, PyObject *value);

int core_answer_traverse(PyObject *op, visitproc visit, void *arg);
int core_answer_clear(PyObject *op);
/* All but the object's own memory. */
void core_answer_finish(PyObject *op);

extern PyMethodDef core_answer_methods[];
extern PyMemberDef core_answer_members[];

#endif
