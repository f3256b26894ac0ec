/* SPDX-License-Identifier: MIT */
/*
 * Deaths: of workers, of their threads' creators, of programs.  "Programs" are
 * this program, run again by itself.
 */
#include "worker_tools.h"

#include <pthread.h>
#include <sched.h>

#include "mem/slot.h"
#include "os/atomic.h"
#include "os/clone.h"
#include "work/supervisor.h"

#define GONE_MS 2000 /* how soon workers follow their program */

static struct ft_worker *start(ft_worker_main *main, void *arg)
{
	struct ft_worker_options o = process_options();
	struct ft_worker *worker;

	assert_int_equal(ft_worker_start(&worker, &o, main, arg), 0);
	return worker;
}

static int return_arg(void *arg)
{
	return (int)(intptr_t)arg;
}

static int sleep_for_ever(void *arg)
{
	(void)arg;
	while (pause() < 0)
		;
	return 0;
}

/* ---- what the dead held ---- */

struct held {
	struct ft_lock lock;
	uint32_t taken;
};

static int hold(void *arg)
{
	struct held *held = arg;

	if (ft_lock_acquire(&held->lock, FT_FOREVER))
		return 1;
	ft__store32_release(&held->taken, 1); /* partner: the main thread */
	return sleep_for_ever(NULL);
}

static void a_lock_of_the_dead_is_told(void **state)
{
	struct held *held;
	struct ft_worker *worker;
	ft_deadline killed;
	uint32_t owner;
	void *p;

	(void)state;
	assert_int_equal(ft_block_alloc(sizeof(*held), &p), 0);
	held = p;
	held->taken = 0;
	assert_int_equal(ft_lock_init(&held->lock, FT_SHARED), 0);
	worker = start(hold, held);
	while (!ft__load32_acquire(&held->taken)) /* partner: hold */
		sched_yield();
	owner = worker->owner;
	assert_int_equal(ft__load32_relaxed(&held->lock.word), owner);
	assert_true(ft__slot_alive(owner));
	assert_int_equal(ft_lock_acquire(&held->lock, ft_after(SECOND / 100)), -ETIMEDOUT);
	killed = ft_now();
	assert_int_equal(ft_worker_kill(worker, SIGKILL), 0);
	assert_int_equal(ft_lock_acquire(&held->lock, ft_after(SECOND)), -EOWNERDEAD);
	print_message("lock of a killed worker: %.0f us after the kill\n",
		      (double)(ft_now() - killed) / 1000);
	assert_int_equal(ft_lock_died(&held->lock), ft_worker_pid(worker));
	assert_int_equal(ft_lock_release(&held->lock), 0);
	join_free(worker, NULL);
	assert_false(ft__slot_alive(owner));
	assert_int_equal(ft_block_free(p), 0);
}

struct queued {
	struct ft_queue queue;
	uint32_t taken;
};

static int hold_queue(void *arg)
{
	struct queued *q = arg;

	if (ft_lock_acquire(&q->queue.lock, FT_FOREVER))
		return 1;
	ft__store32_release(&q->taken, 1); /* partner: the main thread */
	return sleep_for_ever(NULL);
}

static int put_one(void *arg)
{
	struct queued *q = arg;

	return ft_queue_put(&q->queue, "x", 1, FT_FOREVER);
}

/* Whoever died in a queue that a living process has locked is settled later;
 * nothing else waits for that, and the holder's death ends it. */
static void a_held_up_death_holds_up_no_other(void **state)
{
	struct ft_worker *holder, *putter;
	struct queued *q;
	size_t size;
	void *p, *item;

	(void)state;
	assert_int_equal(ft_block_alloc(sizeof(*q), &p), 0);
	q = p;
	q->taken = 0;
	assert_int_equal(ft_queue_init(&q->queue, 0, FT_SHARED), 0);
	holder = start(hold_queue, q);
	while (!ft__load32_acquire(&q->taken)) /* partner: hold_queue */
		sched_yield();
	putter = start(put_one, q);
	/* It waits for the lock once it has said that somebody does. */
	while (!(ft__load32_acquire(&q->queue.lock.word) & FT_LOCK_WAITERS))
		sched_yield();
	assert_int_equal(ft_worker_kill(putter, SIGKILL), 0);
	assert_int_equal(ft_worker_join(putter, ft_after(SECOND / 5)), -ETIMEDOUT);
	assert_int_equal(ft_worker_is_alive(putter), 0);
	assert_int_equal(ft__load32_relaxed(&putter->reaped), 1);
	assert_int_equal(ft__load32_relaxed(&putter->done), 0);
	join_free(start(return_arg, NULL), NULL);
	assert_int_equal(ft_worker_kill(holder, SIGKILL), 0);
	join_free(holder, NULL);
	join_free(putter, NULL);
	assert_int_equal(ft_queue_put(&q->queue, "y", 1, ft_after(SECOND)), 0);
	assert_int_equal(ft_queue_get(&q->queue, &item, &size, ft_after(SECOND)), 0);
	assert_int_equal(*(char *)item, 'y');
	assert_int_equal(ft_block_free(item), 0);
	assert_int_equal(ft_queue_destroy(&q->queue), 0);
	assert_int_equal(ft_block_free(p), 0);
}

/* ---- the record ---- */

static void references_and_states(void **state)
{
	struct ft_worker *worker = start(sleep_for_ever, NULL);

	(void)state;
	assert_int_equal(ft__load32_relaxed(&worker->refs), 2);
	assert_int_equal(ft__load32_relaxed(&worker->done), 0);
	assert_int_equal(ft__load32_relaxed(&worker->reaped), 0);
	assert_int_equal(ft__supervisor_settle(worker), 0);
	assert_int_equal(ft_worker_kill(worker, SIGKILL), 0);
	assert_int_equal(dies_within(worker->pidfd, 20000), 1);
	assert_int_equal(ft__supervisor_settle(worker), 1);
	assert_int_equal(ft__load32_relaxed(&worker->done), 1);
	assert_int_equal(ft__load32_relaxed(&worker->reaped), 1);
	assert_int_equal(ft__load32_relaxed(&worker->refs), 1);
	assert_int_equal(ft__supervisor_settle(worker), 1);
	assert_int_equal(ft__load32_relaxed(&worker->refs), 1);
	assert_int_equal(ft_worker_free(worker), 0);
}

/* Nobody joins: the supervisor does everything by itself. */
static void nobody_has_to_join(void **state)
{
	struct ft_worker *worker = start(return_arg, (void *)8);
	struct ft_worker_exit how;
	ft_deadline end = ft_after(20 * SECOND);

	(void)state;
	while (!ft__load32_acquire(&worker->done) && ft_now() < end) /* partner: ft__worker_end */
		sched_yield();
	assert_int_equal(ft_worker_exit_status(worker, &how), 0);
	assert_int_equal(how.code, 8);
	assert_int_equal(ft_worker_free(worker), 0);
}

static int on_supervisor(void *arg)
{
	char name[16];

	prctl(PR_GET_NAME, name);
	*(pid_t *)arg = (pid_t)syscall(SYS_gettid);
	return strcmp(name, "ft-supervisor") ? -1 : 5;
}

static void calls_run_on_its_thread(void **state)
{
	pid_t tid = 0, again = 0;

	(void)state;
	assert_int_equal(ft__supervisor_ready(), 0);
	assert_int_equal(ft__supervisor_call(on_supervisor, &tid), 5);
	assert_true(tid != 0 && tid != getpid());
	assert_int_equal(ft__supervisor_call(on_supervisor, &again), 5);
	assert_int_equal(tid, again);
}

static void *wait_for_pipe(void *fd)
{
	char byte;

	return (void *)(intptr_t)read(*(int *)fd, &byte, 1);
}

static void alone_means_no_other_thread(void **state)
{
	pthread_t thread;
	int fd[2], alone;

	(void)state;
	/* A sanitizer has a thread of its own. */
	alone = ft__thread_count() == 2;
	assert_int_equal(ft__supervisor_pause_if_alone(), alone);
	if (alone)
		ft__supervisor_resume();
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_pipe, fd), 0);
	assert_int_equal(ft__supervisor_pause_if_alone(), 0);
	close(fd[1]);
	pthread_join(thread, NULL);
	close(fd[0]);
}

static void *join_and_free(void *worker)
{
	struct ft_worker_exit how;

	if (ft_worker_join(worker, ft_after(20 * SECOND)) || ft_worker_exit_status(worker, &how) ||
	    how.code != 3 || ft_worker_free(worker))
		return worker;
	return NULL;
}

/* Joiners and the supervisor see the same deaths at the same time. */
static void settling_together(void **state)
{
	enum { N = MANY(200) };
	struct ft_worker *worker[N];
	pthread_t thread[4];

	(void)state;
	for (int i = 0; i < N; i += 4) {
		for (int j = 0; j < 4; j++)
			worker[i + j] = start(return_arg, (void *)3);
		for (int j = 0; j < 4; j++)
			assert_int_equal(
				pthread_create(&thread[j], NULL, join_and_free, worker[i + j]), 0);
		for (int j = 0; j < 4; j++) {
			void *rc;

			pthread_join(thread[j], &rc);
			assert_null(rc);
		}
	}
}

/* ---- programs that die ---- */

/* Tells the test about a process: "worker" or "own", and its pid.  Several
 * processes tell, in any order. */
static void tell(const char *what, pid_t pid)
{
	printf("%s %d\n", what, pid);
	fflush(stdout);
}

static void start_and_tell(void)
{
	struct ft_worker_options o = process_options();
	struct ft_worker *worker;

	if (ft_worker_start(&worker, &o, sleep_for_ever, NULL))
		exit(1);
	tell("worker", ft_worker_pid(worker));
}

static int start_grandchild(void *arg)
{
	start_and_tell();
	return sleep_for_ever(arg);
}

static void *start_in_thread(void *arg)
{
	start_and_tell();
	*(pid_t *)arg = (pid_t)syscall(SYS_gettid);
	return NULL;
}

/* Returns after the kernel has done all that follows a thread's end. */
static void start_in_a_thread_that_ends(void)
{
	char path[64];
	pthread_t thread;
	pid_t tid;

	if (pthread_create(&thread, NULL, start_in_thread, &tid))
		exit(1);
	pthread_join(thread, NULL);
	snprintf(path, sizeof(path), "/proc/self/task/%d", tid);
	while (access(path, F_OK) == 0)
		sched_yield();
}

static int program(void)
{
	struct ft_worker_options o = process_options();
	struct ft_worker *worker;
	pid_t own;

	start_and_tell();
	start_and_tell();
	if (ft_worker_start(&worker, &o, start_grandchild, NULL))
		return 1;
	tell("worker", ft_worker_pid(worker));
	start_in_a_thread_that_ends();
	/* A child of the program's own making must not keep its workers alive. */
	own = fork();
	if (own == 0) {
		limit_time();
		return sleep_for_ever(NULL);
	}
	tell("own", own);
	return sleep_for_ever(NULL);
}

#define TOLD 5

/* Opens the workers that it is told about; returns the program's own child. */
static pid_t open_told(FILE *from, int *pidfd)
{
	char what[16];
	pid_t own = 0;
	int pid, n = 0;

	for (int i = 0; i < TOLD + 1; i++) {
		assert_int_equal(fscanf(from, "%15s %d", what, &pid), 2);
		assert_true(pid > 0);
		if (!strcmp(what, "own")) {
			own = pid;
			continue;
		}
		assert_in_range(n, 0, TOLD - 1);
		pidfd[n] = open_pidfd(pid);
		assert_true(pidfd[n++] >= 0);
	}
	assert_int_equal(n, TOLD);
	return own;
}

/* What the death of a program leaves to its reaper, us. */
static void reap_orphans(void)
{
	while (waitpid(-1, NULL, __WALL | WNOHANG) > 0)
		;
}

static void workers_die_with_their_program(void **state)
{
	int out, pidfd[TOLD], status;
	ft_deadline killed;
	pid_t pid, own;
	FILE *from;

	(void)state;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid = run_self("program", NULL, NULL, &out);
	from = fdopen(out, "r");
	own = open_told(from, pidfd);
	/* One of them was started by a thread that is no more. */
	for (int i = 0; i < TOLD; i++)
		assert_int_equal(dies_within(pidfd[i], 0), 0);
	killed = ft_now();
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	for (int i = 0; i < TOLD; i++) {
		assert_int_equal(dies_within(pidfd[i], GONE_MS), 1);
		close(pidfd[i]);
	}
	print_message("workers of a killed program: gone after %.1f ms\n",
		      (double)(ft_now() - killed) / 1000000);
	fclose(from);
	reap_orphans();
	/* The program's own child is ours now, and lives. */
	assert_int_equal(waitpid(own, NULL, WNOHANG), 0);
	assert_int_equal(kill(own, SIGKILL), 0);
	assert_int_equal(waitpid(own, NULL, 0), own);
}

/* ---- workers of workers ---- */

static uint32_t *grown; /* grandchildren that have what they want */

static int take_and_sleep(void *arg)
{
	void *block;

	for (int i = 0; i < 10; i++)
		if (ft_block_alloc(5000, &block))
			return 1;
	if (ft_lock_acquire(arg, FT_FOREVER))
		return 1;
	ft__add32_seq_cst(grown, 1); /* partner: orphans_are_swept_too */
	return sleep_for_ever(NULL);
}

static int have_children(void *arg)
{
	struct ft_worker_options o = process_options();
	struct ft_lock *locks = arg;
	struct ft_worker *worker;

	for (int i = 0; i < 3; i++)
		if (ft_worker_start(&worker, &o, take_and_sleep, &locks[i]))
			return 1;
	return sleep_for_ever(NULL);
}

static int back_to(const struct ft_arena_info *before)
{
	struct ft_arena_info now;

	return ft_arena_info(&now) == 0 && now.blocks == before->blocks &&
	       now.slots == before->slots;
}

static void orphans_are_swept_too(void **state)
{
	struct ft_arena_info before;
	struct ft_worker *worker;
	struct ft_lock *locks;
	ft_deadline end;
	void *p;

	(void)state;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	grown = shared_page();
	assert_int_equal(ft_block_alloc(3 * sizeof(*locks), &p), 0);
	locks = p;
	for (int i = 0; i < 3; i++)
		assert_int_equal(ft_lock_init(&locks[i], FT_SHARED), 0);
	assert_int_equal(ft_arena_info(&before), 0);
	worker = start(have_children, locks);
	while (ft__load32_acquire(grown) < 3) /* partner: take_and_sleep */
		sched_yield();
	assert_false(back_to(&before));
	assert_int_equal(ft_worker_kill(worker, SIGKILL), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ft_lock_acquire(&locks[i], ft_after(5 * SECOND)), -EOWNERDEAD);
		assert_int_equal(ft_lock_release(&locks[i]), 0);
	}
	join_free(worker, NULL);
	for (end = ft_after(5 * SECOND); !back_to(&before) && ft_now() < end;)
		sched_yield();
	assert_true(back_to(&before));
	assert_int_equal(ft_arena_check(NULL), 0);
	reap_orphans();
	assert_int_equal(ft_block_free(p), 0);
	munmap(grown, 4096);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lock_of_the_dead_is_told),
		cmocka_unit_test(a_held_up_death_holds_up_no_other),
		cmocka_unit_test(references_and_states),
		cmocka_unit_test(nobody_has_to_join),
		cmocka_unit_test(calls_run_on_its_thread),
		cmocka_unit_test(alone_means_no_other_thread),
		cmocka_unit_test(settling_together),
		cmocka_unit_test(workers_die_with_their_program),
		cmocka_unit_test(orphans_are_swept_too),
	};

	limit_time();
	if (argc > 1 && !strcmp(argv[1], "program"))
		return program();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
