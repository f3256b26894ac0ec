/* SPDX-License-Identifier: MIT */
/*
 * A worker is stopped before its first step, when it has no lifeline of its own
 * yet, and the program is killed: the kernel has to end the worker all the same,
 * which nobody will continue.  The stop is at the first point that a worker meets.
 */
#include "../unit/worker_tools.h"

#include "os/point.h"

#define CHANCES 1000
#define CHANCE_NS 20000000

static pid_t *told; /* shared: the worker's pid */

static void stop_newborn(const char *file, int line)
{
	static pid_t helper;

	(void)line;
	if (!strstr(file, "spawner_serve.c"))
		return;
	if (!helper)
		helper = getpid();
	else if (getpid() != helper)
		raise(SIGSTOP);
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

/* The program: its helper is a copy of it, and of its hook. */
_Noreturn static void program(void)
{
	struct ft_spawner_options with = { .size = sizeof(with) };
	struct ft_worker_options options = process_options();
	struct ft_spawner *spawner;
	struct ft_worker *worker;

	alarm(TIME_LIMIT);
	ft__point = stop_newborn;
	if (ft_spawner_start(&spawner, &with))
		_exit(1);
	options.spawner = spawner;
	if (ft_worker_start(&worker, &options, nothing, NULL))
		_exit(2);
	__atomic_store_n(told, ft_worker_pid(worker), __ATOMIC_RELEASE);
	for (;;)
		pause();
}

static char state_of(pid_t pid)
{
	char path[64], text[512] = "", *end;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (!file)
		return 'X';
	end = fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;
	fclose(file);
	return end ? end[2] : 'X';
}

/* Until `what` is its state: X, none any more; an orphan of ours is reaped. */
static void await_state(pid_t pid, const char *what)
{
	const struct timespec moment = { .tv_nsec = CHANCE_NS };

	for (int i = 0; i < CHANCES; i++) {
		char state = state_of(pid);

		if (state == 'Z' && waitpid(pid, NULL, __WALL | WNOHANG) == pid)
			state = 'X';
		if (strchr(what, state))
			return;
		nanosleep(&moment, NULL);
	}
	kill(pid, SIGKILL);
	fail_msg("process %d is in state %c, not %s", pid, state_of(pid), what);
}

static void program_killed(void **state)
{
	const struct timespec moment = { .tv_nsec = CHANCE_NS };
	pid_t pid, worker = 0;
	int status;

	(void)state;
	pid = fork();
	if (pid == 0)
		program();
	assert_true(pid > 0);
	for (int i = 0; i < CHANCES && !worker; i++) {
		nanosleep(&moment, NULL);
		worker = __atomic_load_n(told, __ATOMIC_ACQUIRE);
		assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	}
	assert_true(worker > 0);
	await_state(worker, "T");
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	await_state(worker, "X");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(program_killed),
	};

	limit_time();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (told == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
