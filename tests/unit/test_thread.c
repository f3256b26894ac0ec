/* SPDX-License-Identifier: MIT */
/* Thread workers. */
#include "worker_tools.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include "os/atomic.h"
#include "work/worker.h"

static struct ft_worker *start(ft_worker_main *main, void *arg)
{
	struct ft_worker_options o = thread_options();
	struct ft_worker *worker;

	assert_int_equal(ft_worker_start(&worker, &o, main, arg), 0);
	return worker;
}

static int add_one(void *arg)
{
	return *(int *)arg + 1;
}

static void the_code_is_kept_whole(void **state)
{
	int number = 100000;
	struct ft_worker *worker = start(add_one, &number);
	struct ft_worker_exit how;
	pid_t tid = ft_worker_pid(worker);

	(void)state;
	assert_true(tid > 0 && tid != getpid());
	join_free(worker, &how);
	assert_int_equal(how.code, 100001);
	assert_int_equal(how.signo, 0);
	assert_int_equal(how.known, 1);
	assert_int_equal(how.pid, tid);
	assert_memory_equal(how.name, "ft-worker-", 10);
}

/* What a thread sees of itself, before it is let go. */
struct look {
	sem_t seen, go;
	char comm[32];
	struct ft_cpus cpus;
	sigset_t mask;
};

static int look(void *arg)
{
	struct look *look = arg;

	prctl(PR_GET_NAME, look->comm);
	ft_cpus_usable(&look->cpus);
	pthread_sigmask(SIG_BLOCK, NULL, &look->mask);
	sem_post(&look->seen);
	sem_wait(&look->go);
	return 0;
}

static void name_cpus_and_mask_are_set(void **state)
{
	struct ft_worker_options o = thread_options();
	struct look l;
	struct ft_worker *worker;
	struct ft_cpus usable, asked = { { 0 } };
	unsigned cpu = 0;
	sigset_t mask, before;

	(void)state;
	sem_init(&l.seen, 0, 0);
	sem_init(&l.go, 0, 1);
	ft_cpus_usable(&usable);
	while (!(usable.bits[cpu / 64] >> cpu % 64 & 1))
		cpu++;
	asked.bits[cpu / 64] |= UINT64_C(1) << cpu % 64;
	asked.bits[FT_CPUS_MAX / 64 - 1] |= 1; /* a CPU that this machine has not */
	o.cpus = &asked;
	o.name = "a name that is too long";
	o.stack_size = 100000;
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &mask, &before);
	assert_int_equal(ft_worker_start(&worker, &o, look, &l), 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	assert_string_equal(ft_worker_name(worker), "a name that is ");
	join_free(worker, NULL);
	assert_string_equal(l.comm, "a name that is ");
	assert_int_equal(ft_cpus_count(&l.cpus), 1);
	assert_int_equal(l.cpus.bits[cpu / 64], asked.bits[cpu / 64]);
	assert_true(sigismember(&l.mask, SIGUSR1));
	/* Nothing of what was asked is usable. */
	asked = (struct ft_cpus){ { 0 } };
	assert_int_equal(ft_worker_start(&worker, &o, look, &l), -EINVAL);
	assert_null(worker);
}

static void a_running_thread_is_busy(void **state)
{
	struct look l;
	struct ft_worker *worker;
	struct ft_worker_exit how;

	(void)state;
	sem_init(&l.seen, 0, 0);
	sem_init(&l.go, 0, 0);
	worker = start(look, &l);
	sem_wait(&l.seen);
	assert_int_equal(ft_worker_is_alive(worker), 1);
	assert_int_equal(ft_worker_exit_status(worker, &how), -EAGAIN);
	assert_int_equal(ft_worker_free(worker), -EBUSY);
	assert_int_equal(ft_worker_join(worker, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_worker_join(worker, ft_after(SECOND / 100)), -ETIMEDOUT);
	assert_int_equal(ft_worker_kill(worker, SIGTERM), -ENOTSUP);
	assert_int_equal(ft_worker_pidfd(worker), -ENOTSUP);
	sem_post(&l.go);
	assert_int_equal(ft_worker_join(worker, FT_FOREVER), 0);
	assert_int_equal(ft_worker_join(worker, FT_NOW), 0);
	assert_int_equal(ft_worker_is_alive(worker), 0);
	assert_int_equal(ft_worker_free(worker), 0);
}

static void *join_it(void *worker)
{
	return (void *)(intptr_t)ft_worker_join(worker, ft_after(20 * SECOND));
}

static void two_join_the_same(void **state)
{
	struct look l;
	struct ft_worker *worker;
	pthread_t other;
	void *rc;

	(void)state;
	sem_init(&l.seen, 0, 0);
	sem_init(&l.go, 0, 0);
	worker = start(look, &l);
	assert_int_equal(pthread_create(&other, NULL, join_it, worker), 0);
	sem_post(&l.go);
	assert_int_equal(ft_worker_join(worker, FT_FOREVER), 0);
	pthread_join(other, &rc);
	assert_null(rc);
	assert_int_equal(ft_worker_free(worker), 0);
}

static struct ft_worker *own_handle;
static sem_t handle_known;

static int join_oneself(void *arg)
{
	(void)arg;
	sem_wait(&handle_known);
	return ft_worker_join(own_handle, FT_FOREVER);
}

static void joining_oneself_is_refused(void **state)
{
	struct ft_worker_exit how;

	(void)state;
	sem_init(&handle_known, 0, 0);
	own_handle = start(join_oneself, NULL);
	sem_post(&handle_known);
	join_free(own_handle, &how);
	assert_int_equal(how.code, -EDEADLK);
}

static int leave_early(void *arg)
{
	pthread_exit(arg);
}

static void pthread_exit_ends_it_too(void **state)
{
	struct ft_worker_exit how;

	(void)state;
	join_free(start(leave_early, NULL), &how);
	assert_int_equal(how.code, 0);
	assert_int_equal(how.known, 1);
}

static void on_alarm(int signo)
{
	(void)signo;
}

/* Sends the joiner signals until the interrupted wait has been seen. */
static uint32_t interrupted;

static int pester(void *arg)
{
	while (!ft__load32_acquire(&interrupted)) { /* partner: the main thread's store */
		pthread_kill(*(pthread_t *)arg, SIGUSR2);
		sched_yield();
	}
	return 0;
}

static void join_is_interrupted_if_asked(void **state)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct ft_worker_options o = thread_options();
	pthread_t self = pthread_self();
	struct ft_worker *worker;

	(void)state;
	sigaction(SIGUSR2, &action, NULL);
	o.flags = FT_INTERRUPTIBLE;
	assert_int_equal(ft_worker_start(&worker, &o, pester, &self), 0);
	assert_int_equal(ft_worker_join(worker, FT_FOREVER), -EINTR);
	ft__store32_release(&interrupted, 1); /* partner: pester */
	while (ft_worker_join(worker, FT_FOREVER) == -EINTR)
		;
	assert_int_equal(ft_worker_free(worker), 0);
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static void many_leave_nothing_behind(void **state)
{
	unsigned fds = count_fds(), threads = count_threads();
	struct ft_worker *worker[100];

	(void)state;
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 100; i++)
			worker[i] = start(nothing, NULL);
		for (int i = 0; i < 100; i++)
			join_free(worker[i], NULL);
	}
	assert_int_equal(count_fds(), fds);
	/* pthread_join waits for the thread's memory, not for the kernel's last
	 * step, so a task may be there for a moment. */
	for (ft_deadline end = ft_after(5 * SECOND); count_threads() > threads && ft_now() < end;)
		sched_yield();
	assert_int_equal(count_threads(), threads);
}

static void what_it_costs(void **state)
{
	enum { N = 1000 };
	ft_deadline begin = ft_now();

	(void)state;
	for (int i = 0; i < N; i++)
		join_free(start(nothing, NULL), NULL);
	print_message("thread worker: start, join, free: %.1f us\n",
		      (double)(ft_now() - begin) / N / 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_code_is_kept_whole),
		cmocka_unit_test(name_cpus_and_mask_are_set),
		cmocka_unit_test(a_running_thread_is_busy),
		cmocka_unit_test(two_join_the_same),
		cmocka_unit_test(joining_oneself_is_refused),
		cmocka_unit_test(pthread_exit_ends_it_too),
		cmocka_unit_test(join_is_interrupted_if_asked),
		cmocka_unit_test(many_leave_nothing_behind),
		cmocka_unit_test(what_it_costs),
	};

	limit_time();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
