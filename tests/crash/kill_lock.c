/* SPDX-License-Identifier: MIT */
/*
 * A process is killed at every point of acquiring and releasing a lock that two
 * others want as well.  After each death the supervisor's part is done, and
 * both must get on; nobody is ever inside twice, and who takes over is told.
 */
#include <setjmp.h>
#include <stdarg.h>

#include "kill_tools.h"

#include <cmocka.h>

#include "sync/lock.h"

#define KILLS (500 * (int)effort(5)) /* for each way to kill */
#define POINTS 64 /* that a victim passes, about */
#define TIME (14000 * MS * effort(5))

struct stage {
	struct ft_lock lock;
	uint32_t inside; /* plain, as users' data are: who is in, or 0 */
	uint32_t told;   /* times that -EOWNERDEAD was seen; under the lock */
	uint32_t pid;    /* of the owner that died then */
	struct survivor survivors[SURVIVORS];
};

static void be_inside(struct stage *stage, int rc)
{
	REQUIRE(rc == 0 || rc == -EOWNERDEAD);
	/* Somebody else in here?  Only a dead one, and then we were told. */
	REQUIRE(rc == -EOWNERDEAD || stage->inside == 0);
	if (rc == -EOWNERDEAD) {
		stage->told++;
		stage->pid = (uint32_t)ft_lock_died(&stage->lock);
	}
	stage->inside = (uint32_t)getpid();
	linger();
	REQUIRE(stage->inside == (uint32_t)getpid());
	stage->inside = 0;
	REQUIRE(ft_lock_release(&stage->lock) == 0);
}

static int want(void *arg, struct survivor *self)
{
	struct stage *stage = arg;

	while (going_on(self)) {
		bool hurried = random_number() % 2;
		int rc = ft_lock_acquire(&stage->lock, hurried ? ft_after(200000) : FT_FOREVER);

		if (rc != -ETIMEDOUT)
			be_inside(stage, rc);
		ft__add32_seq_cst(&self->progress, 1);
	}
	return 0;
}

static int take_and_release(void *arg)
{
	struct stage *stage = arg;

	for (int i = 0; i < 3; i++)
		be_inside(stage, ft_lock_acquire(&stage->lock, FT_FOREVER));
	return 0;
}

static int give_up(void *arg)
{
	struct stage *stage = arg;

	for (int i = 0; i < 3; i++) {
		int rc = ft_lock_acquire(&stage->lock, ft_after(50000));

		if (rc != -ETIMEDOUT)
			be_inside(stage, rc);
	}
	return 0;
}

/* Also: a try for a lock and the settling of another death, as a supervisor
 * that is a worker itself would. */
static int settle_another(void *arg)
{
	struct stage *stage = arg;

	ft__lock_settle(&stage->lock, ft__self_tls.owner ^ FT__SLOT_INDEX);
	int rc = ft_lock_acquire(&stage->lock, FT_NOW);

	if (rc != -ETIMEDOUT)
		be_inside(stage, rc);
	return 0;
}

static void kill_at_every_point(uint32_t flags, const char *name, int (*run)(void *))
{
	struct stage *stage = shared_alloc(sizeof(*stage));
	ft_deadline end = ft_after(TIME);
	int kills = 0, rounds = 0;
	uint32_t told = 0;

	assert_int_equal(ft_lock_init(&stage->lock, FT_SHARED | flags), 0);
	for (int i = 0; i < SURVIVORS; i++)
		survivor_start(&stage->survivors[i], want, stage);
	while (kills < KILLS && !ft__passed(end)) {
		for (long at = 1; at <= POINTS && kills < KILLS; at++) {
			struct deaths deaths;

			victims_run(run, stage, at, POINTS, &deaths);
			if (!survivors_go_on(stage->survivors, 2)) {
				print_error("%s: stuck after a kill at point %ld, word %08x\n",
					    name, at, stage->lock.word);
				fail();
			}
			kills += deaths.died[0] + deaths.died[1];
			if (ft__load32_seq_cst(&stage->told) != told)
				assert_true((pid_t)stage->pid == deaths.pids[0] ||
					    (pid_t)stage->pid == deaths.pids[1]);
			told = ft__load32_seq_cst(&stage->told);
		}
		rounds++;
	}
	for (int i = 0; i < SURVIVORS; i++)
		ft__store32_seq_cst(&stage->survivors[i].stop, 1);
	for (int i = 0; i < SURVIVORS; i++)
		survivor_end(&stage->survivors[i]);
	print_message("%s: %d kills at %d different points in %d rounds, %u owners died\n", name,
		      kills, sites_different(), rounds, told);
	assert_true(rounds > 0 && told > 0);
	assert_int_equal(stage->lock.word & ~FT_LOCK_WAITERS, 0);
	assert_int_equal(ft_block_free(stage), 0);
	assert_int_equal(ft_arena_check(NULL), 0);
}

static void owners(void **state)
{
	(void)state;
	kill_at_every_point(0, "acquire and release", take_and_release);
}

static void waiters(void **state)
{
	(void)state;
	kill_at_every_point(0, "acquire and give up", give_up);
}

static void unowned(void **state)
{
	(void)state;
	kill_at_every_point(FT_LOCK_UNOWNED, "without ownership", take_and_release);
}

static void settlers(void **state)
{
	(void)state;
	kill_at_every_point(0, "settle and try", settle_another);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(owners),
		cmocka_unit_test(waiters),
		cmocka_unit_test(unowned),
		cmocka_unit_test(settlers),
	};

	alarm(2 * CHILD_SECONDS * effort(5));
	seed_from_environment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
