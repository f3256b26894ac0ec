/* SPDX-License-Identifier: MIT */
/*
 * A worker's private record, and what threads and processes fill in.
 * Floor 3.
 */
#ifndef FT_WORK_WORKER_H
#define FT_WORK_WORKER_H

#include <pthread.h>
#include <stdbool.h>

#include <freethreading/worker.h>

struct ft_worker {
	uint32_t kind, flags;      /* const after start */
	uint32_t done;             /* private futex: 0, then 1 after `exit` is written;
				    * written once, by whoever settles the end */
	uint32_t refs;             /* atomic: the handle, and the supervisor or thread */
	uint32_t owner;            /* process: its slot, reserved by us; const */
	uint32_t has_cpus;
	pid_t pid;                 /* const after start (thread: set by itself first) */
	int pidfd;                 /* const after start; -1 for threads */
	struct ft_worker_exit exit; /* written before done, read after */
	struct ft_cpus cpus;
	ft_worker_main *main;
	void *arg;
	pthread_t thread;
	struct ft_worker *next;    /* the supervisor's list, under its lock */
	char name[FT_WORKER_NAME_MAX];
};

struct ft_worker *ft__worker_get(struct ft_worker *worker);
void ft__worker_put(struct ft_worker *worker);

/* Records the end and wakes joiners. */
void ft__worker_end(struct ft_worker *worker, int code, int signo, int known);

/* work/thread.c, work/process.c, work/spawner.c: 0 or -errno. */
int ft__thread_start(struct ft_worker *worker, size_t stack_size);
int ft__process_start(struct ft_worker *worker);
int ft__spawner_spawn(struct ft_spawner *spawner, struct ft_worker *worker, const void *payload,
		      size_t size);

/* In a new worker process: adopts the slot, arms the parent-death signal,
 * pins, names.  0, or -errno: then the process must leave. */
struct ft__birth {
	uint32_t owner;
	pid_t parent; /* who must still be the parent, else it is gone */
	uint32_t has_cpus;
	struct ft_cpus cpus;
	char name[FT_WORKER_NAME_MAX];
};
int ft__process_begin(const struct ft__birth *birth);
/* Publishes the status in the slot, and leaves without running exit handlers. */
_Noreturn void ft__process_leave(int status);

#endif
