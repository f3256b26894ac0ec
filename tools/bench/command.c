/* SPDX-License-Identifier: MIT */
/* ft-bench-c: measures one row and prints JSON lines, for ft-bench(1). */
#include "sample.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage[] =
	"Usage: ft-bench-c --list | --version | ROW [SECONDS]\n"
	"Measures one row in C and prints a JSON line for each subject.  ft-bench\n"
	"runs it for each row; see ft-bench(1).\n";

static const struct bench_row *const tables[] = {
	bench_limit_rows,     bench_lock_rows,	bench_semaphore_rows, bench_barrier_rows,
	bench_condition_rows, bench_queue_rows, bench_worker_rows,    bench_pool_rows,
};

#define TABLES (sizeof(tables) / sizeof(tables[0]))

void bench_fail(const char *what, int error)
{
	fprintf(stderr, "ft-bench-c: %s: %s\n", what, ft_strerror(error));
	exit(1);
}

static int list(void)
{
	for (size_t i = 0; i < TABLES; i++)
		for (const struct bench_row *row = tables[i]; row->name; row++)
			printf("{\"row\": \"%s\", \"group\": \"%s\", \"title\": \"%s\"}\n",
			       row->name, row->group, row->title);
	return 0;
}

static const struct bench_row *find(const char *name)
{
	for (size_t i = 0; i < TABLES; i++)
		for (const struct bench_row *row = tables[i]; row->name; row++)
			if (!strcmp(row->name, name))
				return row;
	return NULL;
}

static int measure(const char *name, const char *seconds)
{
	const struct bench_row *row = find(name);
	double budget = strtod(seconds, NULL);

	if (!row || !(budget > 0 && budget < 1e6)) {
		fprintf(stderr, "ft-bench-c: no row %s or no time %s; try --list\n", name, seconds);
		return 2;
	}
	bench_measure(row, (int64_t)(budget * 1e9));
	return 0;
}

/* The library looks at the policy once, when it is loaded: a row that wants
 * another begins again with that. */
static void choose_policy(char **argv)
{
	const struct bench_row *row = argv[1] ? find(argv[1]) : NULL;
	const char *now = getenv("FT_WAIT_POLICY");

	if (!row || !row->policy || (now && !strcmp(now, row->policy)))
		return;
	setenv("FT_WAIT_POLICY", row->policy, 1);
	execv("/proc/self/exe", argv);
	bench_fail("exec", errno);
}

static int answer(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--list"))
		return list();
	if (argc == 2 && !strcmp(argv[1], "--version"))
		return printf("ft-bench-c %s\n", ft_version()) < 0;
	if (argc == 2 && !strcmp(argv[1], "--help"))
		return fputs(usage, stdout) < 0;
	if ((argc == 2 || argc == 3) && argv[1][0] != '-')
		return measure(argv[1], argc == 3 ? argv[2] : "0.5");
	fputs(usage, stderr);
	return 2;
}

int main(int argc, char **argv)
{
	choose_policy(argv);

	int status = answer(argc, argv);

	if (fflush(stdout) || ferror(stdout)) {
		perror("ft-bench-c");
		return 1;
	}
	return status;
}
