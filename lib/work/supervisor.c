/* SPDX-License-Identifier: MIT */
/* The supervisor's thread; what it does about a death is in death.c. */
#include "work/supervisor.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/atomic.h"
#include "os/clock.h"
#include "os/clone.h"
#include "os/futex.h"
#include "work/lifeline.h"
#include "work/private_fd.h"
#include "work/spawner.h"

#define STACK_SIZE (256 * 1024)
#define EVENTS 64
#define RETRY_MS 5
#define STRANGERS_NS INT64_C(20000000)      /* between looks at strangers */
#define STRANGERS_FOR_NS INT64_C(1000000000) /* for so long */

/* What woke the thread, if it was no worker: neither is an owner id. */
#define COMMAND 0u
#define ALARM UINT32_MAX

static struct {
	pthread_mutex_t start; /* starting the thread */
	pthread_mutex_t gate;  /* held by the thread while it works, by others to
				* keep it parked */
	pthread_mutex_t call;  /* one command at a time */
	uint32_t ready;        /* atomic: 1 after the rest is there */
	int epoll, event, timer;
	uint64_t strangers; /* atomic: until when to look for them */
	pthread_t thread;
	int (*fn)(void *arg); /* the command; written before `event` */
	void *arg;
	int answer;
	uint32_t answered; /* private futex: 1 after `answer` is written */
} supervisor = {
	.start = PTHREAD_MUTEX_INITIALIZER,
	.gate = PTHREAD_MUTEX_INITIALIZER,
	.call = PTHREAD_MUTEX_INITIALIZER,
	.epoll = -1,
	.event = -1,
	.timer = -1,
};

static void obey(void)
{
	uint64_t count;

	if (read(supervisor.event, &count, sizeof(count)) != sizeof(count))
		return;
	supervisor.answer = supervisor.fn(supervisor.arg);
	/* Partner: the acquire in ft__supervisor_call. */
	ft__store32_release(&supervisor.answered, 1);
	ft__futex_wake(&supervisor.answered, 1, false);
}

/* Children of this thread that nobody knows: they were cloned by a helper that
 * died then, and have left when they found that nobody expects them any more.  One
 * that is known hides them, but not for long. */
static void reap_strangers(void)
{
	int flags = WEXITED | WNOHANG | __WALL | __WNOTHREAD;
	siginfo_t info = { 0 };

	while (waitid(P_ALL, 0, &info, flags | WNOWAIT) == 0 && info.si_pid &&
	       !ft__death_knows(info.si_pid)) {
		waitid(P_PID, (id_t)info.si_pid, &info, flags);
		info.si_pid = 0;
	}
}

static void wake_up(void)
{
	ft_deadline next, now = ft_now();
	uint64_t count;

	/* Whoever has set it anew meanwhile wants another look later. */
	if (read(supervisor.timer, &count, sizeof(count)) != sizeof(count))
		return;
	next = ft__spawner_tick();
	/* Any order: who writes it has set the alarm after that. */
	if (now < (ft_deadline)ft__load64_relaxed(&supervisor.strangers)) {
		reap_strangers();
		next = next < now + STRANGERS_NS ? next : now + STRANGERS_NS;
	}
	if (next != FT_FOREVER)
		ft__supervisor_alarm(next - now);
}

static void *run(void *arg)
{
	struct epoll_event events[EVENTS];
	int held_up = 0;

	for (;;) {
		int n = epoll_wait(supervisor.epoll, events, EVENTS, held_up ? RETRY_MS : -1);

		pthread_mutex_lock(&supervisor.gate);
		for (int i = 0; i < n; i++) {
			if (events[i].data.u32 == COMMAND)
				obey();
			else if (events[i].data.u32 == ALARM)
				wake_up();
			else
				ft__death_notice(events[i].data.u32);
		}
		held_up = ft__death_retry();
		pthread_mutex_unlock(&supervisor.gate);
	}
	return arg;
}

/* No signal handler of the user's ever runs on this thread. */
static int start_thread(void)
{
	size_t stack = STACK_SIZE + (size_t)sysconf(_SC_THREAD_STACK_MIN);
	pthread_attr_t attr;
	sigset_t all, before;
	int rc = pthread_attr_init(&attr);

	if (rc)
		return -rc;
	sigfillset(&all);
	pthread_attr_setstacksize(&attr, stack);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&supervisor.thread, &attr, run, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (!rc)
		pthread_setname_np(supervisor.thread, "ft-supervisor");
	return -rc;
}

static int listen_to(int fd, uint32_t what)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = what };

	return epoll_ctl(supervisor.epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int open_descriptors(void)
{
	int rc;

	supervisor.epoll = ft__private_fd(epoll_create1(EPOLL_CLOEXEC));
	if (supervisor.epoll < 0)
		return -errno;
	supervisor.event = ft__private_fd(eventfd(0, EFD_CLOEXEC));
	if (supervisor.event < 0)
		return -errno;
	supervisor.timer =
	    ft__private_fd(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
	if (supervisor.timer < 0)
		return -errno;
	rc = listen_to(supervisor.event, COMMAND);
	return rc ? rc : listen_to(supervisor.timer, ALARM);
}

static int start(void)
{
	int rc = ft__lifeline_ready();

	if (!rc)
		rc = open_descriptors();
	if (!rc)
		rc = start_thread();
	if (!rc) {
		/* Partner: the acquire in ft__supervisor_ready. */
		ft__store32_release(&supervisor.ready, 1);
		return 0;
	}
	ft__private_fd_close(supervisor.timer);
	ft__private_fd_close(supervisor.event);
	ft__private_fd_close(supervisor.epoll);
	supervisor.timer = supervisor.event = supervisor.epoll = -1;
	return rc;
}

int ft__supervisor_ready(void)
{
	int rc = 0;

	if (ft__load32_acquire(&supervisor.ready)) /* partner: start() */
		return 0;
	pthread_mutex_lock(&supervisor.start);
	if (!ft__load32_acquire(&supervisor.ready)) /* partner: start() */
		rc = start();
	pthread_mutex_unlock(&supervisor.start);
	return rc;
}

int ft__supervisor_watch(struct ft_worker *worker)
{
	struct pollfd poller = { .fd = worker->pidfd, .events = POLLIN };
	int rc = ft__death_watch(worker, supervisor.epoll);

	if (!rc)
		return 0;
	ft__pidfd_signal(worker->pidfd, worker->pid, SIGKILL);
	while (!ft__supervisor_settle(worker))
		poll(&poller, 1, RETRY_MS);
	return rc;
}

void ft__supervisor_bury(struct ft_worker *worker)
{
	if (worker->pid > 0) {
		kill(worker->pid, SIGKILL);
		while (waitpid(worker->pid, NULL, __WALL) < 0 && errno == EINTR)
			;
	}
	worker->reaped = 1;
	ft__supervisor_settle(worker);
}

int ft__supervisor_alarm(int64_t ns)
{
	struct itimerspec time = { .it_value = ft__timespec(ns > 0 ? ns : 1) };

	return timerfd_settime(supervisor.timer, 0, &time, NULL) ? -errno : 0;
}

void ft__supervisor_expect_stranger(void)
{
	ft__store64_relaxed(&supervisor.strangers, (uint64_t)ft_after(STRANGERS_FOR_NS));
	(void)ft__supervisor_alarm(STRANGERS_NS);
}

int ft__supervisor_call(int (*fn)(void *arg), void *arg)
{
	uint64_t one = 1;
	int rc;

	pthread_mutex_lock(&supervisor.call);
	supervisor.fn = fn;
	supervisor.arg = arg;
	ft__store32_relaxed(&supervisor.answered, 0);
	rc = write(supervisor.event, &one, sizeof(one)) == sizeof(one) ? 0 : -errno;
	/* Partner: the release in obey(). */
	while (!rc && !ft__load32_acquire(&supervisor.answered))
		ft__futex_wait(&supervisor.answered, 0, false, FT_FOREVER);
	if (!rc)
		rc = supervisor.answer;
	pthread_mutex_unlock(&supervisor.call);
	return rc;
}

int ft__supervisor_pause_if_alone(void)
{
	int alone;

	/* Outside the gate the thread is in epoll_wait or on its way to the
	 * gate, and holds nothing of libc's either way. */
	pthread_mutex_lock(&supervisor.gate);
	/* Partner: start(). */
	alone = ft__load32_acquire(&supervisor.ready) ? 2 : 1;
	if (ft__thread_count() == alone)
		return 1;
	pthread_mutex_unlock(&supervisor.gate);
	return 0;
}

void ft__supervisor_resume(void)
{
	pthread_mutex_unlock(&supervisor.gate);
}

void ft__supervisor_forget(void)
{
	ft__epoch++;
	pthread_mutex_init(&supervisor.start, NULL);
	pthread_mutex_init(&supervisor.gate, NULL);
	pthread_mutex_init(&supervisor.call, NULL);
	supervisor.ready = 0;
	supervisor.strangers = 0;
	supervisor.epoll = supervisor.event = supervisor.timer = -1;
	ft__spawner_forget();
	ft__death_forget();
	ft__lifeline_forget();
	ft__private_fd_forget();
}
