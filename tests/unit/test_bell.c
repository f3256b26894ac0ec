/* SPDX-License-Identifier: MIT */
/* The bell: its words after each step, by futex and by eventfd, many at once. */
#include <setjmp.h>
#include <stdarg.h>

#include "sync_tools.h"

#include <cmocka.h>
#include <sys/epoll.h>

#include "os/futex.h"
#include "os/probe.h"
#include "sync/bell.h"

#define WITHOUT_FUTEX "-io_uring-futex"

static void check_words(struct ft__bell *bell)
{
	static const struct {
		uint32_t asleep;
		bool lazy, rings;
	} steps[] = {
		{ 0, false, false },
		{ 0, true, false },
		{ FT__BELL_EACH, false, true },
		{ FT__BELL_EACH, true, true },
		{ FT__BELL_LAZY, false, false },
		{ FT__BELL_LAZY, true, true },
	};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint32_t before = bell->word;

		bell->asleep = steps[i].asleep;
		ft__bell_ring(bell, steps[i].lazy);
		REQUIRE(bell->word == before + steps[i].rings);
		REQUIRE(bell->asleep == (steps[i].rings ? 0 : steps[i].asleep));
		ft__bell_ring(bell, true);
		/* Once for each sleep. */
		REQUIRE(bell->word == before + (steps[i].asleep ? 1 : 0));
		REQUIRE(bell->asleep == 0);
	}
}

static void words_at_each_step(void **state)
{
	struct ft__bell *bell = shared_alloc(sizeof(*bell));

	(void)state;
	assert_int_equal(ft__bell_init(NULL), -EINVAL);
	assert_int_equal(ft__bell_init(bell), 0);
	assert_int_equal(bell->word | bell->asleep, 0);
	assert_int_equal(bell->owner, ft__process());
	assert_int_equal(bell->by_fd, !ft__have(FT__URING_FUTEX));
	assert_int_equal(ft__bell_fd() >= 0, bell->by_fd);
	check_words(bell);
	ft_block_free(bell);
}

/* ---- an eventfd instead of the futex ----------------------------------- */

static bool edge(int epoll)
{
	struct epoll_event event;

	return epoll_wait(epoll, &event, 1, 0) == 1;
}

static int ring_in_child(void *arg)
{
	ft__bell_adopt();
	/* A bell of one's own has a descriptor of its own. */
	struct ft__bell own;

	REQUIRE(ft__bell_init(&own) == 0);
	REQUIRE(own.by_fd && ft__bell_fd() >= 0);
	own.asleep = FT__BELL_EACH;
	ft__bell_ring(&own, false);

	uint64_t count;

	REQUIRE(read(ft__bell_fd(), &count, sizeof(count)) == sizeof(count) && count == 1);
	ft__bell_ring(arg, false);
	return 0;
}

static int by_fd(void)
{
	struct ft__bell *bell = shared_alloc(sizeof(*bell));
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int epoll = epoll_create1(EPOLL_CLOEXEC), fd = ft__bell_fd();
	uint32_t owner;

	REQUIRE(!ft__have(FT__URING_FUTEX));
	REQUIRE(fd >= 0 && ft__bell_fd() == fd);
	REQUIRE(ft__bell_init(bell) == 0 && bell->by_fd == 1);
	REQUIRE(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
	check_words(bell);
	REQUIRE(edge(epoll) && !edge(epoll));
	/* Nobody reads it; each ring is an edge all the same. */
	for (int i = 0; i < 3; i++) {
		bell->asleep = FT__BELL_EACH;
		ft__bell_ring(bell, false);
		REQUIRE(edge(epoll) && !edge(epoll));
	}
	/* A worker rings its parent. */
	bell->asleep = FT__BELL_EACH;
	REQUIRE(child_end(worker_start(ring_in_child, bell, &owner)) == 0);
	REQUIRE(edge(epoll) && !edge(epoll));
	settle_death(owner);
	/* So does a worker of an exec'ed helper, which was told the descriptor. */
	ft__bell_inherit(-1);
	ft__bell_inherit(fd);
	bell->asleep = FT__BELL_EACH;
	REQUIRE(child_end(worker_start(ring_in_child, bell, &owner)) == 0);
	REQUIRE(edge(epoll));
	settle_death(owner);
	return 0;
}

static void without_futex(void **state)
{
	(void)state;
	assert_int_equal(self_run("by_fd", "FT_PROBE", WITHOUT_FUTEX), 0);
}

/* ---- many at once ------------------------------------------------------ */

#define RESULTS 20000
#define RINGERS 3

struct crowd {
	struct ft__bell bell;
	uint32_t published;
};

static int publish(void *arg)
{
	struct crowd *crowd = arg;

	for (int i = 1; i <= RESULTS; i++) {
		ft__add32_seq_cst(&crowd->published, 1);
		ft__bell_ring(&crowd->bell, i == RESULTS);
	}
	return 0;
}

/* The leader of sync/bell.h; returns how often it slept. */
static int collect(struct crowd *crowd, uint32_t mode)
{
	uint32_t collected = 0;
	int sleeps = 0;

	while (collected < RINGERS * RESULTS) {
		uint32_t seen = ft__load32_acquire(&crowd->bell.word);

		ft__swap32_seq_cst(&crowd->bell.asleep, mode);
		if (ft__load32_seq_cst(&crowd->published) == collected) {
			REQUIRE(ft__futex_wait(&crowd->bell.word, seen, true, ft_after(LONG)) !=
				-ETIMEDOUT);
			sleeps++;
		}
		ft__store32_seq_cst(&crowd->bell.asleep, 0);
		collected = ft__load32_seq_cst(&crowd->published);
	}
	return sleeps;
}

static void threads(void **state)
{
	static struct crowd crowd;

	(void)state;
	for (uint32_t mode = FT__BELL_EACH; mode <= FT__BELL_LAZY; mode++) {
		struct helper helpers[RINGERS];

		assert_int_equal(ft__bell_init(&crowd.bell), 0);
		crowd.bell.by_fd = 0;
		crowd.published = 0;
		for (int i = 0; i < RINGERS; i++)
			helper_start(&helpers[i], publish, &crowd);

		int sleeps = collect(&crowd, mode);

		for (int i = 0; i < RINGERS; i++)
			assert_int_equal(helper_join(&helpers[i]), 0);
		print_message("%d results, %s: %d sleeps, %u rings\n", RINGERS * RESULTS,
			      mode == FT__BELL_EACH ? "each" : "lazy", sleeps, crowd.bell.word);
		assert_true(crowd.bell.word <= RINGERS * RESULTS);
	}
}

static void processes(void **state)
{
	struct crowd *crowd = shared_alloc(sizeof(*crowd));
	uint32_t owners[RINGERS];
	pid_t pids[RINGERS];

	(void)state;
	assert_int_equal(ft__bell_init(&crowd->bell), 0);
	crowd->bell.by_fd = 0;
	for (int i = 0; i < RINGERS; i++)
		pids[i] = worker_start(publish, crowd, &owners[i]);
	collect(crowd, FT__BELL_EACH);
	for (int i = 0; i < RINGERS; i++) {
		assert_int_equal(child_end(pids[i]), 0);
		settle_death(owners[i]);
	}
	ft_block_free(crowd);
}

int main(int argc, char **argv)
{
	static const struct mode modes[] = { { "by_fd", by_fd } };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_at_each_step),
		cmocka_unit_test(without_futex),
		cmocka_unit_test(threads),
		cmocka_unit_test(processes),
	};
	int rc = mode_run(modes, 1, argc, argv);

	return rc >= 0 ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
