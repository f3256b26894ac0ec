/* SPDX-License-Identifier: MIT */
/* Opening, joining, forking, and what limits leave of it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"
#include "mem/block.h"
#include "mem/span.h"
#include "os/memfd.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static uint64_t arena_size(void)
{
	struct ft_arena_info info;

	REQUIRE(ft_arena_info(&info) == 0);
	return info.size;
}

static void opening(void **state)
{
	struct ft_arena_info info;
	struct stat st;

	(void)state;
	assert_int_equal(ft_arena_open(), 0);
	assert_int_equal(ft_arena_open(), 0);

	int fd = ft_arena_fd();

	assert_true(fd >= 0);
	assert_int_equal(ft_arena_fd(), fd);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(ft_arena_info(&info), 0);
	assert_int_equal(info.size, st.st_size);
	assert_true(info.size >= 4 * GIB && info.size <= 1024 * GIB);
	assert_int_equal(info.blocks, 0);
	assert_int_equal(info.generation, FT__ARENA_ABI);
	assert_int_equal(ft_arena_check(NULL), 0);
	assert_int_equal(ft_arena_info(NULL), -EINVAL);
	assert_true(st.st_blocks * 512 < (blkcnt_t)MIB);
	assert_int_equal(ft_arena_attach(fd), -EEXIST);
}

static void offsets(void **state)
{
	uint64_t data = (uint64_t)(ft__arena.data - ft__arena.base), size = ft__arena.size;
	int local;

	(void)state;
	assert_int_equal(ft__offset(NULL), 0);
	assert_int_equal(ft__offset(&local), 0);
	assert_int_equal(ft__offset(ft__arena.data), data);
	assert_int_equal(ft__offset(ft__arena.base + size), 0);
	assert_ptr_equal(ft__at(data, 8), ft__arena.data);
	assert_ptr_equal(ft__at(data, size - data), ft__arena.data);
	assert_null(ft__at(data, size - data + 1));
	assert_null(ft__at(data - 64, 8));
	assert_null(ft__at(0, 0));
	assert_null(ft__at(data + 2, 4));
	assert_null(ft__at(size, 4));
	assert_null(ft__at(size - 4, 8));
	assert_non_null(ft__at(size - 4, 4));
	assert_null(ft__at(UINT64_MAX - 3, 8));
	assert_null(ft__at(data, UINT64_MAX));
}

static int forked(void *arg)
{
	void *p = NULL;
	struct ft_arena_info info;

	REQUIRE(ft_arena_open() == -ECHILD);
	REQUIRE(ft_arena_fd() == -ECHILD);
	REQUIRE(ft_arena_info(&info) == -ECHILD);
	REQUIRE(ft_arena_check(NULL) == -ECHILD);
	REQUIRE(ft_block_alloc(10, &p) == -ECHILD);
	REQUIRE(ft_block_free(arg) == -ECHILD);
	REQUIRE(ft_block_at(ft_block_handle(arg), &p) == -ECHILD);
	REQUIRE(ft_block_free(NULL) == 0);
	REQUIRE(ft__process() == 0);
	REQUIRE(ft__slot_reserve("x") == 0);
	REQUIRE(ft_arena_attach(0) == -EEXIST);
	return 0;
}

static void plain_forks_are_outside(void **state)
{
	void *block;

	(void)state;
	assert_int_equal(ft_block_alloc(100, &block), 0);
	assert_int_equal(child_run(forked, block), 0);
	assert_int_equal(ft_block_free(block), 0);
}

static int worker(void *arg)
{
	uint64_t *shared = arg;
	void *p;

	REQUIRE(ft_arena_open() == 0);
	REQUIRE(ft_block_alloc(100, &p) == 0);
	REQUIRE(ft_block_free(arg) == -EPERM);
	*shared = ft_block_handle(p);
	return 0;
}

static void workers_are_inside(void **state)
{
	void *block, *theirs;
	uint32_t owner;

	(void)state;
	assert_int_equal(ft_block_alloc(100, &block), 0);
	assert_int_equal(child_end(worker_start(worker, block, &owner)), 0);
	assert_int_equal(ft_block_at(*(uint64_t *)block, &theirs), 0);
	assert_int_equal(ft_block_size(theirs), 100);
	assert_int_equal(ft_block_free(theirs), -EPERM);
	assert_int_equal(ft__block_sweep(owner, NULL), 1);
	ft__slot_free(owner);
	assert_int_equal(ft_block_at(*(uint64_t *)block, &theirs), -ESTALE);
	assert_int_equal(ft_block_free(block), 0);
	assert_int_equal(ft_arena_check(NULL), 0);
}

/* ---- in a program of their own --------------------------------------------- */

static int grandchild(void *arg)
{
	(void)arg;
	REQUIRE(ft_arena_open() == 0);
	return 0;
}

/* Nothing is shared yet, so the child of a fork may have an arena of its own. */
static int mode_fork_first(void)
{
	REQUIRE(child_run(grandchild, NULL) == 0);

	void *block;

	REQUIRE(ft_block_alloc(100, &block) == 0);
	REQUIRE(child_run(forked, block) == 0);
	return 0;
}

static int mode_attach(void)
{
	int fd = atoi(getenv("FT_TEST_FD")), other = open("/dev/null", O_RDWR);
	void *p;

	REQUIRE(ft_arena_attach(-1) == -EBADF);
	REQUIRE(ft_arena_attach(1000) == -EBADF);
	REQUIRE(ft_arena_attach(other) == -EPROTO);

	int raw = ft__memfd_create("raw", 64 * MIB), unsealed = memfd_create("unsealed", 0);

	REQUIRE(ft_arena_attach(raw) == -EPROTO);
	REQUIRE(ftruncate(unsealed, 64 << 20) == 0);
	REQUIRE(ft_arena_attach(unsealed) == -EPROTO);

	REQUIRE(ft_arena_attach(fd) == 0);
	REQUIRE(ft_arena_fd() == fd && fcntl(fd, F_GETFD) == FD_CLOEXEC);
	REQUIRE(ft_arena_attach(fd) == -EEXIST);
	REQUIRE(ft_block_at(strtoull(getenv("FT_TEST_HANDLE"), NULL, 16), &p) == 0);
	REQUIRE(strcmp(p, "hello") == 0 && ft_block_size(p) == 100);
	REQUIRE(ft_block_free(p) == -EPERM);
	strcpy(p, "world");
	REQUIRE(ft_block_alloc(50, &p) == 0 && ft_block_free(p) == 0);
	return 0;
}

/* A header that somebody scribbled on is no arena, field by field. */
static int mode_scribbled(void)
{
	int fd = ft__memfd_create("fake", 64 * MIB);
	uint64_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct ft__arena_header *h = (struct ft__arena_header *)page;

	REQUIRE(setenv("FT_ARENA_SIZE", "64M", 1) == 0);
	REQUIRE(ft_arena_open() == 0 && arena_size() == 64 * MIB);
	for (size_t at = 0; at < offsetof(struct ft__arena_header, slots_high) / 8 - 1; at++) {
		pid_t pid;

		memcpy(page, ft__arena.base, sizeof(*h));
		page[at] ^= 0x10000;
		pid = fork();
		if (pid == 0) {
			char text[16];

			snprintf(text, sizeof(text), "%d", fcntl(fd, F_DUPFD, 100));
			setenv("FT_TEST_FD", text, 1);
			execl("/proc/self/exe", "test", "refuse", (char *)NULL);
			_exit(98);
		}
		REQUIRE(child_end(pid) == (at < 9 ? 0 : 1));
	}
	return 0;
}

static int mode_refuse(void)
{
	return ft_arena_attach(atoi(getenv("FT_TEST_FD"))) == -EPROTO ? 0 : 1;
}

static int mode_size(void)
{
	return (int)(arena_size() / (16 * MIB));
}

/* The smallest arena: runs full, says so, and works again afterwards. */
static int mode_full(void)
{
	static void *blocks[300000];
	size_t size = (size_t)atoi(getenv("FT_TEST_SIZE")), n = 0;
	int rc;

	while ((rc = ft_block_alloc(size, &blocks[n])) == 0)
		n++;
	REQUIRE(rc == -ENOMEM && n > 0);
	REQUIRE(ft_arena_check(NULL) == 0);
	REQUIRE(ft__block_count(ft__process()) == n);
	printf("%zu blocks of %zu bytes fill 16 MiB\n", n, size);
	for (size_t i = 0; i < n; i += 2)
		REQUIRE(ft_block_free(blocks[i]) == 0);
	for (size_t i = 0; i < n; i += 2)
		REQUIRE(ft_block_alloc(size, &blocks[i]) == 0);
	REQUIRE(ft_block_alloc(size, &blocks[n]) == -ENOMEM);
	for (size_t i = 0; i < n; i++)
		REQUIRE(ft_block_free(blocks[i]) == 0);
	REQUIRE(ft__block_count(ft__process()) == 0);
	return 0;
}

/* Large blocks of several sizes, one after the other, in the same spans. */
static int mode_full_runs(void)
{
	static void *blocks[1000];
	size_t sizes[] = { 40000, 200000, 3000000, 40000 }, first = 0;

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		size_t n = 0;
		int rc;

		while ((rc = ft_block_alloc(sizes[s], &blocks[n])) == 0)
			n++;
		REQUIRE(rc == -ENOMEM && n > 0);
		REQUIRE(ft_arena_check(NULL) == 0);
		printf("%zu blocks of %zu bytes fill 16 MiB\n", n, sizes[s]);
		first = first ? first : n;
		/* Every other one first: what joins must be found. */
		for (size_t i = 0; i < n; i += 2)
			REQUIRE(ft_block_free(blocks[i]) == 0);
		for (size_t i = 1; i < n; i += 2)
			REQUIRE(ft_block_free(blocks[i]) == 0);
		REQUIRE(ft_arena_check(NULL) == 0);
		if (s == 3)
			REQUIRE(n == first);
	}
	return 0;
}

static int mode_as(void)
{
	struct rlimit limit = { .rlim_cur = 900 * MIB, .rlim_max = 900 * MIB };
	void *p;

	REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
	REQUIRE(ft_arena_open() == 0);
	REQUIRE(arena_size() == 512 * MIB);
	REQUIRE(ft_block_alloc(1000000, &p) == 0);
	memset(p, 1, 1000000);
	return 0;
}

static int mode_as_small(void)
{
	struct rlimit limit = { .rlim_cur = 48 * MIB, .rlim_max = 48 * MIB };

	REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
	REQUIRE(ft_arena_open() == -ENOMEM);
	return 0;
}

static int mode_fsize(void)
{
	struct rlimit limit = { .rlim_cur = 200 * MIB, .rlim_max = RLIM_INFINITY };
	void *p;

	REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	REQUIRE(ft_arena_open() == 0);
	REQUIRE(arena_size() == 128 * MIB);
	REQUIRE(ft_block_alloc(100 * MIB, &p) == 0);
	memset(p, 1, 1000);
	REQUIRE(ft_block_free(p) == 0);
	return 0;
}

static int mode_fsize_small(void)
{
	struct rlimit limit = { .rlim_cur = 10 * MIB, .rlim_max = RLIM_INFINITY };
	void *p;

	REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	REQUIRE(ft_arena_open() == -EFBIG);
	REQUIRE(ft_block_alloc(1, &p) == -EFBIG);
	limit.rlim_cur = RLIM_INFINITY;
	REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	REQUIRE(ft_arena_open() == 0);
	return 0;
}

static int mode_nofile(void)
{
	struct rlimit limit, none;

	REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	none = limit;
	none.rlim_cur = 0;
	REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
	REQUIRE(ft_arena_open() == -EMFILE && ft_arena_fd() == -EMFILE);
	REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	REQUIRE(ft_arena_open() == 0);
	return 0;
}

/* Locking all memory must not fill the arena with it. */
static int mode_mlockall(void)
{
	struct stat st;

	setenv("FT_ARENA_SIZE", "256M", 1);
	if (mlockall(MCL_FUTURE) != 0)
		return errno == EPERM || errno == ENOMEM ? 0 : 1;
	/* Without the right to lock so much the kernel refuses the mapping. */
	int rc = ft_arena_open();

	if (rc == -ENOMEM)
		return 0;
	REQUIRE(rc == 0 && fstat(ft_arena_fd(), &st) == 0);
	REQUIRE(st.st_blocks * 512 < (blkcnt_t)MIB);
	return 0;
}

static pthread_barrier_t barrier;

static void *open_with_others(void *arg)
{
	pthread_barrier_wait(&barrier);
	*(int *)arg = ft_arena_open();
	return ft__arena.base;
}

static int mode_race(void)
{
	pthread_t threads[8];
	int rc[8];

	pthread_barrier_init(&barrier, NULL, 8);
	for (int i = 0; i < 8; i++)
		REQUIRE(pthread_create(&threads[i], NULL, open_with_others, &rc[i]) == 0);
	for (int i = 0; i < 8; i++) {
		void *base;

		pthread_join(threads[i], &base);
		REQUIRE(rc[i] == 0 && base == ft__arena.base);
	}
	return 0;
}

static void check(const char *mode, const char *name, const char *value)
{
	int rc = self_run(mode, name, value);

	if (rc != 0)
		fail_msg("%s %s=%s: %d", mode, name ? name : "", value ? value : "", rc);
}

static void sizes(void **state)
{
	(void)state;
	assert_int_equal(self_run("size", "FT_ARENA_SIZE", "64M"), 4);
	assert_int_equal(self_run("size", "FT_ARENA_SIZE", "65536K"), 4);
	assert_int_equal(self_run("size", "FT_ARENA_SIZE", "67108864"), 4);
	assert_int_equal(self_run("size", "FT_ARENA_SIZE", "1g"), 64);
	assert_int_equal(self_run("size", "FT_ARENA_SIZE", "1"), 1);
	/* What cannot be understood does not count. */
	static const char *const bad[] = { "", "0", "-1", "M", "64MB", "1x", " 64M", "9999999G",
					   "99999999999999999999999" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(self_run("size", "FT_ARENA_SIZE", bad[i]),
				 (int)(arena_size() / (16 * MIB)) & 0xff);
}

static void limits(void **state)
{
	(void)state;
	check("fsize", NULL, NULL);
	check("fsize-small", NULL, NULL);
	check("nofile", NULL, NULL);
	check("mlockall", NULL, NULL);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
	/* Sanitizers need more address space than that. */
	check("as", NULL, NULL);
	check("as-small", NULL, NULL);
#endif
}

static void full(void **state)
{
	(void)state;
	setenv("FT_ARENA_SIZE", "16M", 1);
	check("full", "FT_TEST_SIZE", "32");
	check("full", "FT_TEST_SIZE", "1000");
	check("full", "FT_TEST_SIZE", "20000");
	check("full", "FT_TEST_SIZE", "32736");
	check("full", "FT_TEST_SIZE", "32737");
	check("full", "FT_TEST_SIZE", "70000");
	check("full-runs", NULL, NULL);
	unsetenv("FT_ARENA_SIZE");
}

static void races(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++)
		check("race", NULL, NULL);
	check("fork-first", NULL, NULL);
}

static void attaching(void **state)
{
	void *block;
	char text[32];

	(void)state;
	assert_int_equal(ft_block_alloc(100, &block), 0);
	strcpy(block, "hello");
	/* A copy without close-on-exec, as a parent hands it on. */
	int fd = fcntl(ft_arena_fd(), F_DUPFD, 50);

	snprintf(text, sizeof(text), "%d", fd);
	setenv("FT_TEST_FD", text, 1);
	snprintf(text, sizeof(text), "%llx", (unsigned long long)ft_block_handle(block));
	check("attach", "FT_TEST_HANDLE", text);
	assert_string_equal(block, "world");
	close(fd);
	assert_int_equal(ft_block_free(block), 0);
	check("scribbled", NULL, NULL);
}

/* Shared pages may hold anything: no answer may be a crash. */
static void scribbles(void **state)
{
	struct ft__arena_header *h = ft__arena.header;
	uint32_t high = h->spans_high, slots = h->slots_high;
	void *p;

	(void)state;
	h->spans_high = UINT32_MAX;
	assert_int_equal(ft_arena_check(NULL), -EUCLEAN);
	h->spans_high = high;
	h->slots_high = UINT32_MAX;
	assert_false(ft__slot_alive(FT__SLOT_INDEX | FT__SLOT_GENERATION));
	h->slots_high = slots;

	uint64_t where, word = ft__arena.span[0];

	assert_int_equal(ft_arena_check(&where), 0);
	for (uint32_t state_bits = 0; state_bits < 8; state_bits++) {
		ft__arena.span[0] = ft__word(state_bits, 0x3fffffff, 1);
		ft__block_of(ft__arena.data + 32);
		ft__block_count(1);
		ft__block_sweep(0x3ffffffe, NULL);
		if (ft__arena.span[0] == ft__word(state_bits, 0x3fffffff, 1) && state_bits != 0) {
			assert_int_equal(ft_arena_check(&where), -EUCLEAN);
			assert_int_equal(where, (uint64_t)(ft__arena.data - ft__arena.base));
		}
	}
	ft__arena.span[0] = word;
	assert_int_equal(ft_arena_check(NULL), 0);
	assert_int_equal(ft_block_alloc(10, &p), 0);
	assert_int_equal(ft_block_free(p), 0);
}

int main(int argc, char **argv)
{
	static const struct mode modes[] = {
		{ "fork-first", mode_fork_first }, { "attach", mode_attach },
		{ "scribbled", mode_scribbled },   { "refuse", mode_refuse },
		{ "size", mode_size },		   { "full", mode_full },
		{ "full-runs", mode_full_runs },   { "as", mode_as },
		{ "as-small", mode_as_small },	   { "fsize", mode_fsize },
		{ "fsize-small", mode_fsize_small }, { "nofile", mode_nofile },
		{ "mlockall", mode_mlockall },	   { "race", mode_race },
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opening),    cmocka_unit_test(offsets),
		cmocka_unit_test(plain_forks_are_outside), cmocka_unit_test(workers_are_inside),
		cmocka_unit_test(sizes),      cmocka_unit_test(limits),
		cmocka_unit_test(full),	      cmocka_unit_test(races),
		cmocka_unit_test(attaching),  cmocka_unit_test(scribbles),
	};
	int rc = mode_run(modes, sizeof(modes) / sizeof(modes[0]), argc, argv);

	return rc >= 0 ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
