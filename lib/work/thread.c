/* SPDX-License-Identifier: MIT */
/*
 * Thread workers.  pthread_create is the clone3 that libc itself makes, and
 * the only way to a thread in which libc works.  The thread's signal mask is
 * its creator's, as with every other thread.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/atomic.h"
#include "os/compiler.h"
#include "os/futex.h"
#include "sync/wait.h"
#include "work/parked.h"
#include "work/place.h"
#include "work/worker.h"

static FT__THREAD struct ft_worker *me;

const struct ft_worker *ft__thread_me(void)
{
	return me;
}

static void end(struct ft_worker *worker)
{
	ft__worker_end(worker, worker->status.code, 0, 1);
	ft__worker_put(worker);
}

/* Also runs when main ends by pthread_exit or cancellation. */
static void leave(void *arg)
{
	struct ft_worker *worker = arg;

	/* Partner: see_out. */
	if (ft__swap32_seq_cst(&worker->parting, FT__PARTING_LEFT) == FT__PARTING_SEEN)
		pthread_detach(pthread_self());
	end(worker);
}

static void run(struct ft_worker *worker)
{
	me = worker;
	pthread_cleanup_push(leave, worker);
	pthread_setname_np(pthread_self(), worker->name);
	worker->status.code = worker->main(worker->arg);
	pthread_cleanup_pop(0);
	me = NULL;
}

static void tell_tid(struct ft_worker *worker)
{
	worker->pid = (pid_t)syscall(SYS_gettid);
	/* Partner: the acquire in ft__thread_tid. */
	ft__store32_release(&worker->told, 1);
	ft__futex_wake(&worker->told, INT32_MAX, false);
}

static void *run_once(void *worker)
{
	tell_tid(worker);
	run(worker);
	leave(worker);
	return NULL;
}

/* The worker has run.  Who runs next, if anybody does in this thread. */
static struct ft_worker *next_after(struct ft_worker *worker, const struct ft__traits *traits,
				    int64_t *patience)
{
	struct ft__parked parked;

	if (worker->epoch != ft__epoch || !ft__parked_enter(&parked, traits)) {
		leave(worker);
		return NULL;
	}
	/* Others may call from now on, and find the last worker still ending. */
	end(worker);
	worker = ft__parked_wait(&parked, patience);
	if (worker)
		pthread_sigmask(SIG_SETMASK, &worker->signals, NULL);
	return worker;
}

static void *run_again(void *arg)
{
	struct ft_worker *worker = arg;
	struct ft__traits traits;
	int64_t patience = 0;

	if (!ft__traits_get(&traits))
		return run_once(worker);
	tell_tid(worker);
	while (worker) {
		run(worker);
		worker = next_after(worker, &traits, &patience);
	}
	return NULL;
}

static int set_affinity(pthread_attr_t *attr, const struct ft_cpus *cpus)
{
	size_t size = CPU_ALLOC_SIZE(FT_CPUS_MAX);
	cpu_set_t *set = CPU_ALLOC(FT_CPUS_MAX);
	int rc;

	if (!set)
		return ENOMEM;
	CPU_ZERO_S(size, set);
	for (unsigned cpu = 0; cpu < FT_CPUS_MAX; cpu++)
		if (ft__cpus_has(cpus, cpu))
			CPU_SET_S(cpu, size, set);
	rc = pthread_attr_setaffinity_np(attr, size, set);
	CPU_FREE(set);
	return rc;
}

static int set_stack(pthread_attr_t *attr, size_t stack_size)
{
	size_t least = (size_t)sysconf(_SC_THREAD_STACK_MIN);

	return pthread_attr_setstacksize(attr, stack_size < least ? least : stack_size);
}

static int create(struct ft_worker *worker, size_t stack_size, void *(*body)(void *))
{
	pthread_attr_t attr;
	int rc = pthread_attr_init(&attr);

	if (rc)
		return -rc;
	if (stack_size)
		rc = set_stack(&attr, stack_size);
	if (!rc && worker->has_cpus)
		rc = set_affinity(&attr, &worker->cpus);
	if (!rc)
		rc = pthread_create(&worker->thread, &attr, body, worker);
	pthread_attr_destroy(&attr);
	return -rc;
}

int ft__thread_start(struct ft_worker *worker, size_t stack_size)
{
	bool reuse = worker->flags & FT_WORKER_REUSE && !stack_size && !worker->has_cpus;
	int rc;

	ft__worker_get(worker); /* for the thread */
	if (reuse && ft__parked_call(worker))
		return 0;
	rc = create(worker, stack_size, reuse ? run_again : run_once);
	if (rc)
		ft__worker_put(worker);
	return rc;
}

pid_t ft__thread_tid(const struct ft_worker *worker)
{
	struct ft__spin spin = { 0 };

	/* Partner: the release in run(). */
	while (!ft__load32_acquire(&worker->told))
		if (!ft__spin(&spin))
			(void)ft__park(&worker->told, 0, 0, FT_FOREVER);
	ft__spin_end(&spin);
	return worker->pid;
}

/* Is the OS thread the caller's to join or detach? */
static bool see_out(struct ft_worker *worker)
{
	/* Partner: leave. */
	return ft__swap32_seq_cst(&worker->parting, FT__PARTING_SEEN) == FT__PARTING_LEFT;
}

void ft__thread_join(struct ft_worker *worker)
{
	/* A thread's own destructors may free its handle: it has ended for
	 * everybody, but cannot wait for itself. */
	if (see_out(worker) && pthread_join(worker->thread, NULL) == EDEADLK)
		pthread_detach(worker->thread);
}

void ft__thread_detach(struct ft_worker *worker)
{
	if (see_out(worker))
		pthread_detach(worker->thread);
}
