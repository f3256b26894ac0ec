/* SPDX-License-Identifier: MIT */
/*
 * The submitter's side of a pool, all of it in private memory.  Floor 4.
 *
 * One private lock guards everything here; it is never held across a sleep or
 * a call of options.start.  "Locked" below means: the caller holds it.
 *
 *   control.c   the shared pages        harvest.c  results come in
 *   pool.c      open, close, free       member.c   workers come and go
 *   submit.c    tasks come in           lead.c     waiting
 *   deal.c      tasks go out            future.c   what users hold
 *   map.c       many tasks at once      news.c     who asked to be told
 *   seat.c, task.c  the worker's side
 */
#ifndef FT_POOL_POOL_H
#define FT_POOL_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include <freethreading/lock.h>
#include <freethreading/pool.h>

#include "pool/collector.h"
#include "pool/control.h"

/* ---- futures ---- */

/* Where a future is.  Written under the lock; `done` says the last step to
 * threads that do not hold it. */
enum ft__stage {
	FT__STAGE_BACKLOG, /* in pool->backlog */
	FT__STAGE_DEALT,   /* has a cell: READY, RUNNING or DONE there */
	FT__STAGE_ENDED,
};

struct ft_future {
	struct ft_pool *pool;      /* holds a reference; const */
	struct ft_future *next, *prev; /* in the backlog, or among the news */
	uint32_t done;             /* atomic: 1 after all below was written; release,
				    * pairs with the acquire of whoever looks */
	uint8_t stage;             /* enum ft__stage */
	bool dropped;              /* its user freed it: free it when it ended */
	bool news;                 /* in pool->news */
	bool told;                 /* was handed to ft_pool_next */
	bool lost;                 /* its worker died, or all of them: see `death` */
	bool waited;               /* lost while it waited for a worker */
	uint32_t flags;            /* FT_CALL_NOTIFY */
	uint64_t group;            /* const */
	uint32_t retries;          /* how often it may still begin anew */
	uint32_t index, generation, seat; /* while DEALT: its cell, and whose channel */
	int32_t status;
	uint64_t id;
	ft_task_main *main;
	uint64_t code;
	void *arg;                 /* our block, or NULL: in `small`, until DEALT */
	uint64_t arg_handle;       /* the worker may have taken the block */
	size_t arg_size;
	void *result;              /* our block, or `small`, or NULL */
	size_t size;
	void *user;
	/* Not NULL: a map's element; called at the end instead of `done`. */
	void (*sink)(struct ft_future *future);
	struct ft_worker_exit death; /* pid too of a worker that lives */
	unsigned char small[FT__TASK_SMALL_RESULT];
};

struct ft__list {
	struct ft_future *first, *last;
	uint64_t length;
};

void ft__list_append(struct ft__list *list, struct ft_future *future);
void ft__list_prepend(struct ft__list *list, struct ft_future *future);
void ft__list_remove(struct ft__list *list, struct ft_future *future);

/* Private notes about a cell. */
struct ft__slip {
	struct ft_future *future; /* NULL: the cell is free */
	uint32_t generation;
	uint32_t next;            /* free list, index + 1 */
};

/* ---- workers ---- */

/* A worker that was hired for a seat; it may outlive its stay there. */
struct ft__member {
	struct ft_worker *worker;
	struct ft__member *next; /* pool->leaving */
	pid_t pid;
};

struct ft__chair {
	struct ft__member *member; /* NULL: vacant */
	void *ticket;              /* block behind the seat's handle */
	uint64_t handle;           /* const; the library's workers read it here */
	uint32_t load;             /* live tasks whose reference is in its channel */
	uint64_t ended;            /* results of this member */
};

/* ---- waiting ---- */

struct ft__vigil {
	bool (*ready)(void *ctx); /* locked */
	void *ctx;
	uint32_t mode;            /* FT__BELL_EACH or FT__BELL_LAZY */
	uint32_t turn;            /* private futex: 1 when it is to look again */
	bool asleep;              /* parked on turn, or in the collector */
	/* Waits for what may never be asked for.  As long as it is not, a keeper
	 * leaves the lead to others, and only looks now and then whether anybody
	 * does what is to be done. */
	bool keeper;
	bool aside;               /* a keeper that leaves the lead to others now */
	struct ft__vigil *next, *prev;
};

struct ft_pool {
	struct ft_lock lock;
	uint32_t refs;             /* atomic: the handle, and each future */
	uint32_t process;          /* owner id; const */
	struct ft__board board;    /* const until freed */
	void *block;               /* of the control block; const until freed */
	struct ft__collector *collector;
	struct ft_pool_options options; /* const */
	struct ft_cpus *cpus;      /* one for each seat, or NULL; const */
	char name[FT_WORKER_NAME_MAX];

	bool closing, terminated, broken, joined;
	bool shut;                 /* the workers were told to leave */
	ft_deadline kill_at;       /* SIGKILL for who is left; FT_FOREVER */

	struct ft__list backlog, news;
	struct ft__slip *slips;    /* FT_POOL_WINDOW; below `high` only */
	uint32_t high, free;       /* free: index + 1 of the first free one, or 0 */
	uint32_t live;             /* cells in use */
	uint32_t mapping;          /* threads in ft_pool_map */
	uint64_t notify;           /* NOTIFY futures that were not handed over yet */
	uint64_t notify_here;      /* those of group 0 among them */
	uint64_t kept;             /* `ids` when a keeper looked last */
	bool unkept;               /* keepers sleep without a limit */

	struct ft__chair *chairs;
	struct ft__member *leaving;
	uint32_t vacant;
	uint32_t futile;           /* deaths in a row of workers that had no task yet */
	bool unsettled;            /* somebody is dead, but not settled yet */
	bool hiring;               /* some thread is in options.start */
	ft_deadline hire_at;       /* not before */
	struct ft_worker_exit last_death;

	struct ft__vigil *waiters, *last_waiter;
	struct ft__vigil *leader; /* one of them, or NULL */
	int64_t patience;         /* the leader's, sync/wait.h */

	uint64_t ids, ended, cancelled, lost, hires, sleeps;
};

/* 0; -EINVAL; -ECHILD: not in the process that opened it. */
int ft__pool_check(const struct ft_pool *pool);
void ft__pool_lock(struct ft_pool *pool);
void ft__pool_unlock(struct ft_pool *pool);
void ft__pool_get(struct ft_pool *pool);
void ft__pool_put(struct ft_pool *pool);

/* deal.c; locked.  Puts tasks of the backlog into cells and channels. */
void ft__deal(struct ft_pool *pool);
void ft__deal_free(struct ft_pool *pool, struct ft_future *future);
/* Takes a task that no worker has claimed back out of its cell. */
bool ft__deal_recall(struct ft_pool *pool, struct ft_future *future);
/* After the last push: tells the workers to leave, as `state` says. */
void ft__deal_state(struct ft_pool *pool, uint32_t state);

/* harvest.c; locked.  Takes in what the workers have pushed. */
void ft__harvest(struct ft_pool *pool);
/* Everything that is unread, for a look without the lock. */
bool ft__harvest_ripe(const struct ft_pool *pool);
/* The same for the seat of a worker that ended, and what it left in cells.  Whether
 * it was at a task. */
bool ft__harvest_dead(struct ft_pool *pool, uint32_t seat, const struct ft_worker_exit *exit);
/* Ends everything that has a cell, when there is nobody to do it. */
void ft__harvest_rest(struct ft_pool *pool);
/* Ends a future that has no cell and is in no list. */
void ft__harvest_end(struct ft_pool *pool, struct ft_future *future, int status);
/* Ends everything that no worker has claimed. */
void ft__harvest_waiting(struct ft_pool *pool, int status);

/* Fills one vacant seat; not locked, it takes the lock.  0; -ENOENT: nothing to
 * do; what the start said. */
int ft__member_hire(struct ft_pool *pool);
/* member.c; locked. */
/* Whether some worker has left its seat since ft__member_look. */
bool ft__member_left(const struct ft_pool *pool);
void ft__member_look(struct ft_pool *pool);
void ft__member_kill(struct ft_pool *pool, int signo);
bool ft__member_wanted(const struct ft_pool *pool);
/* When to look again, though nothing was heard. */
ft_deadline ft__member_patience(const struct ft_pool *pool);
bool ft__member_any(const struct ft_pool *pool);
pid_t ft__member_pid(const struct ft_pool *pool, uint32_t seat);

/* lead.c */
/* Locked: all that is to be done and does not block. */
void ft__tend(struct ft_pool *pool);
/* Locked: wakes the waiters whose condition holds now. */
void ft__wake_ready(struct ft_pool *pool);
/* Locked: keepers have something to look at. */
void ft__wake_keepers(struct ft_pool *pool);
/* Locked: the one who leads has something to look at. */
void ft__wake_leader(struct ft_pool *pool);
/* Not locked.  Drives the pool until ready(ctx) holds.  0; -ETIMEDOUT; -EINTR
 * where the pool is FT_INTERRUPTIBLE and `interruptible`. */
int ft__wait(struct ft_pool *pool, struct ft__vigil *waiter, bool interruptible,
	     ft_deadline deadline);

/* news.c; locked.  One NOTIFY future more, or less. */
void ft__news_expect(struct ft_pool *pool, const struct ft_future *future);
void ft__news_settle(struct ft_pool *pool, struct ft_future *future);

/* submit.c */
void ft__future_delete(struct ft_future *future);
/* Copies an argument, into a block if it is large.  0, -ENOMEM. */
int ft__future_arg(struct ft_future *future, const void *arg, size_t size);
/* Locked.  Appends to the backlog; deal it out by the other one. */
int ft__submit(struct ft_pool *pool, struct ft_future *future);
void ft__submit_flush(struct ft_pool *pool);

#endif
