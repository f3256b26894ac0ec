/* SPDX-License-Identifier: MIT */
/*
 * Calls on their way to a pool's workers.
 *
 * A task's code is its kind, and above CORE_KIND_BITS the number of its function
 * in this pool.  A function that pickle takes by name is shipped once: its pickle
 * lies in a block whose handle starts the argument, for workers that have not seen
 * the number yet.  Number 0: function, arguments and keywords come as one tuple.
 *
 *   kind     argument after the handle       reply
 *   CALL     args                            what the function returned
 *   CALL_KW  (args, kwargs)                  the same
 *   MAP      items                           list of function(item)
 *   STARMAP  items                           list of function(*item)
 *   EACH     items                           list of (True, value), (False, exception)
 */
#ifndef FT_PYBIND_DISPATCH_H
#define FT_PYBIND_DISPATCH_H

#include "parcel.h"
#include "pool.h"

enum core_kind_of_task {
	CORE_CALL,
	CORE_CALL_KW,
	CORE_MAP,
	CORE_STARMAP,
	CORE_EACH,
	CORE_KINDS,
};
#define CORE_KIND_BITS 8

/* So many functions are shipped; any further one travels with each call. */
#define CORE_SHIPPED_MOST 1024

struct core_dispatch {
	struct core_parcel parcel;
	uint64_t code;
};

/* One call.  kwargs may be NULL or None.  0, or -1 with an exception; either way
 * core_dispatch_clear() is due. */
int core_dispatch_call(struct core_pool *pool, struct core_dispatch *dispatch, PyObject *function,
		       PyObject *args, PyObject *kwargs);

/* The same for some items of a tuple, or of a range. */
int core_dispatch_items(struct core_pool *pool, struct core_dispatch *dispatch, int kind,
			PyObject *function, PyObject *items);
int core_dispatch_range(struct core_pool *pool, struct core_dispatch *dispatch, int kind,
			PyObject *function, int64_t first, int64_t step, int64_t count);

void core_dispatch_clear(struct core_dispatch *dispatch);

/* Submits it; what else the call is to be stands in `call`.  0, or -errno for
 * core_pool_refused(). */
int core_dispatch_send(struct core_pool *pool, struct core_dispatch *dispatch, struct ft_call *call,
		       struct ft_future **future);

#endif
