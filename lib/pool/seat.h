/* SPDX-License-Identifier: MIT */
/*
 * The worker's side of a pool: its seat and the task at hand, in the worker's
 * private memory.  Used by the one thread that opened the seat.  Floor 4.
 */
#ifndef FT_POOL_SEAT_H
#define FT_POOL_SEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/control.h"

struct ft_task {
	struct ft_seat *seat;
	struct ft__task_cell *cell; /* NULL: no task at hand */
	uint64_t ref;
	const void *arg;
	size_t arg_size;
	bool replied;
};

struct ft_seat {
	struct ft__board board;
	struct ft__line *line;
	uint32_t index;
	uint32_t process;  /* the submitter's owner id */
	uint32_t taken;    /* tasks, up to the quota */
	int64_t patience;  /* sync/wait.h */
	int64_t since;     /* when it ran out of work; 0: it has some */
	bool owing;        /* something was done that a LAZY sleeper was not told */
	struct ft_task task;
	uint64_t walked[]; /* how far each seat's channel was looked through */
};

/* The claim: from READY to RUNNING in this seat.  task.c. */
bool ft__task_claim(struct ft_seat *seat, uint64_t ref);

/* What the library's own workers run; `handle` points to a seat's handle. */
int ft__seat_main(void *handle);

/* Runs the task at hand, and ends it. */
void ft__task_run(struct ft_task *task);

#endif
