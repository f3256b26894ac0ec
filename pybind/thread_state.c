/* SPDX-License-Identifier: MIT */
#include "thread_state.h"

#include <pthread.h>

#include "crew.h"

/* What a state is made of changes from one minor version to the next. */
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >> 16 == 0x030d && \
	__has_include("internal/pycore_tstate.h")
#define KEEPS 1
#define Py_BUILD_CORE 1
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#include "internal/pycore_interp.h"
#include "internal/pycore_runtime.h"
#include "internal/pycore_tstate.h"
#pragma GCC diagnostic pop
#else
#define KEEPS 0
#endif

static void delete_current(PyThreadState *state)
{
	PyThreadState_Clear(state);
	PyThreadState_DeleteCurrent();
}

static PyThreadState *attach_new(PyInterpreterState *interpreter)
{
	PyThreadState *state = PyThreadState_New(interpreter);

	if (!state)
		Py_FatalError("no memory for the thread state of a new worker");
	PyEval_AcquireThread(state);
	return state;
}

#if KEEPS

/* The calling thread's; `state` is NULL while it keeps none, and of no use once
 * `keepsake` was disowned. */
static _Thread_local struct kept {
	PyThreadState *state;
	struct core_keepsake keepsake;
} kept;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* const after `once`, as the next one */
static int can_keep;

/* NULL if there is none; see core_crew_take. */
static PyThreadState *take(int leaving)
{
	PyThreadState *state = kept.state;

	kept.state = NULL;
	return state && core_crew_take(&kept.keepsake, leaving) ? state : NULL;
}

/* What PyGILState_Ensure() would attach in this thread. */
static void set_usual(PyThreadState *state)
{
	if (state)
		state->_status.bound_gilstate = 1;
	(void)PyThread_tss_set(&_PyRuntime.autoTSSkey, state);
}

/* Whatever else runs in this thread must not find the state, but make its own:
 * foreign code, and the destructors of its locals.  To attach it undoes this. */
static void withdraw(PyThreadState *state)
{
	set_usual(NULL);
	state->_status.bound_gilstate = 0;
}

/* Objects whose last reference goes in a thread that has not made them wait for
 * the thread that has, if it is found in the interpreter's table of threads.
 * A thread that does not come back soon should not be found. */
static struct _brc_bucket *bucket_of(PyThreadState *state)
{
	uintptr_t id = ((_PyThreadStateImpl *)state)->brc.tid;

	return &state->interp->brc.table[id % _Py_BRC_NUM_BUCKETS];
}

/* 0 if some wait already: the state must not go without them. */
static int hide(PyThreadState *state)
{
	struct _brc_thread_state *brc = &((_PyThreadStateImpl *)state)->brc;
	struct _brc_bucket *bucket = bucket_of(state);
	int idle;

	PyMutex_Lock(&bucket->mutex);
	idle = !brc->objects_to_merge.head && !brc->local_objects_to_merge.head;
	if (idle) {
		llist_remove(&brc->bucket_node);
		/* Alone in its list, it can be removed once more by who clears it. */
		llist_init(&brc->bucket_node);
	}
	PyMutex_Unlock(&bucket->mutex);
	return idle;
}

static void show(PyThreadState *state)
{
	struct _brc_thread_state *brc = &((_PyThreadStateImpl *)state)->brc;
	struct _brc_bucket *bucket = bucket_of(state);

	PyMutex_Lock(&bucket->mutex);
	llist_insert_tail(&bucket->root, &brc->bucket_node);
	PyMutex_Unlock(&bucket->mutex);
}

/* May run any code: destructors. */
static void empty(PyThreadState *state)
{
	Py_CLEAR(state->threading_local_key);
	Py_CLEAR(state->threading_local_sentinel);
	Py_CLEAR(state->dict);
}

static int traced(const PyThreadState *state)
{
	return state->tracing || state->c_profilefunc || state->c_tracefunc ||
	       state->c_profileobj || state->c_traceobj || state->coroutine_origin_tracking_depth;
}

static int raising(const PyThreadState *state)
{
	return state->current_exception || _Py_atomic_load_ptr_relaxed(&state->async_exc) ||
	       state->exc_info != &state->exc_state || state->exc_state.exc_value;
}

static int hung_up(const PyThreadState *state)
{
	return state->threading_local_key || state->threading_local_sentinel || state->dict ||
	       state->context || state->async_gen_firstiter || state->async_gen_finalizer ||
	       state->delete_later || ((const _PyThreadStateImpl *)state)->asyncio_running_loop;
}

/* All that a new state has not, and that others may set at any time, too
 * (sys._settraceallthreads, PyThreadState_SetAsyncExc). */
static int as_new(const PyThreadState *state)
{
	return !traced(state) && !raising(state) && !hung_up(state) &&
	       state->gilstate_counter == 1 && !state->current_frame && !state->critical_section;
}

/* At the OS thread's end. */
static void end(void *unused)
{
	PyThreadState *state = take(1), *other;

	(void)unused;
	if (!state)
		return;
	other = PyGILState_GetThisThreadState();
	show(state);
	PyEval_AcquireThread(state);
	delete_current(state);
	set_usual(other);
	core_crew_unkeep(&kept.keepsake);
}

static void prepare(void)
{
	/* What runs may be another than what the headers are of. */
	can_keep = Py_Version == PY_VERSION_HEX && pthread_key_create(&key, end) == 0;
}

/* Attached.  1: the state is kept, and the thread detached.  Only the main
 * interpreter's end deletes states that are not its own thread's. */
static int keep(PyThreadState *state, const struct core_berth *berth)
{
	pthread_once(&once, prepare);
	if (!can_keep || kept.state || state->interp != PyInterpreterState_Main() ||
	    pthread_setspecific(key, &kept))
		return 0;
	empty(state);
	if (!as_new(state) || core_crew_keep(&kept.keepsake, berth))
		return 0;
	kept.state = state;
	if (!hide(state)) {
		(void)take(0);
		return 0;
	}
	/* Once it is detached it may be gone at any time. */
	withdraw(state);
	PyEval_ReleaseThread(state);
	return 1;
}

/* NULL if there is none that fits. */
static PyThreadState *attach_kept(PyInterpreterState *interpreter)
{
	PyThreadState *state = interpreter == PyInterpreterState_Main() ? take(0) : NULL;

	if (!state)
		return NULL;
	show(state);
	PyEval_AcquireThread(state);
	if (as_new(state))
		return state;
	delete_current(state);
	return NULL;
}

#else

static int keep(PyThreadState *state, const struct core_berth *berth)
{
	(void)state;
	(void)berth;
	return 0;
}

static PyThreadState *attach_kept(PyInterpreterState *interpreter)
{
	(void)interpreter;
	return NULL;
}

#endif

PyThreadState *core_thread_attach(PyInterpreterState *interpreter, const struct core_berth *berth)
{
	PyThreadState *state = attach_kept(interpreter);

	if (!state)
		state = attach_new(interpreter);
	core_crew_born(berth);
	return state;
}

void core_thread_detach(PyThreadState *state, const struct core_berth *berth)
{
	if (!keep(state, berth))
		delete_current(state);
	core_crew_leave(berth);
}
