/* SPDX-License-Identifier: MIT */
/* What somebody else's program does: includes the one header, links what
 * pkg-config says, and uses the library from outside. */
#include <stdio.h>
#include <string.h>

#include <freethreading.h>

static int square(struct ft_task *task)
{
	const long *x = ft_task_arg(task, NULL);
	long y = *x * *x;

	return ft_task_reply(task, &y, sizeof(y));
}

static int run(enum ft_worker_kind kind)
{
	struct ft_pool_options options = { .size = sizeof(options), .kind = kind, .workers = 2 };
	long in[100], out[100], wrong = 0;
	struct ft_pool *pool;
	int rc;

	for (long i = 0; i < 100; i++)
		in[i] = i;
	rc = ft_pool_open(&pool, &options);
	if (rc)
		return rc;
	rc = ft_pool_map(pool, square, in, sizeof(in[0]), out, sizeof(out[0]), 100);
	if (!rc)
		rc = ft_pool_close(pool);
	if (!rc)
		rc = ft_pool_join(pool, ft_after(INT64_C(20000000000)));
	if (!rc)
		rc = ft_pool_free(pool);
	for (long i = 0; !rc && i < 100; i++)
		wrong += out[i] != i * i;
	return rc ? rc : (int)wrong;
}

int main(void)
{
	int rc = strcmp(ft_version(), FT_VERSION_STRING);

	if (!rc)
		rc = run(FT_WORKER_PROCESS);
	if (!rc)
		rc = run(FT_WORKER_THREAD);
	printf("C, freethreading %s: %s\n", ft_version(), rc < 0 ? ft_strerror(rc) : rc ? "wrong" : "ok");
	return rc != 0;
}
