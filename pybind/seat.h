/* SPDX-License-Identifier: MIT */
/* A worker's seat, and the task it has in hand.  At most one thread uses them
 * at a time: whoever comes second gets a RuntimeError. */
#ifndef FT_PYBIND_SEAT_H
#define FT_PYBIND_SEAT_H

#include <stdatomic.h>

#include "module.h"

struct core_seat {
	PyObject_HEAD PyObject *weakrefs; /* the interpreter's */
	struct core_state *state;
	_Atomic int busy;     /* 1: a thread is inside, and the rest below is its */
	struct ft_seat *seat; /* NULL after close() */
	_Atomic(struct ft_task *) task; /* in hand, or NULL; others may look */
	_Atomic int forgotten; /* 1: the task in hand has no Task any more; see core_seat_drop */
	pid_t maker;	      /* the process it belongs to: in a forked child, hands off */
	PyObject **functions; /* of work(), by number; NULL what has not come yet */
	size_t known;	      /* room in it */
};

struct core_task {
	PyObject_HEAD PyObject *weakrefs; /* the interpreter's */
	struct core_seat *seat;
	uint64_t id, code;
	/* Who gets a buffer counts it, then looks for the data; who ends the task
	 * takes the data away, then looks for buffers (seq_cst): one sees the other. */
	_Atomic(void *) data;	  /* the argument; NULL after the end */
	size_t size;
	_Atomic Py_ssize_t views; /* buffers of the argument that are in use */
	_Atomic(struct ft_task *) task; /* NULL after its end; written under seat->busy */
	PyObject *arg;		  /* cache of what `arg` returns; under seat->busy */
};

/* Arguments from this size on are shown as memoryviews. */
#define CORE_VIEW ((size_t)4096)

/* 0, or -1 with an exception if another thread is inside or it is closed. */
int core_seat_enter(struct core_seat *self);
void core_seat_leave(struct core_seat *self);

/* The task was forgotten, by whatever thread: it ends as failed if it is still in
 * hand, at once or when whoever is inside leaves. */
void core_seat_drop(struct core_seat *self, const struct ft_task *task);

/* Inside: waits for a task, and takes it in hand.  0 or -errno. */
int core_seat_take(struct core_seat *self, ft_deadline deadline);

/* Inside: the task in hand has ended. */
void core_seat_end(struct core_seat *self, int status);

/* Inside: a Task for the task in hand. */
PyObject *core_task_new(struct core_seat *seat);

/* Inside: what `arg` returns, as a new reference. */
PyObject *core_task_arg(struct core_task *self);

/* Inside: takes the argument back from Python.  0, or -1 with BufferError if
 * somebody still looks at it: then it is as before. */
int core_task_revoke(struct core_task *self);
/* Inside: the task has ended, or is about to, whoever looks at its argument. */
void core_task_close(struct core_task *self);

/* Inside: copies a reply from any buffer.  0, -errno, or -1 with an exception
 * set. */
int core_task_reply(struct ft_task *task, PyObject *data);

#endif
