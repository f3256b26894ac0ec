/* SPDX-License-Identifier: MIT */
/*
 * ft_worker: a thread or a process that runs one function.
 *
 *     static int hello(void *arg) { puts(arg); return 0; }
 *     ...
 *     struct ft_worker_options o = { .size = sizeof(o), .kind = FT_WORKER_PROCESS };
 *     struct ft_worker *w;
 *     struct ft_worker_exit how;
 *     ft_worker_start(&w, &o, hello, "world");
 *     ft_worker_join(w, FT_FOREVER);
 *     ft_worker_exit_status(w, &how);
 *     ft_worker_free(w);
 *
 * A handle's states, all held in the starting process:
 *
 *   STARTING -> RUNNING -> ENDED     ENDED is final; `done` (a private futex)
 *                                    is set after the status was recorded and
 *                                    everything the worker owned was swept
 *
 * Process workers are children of the calling process.  Without a spawner they
 * are copies of the caller, as after fork(): raw clone3 where the caller has no
 * other thread than the library's own, fork() otherwise.  With a spawner (see
 * spawner.h) they come from that helper at a cost that does not grow with the
 * caller's memory.  They die with the process that started them.
 *
 * Thread-safe; not async-signal-safe.  In a child of a plain fork(): -ECHILD.
 */
#ifndef FREETHREADING_WORKER_H
#define FREETHREADING_WORKER_H

#include <pthread.h>

#include <freethreading/place.h>

FT_BEGIN_DECLS

struct ft_worker;
struct ft_spawner;

/* What a worker runs.  A process worker's exit status is the low 8 bits. */
typedef int ft_worker_main(void *arg);

enum ft_worker_kind {
	FT_WORKER_THREAD = 1,
	FT_WORKER_PROCESS = 2,
};

/* In flags, for threads: may run on the OS thread of such a worker that has just
 * ended.  What only an OS thread's end undoes lasts longer than the worker then. */
#define FT_WORKER_REUSE 0x100u

#define FT_WORKER_NAME_MAX 16 /* with the final NUL: what the kernel keeps */

struct ft_worker_options {
	size_t size;                /* sizeof(struct ft_worker_options) */
	uint32_t kind;              /* enum ft_worker_kind */
	uint32_t flags;             /* FT_INTERRUPTIBLE: join may return -EINTR;
				     * FT_WORKER_REUSE */
	const char *name;           /* NULL: "ft-worker-N"; cut to 15 bytes */
	const struct ft_cpus *cpus; /* NULL: as the caller; else usable ∩ cpus */
	size_t stack_size;          /* threads; 0: the system's default */
	struct ft_spawner *spawner; /* processes; NULL: copy the caller */
	const void *payload;        /* with a spawner: bytes copied for the worker */
	size_t payload_size;
};

struct ft_worker_exit {
	pid_t pid;  /* of the process, or tid of the thread */
	int code;   /* what main returned; 0 if it was killed */
	int signo;  /* the signal that killed it, or 0 */
	int known;  /* 0: somebody else reaped it; its own word, or 255, is taken */
	char name[FT_WORKER_NAME_MAX];
};

/* Starts main(arg).  With a spawner `arg` must be NULL and main receives a
 * pointer to the worker's copy of the payload; `main` itself may be NULL when
 * the spawner's hooks run the payload.  0; -EINVAL; -EAGAIN (limits); -ENOMEM;
 * -EMFILE; -EPIPE (the spawner can't be started); -EBUSY (its helper has become
 * multi-threaded); -ECHILD. */
FT_API FT_NODISCARD int ft_worker_start(struct ft_worker **worker,
					const struct ft_worker_options *options,
					ft_worker_main *main, void *arg);

/* Waits until it ended.  Any number of threads, any number of times.
 * 0; -ETIMEDOUT; -EINTR; -EDEADLK (a worker joining itself); -EINVAL. */
FT_API FT_NODISCARD int ft_worker_join(struct ft_worker *worker, ft_deadline deadline);

/* 1 or 0. */
FT_API int ft_worker_is_alive(struct ft_worker *worker);

/* How it ended.  0; -EAGAIN: it still runs; -EINVAL. */
FT_API int ft_worker_exit_status(struct ft_worker *worker, struct ft_worker_exit *exit);

/* Sends a signal to a process worker.  0; -ESRCH: it ended; -ENOTSUP: a thread
 * cannot be killed alone; -EINVAL. */
FT_API int ft_worker_kill(struct ft_worker *worker, int signo);

/* Sends away the OS threads that wait for another FT_WORKER_REUSE worker, and
 * waits until they have left.  0; -ETIMEDOUT: some are still on their way. */
FT_API int ft_worker_dismiss(ft_deadline deadline);

/* The process id, or the thread id of a thread worker. */
FT_API pid_t ft_worker_pid(const struct ft_worker *worker);

/* A thread worker's pthread_t, for functions like pthread_kill: good until the
 * worker has ended.  0; -ENOTSUP for processes; -EINVAL; -ECHILD. */
FT_API int ft_worker_thread(const struct ft_worker *worker, pthread_t *thread);

/* A process worker's pidfd: poll it for POLLIN to learn of the end.  Valid
 * until ft_worker_free; do not close it.  -ENOTSUP for threads. */
FT_API int ft_worker_pidfd(const struct ft_worker *worker);

FT_API const char *ft_worker_name(const struct ft_worker *worker);

/* Frees the handle of a worker that ended (-EBUSY before).  NULL is allowed. */
FT_API int ft_worker_free(struct ft_worker *worker);

/* For a worker with several users: each hold is ended by one ft_worker_free or
 * ft_worker_release, besides the one that ft_worker_start gave.  0, -EINVAL. */
FT_API int ft_worker_hold(struct ft_worker *worker);

/* As ft_worker_free, at any time: a worker that still runs goes on, and is
 * reaped at its end.  NULL is allowed. */
FT_API int ft_worker_release(struct ft_worker *worker);

FT_END_DECLS

#endif
