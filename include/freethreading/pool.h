/* SPDX-License-Identifier: MIT */
/*
 * ft_pool: workers that take tasks and hand back results.
 *
 *     static int square(struct ft_task *task)
 *     {
 *             const long *x = ft_task_arg(task, NULL);
 *             long y = *x * *x;
 *             return ft_task_reply(task, &y, sizeof(y));
 *     }
 *     ...
 *     struct ft_pool_options o = { .size = sizeof(o), .kind = FT_WORKER_PROCESS };
 *     long in[100], out[100];
 *     struct ft_pool *pool;
 *     ft_pool_open(&pool, &o);
 *     ft_pool_map(pool, square, in, sizeof(in[0]), out, sizeof(out[0]), 100);
 *     ft_pool_close(pool);
 *     ft_pool_join(pool, FT_FOREVER);
 *     ft_pool_free(pool);
 *
 * Every submitted task ends exactly once: with what its function returned,
 * -ECANCELED, or -EOWNERDEAD when the worker that ran it died.  The pool then
 * starts another worker in its seat and goes on.  With options.retries such a
 * task begins anew instead, at most so often: for tasks that may be done twice.
 * A task's states (in shared pages, lib/pool/task.h) and a future's life:
 *
 *   BACKLOG -> READY -> RUNNING(seat) -> DONE -> collected
 *      |         |          `-- the worker died --> LOST
 *      `---------+---- cancel ----------------> CANCELLED
 *
 * Whoever waits for a result drives the collector: there is no thread between
 * a worker and the waiter.  If nobody waits, results stay where they are, and
 * at most FT_POOL_WINDOW tasks are with the workers; the others wait in the
 * program's memory until somebody submits, waits or polls.
 *
 * A pool may be used by all threads of the process that opened it.  Nothing is
 * async-signal-safe.  In a child of a plain fork(): -ECHILD.
 */
#ifndef FREETHREADING_POOL_H
#define FREETHREADING_POOL_H

#include <freethreading/worker.h>

FT_BEGIN_DECLS

#define FT_POOL_WINDOW 16384

struct ft_pool;
struct ft_future; /* the submitter's view of a task */
struct ft_task;   /* the worker's view of a task */
struct ft_seat;   /* a worker's place at a pool */

/* What a task runs, in a worker.  Its return value (0 or negative) becomes the
 * future's status; the result is what ft_task_reply was given. */
typedef int ft_task_main(struct ft_task *task);

struct ft_pool_options {
	size_t size;               /* sizeof(struct ft_pool_options) */
	uint32_t kind;             /* enum ft_worker_kind */
	uint32_t flags;            /* FT_INTERRUPTIBLE: waits may return -EINTR */
	uint32_t workers;          /* 0: ft_cpu_count() */
	uint32_t place;            /* enum ft_place_policy */
	const char *name;          /* workers are called name-0, name-1, … */
	uint32_t tasks_per_worker; /* a worker leaves after so many; 0: never */
	struct ft_spawner *spawner; /* a copy of this program; may be NULL */
	/* How seats get their worker; NULL: the library starts one that runs
	 * ft_seat_next in a loop.  Given: starts a worker that opens
	 * `seat_handle` and loops itself.  Called with no lock of the pool held
	 * by any thread that submits or waits, never twice at once. */
	int (*start)(void *ctx, uint32_t seat, uint64_t seat_handle, const struct ft_cpus *cpus,
		     struct ft_worker **worker);
	void *start_ctx;
	uint32_t retries; /* a task whose worker died runs again, so often at most */
};

/* 0; -EINVAL; -EAGAIN, -ENOMEM, -EMFILE: no worker could be started. */
FT_API FT_NODISCARD int ft_pool_open(struct ft_pool **pool, const struct ft_pool_options *options);

/* A task, spelled out. */
struct ft_call {
	ft_task_main *main; /* NULL only with a `start` of one's own */
	uint64_t code;      /* for such workers: ft_task_code() */
	const void *arg;    /* copied ... */
	size_t arg_size;
	void *block;        /* ... or a block that the pool owns from then on */
	void *user;         /* ft_future_user() */
	uint32_t flags;     /* FT_CALL_NOTIFY */
	uint64_t group;     /* with FT_CALL_NOTIFY: which ft_pool_next_in gets it */
};

#define FT_CALL_NOTIFY 0x1u /* hand the future to ft_pool_next when it is done */

/* Submits one task.  0; -EPIPE: closed; -EOWNERDEAD: workers die faster than
 * they work, the pool gave up; -ENOMEM; -EINVAL.  On an error a given block
 * still belongs to the caller. */
FT_API FT_NODISCARD int ft_pool_submit(struct ft_pool *pool, const struct ft_call *call,
				       struct ft_future **future);

/* Runs main over `count` elements of `in` and stores the replies to `out`
 * (either may be NULL with size 0).  Blocks.  0, or the status of the first
 * element that failed, after all have ended; a reply longer than out_size is
 * -EMSGSIZE.  -EINTR cancels what has not started, and waits for the rest. */
FT_API FT_NODISCARD int ft_pool_map(struct ft_pool *pool, ft_task_main *main, const void *in,
				    size_t in_size, void *out, size_t out_size, size_t count);

/* The next future with FT_CALL_NOTIFY that is done, in order of completion.
 * 0; -ETIMEDOUT; -EINTR; -EPIPE: closed or terminated, every task has ended, and
 * none is left.  While no such future is pending, the caller leaves the pool to
 * those who wait for a task, and looks after it now and then if nobody does. */
FT_API FT_NODISCARD int ft_pool_next(struct ft_pool *pool, struct ft_future **future,
				     ft_deadline deadline);

/* The same for the futures of one group, by which several users of a pool keep
 * apart what they wait for; ft_pool_next is that for group 0. */
FT_API FT_NODISCARD int ft_pool_next_in(struct ft_pool *pool, uint64_t group,
					struct ft_future **future, ft_deadline deadline);

/* Hands a future that was submitted without FT_CALL_NOTIFY to ft_pool_next after
 * all, at once if it is done.  0; -EALREADY: it had FT_CALL_NOTIFY. */
FT_API int ft_future_notify(struct ft_future *future);

/* Cancels everything that has not started. */
FT_API int ft_pool_cancel(struct ft_pool *pool);

/* Collects what is ready and deals out what waits, without blocking. */
FT_API int ft_pool_poll(struct ft_pool *pool);

/* No more submits; workers leave when everything is done. */
FT_API int ft_pool_close(struct ft_pool *pool);

/* Cancels what has not started and kills the workers (SIGTERM, and SIGKILL
 * `grace` ns later); thread workers leave after the task they run.  Tasks that
 * were running end as -ECANCELED. */
FT_API int ft_pool_terminate(struct ft_pool *pool, int64_t grace);

/* Waits until the workers of a closed or terminated pool have left.
 * 0; -ETIMEDOUT; -EINTR; -EINVAL: still open. */
FT_API FT_NODISCARD int ft_pool_join(struct ft_pool *pool, ft_deadline deadline);

/* Frees a joined pool (-EBUSY before).  Futures outlive it. */
FT_API int ft_pool_free(struct ft_pool *pool);

struct ft_pool_stats {
	uint64_t submitted, done, cancelled, lost, stolen;
	uint64_t sleeps;   /* times the collector went to sleep */
	uint32_t workers, idle, restarts, broken;
	char collector[16]; /* "uring-futex", "uring-poll" or "epoll" */
};
FT_API int ft_pool_stats(struct ft_pool *pool, struct ft_pool_stats *stats);

/* The worker in a seat, for looking at (pid, name), until it is replaced. */
FT_API pid_t ft_pool_worker_pid(struct ft_pool *pool, uint32_t seat);

/* ---- futures: in the process that submitted ---- */

/* 0 when done; -ETIMEDOUT; -EINTR. */
FT_API FT_NODISCARD int ft_future_wait(struct ft_future *future, ft_deadline deadline);

/* The same for all of an array, of whatever pools; cheaper than one by one, as
 * nobody is woken for each.  After an error some may be done. */
FT_API FT_NODISCARD int ft_future_wait_all(struct ft_future *const *futures, size_t count,
					   ft_deadline deadline);

/* 1 when done, else 0; collects, never blocks. */
FT_API int ft_future_done(struct ft_future *future);

/* 0: it will not run, and is done; -EBUSY: it runs or has ended. */
FT_API int ft_future_cancel(struct ft_future *future);

/* The status of a done future (-EAGAIN before): what main returned,
 * -ECANCELED, -EOWNERDEAD.  *data stays valid until ft_future_free; it may be
 * NULL with *size 0, and is set on errors of main as well. */
FT_API int ft_future_result(struct ft_future *future, const void **data, size_t *size);

/* Makes the block that holds the result the caller's, who frees it with
 * ft_block_free; the data that ft_future_result gave stay where they are.  Once.
 * 0; -EAGAIN: not done; -ENOENT: the result is small, or was taken. */
FT_API int ft_future_take(struct ft_future *future, void **block);

/* How the worker died, after -EOWNERDEAD.  -EINVAL for any other future. */
FT_API int ft_future_death(struct ft_future *future, struct ft_worker_exit *exit);

/* The task's number in its pool, from 1. */
FT_API uint64_t ft_future_id(const struct ft_future *future);

/* The worker that ran it or is running it; 0 if none has. */
FT_API pid_t ft_future_worker(struct ft_future *future);

FT_API void *ft_future_user(const struct ft_future *future);

/* Frees it; a task that still waits or runs goes on, its result is dropped. */
FT_API void ft_future_free(struct ft_future *future);

/* ---- seats and tasks: in a worker ---- */

/* Takes the seat behind a handle (from ft_pool_options.start).  0, -EINVAL,
 * -ESTALE. */
FT_API FT_NODISCARD int ft_seat_open(uint64_t handle, struct ft_seat **seat);

/* The next task.  0; -EPIPE: the pool wants no more of this worker;
 * -ETIMEDOUT; -EINTR; -ECHILD: in a child that a task has forked.  A task ends
 * with ft_task_end. */
FT_API FT_NODISCARD int ft_seat_next(struct ft_seat *seat, struct ft_task **task,
				     ft_deadline deadline);

FT_API int ft_seat_close(struct ft_seat *seat);

FT_API const void *ft_task_arg(const struct ft_task *task, size_t *size);
/* Makes the block that holds the argument this process's, to be kept beyond the
 * task and freed with ft_block_free; the argument stays where it is.  Once.  0;
 * -ENOENT: it lies in no block; -EPERM: in a thread worker, in a pool with retries, or taken
 * already. */
FT_API int ft_task_take(struct ft_task *task, void **block);
FT_API uint64_t ft_task_code(const struct ft_task *task);
FT_API uint64_t ft_task_id(const struct ft_task *task);

/* The result, copied.  At most once a task.  0, -ENOMEM, -EINVAL. */
FT_API FT_NODISCARD int ft_task_reply(struct ft_task *task, const void *data, size_t size);

/* The result, without copying: the pool owns the block from then on; `size` is
 * how much of it counts. */
FT_API FT_NODISCARD int ft_task_reply_block(struct ft_task *task, void *block, size_t size);

/* Ends the task with a status; the library does it for ft_task_main. */
FT_API int ft_task_end(struct ft_task *task, int status);

FT_END_DECLS

#endif
