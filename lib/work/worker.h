/* SPDX-License-Identifier: MIT */
/*
 * A worker's private record, and what threads and processes fill in.
 * Floor 3.
 */
#ifndef FT_WORK_WORKER_H
#define FT_WORK_WORKER_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#include <freethreading/worker.h>

#include "os/pidfd.h"

/* Who sees an OS thread out (pthread_join or pthread_detach): whoever finds the
 * other's word there.  A thread that is kept for other workers says nothing. */
enum ft__parting {
	FT__PARTING_OPEN,
	FT__PARTING_LEFT, /* by the thread: it ends with this worker */
	FT__PARTING_SEEN, /* by a user of the handle: joined it, or will not */
};

struct ft_worker {
	uint32_t kind, flags;      /* const after start */
	uint32_t epoch;            /* ft__epoch of the process that started it; const */
	uint32_t done;             /* private futex: 0, then 1 after `exit` is written;
				    * written once, by whoever settles the end */
	uint32_t refs;             /* atomic: the handle, and the supervisor or thread */
	uint32_t owner;            /* process: its slot, reserved by us; const */
	uint32_t has_cpus;
	uint32_t told;             /* thread, private futex: 1 after it wrote `pid` */
	uint32_t parting;          /* thread, atomic: enum ft__parting */
	uint32_t reaped;           /* process: `status` is there; under the settling lock */
	struct ft__wait_status status;
	pid_t pid;                 /* const after start (thread: set by itself first) */
	int pidfd;                 /* const after start; -1 for threads */
	struct ft_worker_exit exit; /* written before done, read after */
	struct ft_cpus cpus;
	ft_worker_main *main;
	void *arg;
	pthread_t thread;          /* const after start */
	sigset_t signals;          /* blocked in a thread that was parked; const after start */
	char name[FT_WORKER_NAME_MAX];
};

/* Which process this is: it changes in every child that is a copy, so that
 * handles of the parent are known there as somebody else's. */
extern uint32_t ft__epoch;

/* A record with one reference, for the handle; NULL: no memory. */
struct ft_worker *ft__worker_new(enum ft_worker_kind kind, const char *name);
struct ft_worker *ft__worker_get(struct ft_worker *worker);
void ft__worker_put(struct ft_worker *worker);

/* Records the end and wakes joiners. */
void ft__worker_end(struct ft_worker *worker, int code, int signo, int known);

/* Is this handle the calling worker's own? */
bool ft__worker_is_me(const struct ft_worker *worker);

/* work/thread.c, work/process.c, work/spawner.c: 0 or -errno.  The two for
 * processes want worker->owner reserved, and watch what they have started. */
int ft__thread_start(struct ft_worker *worker, size_t stack_size);
int ft__process_start(struct ft_worker *worker);
int ft__spawner_spawn(struct ft_spawner *spawner, struct ft_worker *worker, const void *payload,
		      size_t size);

/* After ft__thread_start: waits for the thread's id.  After its end: sees it out. */
pid_t ft__thread_tid(const struct ft_worker *worker);
void ft__thread_join(struct ft_worker *worker);
/* Before its end: nobody will see it out. */
void ft__thread_detach(struct ft_worker *worker);
const struct ft_worker *ft__thread_me(void);
const struct ft_worker *ft__process_me(void);

/* In a new worker process: adopts the slot, ties it to its parent's life,
 * pins, names.  0, or -errno: then the process must leave. */
struct ft__birth {
	uint32_t owner;
	pid_t parent; /* who must still be the parent, if there is no lifeline */
	uint32_t sibling;     /* made by a helper, for the helper's parent */
	uint32_t mortal;      /* the thread that made it ends with its process */
	uint32_t has_cpus;
	struct ft_cpus cpus;
	char name[FT_WORKER_NAME_MAX]; /* "": keep the name */
};
void ft__process_birth(const struct ft_worker *worker, struct ft__birth *birth);
int ft__process_begin(const struct ft__birth *birth);
/* Publishes the status in the slot, and leaves without running exit handlers. */
_Noreturn void ft__process_leave(int status);

#endif
