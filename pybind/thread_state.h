/* SPDX-License-Identifier: MIT */
/*
 * The thread state with which a thread of the library's runs Python for one
 * worker.  To make one and to delete it is most of what a worker costs where
 * there is no GIL: each has five heaps of its own, and one that goes looks for
 * others' remains in a thousand steps per heap.  So there the OS thread keeps
 * it until the next worker that it runs, as good as new:
 *
 *   - The worker's locals (threading.local) and all that it hung up there are
 *     gone before its end is told, as with a deleted state.
 *   - A state that a worker has set up otherwise (a tracer, hooks, a context,
 *     a running loop, an exception on its way) is deleted, and not kept.
 *   - Objects that the worker has made, and that others drop while the state is
 *     kept, die at once, as those of a thread that is gone.
 *   - Whatever else the OS thread runs meanwhile (C workers, destructors of its
 *     locals) does not find it: PyGILState_Ensure() makes one of its own there.
 *
 * What is kept is deleted by the OS thread when it leaves, or by its
 * interpreter's end (see crew.h): the main one, since others can't do that.
 */
#ifndef FT_PYBIND_THREAD_STATE_H
#define FT_PYBIND_THREAD_STATE_H

#include "module.h"

struct core_berth;

/* Attaches the calling thread, for the worker of this berth.  It may end in
 * here: that is how the interpreter gets rid of daemons. */
PyThreadState *core_thread_attach(PyInterpreterState *interpreter,
				  const struct core_berth *berth);

/* Detaches it again at the worker's end. */
void core_thread_detach(PyThreadState *state, const struct core_berth *berth);

#endif
