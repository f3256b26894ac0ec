/* SPDX-License-Identifier: MIT */
/*
 * freethreading._core: the CPython extension.  Each file is one noun of the
 * library, and does three things: parse, call ft_*, convert.  No algorithm
 * lives here, and only the public headers are used; but for fifo.c, since what
 * holds references to objects is the interpreter's business.
 *
 * All types are heap types, and everything an interpreter owns is in struct
 * core_state, so the module works in sub-interpreters and without the GIL.
 * What an object's fields hold is set before the object is visible and const
 * from then on, unless the field's comment says otherwise.
 */
#ifndef FT_PYBIND_MODULE_H
#define FT_PYBIND_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <stdatomic.h>

#include <freethreading.h>

/* The primitives of one backend. */
struct core_types {
	PyTypeObject *lock, *rlock, *condition, *event, *barrier;
	PyTypeObject *semaphore, *bounded_semaphore, *queue, *simple_queue;
};

/* What one interpreter owns; const after core_exec, but for queue_error. */
struct core_state {
	PyObject *dumps, *loads; /* of pickle */
	PyObject *dumps_names, *loads_names; /* their keywords, as a fast call has them */
	_Atomic(PyObject *) queue_error[2]; /* by enum core_queue_error; NULL: not yet asked for */
	PyObject *owner_died;    /* OwnerDiedError */
	PyObject *broken;        /* threading.BrokenBarrierError */
	PyObject *attach;        /* what a pickled primitive of processes calls */
	PyObject *local;         /* what one of threads calls */
	PyObject *pickled;       /* WeakValueDictionary: those of threads, by handle */
	struct core_types processes, threads;
	PyTypeObject *spawner, *child;
	PyTypeObject *pool, *ticket, *future;
	PyTypeObject *seat, *task, *block, *result, *flow;
	PyTypeObject *jobs, *call, *errand, *batch, *stream, *stream_results;
	PyTypeObject *thread;
	PyTypeObject *bound, *binder;
	struct core_crew *crew;
};

/* From the module, and from one of its types or a subclass of one (NULL with
 * an exception set if it is neither). */
struct core_state *core_state(PyObject *module);
struct core_state *core_state_of_type(PyTypeObject *type);

/* Around the look at a mutable object's inside, where there is no GIL. */
#ifdef Py_BEGIN_CRITICAL_SECTION
#define CORE_BEGIN_CRITICAL(op) Py_BEGIN_CRITICAL_SECTION(op)
#define CORE_END_CRITICAL() Py_END_CRITICAL_SECTION()
#else
#define CORE_BEGIN_CRITICAL(op) {
#define CORE_END_CRITICAL() }
#endif

/* A method's entry for METH_FASTCALL | METH_KEYWORDS. */
#define CORE_FAST(function) \
	(PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS
/* The same for METH_FASTCALL: __exit__, whose arguments say nothing. */
#define CORE_EXIT(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL
/* Copies of more bytes than this are made with the GIL released. */
#define CORE_BIG ((size_t)64 << 10)

extern PyType_Spec core_lock_spec, core_rlock_spec, core_condition_spec;
extern PyType_Spec core_semaphore_spec, core_bounded_semaphore_spec;
extern PyType_Spec core_event_spec, core_barrier_spec, core_queue_spec, core_simple_queue_spec;
extern PyType_Spec core_thread_lock_spec, core_thread_rlock_spec, core_thread_condition_spec;
extern PyType_Spec core_thread_semaphore_spec, core_thread_bounded_semaphore_spec;
extern PyType_Spec core_thread_event_spec, core_thread_barrier_spec;
extern PyType_Spec core_thread_queue_spec, core_thread_simple_queue_spec;
extern PyType_Spec core_spawner_spec, core_child_spec;
extern PyType_Spec core_pool_spec, core_ticket_spec, core_future_spec;
extern PyType_Spec core_seat_spec, core_task_spec, core_block_spec, core_result_spec;
extern PyType_Spec core_flow_spec;
extern PyType_Spec core_jobs_spec, core_call_spec, core_errand_spec, core_batch_spec;
extern PyType_Spec core_stream_spec, core_stream_results_spec;
extern PyType_Spec core_thread_spec;

/* Module functions by file, each list ended by a NULL name. */
extern PyMethodDef core_shared_functions[], core_serve_functions[];
extern PyMethodDef core_place_functions[], core_info_functions[];
extern PyMethodDef core_cargo_functions[], core_crew_functions[];
extern PyMethodDef core_portable_functions[];

/* 1 if the object can surely be pickled, 0 if only pickling it will tell. */
int core_portable(const struct core_state *state, PyObject *op);

/* queue.Full and queue.Empty are set as the exception, or what comes of importing them. */
enum core_queue_error { CORE_FULL, CORE_EMPTY };
void core_raise_queue(struct core_state *state, enum core_queue_error which);

/* An OwnerDiedError that names `pid` is set as the exception; its text ends with
 * what has become of the lock. */
void core_raise_owner_died(struct core_state *state, pid_t pid, const char *outcome);

#endif
