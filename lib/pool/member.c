/* SPDX-License-Identifier: MIT */
/* Workers come and go: hiring, ends, deaths, and when to give up. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/atomic.h"
#include "os/clock.h"
#include "os/pidfd.h"
#include "pool/pool.h"
#include "pool/seat.h"
#include "work/supervisor.h"
#include "work/worker.h"

/* After a start that failed, so that limits have time to ease. */
#define HIRE_AGAIN_NS INT64_C(20000000)
#define UNSETTLED_NS INT64_C(2000000)
#define SILENT_NS INT64_C(100000000)

static bool is_process(const struct ft_pool *pool)
{
	return pool->options.kind == FT_WORKER_PROCESS;
}

pid_t ft__member_pid(const struct ft_pool *pool, uint32_t seat)
{
	const struct ft__member *member = pool->chairs[seat].member;

	return member ? member->pid : 0;
}

bool ft__member_any(const struct ft_pool *pool)
{
	return pool->hiring || pool->vacant < pool->board.seats;
}

/* ---- the end of a stay ---- */

static bool has_ended(struct ft_pool *pool, struct ft_worker *worker, bool deaths)
{
	/* Acquire, with ft__worker_end: its exit status is there. */
	if (ft__load32_acquire(&worker->done))
		return true;
	if (!deaths || !is_process(pool))
		return false;
	if (ft__supervisor_settle(worker) == 1)
		return true;
	/* Dead, but something it was in the middle of cannot be settled yet. */
	pool->unsettled |= ft__pidfd_dead(worker->pidfd) == 1;
	return false;
}

static void member_free(struct ft_pool *pool, struct ft__member *member)
{
	if (is_process(pool)) {
		ft__collector_unwatch(pool->collector, ft_worker_pidfd(member->worker));
		/* The leader may not hear of it any more. */
		ft__bell_again(&pool->board.control->bell);
	}
	ft_worker_free(member->worker);
	free(member);
}

/* Workers die faster than they work: nothing that waits will ever run. */
static void give_up(struct ft_pool *pool)
{
	pool->broken = true;
	ft__harvest_waiting(pool, -EOWNERDEAD);
	ft__deal_state(pool, FT__CONTROL_CLOSING);
	pool->shut = true;
}

static void count_death(struct ft_pool *pool, const struct ft_worker_exit *exit, bool idle)
{
	pool->last_death = *exit;
	if (idle)
		pool->futile++;
	if (pool->futile >= 3 * pool->board.seats + 3 && !pool->broken && !pool->terminated)
		give_up(pool);
}

static void line_clear(struct ft_pool *pool, uint32_t seat)
{
	struct ft__line *line = ft__board_line(&pool->board, seat);
	uint32_t it = seat + 1;

	ft__board_take_idle_seat(&pool->board, seat);
	ft__cas32_seq_cst(&pool->board.control->watcher, &it, 0);
	ft__store32_relaxed(&line->busy, 1);
	ft__store32_relaxed(&line->left, 0);
	/* Release: the successor's CAS comes after all of the above. */
	ft__store32_release(&line->holder, 0);
}

/* What the dead was to do, or had been called for, is for others to steal; and
 * it may have died when it had taken somebody's idle bit, but not called yet. */
static void call_all(struct ft_pool *pool)
{
	for (uint32_t i = 0; i < pool->board.seats; i++) {
		ft__board_take_idle_seat(&pool->board, i);
		ft__board_call(&pool->board, i);
	}
}

static void stay_ends(struct ft_pool *pool, uint32_t seat, bool ended, bool left)
{
	struct ft__chair *chair = &pool->chairs[seat];
	struct ft__member *member = chair->member;
	struct ft_worker_exit exit = { .pid = member->pid };

	if (ended)
		ft_worker_exit_status(member->worker, &exit);
	bool worked = ft__harvest_dead(pool, seat, &exit) || chair->ended;
	chair->member = NULL;
	pool->vacant++;
	line_clear(pool, seat);
	if (!left) {
		call_all(pool);
		count_death(pool, &exit, !worked);
	}
	if (ended) {
		member_free(pool, member);
		return;
	}
	member->next = pool->leaving;
	pool->leaving = member;
}

static void look_leaving(struct ft_pool *pool, bool deaths)
{
	struct ft__member **at = &pool->leaving, *member;

	while ((member = *at)) {
		if (has_ended(pool, member->worker, deaths)) {
			*at = member->next;
			member_free(pool, member);
		} else {
			at = &member->next;
		}
	}
}

void ft__member_look(struct ft_pool *pool)
{
	bool deaths = ft__collector_deaths(pool->collector) || pool->unsettled;

	pool->unsettled = false;
	for (uint32_t i = 0; i < pool->board.seats; i++) {
		struct ft__member *member = pool->chairs[i].member;
		if (!member)
			continue;
		bool ended = has_ended(pool, member->worker, deaths);
		/* Acquire, with ft_seat_close; after `ended`, so that who left
		 * and ended is not taken for dead. */
		bool left = ft__load32_acquire(&ft__board_line(&pool->board, i)->left);
		if (ended || left)
			stay_ends(pool, i, ended, left);
	}
	look_leaving(pool, deaths);
}

bool ft__member_left(const struct ft_pool *pool)
{
	for (uint32_t i = 0; i < pool->board.seats; i++) {
		/* Seq_cst, after the leader's `asleep`, with ft_seat_close. */
		if (pool->chairs[i].member &&
		    ft__load32_seq_cst(&ft__board_line(&pool->board, i)->left))
			return true;
	}
	return false;
}

void ft__member_kill(struct ft_pool *pool, int signo)
{
	if (!is_process(pool))
		return;
	for (uint32_t i = 0; i < pool->board.seats; i++) {
		if (pool->chairs[i].member)
			ft_worker_kill(pool->chairs[i].member->worker, signo);
	}
	for (struct ft__member *member = pool->leaving; member; member = member->next)
		ft_worker_kill(member->worker, signo);
}

/* ---- hiring ---- */

/* With the workers told to leave, only for tasks that nobody there can take. */
static bool has_work(const struct ft_pool *pool)
{
	uint32_t seated = pool->board.seats - pool->vacant;

	return !pool->shut || pool->live > seated;
}

static bool may_hire(const struct ft_pool *pool)
{
	return pool->vacant && !pool->hiring && !pool->terminated && !pool->broken &&
	       has_work(pool);
}

bool ft__member_wanted(const struct ft_pool *pool)
{
	return may_hire(pool) && ft__passed(pool->hire_at);
}

/* A thread that ends without a word, as only one with a main of its own can,
 * is found by looking. */
static bool may_end_silently(const struct ft_pool *pool)
{
	if (is_process(pool))
		return false;
	for (uint32_t i = 0; i < pool->board.seats; i++) {
		const struct ft__line *line = ft__board_line(&pool->board, i);
		if (pool->chairs[i].member &&
		    (pool->options.start || !ft__load32_relaxed(&line->holder)))
			return true;
	}
	return false;
}

ft_deadline ft__member_patience(const struct ft_pool *pool)
{
	if (pool->unsettled)
		return ft_after(UNSETTLED_NS);
	ft_deadline until = may_hire(pool) ? pool->hire_at : FT_FOREVER;
	ft_deadline look = may_end_silently(pool) ? ft_after(SILENT_NS) : FT_FOREVER;
	return until < look ? until : look;
}

/* The library's own way: a worker that runs ft__seat_main. */
static int start_own(struct ft_pool *pool, uint32_t seat, const struct ft_cpus *cpus,
		     struct ft_worker **worker)
{
	char name[FT_WORKER_NAME_MAX + 12];
	struct ft_worker_options options = {
		.size = sizeof(options),
		.kind = pool->options.kind,
		.name = name,
		.cpus = cpus,
		.spawner = pool->options.spawner,
	};
	uint64_t *handle = &pool->chairs[seat].handle;

	snprintf(name, sizeof(name), "%s-%u", pool->name, seat);
	if (!options.spawner)
		return ft_worker_start(worker, &options, ft__seat_main, handle);
	options.payload = handle;
	options.payload_size = sizeof(*handle);
	return ft_worker_start(worker, &options, ft__seat_main, NULL);
}

static int start(struct ft_pool *pool, uint32_t seat, struct ft_worker **worker)
{
	const struct ft_cpus *cpus = pool->cpus ? &pool->cpus[seat] : NULL;
	uint64_t handle = pool->chairs[seat].handle;

	*worker = NULL;
	if (!pool->options.start)
		return start_own(pool, seat, cpus, worker);
	int rc = pool->options.start(pool->options.start_ctx, seat, handle, cpus, worker);
	return rc || *worker ? rc : -EINVAL;
}

static int seat_vacant(const struct ft_pool *pool, uint32_t *seat)
{
	for (*seat = 0; *seat < pool->board.seats; ++*seat) {
		if (!pool->chairs[*seat].member)
			return 0;
	}
	return -ENOENT;
}

static void seat_give(struct ft_pool *pool, uint32_t seat, struct ft__member *member)
{
	struct ft__chair *chair = &pool->chairs[seat];

	member->pid = ft_worker_pid(member->worker);
	chair->member = member;
	chair->ended = 0;
	pool->vacant--;
	pool->hires++;
	if (is_process(pool))
		ft__collector_watch(pool->collector, ft_worker_pidfd(member->worker));
	/* It was started while the pool was terminated. */
	if (pool->terminated)
		ft_worker_kill(member->worker, SIGKILL);
}

int ft__member_hire(struct ft_pool *pool)
{
	struct ft__member *member = calloc(1, sizeof(*member));
	uint32_t seat;

	ft__pool_lock(pool);
	int rc = may_hire(pool) ? seat_vacant(pool, &seat) : -ENOENT;
	pool->hiring |= !rc;
	ft__pool_unlock(pool);
	if (rc) {
		free(member);
		return rc;
	}
	rc = member ? start(pool, seat, &member->worker) : -ENOMEM;
	ft__pool_lock(pool);
	pool->hiring = false;
	if (!rc) {
		seat_give(pool, seat, member);
	} else {
		pool->hire_at = ft_after(HIRE_AGAIN_NS);
		count_death(pool, &(struct ft_worker_exit){ 0 }, !ft__member_any(pool));
	}
	ft__wake_leader(pool);
	ft__pool_unlock(pool);
	if (rc)
		free(member);
	return rc;
}
