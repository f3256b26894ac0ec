/* SPDX-License-Identifier: MIT */
/*
 * Spawners of both sorts.  The exec'ed helper is this program, run with
 * "helper".  Everything runs once more where raw clone is refused.
 */
#include "folder.h"
#include "worker_tools.h"

#include <pthread.h>
#include <sched.h>

#include "os/atomic.h"
#include "os/probe.h"
#include "work/worker.h"

#define GONE_MS 2000

/* ---- what workers of both sorts do: the payload says ---- */

enum job { SUM, SIGNALS, SLEEP, TALK, FDS, NAME };

struct job_payload {
	uint64_t words; /* handle of a block of uint32_t to answer in */
	enum job job;
	int numbers[4];
};

static int sleep_for_ever(void)
{
	while (pause() < 0)
		;
	return 0;
}

static int sum(const int *numbers)
{
	return numbers[0] + numbers[1] + numbers[2] + numbers[3];
}

static int interrupt_is_default(void)
{
	struct sigaction action;

	return sigaction(SIGINT, NULL, &action) == 0 && action.sa_handler == SIG_DFL;
}

static int count_own_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	return n;
}

static int run_job(void *arg)
{
	const struct job_payload *payload = arg;
	char name[16];
	void *words;

	switch (payload->job) {
	case SUM:
		return sum(payload->numbers);
	case SIGNALS:
		return interrupt_is_default();
	case SLEEP:
		return sleep_for_ever();
	case TALK:
		if (ft_block_at(payload->words, &words))
			return 1;
		ft__add32_seq_cst(words, 1); /* partner: the program's load */
		return sleep_for_ever();
	case FDS:
		return count_own_fds();
	case NAME:
		prctl(PR_GET_NAME, name);
		return !strcmp(name, "given");
	}
	return 99;
}

/* ---- the helper ---- */

static int preloads_threads;

static void count_before(void *ctx)
{
	++*(int *)ctx;
}

static int run_hook(void *ctx, const void *payload, size_t size)
{
	struct job_payload copy;

	if (!size)
		return 70 + *(int *)ctx;
	if (size != sizeof(copy))
		return 98;
	memcpy(&copy, payload, size);
	return run_job(&copy);
}

static void *be_there(void *arg)
{
	sleep_for_ever();
	return arg;
}

/* "helper" and "busy": the second has a thread by the time it is asked. */
static int helper(void)
{
	int calls = 0;
	struct ft_spawner_hooks hooks = { .size = sizeof(hooks), .ctx = &calls };
	pthread_t thread;

	if (ft_spawner_serve(&hooks) != -EINVAL || getenv("FT_SPAWNER") == NULL)
		return 3;
	hooks.before = count_before;
	hooks.child = run_hook;
	if (preloads_threads && pthread_create(&thread, NULL, be_there, NULL))
		return 4;
	return ft_spawner_serve(&hooks) == 0 ? 0 : 5;
}

/* "doomed": as the first so many that write a byte into the file. */
static int doomed(const char *path, int deaths)
{
	int fd = open(path, O_WRONLY | O_APPEND);

	if (fd < 0 || write(fd, "", 1) != 1)
		return 6;
	if (lseek(fd, 0, SEEK_CUR) <= deaths)
		kill(getpid(), SIGKILL);
	close(fd);
	return helper();
}

/* ---- tests ---- */

static struct ft_spawner *start_spawner(const char *argument)
{
	const char *argv[] = { "/proc/self/exe", argument, NULL };
	struct ft_spawner_options o = { .size = sizeof(o), .argv = argument ? argv : NULL };
	struct ft_spawner *spawner;

	assert_int_equal(ft_spawner_start(&spawner, &o), 0);
	assert_true(ft_spawner_pid(spawner) > 0);
	return spawner;
}

static struct ft_worker *spawn(struct ft_spawner *spawner, int copied,
			       const struct job_payload *payload)
{
	struct ft_worker_options o = process_options();
	struct ft_worker *worker;

	o.spawner = spawner;
	o.payload = payload;
	o.payload_size = sizeof(*payload);
	assert_int_equal(ft_worker_start(&worker, &o, copied ? run_job : NULL, NULL), 0);
	return worker;
}

static int result(struct ft_worker *worker)
{
	struct ft_worker_exit how;

	join_free(worker, &how);
	assert_int_equal(how.signo, 0);
	return how.code;
}

static pid_t parent_of(pid_t pid)
{
	char text[32];

	proc_status(pid, "PPid", text, sizeof(text));
	return atoi(text);
}

/* The argument that makes a spawner of each sort. */
static const char *const sorts[] = { NULL, "helper" };

static void workers_get_their_payload(void **state)
{
	(void)state;
	for (int sort = 0; sort < 2; sort++) {
		struct ft_spawner *spawner = start_spawner(sorts[sort]);
		struct job_payload payload = { .job = SUM, .numbers = { 1, 20, 0, 3 } };

		for (int i = 0; i < 5; i++) {
			payload.numbers[2] = i;
			assert_int_equal(result(spawn(spawner, !sort, &payload)), 24 + i);
		}
		payload.job = SIGNALS;
		assert_int_equal(result(spawn(spawner, !sort, &payload)), 1);
		assert_int_equal(ft_spawner_stop(spawner), 0);
	}
}

static int no_payload(void *arg)
{
	return arg == NULL ? 77 : 1;
}

static void a_payload_is_not_needed(void **state)
{
	struct ft_worker_options o = process_options();
	struct ft_worker *worker;

	(void)state;
	o.spawner = start_spawner(NULL);
	assert_int_equal(ft_worker_start(&worker, &o, no_payload, NULL), 0);
	assert_int_equal(result(worker), 77);
	/* A copy of the program needs a function, another program can't take one. */
	assert_int_equal(ft_worker_start(&worker, &o, NULL, NULL), -EINVAL);
	assert_int_equal(ft_spawner_stop(o.spawner), 0);
	o.spawner = start_spawner("helper");
	assert_int_equal(ft_worker_start(&worker, &o, NULL, NULL), 0);
	assert_int_equal(result(worker), 71);
	assert_int_equal(ft_worker_start(&worker, &o, no_payload, NULL), -EINVAL);
	assert_int_equal(ft_spawner_stop(o.spawner), 0);
}

/* Workers are the program's children: theirs is the status, the name, the
 * CPUs; and they live on without the helper. */
static void workers_belong_to_the_program(void **state)
{
	(void)state;
	for (int sort = 0; sort < 2; sort++) {
		struct ft_spawner *spawner = start_spawner(sorts[sort]);
		struct ft_worker_options o = process_options();
		struct job_payload payload = { .job = TALK };
		struct ft_worker_exit how;
		struct ft_worker *worker;
		char text[64];
		void *words;

		assert_int_equal(ft_block_alloc(64, &words), 0);
		memset(words, 0, 64);
		payload.words = ft_block_handle(words);
		o.spawner = spawner;
		o.name = "given";
		o.payload = &payload;
		o.payload_size = sizeof(payload);
		assert_int_equal(ft_worker_start(&worker, &o, sort ? NULL : run_job, NULL), 0);
		while (!ft__load32_acquire(words)) /* partner: run_job */
			sched_yield();
		if (ft__have(FT__CLONE))
			assert_int_equal(parent_of(ft_worker_pid(worker)), getpid());
		proc_line(ft_worker_pid(worker), "comm", text, sizeof(text));
		assert_string_equal(text, "given");
		assert_int_equal(ft_spawner_stop(spawner), 0);
		assert_int_equal(ft_worker_is_alive(worker), 1);
		assert_int_equal(ft_worker_kill(worker, SIGTERM), 0);
		join_free(worker, &how);
		assert_int_equal(how.signo == SIGTERM || !how.known, 1);
		assert_int_equal(ft_block_free(words), 0);
	}
}

static void a_killed_helper_is_started_again(void **state)
{
	struct job_payload payload = { .job = SUM, .numbers = { 5 } };

	(void)state;
	for (int sort = 0; sort < 2; sort++) {
		struct ft_spawner *spawner = start_spawner(sorts[sort]);
		pid_t pid = ft_spawner_pid(spawner);
		int pidfd = open_pidfd(pid);

		assert_int_equal(result(spawn(spawner, !sort, &payload)), 5);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(dies_within(pidfd, 20000), 1);
		assert_int_equal(ft_spawner_pid(spawner), 0);
		assert_int_equal(result(spawn(spawner, !sort, &payload)), 5);
		assert_int_not_equal(ft_spawner_pid(spawner), 0);
		assert_int_not_equal(ft_spawner_pid(spawner), pid);
		/* Killed with nobody looking, and asked at once; where a spare took the
		 * job, the death may be seen only later. */
		for (int i = 0; i < MANY(20); i++) {
			pid = ft_spawner_pid(spawner);
			assert_true(pid == 0 || kill(pid, SIGKILL) == 0);
			assert_int_equal(result(spawn(spawner, !sort, &payload)), 5);
		}
		close(pidfd);
		assert_int_equal(ft_spawner_stop(spawner), 0);
	}
}

/* What a worker's start says when so many helpers, one after the other, are killed. */
static int start_despite(const char *deaths)
{
	char folder[FOLDER_NAME], path[2 * FOLDER_NAME];
	const char *argv[] = { "/proc/self/exe", "doomed", path, deaths, NULL };
	struct ft_spawner_options so = { .size = sizeof(so), .argv = argv };
	struct job_payload payload = { .job = SUM, .numbers = { 5 } };
	struct ft_worker_options o = process_options();
	struct ft_worker *worker;
	int rc;

	folder_make(folder);
	folder_write(folder, "/deaths", "", 0);
	folder_path(folder, "/deaths", path);
	assert_int_equal(ft_spawner_start(&o.spawner, &so), 0);
	o.payload = &payload;
	o.payload_size = sizeof(payload);
	rc = ft_worker_start(&worker, &o, NULL, NULL);
	if (!rc)
		assert_int_equal(result(worker), 5);
	assert_int_equal(ft_spawner_stop(o.spawner), 0);
	folder_remove(folder);
	return rc;
}

static void helpers_killed_while_they_start(void **state)
{
	(void)state;
	assert_int_equal(start_despite("1"), 0);
	assert_int_equal(start_despite("3"), 0);
	assert_int_equal(start_despite("1000"), -EPIPE);
}

static void helpers_that_cannot_serve(void **state)
{
	struct ft_worker_options o = process_options();
	const char *argv[] = { "/nonexistent/helper", NULL }, *none[] = { NULL };
	struct ft_spawner_options so = { .size = sizeof(so), .argv = argv };
	struct ft_spawner_hooks hooks = { .size = sizeof(hooks), .child = run_hook };
	struct ft_spawner *spawner = NULL;
	struct ft_worker *worker;
	unsigned fds, children;

	(void)state;
	assert_int_equal(ft_spawner_start(NULL, &so), -EINVAL);
	assert_int_equal(ft_spawner_start(&spawner, NULL), -EINVAL);
	assert_int_equal(ft_spawner_start(&spawner, &so), -ENOENT);
	so.argv = none;
	assert_int_equal(ft_spawner_start(&spawner, &so), -EINVAL);
	assert_int_equal(ft_spawner_stop(NULL), -EINVAL);
	assert_int_equal(ft_spawner_pid(NULL), 0);
	assert_int_equal(ft_spawner_serve(&hooks), -EPROTO);
	assert_int_equal(ft_spawner_serve(NULL), -EINVAL);
	setenv("FT_SPAWNER", "1,2,3", 1);
	assert_int_equal(ft_spawner_serve(&hooks), -EPROTO);
	unsetenv("FT_SPAWNER");
	/* One that leaves at once. */
	fds = count_fds();
	children = count_children();
	argv[0] = "/bin/true";
	so.argv = argv;
	assert_int_equal(ft_spawner_start(&spawner, &so), 0);
	o.spawner = spawner;
	assert_int_equal(ft_worker_start(&worker, &o, NULL, NULL), -EPIPE);
	assert_null(worker);
	assert_int_equal(ft_spawner_stop(spawner), 0);
	/* One that has a thread by now. */
	o.spawner = start_spawner("busy");
	assert_int_equal(ft_worker_start(&worker, &o, NULL, NULL), -EBUSY);
	assert_int_equal(ft_spawner_stop(o.spawner), 0);
	for (ft_deadline end = ft_after(5 * SECOND); count_fds() > fds && ft_now() < end;)
		sched_yield();
	assert_int_equal(count_fds(), fds);
	assert_int_equal(count_children(), children);
}

static uint32_t hits;

static void on_interrupt(int signo)
{
	(void)signo;
	ft__add32_seq_cst(&hits, 1); /* partner: interrupt_oneself */
}

static int interrupt_oneself(void *arg)
{
	(void)arg;
	raise(SIGINT);
	raise(SIGUSR1);
	while (ft__load32_relaxed(&hits) < 2) /* sanitizers put handlers off */
		sched_yield();
	return (int)hits;
}

/* The helper does not run the program's handlers, its workers do. */
static void handlers_are_kept_for_workers(void **state)
{
	struct sigaction action = { .sa_handler = on_interrupt }, old[2];
	struct ft_worker_options o = process_options();
	struct ft_worker *worker;

	(void)state;
	sigaction(SIGINT, &action, &old[0]);
	sigaction(SIGUSR1, &action, &old[1]);
	o.spawner = start_spawner(NULL);
	sigaction(SIGINT, &old[0], NULL);
	sigaction(SIGUSR1, &old[1], NULL);
	assert_int_equal(kill(ft_spawner_pid(o.spawner), SIGINT), 0);
	assert_int_equal(ft_worker_start(&worker, &o, interrupt_oneself, NULL), 0);
	assert_int_equal(result(worker), 2);
	assert_int_equal(ft_spawner_stop(o.spawner), 0);
}

static void descriptors_do_not_pile_up(void **state)
{
	(void)state;
	for (int sort = 0; sort < 2; sort++) {
		struct job_payload payload = { .job = FDS };
		struct job_payload sleeper = { .job = SLEEP };
		struct ft_spawner *spawner = start_spawner(sorts[sort]);
		struct ft_worker *worker[10];
		int first = result(spawn(spawner, !sort, &payload));

		for (int i = 0; i < 10; i++)
			worker[i] = spawn(spawner, !sort, &sleeper);
		assert_int_equal(result(spawn(spawner, !sort, &payload)), first);
		for (int i = 0; i < 10; i++) {
			assert_int_equal(ft_worker_kill(worker[i], SIGKILL), 0);
			join_free(worker[i], NULL);
		}
		assert_int_equal(ft_spawner_stop(spawner), 0);
	}
}

static void many_leave_nothing_behind(void **state)
{
	(void)state;
	for (int sort = 0; sort < 2; sort++) {
		unsigned fds = count_fds(), children = count_children();
		struct job_payload payload = { .job = SUM, .numbers = { 9 } };
		struct ft_spawner *spawner;
		struct ft_arena_info before, after;
		struct ft_worker *worker[50];

		assert_int_equal(ft_arena_info(&before), 0);
		spawner = start_spawner(sorts[sort]);
		for (int i = 0; i < MANY(500); i += 50) {
			for (int j = 0; j < 50; j++)
				worker[j] = spawn(spawner, !sort, &payload);
			for (int j = 0; j < 50; j++)
				assert_int_equal(result(worker[j]), 9);
		}
		assert_int_equal(ft_spawner_stop(spawner), 0);
		assert_int_equal(count_fds(), fds);
		assert_int_equal(count_children(), children);
		assert_int_equal(ft_arena_info(&after), 0);
		assert_int_equal(after.blocks, before.blocks);
		assert_int_equal(after.slots, before.slots);
		assert_int_equal(ft_arena_check(NULL), 0);
	}
}

static void *spawn_some(void *spawner)
{
	struct job_payload payload = { .job = SUM, .numbers = { 4 } };

	for (int i = 0; i < MANY(20); i++)
		if (result(spawn(spawner, 0, &payload)) != 4)
			return spawner;
	return NULL;
}

static void threads_share_a_spawner(void **state)
{
	struct ft_spawner *spawner = start_spawner("helper");
	pthread_t thread[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, spawn_some, spawner), 0);
	for (int i = 0; i < 4; i++) {
		void *rc;

		pthread_join(thread[i], &rc);
		assert_null(rc);
	}
	assert_int_equal(ft_spawner_stop(spawner), 0);
}

/* ---- a program that is killed ---- */

static int program(void)
{
	struct job_payload payload = { .job = SLEEP };

	for (int sort = 0; sort < 2; sort++) {
		struct ft_spawner *spawner = start_spawner(sorts[sort]);

		printf("%d\n", ft_worker_pid(spawn(spawner, !sort, &payload)));
		printf("%d\n", ft_spawner_pid(spawner));
	}
	fflush(stdout);
	return sleep_for_ever();
}

static void all_die_with_their_program(void **state)
{
	int out, pidfd[4], number;
	pid_t pid;
	FILE *from;

	(void)state;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid = run_self("program", NULL, NULL, &out);
	from = fdopen(out, "r");
	for (int i = 0; i < 4; i++) {
		assert_int_equal(fscanf(from, "%d", &number), 1);
		pidfd[i] = open_pidfd(number);
		assert_true(pidfd[i] >= 0);
		assert_int_equal(dies_within(pidfd[i], 0), 0);
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(dies_within(pidfd[i], GONE_MS), 1);
		close(pidfd[i]);
	}
	fclose(from);
	while (waitpid(-1, NULL, __WALL | WNOHANG) > 0)
		;
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void what_it_costs(void **state)
{
	enum { N = MANY(300) };

	(void)state;
	for (int sort = 0; sort < 2; sort++) {
		struct job_payload payload = { .job = SUM };
		struct ft_spawner *spawner = start_spawner(sorts[sort]);
		ft_deadline begin;

		result(spawn(spawner, !sort, &payload));
		begin = ft_now();
		for (int i = 0; i < N; i++)
			result(spawn(spawner, !sort, &payload));
		print_message("process worker from a spawner (%s): start, join, free: %.1f us\n",
			      sort ? "exec" : "copy", (double)(ft_now() - begin) / N / 1000);
		assert_int_equal(ft_spawner_stop(spawner), 0);
	}
}

static void again_without_clone3(void **state)
{
	(void)state;
	pass_self("plain", "FT_PROBE", "-clone3");
}

static void again_with_fork(void **state)
{
	(void)state;
	pass_self("plain", "FT_CLONE", "fork");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(workers_get_their_payload),
		cmocka_unit_test(a_payload_is_not_needed),
		cmocka_unit_test(workers_belong_to_the_program),
		cmocka_unit_test(a_killed_helper_is_started_again),
		cmocka_unit_test(helpers_killed_while_they_start),
		cmocka_unit_test(helpers_that_cannot_serve),
		cmocka_unit_test(handlers_are_kept_for_workers),
		cmocka_unit_test(descriptors_do_not_pile_up),
		cmocka_unit_test(many_leave_nothing_behind),
		cmocka_unit_test(threads_share_a_spawner),
		cmocka_unit_test(all_die_with_their_program),
		cmocka_unit_test(what_it_costs),
	};
	const struct CMUnitTest elsewhere[] = {
		cmocka_unit_test(again_without_clone3),
		cmocka_unit_test(again_with_fork),
	};
	const char *how = argc > 1 ? argv[1] : "";
	int failed;

	limit_time();
	preloads_threads = !strcmp(how, "busy");
	if (!strcmp(how, "helper") || preloads_threads)
		return helper();
	if (!strcmp(how, "doomed") && argc == 4)
		return doomed(argv[2], atoi(argv[3]));
	if (!strcmp(how, "program"))
		return program();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (argc == 1 && ft__have(FT__CLONE))
		failed += cmocka_run_group_tests(elsewhere, NULL, NULL);
	return failed;
}
