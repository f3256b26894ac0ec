/* SPDX-License-Identifier: MIT */
/* The collector, on each of its ladders: the program runs itself once for each,
 * with FT_PROBE refusing what the ladder above needs. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <cmocka.h>

#include <freethreading/arena.h>

#include "child.h"
#include "os/atomic.h"
#include "os/futex.h"
#include "os/pidfd.h"
#include "pool/collector.h"

#define MS INT64_C(1000000)
#define SECOND INT64_C(1000000000)

static struct ft__bell *bell;
static struct ft__collector *collector;

static int open_it(void **state)
{
	void *block;

	(void)state;
	assert_int_equal(ft_block_alloc(64, &block), 0);
	bell = block;
	assert_int_equal(ft__bell_init(bell), 0);
	assert_int_equal(ft__collector_open(&collector, bell), 0);
	return 0;
}

static int close_it(void **state)
{
	(void)state;
	ft__collector_close(collector);
	assert_int_equal(ft_block_free(bell), 0);
	return 0;
}

/* Waits for something as a leader does, until `what` says it has come. */
static int lead(bool (*what)(void), ft_deadline deadline)
{
	for (;;) {
		uint32_t seen = ft__load32_seq_cst(&bell->word);
		int rc = 0;

		ft__store32_seq_cst(&bell->asleep, FT__BELL_EACH);
		if (!what())
			rc = ft__collector_wait(collector, seen, deadline);
		ft__store32_seq_cst(&bell->asleep, 0);
		if (what() || rc)
			return rc;
	}
}

static bool rung(void)
{
	return ft__load32_seq_cst(&bell->word) != 0;
}

static bool never(void)
{
	return false;
}

static bool died(void)
{
	return ft__collector_deaths(collector);
}

/* ---- bells ---- */

static void rung_before(void **state)
{
	(void)state;
	ft__store32_seq_cst(&bell->asleep, FT__BELL_EACH);
	ft__bell_ring(bell, false);
	assert_int_equal(bell->word, 1);
	assert_int_equal(bell->asleep, 0);
	assert_int_equal(ft__collector_wait(collector, 0, ft_after(5 * SECOND)), 0);
}

static void not_rung_is_timeout(void **state)
{
	(void)state;
	assert_int_equal(lead(never, FT_NOW), -ETIMEDOUT);
	assert_int_equal(lead(never, ft_after(20 * MS)), -ETIMEDOUT);
	assert_int_equal(bell->word, 0);
}

static void deadline_is_exact(void **state)
{
	int64_t worst = 0;

	(void)state;
	for (int i = 0; i < 20; i++) {
		ft_deadline deadline = ft_after(5 * MS);
		assert_int_equal(lead(never, deadline), -ETIMEDOUT);
		int64_t late = ft_now() - deadline;
		assert_true(late >= 0);
		worst = late > worst ? late : worst;
	}
	print_message("latest of 20 deadlines: %ld us late\n", (long)(worst / 1000));
}

static void *ring_when_asleep(void *arg)
{
	while (!ft__load32_seq_cst(&bell->asleep))
		sched_yield();
	ft__bell_ring(bell, false);
	return arg;
}

static void rung_by_a_thread(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		pthread_t thread;

		ft__store32_seq_cst(&bell->word, 0);
		pthread_create(&thread, NULL, ring_when_asleep, NULL);
		assert_int_equal(lead(rung, ft_after(5 * SECOND)), 0);
		pthread_join(thread, NULL);
		assert_int_equal(bell->word, 1);
	}
}

static int ring_from_worker(void *arg)
{
	ft__bell_adopt();
	ring_when_asleep(arg);
	return 0;
}

static void rung_by_a_process(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		uint32_t owner;

		ft__store32_seq_cst(&bell->word, 0);
		pid_t pid = worker_start(ring_from_worker, NULL, &owner);
		assert_true(pid > 0);
		assert_int_equal(lead(rung, ft_after(5 * SECOND)), 0);
		assert_int_equal(child_end(pid), 0);
		assert_int_equal(bell->word, 1);
		ft__slot_free(owner);
	}
}

/* Rings and sleeps at full speed: none is lost. */
#define RINGS 20000u
static uint32_t published, consumed;

static void *publish(void *arg)
{
	for (uint32_t i = 1; i <= RINGS; i++) {
		ft__store32_seq_cst(&published, i);
		ft__bell_ring(bell, false);
		/* In step with the consumer, so that it sleeps now and then. */
		while (i - ft__load32_acquire(&consumed) > i % 3)
			sched_yield();
	}
	return arg;
}

static bool something(void)
{
	return ft__load32_seq_cst(&published) != consumed;
}

static void none_is_lost(void **state)
{
	pthread_t thread;

	(void)state;
	published = consumed = 0;
	pthread_create(&thread, NULL, publish, NULL);
	while (consumed < RINGS) {
		assert_int_equal(lead(something, ft_after(10 * SECOND)), 0);
		ft__store32_release(&consumed, ft__load32_seq_cst(&published));
	}
	pthread_join(thread, NULL);
	print_message("%u results, %u rings\n", RINGS, bell->word);
}

/* ---- signals ---- */

static void on_alarm(int signo)
{
	(void)signo;
}

static void signals_interrupt(void **state)
{
	struct sigaction action = { .sa_handler = on_alarm }, before;
	struct itimerval timer = { .it_value.tv_usec = 20000 };

	(void)state;
	sigaction(SIGVTALRM, &action, &before);
	sigaction(SIGALRM, &action, &before);
	unsigned left = alarm(0);
	setitimer(ITIMER_REAL, &timer, NULL);
	assert_int_equal(lead(never, ft_after(10 * SECOND)), -EINTR);
	sigaction(SIGALRM, &before, NULL);
	alarm(left);
}

/* ---- deaths ---- */

static int die_later(void *arg)
{
	usleep((useconds_t)(uintptr_t)arg);
	return 3;
}

static void death_is_told(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++) {
		pid_t pid = child_start(die_later, (void *)(uintptr_t)20000);
		int fd = ft__pidfd_open(pid);

		assert_true(fd >= 0);
		assert_int_equal(ft__collector_watch(collector, fd), 0);
		assert_int_equal(lead(died, ft_after(10 * SECOND)), 0);
		assert_int_equal(ft__pidfd_dead(fd), 1);
		/* Told once, though it is still a zombie. */
		assert_int_equal(lead(died, ft_after(20 * MS)), -ETIMEDOUT);
		assert_int_equal(child_end(pid), 3);
		ft__collector_unwatch(collector, fd);
		close(fd);
	}
}

static void dead_before_the_watch(void **state)
{
	pid_t pid = child_start(die_later, NULL);
	int fd = ft__pidfd_open(pid);
	siginfo_t info;

	(void)state;
	assert_true(fd >= 0);
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	assert_int_equal(ft__collector_watch(collector, fd), 0);
	assert_int_equal(lead(died, ft_after(5 * SECOND)), 0);
	assert_int_equal(child_end(pid), 3);
	ft__collector_unwatch(collector, fd);
	close(fd);
}

#define MANY 40
static void many_deaths(void **state)
{
	pid_t pids[MANY];
	int fds[MANY], told = 0;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		pids[i] = child_start(die_later, (void *)(uintptr_t)(i * 500));
		fds[i] = ft__pidfd_open(pids[i]);
		assert_true(fds[i] >= 0);
		assert_int_equal(ft__collector_watch(collector, fds[i]), 0);
	}
	for (int dead = 0; dead < MANY; told++) {
		assert_int_equal(lead(died, ft_after(10 * SECOND)), 0);
		dead = 0;
		for (int i = 0; i < MANY; i++)
			dead += ft__pidfd_dead(fds[i]);
	}
	assert_true(told > 0 && told <= MANY);
	for (int i = 0; i < MANY; i++) {
		ft__collector_unwatch(collector, fds[i]);
		close(fds[i]);
		assert_int_equal(child_end(pids[i]), 3);
	}
}

static pid_t late_pid;
static int late_fd;

static void *watch_when_asleep(void *arg)
{
	while (!ft__load32_seq_cst(&bell->asleep))
		sched_yield();
	late_pid = child_start(die_later, (void *)(uintptr_t)20000);
	late_fd = ft__pidfd_open(late_pid);
	ft__collector_watch(collector, late_fd);
	return arg;
}

static void watched_while_asleep(void **state)
{
	pthread_t thread;

	(void)state;
	pthread_create(&thread, NULL, watch_when_asleep, NULL);
	assert_int_equal(lead(died, ft_after(10 * SECOND)), 0);
	pthread_join(thread, NULL);
	assert_int_equal(child_end(late_pid), 3);
	ft__collector_unwatch(collector, late_fd);
	close(late_fd);
}

/* A descriptor that is not watched any more, and its number used again. */
static void unwatched(void **state)
{
	pid_t pid = child_start(die_later, (void *)(uintptr_t)30000);
	int fd = ft__pidfd_open(pid);

	(void)state;
	ft__collector_watch(collector, fd);
	assert_int_equal(lead(never, ft_after(5 * MS)), -ETIMEDOUT);
	ft__collector_unwatch(collector, fd);
	assert_int_equal(lead(never, ft_after(5 * MS)), -ETIMEDOUT);
	close(fd);
	assert_int_equal(child_end(pid), 3);
	assert_int_equal(ft__collector_watch(collector, -1), -EINVAL);
}

/* ---- leaders ---- */

static void *lead_once(void *arg)
{
	*(int *)arg = lead(rung, ft_after(10 * SECOND));
	return NULL;
}

/* Leaders come and go; the requests of those that ended died with them, those
 * of the main thread, which lives, must not stay in the way. */
static void leaders_change(void **state)
{
	(void)state;
	for (int i = 0; i < 30; i++) {
		pthread_t leader, ringer;
		int rc = 1;

		assert_int_equal(lead(never, ft_after(MS)), -ETIMEDOUT);
		ft__store32_seq_cst(&bell->word, 0);
		pthread_create(&leader, NULL, lead_once, &rc);
		pthread_create(&ringer, NULL, ring_when_asleep, NULL);
		pthread_join(leader, NULL);
		pthread_join(ringer, NULL);
		assert_int_equal(rc, 0);
		ft__store32_seq_cst(&bell->word, 0);
	}
}

static void death_after_a_change(void **state)
{
	pid_t pid = child_start(die_later, (void *)(uintptr_t)50000);
	int fd = ft__pidfd_open(pid), rc;
	pthread_t leader, ringer;

	(void)state;
	ft__collector_watch(collector, fd);
	pthread_create(&leader, NULL, lead_once, &rc);
	pthread_create(&ringer, NULL, ring_when_asleep, NULL);
	pthread_join(leader, NULL);
	pthread_join(ringer, NULL);
	assert_int_equal(lead(died, ft_after(10 * SECOND)), 0);
	assert_int_equal(child_end(pid), 3);
	ft__collector_unwatch(collector, fd);
	close(fd);
}

/* ---- falling down ---- */

/* No descriptor is left for a ring or an epoll set: bells and deaths are heard
 * all the same. */
static void nothing_can_be_opened(void **state)
{
	pid_t pid = child_start(die_later, (void *)(uintptr_t)30000);
	int fd = ft__pidfd_open(pid), lowest = dup(0);
	struct rlimit before, none;
	pthread_t ringer;

	(void)state;
	assert_true(fd >= 0 && lowest >= 0);
	close(lowest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = (rlim_t)lowest;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(ft__collector_watch(collector, fd), 0);
	int timeout = lead(never, ft_after(12 * MS));
	int death = lead(died, ft_after(10 * SECOND));
	pthread_create(&ringer, NULL, ring_when_asleep, NULL);
	int ring = lead(rung, ft_after(10 * SECOND));
	pthread_join(ringer, NULL);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(timeout, -ETIMEDOUT);
	assert_int_equal(death, 0);
	assert_int_equal(ring, 0);
	assert_int_equal(child_end(pid), 3);
	ft__collector_unwatch(collector, fd);
	close(fd);
}

/* ---- ghosts ---- */

static uint32_t parked;

static void *park_on_word(void *arg)
{
	ft__store32_seq_cst(&parked, 1);
	*(int *)arg = ft__futex_wait(&bell->word, 0, true, ft_after(5 * SECOND));
	return NULL;
}

/* A collector that was closed with a wait armed must not eat a wake for one
 * that is meant for somebody else. */
static void no_ghost_waiter(void **state)
{
	(void)state;
	for (int i = 0; i < 30; i++) {
		pthread_t thread;
		int rc = -1;

		ft__store32_seq_cst(&parked, 0);
		assert_int_equal(lead(never, ft_after(MS)), -ETIMEDOUT);
		pthread_create(&thread, NULL, park_on_word, &rc);
		while (!ft__load32_seq_cst(&parked))
			sched_yield();
		ft__collector_close(collector);
		/* Until the thread is parked nobody is there to be woken. */
		int woken = 0;
		ft_deadline deadline = ft_after(4 * SECOND);
		while (!woken && ft_now() < deadline) {
			woken = ft__futex_wake(&bell->word, 1, true);
			if (!woken)
				sched_yield();
		}
		assert_int_equal(woken, 1);
		pthread_join(thread, NULL);
		assert_int_equal(rc, 0);
		assert_int_equal(ft__collector_open(&collector, bell), 0);
	}
}

/* ---- descriptors ---- */

static unsigned fds_open(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void nothing_stays_open(void **state)
{
	unsigned before = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		assert_int_equal(lead(never, ft_after(MS / 10)), -ETIMEDOUT);
		ft__collector_close(collector);
		assert_int_equal(ft__collector_open(&collector, bell), 0);
		if (i == 0)
			before = fds_open();
	}
	assert_int_equal(fds_open(), before);
}

/* A child by fork does not keep it, and ours goes on. */
static int look_at_fds(void *arg)
{
	(void)arg;
	for (int fd = 3; fd < 256; fd++) {
		char path[64], name[128] = "";

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (readlink(path, name, sizeof(name) - 1) > 0)
			REQUIRE(!strstr(name, "io_uring") && !strstr(name, "eventpoll"));
	}
	return 0;
}

static int begin_as_worker(void *arg)
{
	extern void ft__private_fd_forget(void);

	ft__private_fd_forget();
	return look_at_fds(arg);
}

static void children_do_not_keep_it(void **state)
{
	pthread_t ringer;
	uint32_t owner;

	(void)state;
	assert_int_equal(lead(never, ft_after(MS)), -ETIMEDOUT);
	pid_t pid = worker_start(begin_as_worker, NULL, &owner);
	assert_int_equal(child_end(pid), 0);
	ft__slot_free(owner);
	pthread_create(&ringer, NULL, ring_when_asleep, NULL);
	assert_int_equal(lead(rung, ft_after(5 * SECOND)), 0);
	pthread_join(ringer, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_it, close_it)

static int run_all(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rung_before),
		TEST(not_rung_is_timeout),
		TEST(deadline_is_exact),
		TEST(rung_by_a_thread),
		TEST(rung_by_a_process),
		TEST(none_is_lost),
		TEST(signals_interrupt),
		TEST(death_is_told),
		TEST(dead_before_the_watch),
		TEST(many_deaths),
		TEST(watched_while_asleep),
		TEST(unwatched),
		TEST(leaders_change),
		TEST(death_after_a_change),
		TEST(nothing_can_be_opened),
		TEST(no_ghost_waiter),
		TEST(nothing_stays_open),
		TEST(children_do_not_keep_it),
	};

	print_message("--- ladder %s\n", ft__collector_name());
	return cmocka_run_group_tests(tests, NULL, NULL);
}

static void ladder_futex(void **state)
{
	(void)state;
	assert_int_equal(self_run("all", NULL, NULL), 0);
}

static void ladder_poll(void **state)
{
	(void)state;
	assert_int_equal(self_run("all", "FT_PROBE", "-io_uring-futex"), 0);
}

static void ladder_epoll(void **state)
{
	(void)state;
	assert_int_equal(self_run("all", "FT_PROBE", "-io_uring"), 0);
}

int main(int argc, char **argv)
{
	const struct mode modes[] = { { "all", run_all } };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ladder_futex),
		cmocka_unit_test(ladder_poll),
		cmocka_unit_test(ladder_epoll),
	};
	int rc = mode_run(modes, 1, argc, argv);

	return rc >= 0 ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
