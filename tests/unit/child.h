/* SPDX-License-Identifier: MIT */
/* Child processes for tests: each has a time limit of its own, each is waited
 * for by its pid.  A test that needs a fresh process runs its own program again
 * with the name of a mode. */
#ifndef TESTS_CHILD_H
#define TESTS_CHILD_H

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem/arena.h"
#include "mem/slot.h"

#if defined(FT__TSAN) || defined(__SANITIZE_ADDRESS__) || defined(__clang__)
#define CHILD_SECONDS 110 /* sanitizers take their time */
#else
#define CHILD_SECONDS 50
#endif

/* In children cmocka's asserts would jump into the parent's runner. */
#define REQUIRE(what)                                                                         \
	do {                                                                                  \
		if (!(what)) {                                                                \
			fprintf(stderr, "%s:%d: child: %s\n", __FILE__, __LINE__, #what);     \
			_exit(99);                                                            \
		}                                                                             \
	} while (0)

/* How many times as much as in make check a test is to do (FT_EFFORT, see
 * Makefile.am), `most` at the most. */
static inline unsigned effort(unsigned most)
{
	const char *text = getenv("FT_EFFORT");
	unsigned long n = text ? strtoul(text, NULL, 10) : 1;

	return n < 1 ? 1 : n < most ? (unsigned)n : most;
}

/* The exit status, or 256 + the signal. */
static inline int child_end(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

/* A plain fork() that runs fn(arg). */
static inline pid_t child_start(int (*fn)(void *), void *arg)
{
	pid_t pid = fork();

	if (pid == 0) {
		alarm(CHILD_SECONDS * effort(5));
		_exit(fn(arg));
	}
	return pid;
}

static inline int child_run(int (*fn)(void *), void *arg)
{
	return child_end(child_start(fn, arg));
}

/* A child that is part of the program, as workers are. */
static inline pid_t worker_start(int (*fn)(void *), void *arg, uint32_t *owner)
{
	*owner = ft__slot_reserve("test");

	pid_t pid = *owner ? fork() : -1;

	if (pid == 0) {
		alarm(CHILD_SECONDS * effort(5));
		REQUIRE(ft__arena_adopt(*owner) == 0);
		_exit(fn(arg));
	}
	return pid;
}

/* This program again, as "PROGRAM MODE", with one more environment variable. */
static inline int self_run(const char *mode, const char *name, const char *value)
{
	pid_t pid = fork();

	if (pid == 0) {
		alarm(CHILD_SECONDS);
		if (name)
			setenv(name, value, 1);
		execl("/proc/self/exe", "test", mode, (char *)NULL);
		_exit(98);
	}
	return child_end(pid);
}

struct mode {
	const char *name;
	int (*run)(void);
};

/* For main(): runs a mode if one is named; -1 if none is. */
static inline int mode_run(const struct mode *modes, size_t count, int argc, char **argv)
{
	alarm(CHILD_SECONDS);
	if (argc < 2)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (strcmp(modes[i].name, argv[1]) == 0)
			return modes[i].run();
	return 97;
}

#endif
