/* SPDX-License-Identifier: MIT */
/* The handle: what it refuses, and that it knows whose it is. */
#include "worker_tools.h"

#include "work/worker.h"

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static void bad_options(void **state)
{
	struct ft_worker_options good = thread_options(), o;
	struct ft_worker *worker;
	struct ft_spawner *spawner = (struct ft_spawner *)&good;

	(void)state;
	assert_int_equal(ft_worker_start(NULL, &good, nothing, NULL), -EINVAL);
	assert_int_equal(ft_worker_start(&worker, NULL, nothing, NULL), -EINVAL);
	assert_int_equal(ft_worker_start(&worker, &good, NULL, NULL), -EINVAL);
	o = good;
	o.size = 8;
	assert_int_equal(ft_worker_start(&worker, &o, nothing, NULL), -EINVAL);
	o = good;
	o.kind = 3;
	assert_int_equal(ft_worker_start(&worker, &o, nothing, NULL), -EINVAL);
	o = good;
	o.flags = FT_SHARED;
	assert_int_equal(ft_worker_start(&worker, &o, nothing, NULL), -EINVAL);
	o = good;
	o.payload = "x";
	o.payload_size = 1;
	assert_int_equal(ft_worker_start(&worker, &o, nothing, NULL), -EINVAL);
	o = good;
	o.spawner = spawner;
	assert_int_equal(ft_worker_start(&worker, &o, nothing, NULL), -EINVAL);
	o = process_options();
	o.spawner = spawner;
	assert_int_equal(ft_worker_start(&worker, &o, nothing, &o), -EINVAL);
	o.payload_size = 1;
	assert_int_equal(ft_worker_start(&worker, &o, nothing, NULL), -EINVAL);
}

static void no_handle(void **state)
{
	struct ft_worker_exit how;

	(void)state;
	assert_int_equal(ft_worker_join(NULL, FT_NOW), -EINVAL);
	assert_int_equal(ft_worker_is_alive(NULL), 0);
	assert_int_equal(ft_worker_exit_status(NULL, &how), -EINVAL);
	assert_int_equal(ft_worker_kill(NULL, SIGTERM), -EINVAL);
	assert_int_equal(ft_worker_pid(NULL), -EINVAL);
	assert_int_equal(ft_worker_pidfd(NULL), -EINVAL);
	assert_string_equal(ft_worker_name(NULL), "");
	assert_int_equal(ft_worker_free(NULL), 0);
}

static void names_are_counted(void **state)
{
	struct ft_worker *a = ft__worker_new(FT_WORKER_THREAD, NULL);
	struct ft_worker *b = ft__worker_new(FT_WORKER_THREAD, NULL);

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	assert_string_not_equal(ft_worker_name(a), ft_worker_name(b));
	ft__worker_put(a);
	ft__worker_put(b);
}

static void the_end_is_recorded_before_it_is_told(void **state)
{
	struct ft_worker *worker = ft__worker_new(FT_WORKER_THREAD, "it");
	struct ft_worker_exit how;

	(void)state;
	assert_int_equal(worker->done, 0);
	assert_int_equal(worker->refs, 1);
	assert_int_equal(ft_worker_exit_status(worker, &how), -EAGAIN);
	worker->parting = FT__PARTING_SEEN; /* there is no thread */
	ft__worker_end(worker, 3, 0, 1);
	assert_int_equal(worker->done, 1);
	assert_int_equal(ft_worker_exit_status(worker, &how), 0);
	assert_int_equal(how.code, 3);
	assert_string_equal(how.name, "it");
	assert_int_equal(ft_worker_exit_status(worker, NULL), -EINVAL);
	assert_int_equal(ft__worker_get(worker)->refs, 2);
	ft__worker_put(worker);
	assert_int_equal(worker->refs, 1);
	assert_int_equal(ft_worker_free(worker), 0);
}

static int sleep_for_ever(void *arg)
{
	for (;;)
		pause();
	return arg != NULL;
}

/* The handles of a program are not those of its forked children. */
static void forked_children_are_refused(void **state)
{
	struct ft_worker_options o = process_options();
	struct ft_worker *worker, *other;
	struct ft_worker_exit how;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(ft_worker_start(&worker, &o, sleep_for_ever, NULL), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		int wrong = 0;

		wrong |= ft_worker_join(worker, FT_NOW) != -ECHILD;
		wrong |= ft_worker_is_alive(worker) != 0;
		wrong |= ft_worker_exit_status(worker, &how) != -ECHILD;
		wrong |= ft_worker_kill(worker, SIGKILL) != -ECHILD;
		wrong |= ft_worker_pidfd(worker) != -ECHILD;
		wrong |= ft_worker_free(worker) != -ECHILD;
		wrong |= ft_worker_start(&other, &o, nothing, NULL) != -ECHILD;
		o = thread_options();
		wrong |= ft_worker_start(&other, &o, nothing, NULL) != -ECHILD;
		_exit(wrong);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(ft_worker_is_alive(worker), 1);
	assert_int_equal(ft_worker_kill(worker, SIGKILL), 0);
	join_free(worker, &how);
	assert_int_equal(how.signo, SIGKILL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_options),
		cmocka_unit_test(no_handle),
		cmocka_unit_test(names_are_counted),
		cmocka_unit_test(the_end_is_recorded_before_it_is_told),
		cmocka_unit_test(forked_children_are_refused),
	};

	limit_time();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
