/* SPDX-License-Identifier: MIT */
/* The event: its word after each step, waiting, signals, deaths, many at once. */
#include <setjmp.h>
#include <stdarg.h>

#include "sync_tools.h"

#include <cmocka.h>

#include "sync/event.h"

#define SET FT_EVENT_SET
#define W FT_EVENT_WAITERS
#define E FT_EVENT_EPOCH

static uint32_t word(const struct ft_event *event)
{
	return ft__load32_seq_cst(&event->word);
}

static struct ft_event *shared_event(void)
{
	struct ft_event *event = shared_alloc(sizeof(*event));

	assert_int_equal(ft_event_init(event, FT_SHARED), 0);
	return event;
}

struct wait {
	struct ft_event *event;
	int64_t ns, took;
};

static int wait_on(void *arg)
{
	struct wait *wait = arg;
	ft_deadline start = ft_now();
	int rc = ft_event_wait(wait->event, wait->ns < 0 ? FT_FOREVER : start + wait->ns);

	wait->took = ft_now() - start;
	return rc;
}

static void bad_arguments(void **state)
{
	struct ft_event event;

	(void)state;
	assert_int_equal(ft_event_init(NULL, 0), -EINVAL);
	assert_int_equal(ft_event_init(&event, 0x100), -EINVAL);
	assert_int_equal(ft_event_init((void *)((char *)&event + 2), 0), -EINVAL);
	assert_int_equal(ft_event_set(NULL), -EINVAL);
	assert_int_equal(ft_event_clear(NULL), -EINVAL);
	assert_int_equal(ft_event_is_set(NULL), 0);
	assert_int_equal(ft_event_wait(NULL, FT_NOW), -EINVAL);
}

/* The whole table, without anybody parked. */
static void words(struct ft_event *event)
{
	assert_int_equal(word(event), 0);
	assert_int_equal(ft_event_is_set(event), 0);
	assert_int_equal(ft_event_wait(event, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_event_wait(event, 5), -ETIMEDOUT);
	assert_int_equal(ft_event_clear(event), 0);
	assert_int_equal(word(event), 0);

	assert_int_equal(ft_event_set(event), 0);
	assert_int_equal(word(event), E | SET);
	assert_int_equal(ft_event_is_set(event), 1);
	assert_int_equal(ft_event_wait(event, FT_NOW), 0);
	assert_int_equal(ft_event_wait(event, FT_FOREVER), 0);
	assert_int_equal(ft_event_set(event), 0);
	assert_int_equal(word(event), E | SET);

	assert_int_equal(ft_event_clear(event), 0);
	assert_int_equal(word(event), E);
	/* Who gives up leaves WAITERS; the setter then wakes nobody. */
	assert_int_equal(ft_event_wait(event, ft_after(5 * MS)), -ETIMEDOUT);
	assert_int_equal(word(event), E | W);
	assert_int_equal(ft_event_clear(event), 0);
	assert_int_equal(word(event), E | W);
	assert_int_equal(ft_event_set(event), 0);
	assert_int_equal(word(event), 2 * E | SET);

	/* The epoch comes round. */
	event->word = UINT32_MAX & ~(SET | W);
	assert_int_equal(ft_event_set(event), 0);
	assert_int_equal(word(event), SET);
}

static void words_at_each_step(void **state)
{
	struct ft_event event, *shared = shared_event();
	struct ft__self *self;

	(void)state;
	assert_int_equal(ft_event_init(&event, FT_PRIVATE), 0);
	words(&event);
	words(shared);
	assert_int_equal(ft__self(&self), 0);
	assert_int_equal(self->slot->noted, 0);
	assert_int_equal(self->slot->journal[0], 0);
	ft_block_free(shared);
}

/* A set that is cleared at once releases everybody who was waiting. */
static void pulse(struct ft_event *event)
{
	struct helper helpers[3];
	struct wait waits[3];

	for (int i = 0; i < 3; i++) {
		waits[i] = (struct wait){ .event = event, .ns = -1 };
		helper_start(&helpers[i], wait_on, &waits[i]);
	}
	for (int i = 0; i < 3; i++)
		UNTIL(helper_asleep(&helpers[i]));
	assert_int_equal(word(event), W);
	assert_int_equal(ft_event_set(event), 0);
	assert_int_equal(ft_event_clear(event), 0);
	assert_int_equal(word(event), E);
	for (int i = 0; i < 3; i++)
		assert_int_equal(helper_join(&helpers[i]), 0);
}

static void a_pulse_wakes_all(void **state)
{
	struct ft_event event, *shared = shared_event(), *outside = outside_alloc(64);

	(void)state;
	ft_event_init(&event, FT_PRIVATE);
	pulse(&event);
	pulse(shared);
	assert_int_equal(ft_event_init(outside, FT_SHARED), 0);
	pulse(outside);
	ft_block_free(shared);
	munmap(outside, 64);
}

static void signals_do_not_move_a_deadline(void **state)
{
	struct ft_event event;
	struct wait wait = { .event = &event, .ns = 200 * MS };
	uint32_t before = storm_signals;

	(void)state;
	ft_event_init(&event, FT_PRIVATE);

	timer_t storm = storm_start(SIGUSR1);

	assert_int_equal(wait_on(&wait), -ETIMEDOUT);
	timer_delete(storm);
	assert_true(STORM_CAME(before));
	assert_true(wait.took >= 200 * MS && wait.took < 5000 * MS);
}

static void interruptible(void **state)
{
	struct ft_event event;
	struct wait wait = { .event = &event, .ns = -1 };

	(void)state;
	ft_event_init(&event, FT_PRIVATE | FT_INTERRUPTIBLE);

	timer_t storm = storm_start(SIGUSR1);

	assert_int_equal(wait_on(&wait), -EINTR);
	timer_delete(storm);
}

/* What is set and cleared between two turns of one wait has released it. */
static void resumed(void **state)
{
	struct ft_event event;

	(void)state;
	ft_event_init(&event, FT_PRIVATE);
	assert_int_equal(ft_event_await(NULL, 0, FT_NOW), -EINVAL);
	assert_int_equal(ft_event_arrive(NULL), 0);

	uint32_t came = ft_event_arrive(&event);

	assert_int_equal(ft_event_await(&event, came, FT_NOW), -ETIMEDOUT);
	ft_event_set(&event);
	ft_event_clear(&event);
	assert_int_equal(ft_event_await(&event, came, FT_NOW), 0);
	came = ft_event_arrive(&event);
	assert_int_equal(ft_event_await(&event, came, FT_NOW), -ETIMEDOUT);
	ft_event_set(&event);
	came = ft_event_arrive(&event);
	ft_event_clear(&event);
	assert_int_equal(ft_event_await(&event, came, FT_NOW), 0);
}

/* ---- from a signal handler --------------------------------------------- */

#ifndef FT__TSAN /* it would run the handler after the wait that needs it */
static struct ft_event *handled;

static void set_it(int signo)
{
	(void)signo;
	ft_event_set(handled);
}

/* The handler runs in the waiting thread itself, between any two steps. */
static void set_by_a_handler(void **state)
{
	struct sigaction action = { .sa_handler = set_it };
	struct ft__self *self;

	(void)state;
	assert_int_equal(ft__self(&self), 0);
	handled = shared_event();
	sigaction(SIGUSR2, &action, NULL);
	for (int i = 0; i < 500; i++) {
		struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2 };
		struct itimerspec once = { .it_value.tv_nsec = 1000 + i * 200 };
		timer_t timer;

		assert_int_equal(ft_event_clear(handled), 0);
		assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
		assert_int_equal(timer_settime(timer, 0, &once, NULL), 0);
		assert_int_equal(ft_event_wait(handled, ft_after(LONG)), 0);
		UNTIL(word(handled) & SET);
		timer_delete(timer);
		assert_int_equal(self->slot->noted, 0);
	}
	ft_block_free(handled);
}
#endif

/* ---- deaths and forks -------------------------------------------------- */

/* As if the setter had died between its CAS and its wake. */
static int die_owing_a_wake(void *arg)
{
	struct ft_event *event = arg;
	struct ft__self *self;

	REQUIRE(ft__self(&self) == 0);
	REQUIRE(ft__note(self, FT__NOTE_EVENT, event));
	ft__store32_seq_cst(&event->word, E | SET);
	kill(getpid(), SIGKILL);
	return 1;
}

static void a_wake_that_died(void **state)
{
	struct ft_event *event = shared_event();
	struct wait wait = { .event = event, .ns = -1 };
	struct helper helper;
	uint32_t dead;

	(void)state;
	helper_start(&helper, wait_on, &wait);
	UNTIL(helper_asleep(&helper) && word(event) == W);
	assert_int_equal(child_end(worker_start(die_owing_a_wake, event, &dead)), 256 + SIGKILL);
	assert_true(helper_asleep(&helper));
	settle_death(dead);
	assert_int_equal(helper_join(&helper), 0);
	ft_block_free(event);
}

static int set_in_a_plain_child(void *arg)
{
	return ft_event_set(arg);
}

static void plain_fork(void **state)
{
	struct ft_event *event = shared_event();
	struct wait wait = { .event = event, .ns = -1 };
	struct helper helper;

	(void)state;
	helper_start(&helper, wait_on, &wait);
	UNTIL(helper_asleep(&helper));
	assert_int_equal(child_run(set_in_a_plain_child, event), 0);
	assert_int_equal(helper_join(&helper), 0);
	ft_block_free(event);
}

/* ---- many at once ------------------------------------------------------ */

#define ROUNDS 3000
#define CROWD 3

/* Every round: one sets `go`, all answer, the last of them sets `done`. */
struct crowd {
	struct ft_event go[2], done[2];
	uint32_t answered;
};

static int answer(void *arg)
{
	struct crowd *crowd = arg;

	for (int i = 0; i < ROUNDS; i++) {
		REQUIRE(ft_event_wait(&crowd->go[i % 2], FT_FOREVER) == 0);
		if (ft__add32_seq_cst(&crowd->answered, 1) % CROWD == CROWD - 1)
			REQUIRE(ft_event_set(&crowd->done[i % 2]) == 0);
	}
	return 0;
}

static void lead(struct crowd *crowd)
{
	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(ft_event_clear(&crowd->go[(i + 1) % 2]), 0);
		assert_int_equal(ft_event_set(&crowd->go[i % 2]), 0);
		assert_int_equal(ft_event_wait(&crowd->done[i % 2], ft_after(LONG)), 0);
		assert_int_equal(ft_event_clear(&crowd->done[i % 2]), 0);
	}
	assert_int_equal(crowd->answered, CROWD * ROUNDS);
}

static void crowd_init(struct crowd *crowd, uint32_t flags)
{
	for (int i = 0; i < 2; i++) {
		ft_event_init(&crowd->go[i], flags);
		ft_event_init(&crowd->done[i], flags);
	}
	crowd->answered = 0;
}

static void threads(void **state)
{
	struct helper helpers[CROWD];
	struct crowd crowd;

	(void)state;
	crowd_init(&crowd, FT_PRIVATE);
	for (int i = 0; i < CROWD; i++)
		helper_start(&helpers[i], answer, &crowd);
	lead(&crowd);
	for (int i = 0; i < CROWD; i++)
		assert_int_equal(helper_join(&helpers[i]), 0);
}

static void processes(void **state)
{
	struct crowd *crowd = shared_alloc(sizeof(*crowd));
	uint32_t owners[CROWD];
	pid_t pids[CROWD];

	(void)state;
	crowd_init(crowd, FT_SHARED);
	for (int i = 0; i < CROWD; i++)
		pids[i] = worker_start(answer, crowd, &owners[i]);
	lead(crowd);
	for (int i = 0; i < CROWD; i++) {
		assert_int_equal(child_end(pids[i]), 0);
		settle_death(owners[i]);
	}
	ft_block_free(crowd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_arguments),
		cmocka_unit_test(words_at_each_step),
		cmocka_unit_test(a_pulse_wakes_all),
		cmocka_unit_test(signals_do_not_move_a_deadline),
		cmocka_unit_test(interruptible),
		cmocka_unit_test(resumed),
#ifndef FT__TSAN
		cmocka_unit_test(set_by_a_handler),
#endif
		cmocka_unit_test(a_wake_that_died),
		cmocka_unit_test(plain_fork),
		cmocka_unit_test(threads),
		cmocka_unit_test(processes),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
