/* SPDX-License-Identifier: MIT */
/* The handle: what threads and processes have in common. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mem/slot.h"
#include "os/atomic.h"
#include "os/clock.h"
#include "os/futex.h"
#include "sync/wait.h"
#include "work/place.h"
#include "work/private_fd.h"
#include "work/supervisor.h"
#include "work/worker.h"

uint32_t ft__epoch = 1;

static uint32_t numbers; /* atomic: for names; no partner, only counted */

struct ft_worker *ft__worker_new(enum ft_worker_kind kind, const char *name)
{
	struct ft_worker *worker = calloc(1, sizeof(*worker));

	if (!worker)
		return NULL;
	worker->kind = kind;
	worker->epoch = ft__epoch;
	worker->refs = 1;
	worker->pidfd = -1;
	if (name)
		snprintf(worker->name, sizeof(worker->name), "%s", name);
	else
		snprintf(worker->name, sizeof(worker->name), "ft-worker-%u",
			 ft__add32_seq_cst(&numbers, 1));
	return worker;
}

struct ft_worker *ft__worker_get(struct ft_worker *worker)
{
	ft__add32_seq_cst(&worker->refs, 1); /* partner: the last put */
	return worker;
}

void ft__worker_put(struct ft_worker *worker)
{
	/* Partner: every other put; the last one must see all they did. */
	if (ft__add32_seq_cst(&worker->refs, (uint32_t)-1) != 1)
		return;
	ft__private_fd_close(worker->pidfd);
	free(worker);
}

void ft__worker_end(struct ft_worker *worker, int code, int signo, int known)
{
	worker->exit = (struct ft_worker_exit){
		.pid = worker->pid, .code = code, .signo = signo, .known = known
	};
	memcpy(worker->exit.name, worker->name, sizeof(worker->name));
	/* Partner: the acquire in ended(); what is written above is seen there. */
	ft__store32_release(&worker->done, 1);
	ft__futex_wake(&worker->done, INT32_MAX, false);
}

static bool ended(const struct ft_worker *worker)
{
	return ft__load32_acquire(&worker->done); /* partner: ft__worker_end */
}

/* As ended(), but finishes a death that nobody has looked at yet. */
static bool settled(struct ft_worker *worker)
{
	return ended(worker) ||
	       (worker->kind == FT_WORKER_PROCESS && ft__supervisor_settle(worker));
}

bool ft__worker_is_me(const struct ft_worker *worker)
{
	return worker == ft__thread_me() || worker == ft__process_me();
}

static int check(const struct ft_worker *worker)
{
	if (!worker)
		return -EINVAL;
	return worker->epoch == ft__epoch ? 0 : -ECHILD;
}

static int check_options(const struct ft_worker_options *o, ft_worker_main *main, const void *arg)
{
	if (!o || o->size != sizeof(*o) || (o->flags & ~(FT_INTERRUPTIBLE | FT_WORKER_REUSE)))
		return -EINVAL;
	if (o->kind != FT_WORKER_THREAD && o->kind != FT_WORKER_PROCESS)
		return -EINVAL;
	if (o->spawner && (o->kind == FT_WORKER_THREAD || arg))
		return -EINVAL;
	if (!o->spawner && (!main || o->payload || o->payload_size))
		return -EINVAL;
	return !o->payload && o->payload_size ? -EINVAL : 0;
}

/* The CPUs asked for, as far as they were inherited. */
static int set_cpus(struct ft_worker *worker, const struct ft_cpus *cpus)
{
	int rc;

	if (!cpus)
		return 0;
	rc = ft_cpus_usable(&worker->cpus);
	if (rc)
		return rc;
	worker->has_cpus = 1;
	return ft__cpus_and(&worker->cpus, cpus) ? 0 : -EINVAL;
}

static int start_process(struct ft_worker *worker, const struct ft_worker_options *options)
{
	int rc = ft__supervisor_ready();

	if (rc)
		return rc;
	worker->owner = ft__slot_reserve(worker->name);
	if (!worker->owner)
		return -EAGAIN;
	if (options->spawner)
		rc = ft__spawner_spawn(options->spawner, worker, options->payload,
				       options->payload_size);
	else
		rc = ft__process_start(worker);
	if (rc)
		ft__slot_free(worker->owner);
	return rc;
}

/* At load time: a handler registered while another thread forks would not run
 * in that child. */
static int watching_forks;

__attribute__((constructor)) static void watch_forks(void)
{
	watching_forks = -pthread_atfork(NULL, NULL, ft__supervisor_forget);
}

int ft_worker_start(struct ft_worker **out, const struct ft_worker_options *options,
		    ft_worker_main *main, void *arg)
{
	struct ft_worker *worker;
	int rc = check_options(options, main, arg);

	if (rc || !out)
		return -EINVAL;
	if (ft__arena.forked || watching_forks)
		return ft__arena.forked ? -ECHILD : watching_forks;
	worker = ft__worker_new(options->kind, options->name);
	if (!worker)
		return -ENOMEM;
	worker->flags = options->flags;
	worker->main = main;
	worker->arg = arg;
	/* Before it runs, so that a worker that shares or copies our memory can
	 * find its own handle. */
	*out = worker;
	rc = set_cpus(worker, options->cpus);
	if (!rc && options->kind == FT_WORKER_THREAD)
		rc = ft__thread_start(worker, options->stack_size);
	else if (!rc)
		rc = start_process(worker, options);
	if (rc) {
		*out = NULL;
		ft__worker_put(worker);
	}
	return rc;
}

/* Sleeps until the process is dead, no matter who has noticed.  0, -ETIMEDOUT
 * or -EINTR. */
static int await_death(const struct ft_worker *worker, ft_deadline deadline)
{
	struct pollfd poller = { .fd = worker->pidfd, .events = POLLIN };
	ft_deadline until = ft__glance_at(worker->flags & FT_INTERRUPTIBLE, deadline);

	for (;;) {
		ft_deadline now = ft_now();
		struct timespec time = ft__timespec(until > now ? until - now : 0);
		int rc = ppoll(&poller, 1, until == FT_FOREVER ? NULL : &time, NULL);

		if (rc > 0)
			return 0;
		if (rc == 0 && ft__passed(until))
			return ft__glanced(-ETIMEDOUT, until, deadline);
		if (rc < 0 && errno == EINTR && (worker->flags & FT_INTERRUPTIBLE))
			return -EINTR;
		if (rc < 0 && errno != EINTR)
			return -errno;
	}
}

static int await_end(const struct ft_worker *worker, ft_deadline deadline)
{
	struct ft__spin spin = { 0 };
	int rc = 0;

	while (!ended(worker) && rc == 0)
		if (!ft__spin(&spin))
			rc = ft__park(&worker->done, 0, worker->flags & FT_INTERRUPTIBLE, deadline);
	ft__spin_end(&spin);
	return ended(worker) ? 0 : rc;
}

int ft_worker_join(struct ft_worker *worker, ft_deadline deadline)
{
	int rc = check(worker);

	/* In a process worker its own handle is the parent's as well. */
	if (worker && ft__worker_is_me(worker))
		return -EDEADLK;
	if (rc)
		return rc;
	if (worker->kind == FT_WORKER_PROCESS && !settled(worker)) {
		rc = await_death(worker, deadline);
		if (rc || settled(worker))
			return rc;
	}
	/* A dead process is not settled while somebody alive holds a queue that
	 * it was in; the supervisor tries again. */
	rc = await_end(worker, deadline);
	if (!rc && worker->kind == FT_WORKER_THREAD)
		ft__thread_join(worker);
	return rc;
}

int ft_worker_is_alive(struct ft_worker *worker)
{
	if (check(worker))
		return 0;
	return !settled(worker) && (worker->pidfd < 0 || !ft__pidfd_dead(worker->pidfd));
}

int ft_worker_exit_status(struct ft_worker *worker, struct ft_worker_exit *exit)
{
	int rc = check(worker);

	if (rc || !exit)
		return rc ? rc : -EINVAL;
	if (!settled(worker))
		return -EAGAIN;
	*exit = worker->exit;
	return 0;
}

int ft_worker_kill(struct ft_worker *worker, int signo)
{
	int rc = check(worker);

	if (rc || signo < 0)
		return rc ? rc : -EINVAL;
	if (worker->kind == FT_WORKER_THREAD)
		return -ENOTSUP;
	return settled(worker) ? -ESRCH : ft__pidfd_signal(worker->pidfd, worker->pid, signo);
}

pid_t ft_worker_pid(const struct ft_worker *worker)
{
	if (!worker)
		return -EINVAL;
	return worker->kind == FT_WORKER_THREAD ? ft__thread_tid(worker) : worker->pid;
}

int ft_worker_thread(const struct ft_worker *worker, pthread_t *thread)
{
	int rc = check(worker);

	if (rc || !thread)
		return rc ? rc : -EINVAL;
	if (worker->kind == FT_WORKER_PROCESS)
		return -ENOTSUP;
	*thread = worker == ft__thread_me() ? pthread_self() : worker->thread;
	return 0;
}

int ft_worker_pidfd(const struct ft_worker *worker)
{
	int rc = check(worker);

	if (rc)
		return rc;
	return worker->kind == FT_WORKER_THREAD ? -ENOTSUP : worker->pidfd;
}

const char *ft_worker_name(const struct ft_worker *worker)
{
	return worker ? worker->name : "";
}

int ft_worker_free(struct ft_worker *worker)
{
	int rc;

	if (!worker)
		return 0;
	rc = check(worker);
	if (rc)
		return rc;
	if (!settled(worker))
		return -EBUSY;
	if (worker->kind == FT_WORKER_THREAD)
		ft__thread_join(worker);
	ft__worker_put(worker);
	return 0;
}

int ft_worker_hold(struct ft_worker *worker)
{
	int rc = check(worker);

	if (!rc)
		ft__worker_get(worker);
	return rc;
}

int ft_worker_release(struct ft_worker *worker)
{
	int rc = worker ? check(worker) : 0;

	if (rc || !worker)
		return rc;
	if (worker->kind == FT_WORKER_THREAD && !ended(worker))
		ft__thread_detach(worker);
	else if (worker->kind == FT_WORKER_THREAD)
		ft__thread_join(worker);
	ft__worker_put(worker);
	return 0;
}
