/* SPDX-License-Identifier: MIT */
#ifndef FT_PYBIND_POOL_H
#define FT_PYBIND_POOL_H

/*
 * Any call of the C pool may start a worker, by the Python callable given to
 * Pool(), on the thread that made the call.  If that raised, the exception
 * waits on the thread: after each call either it becomes the exception of the
 * method, which returns 1 and is told so, ...
 */
int core_pool_start_failed(void);

/* ... or, where the method has a result that must not be lost, it is reported
 * through sys.unraisablehook; Ctrl-C is raised again a moment later. */
void core_pool_start_report(void);

#endif
