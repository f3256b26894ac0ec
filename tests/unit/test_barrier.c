/* SPDX-License-Identifier: MIT */
/* ft_barrier: its fields at every step, how generations end, signals, deaths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include <freethreading/event.h>

#include "child.h"
#include "holder.h"
#include "os/atomic.h"
#include "sync/barrier.h"
#include "sync/journal.h"
#include "wait_tools.h"

#define G FT_BARRIER_GENERATION

static void bad_arguments(void **state)
{
	struct ft_barrier_ticket ticket = { .last = 0 };
	struct ft_barrier b;

	(void)state;
	assert_int_equal(ft_barrier_init(NULL, 1, 0), -EINVAL);
	assert_int_equal(ft_barrier_init(&b, 0, 0), -EINVAL);
	assert_int_equal(ft_barrier_init(&b, FT_BARRIER_PARTIES + 1, 0), -EINVAL);
	assert_int_equal(ft_barrier_init(&b, 1, 0x100), -EINVAL);
	assert_int_equal(ft_barrier_init(&b, 1, FT_SHARED), -EINVAL);
	memset(&b, 0, sizeof(b));
	assert_int_equal(ft_barrier_wait(&b, FT_NOW), -EINVAL);
	assert_int_equal(ft_barrier_wait(NULL, FT_NOW), -EINVAL);
	assert_int_equal(ft_barrier_abort(NULL), -EINVAL);
	assert_int_equal(ft_barrier_reset(NULL), -EINVAL);
	assert_int_equal(ft_barrier_broken(NULL), 0);
	assert_int_equal(ft_barrier_waiting(NULL), 0);
	assert_int_equal(ft_barrier_parties(NULL), 0);
	assert_int_equal(ft_barrier_init(&b, 2, 0), 0);
	assert_int_equal(ft_barrier_arrive(&b, NULL, FT_NOW), -EINVAL);
	assert_int_equal(ft_barrier_await(&b, NULL, FT_NOW), -EINVAL);
	assert_int_equal(ft_barrier_release(&b, NULL), -EINVAL);
	assert_int_equal(ft_barrier_release(&b, &ticket), -EINVAL);
	assert_int_equal(ft_barrier_withdraw(&b, NULL), -EINVAL);
}

static void alone(void **state)
{
	struct ft_barrier b;

	(void)state;
	assert_int_equal(ft_barrier_init(&b, 1, FT_PRIVATE), 0);
	assert_int_equal(ft_barrier_parties(&b), 1);
	for (uint64_t i = 1; i < 4; i++) {
		assert_int_equal(b.generation, i);
		assert_int_equal(b.word, i * G);
		assert_int_equal(ft_barrier_wait(&b, FT_NOW), 0);
		assert_int_equal(b.state, FT_BARRIER_FILLING);
		assert_int_equal(b.arrived, 0);
	}
	assert_int_equal(ft_barrier_broken(&b), 0);
}

/* One thread may be several parties when it takes their steps in turn. */
static void steps(void **state)
{
	struct ft_barrier_ticket first, last, third;
	struct ft_barrier b;

	(void)state;
	assert_int_equal(ft_barrier_init(&b, 2, FT_PRIVATE), 0);
	assert_int_equal(ft_barrier_arrive(&b, &first, FT_NOW), 0);
	assert_int_equal(first.index, 0);
	assert_int_equal(first.last, 0);
	assert_int_equal(ft_barrier_waiting(&b), 1);
	assert_int_equal(ft_barrier_release(&b, &first), -EINVAL);
	assert_int_equal(ft_barrier_arrive(&b, &last, FT_NOW), 0);
	assert_int_equal(last.index, 1);
	assert_int_equal(last.last, 1);
	assert_int_equal(b.state, FT_BARRIER_LEADING);
	assert_int_equal(b.generation, 1);

	/* The leader is busy: nobody else comes in, gives up, or takes back. */
	assert_int_equal(ft_barrier_arrive(&b, &third, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_barrier_withdraw(&b, &first), -EALREADY);
	assert_int_equal(ft_barrier_broken(&b), 0);
	assert_int_equal(ft_barrier_release(&b, &last), 1);
	assert_int_equal(b.state, FT_BARRIER_FILLING);
	assert_int_equal(b.generation, 2);
	assert_int_equal(b.arrived, 0);
	assert_int_equal(b.word & ~FT_BARRIER_SLEEPERS, 2 * G);
	assert_int_equal(ft_barrier_await(&b, &first, FT_NOW), 0);

	/* Taken back, the place is free again. */
	assert_int_equal(ft_barrier_arrive(&b, &first, FT_NOW), 0);
	assert_int_equal(ft_barrier_withdraw(&b, &first), 0);
	assert_int_equal(ft_barrier_waiting(&b), 0);
	assert_int_equal(b.generation, 2);

	/* The action failed. */
	assert_int_equal(ft_barrier_arrive(&b, &first, FT_NOW), 0);
	assert_int_equal(ft_barrier_arrive(&b, &last, FT_NOW), 0);
	assert_int_equal(ft_barrier_abort(&b), 0);
	assert_int_equal(b.state, FT_BARRIER_BROKEN);
	assert_int_equal(b.failed[0], 2);
	assert_int_equal(b.failed[1], 0);
	assert_int_equal(b.generation, 3);
	assert_int_equal(ft_barrier_release(&b, &last), -EPIPE);
	assert_int_equal(ft_barrier_await(&b, &first, FT_FOREVER), -EPIPE);
	assert_int_equal(ft_barrier_wait(&b, FT_FOREVER), -EPIPE);
	assert_int_equal(ft_barrier_abort(&b), 0);
	assert_int_equal(b.generation, 3);
	assert_int_equal(ft_barrier_broken(&b), 1);

	/* Reset. */
	assert_int_equal(ft_barrier_reset(&b), 0);
	assert_int_equal(ft_barrier_broken(&b), 0);
	assert_int_equal(b.generation, 3);
	assert_int_equal(ft_barrier_arrive(&b, &first, FT_NOW), 0);
	assert_int_equal(ft_barrier_reset(&b), 0);
	assert_int_equal(ft_barrier_broken(&b), 0);
	assert_int_equal(b.failed[0], 3);
	assert_int_equal(b.failed[1], 2);
	assert_int_equal(ft_barrier_await(&b, &first, FT_FOREVER), -EPIPE);
}

/* What a slow waiter is told of its generation, whatever came since. */
static void told_late(void **state)
{
	struct ft_barrier_ticket good, bad, last;
	struct ft_barrier b;

	(void)state;
	assert_int_equal(ft_barrier_init(&b, 2, FT_PRIVATE), 0);
	assert_int_equal(ft_barrier_arrive(&b, &good, FT_NOW), 0);
	assert_int_equal(ft_barrier_arrive(&b, &last, FT_NOW), 0);
	assert_int_equal(ft_barrier_release(&b, &last), 1);
	assert_int_equal(ft_barrier_arrive(&b, &bad, FT_NOW), 0);
	assert_int_equal(ft_barrier_reset(&b), 0);
	assert_int_equal(ft_barrier_await(&b, &good, FT_NOW), 0);
	assert_int_equal(ft_barrier_await(&b, &bad, FT_NOW), -EPIPE);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(ft_barrier_arrive(&b, &last, FT_NOW), 0);
		assert_int_equal(ft_barrier_arrive(&b, &last, FT_NOW), 0);
		assert_int_equal(ft_barrier_release(&b, &last), 1);
	}
	assert_int_equal(ft_barrier_await(&b, &good, FT_NOW), 0);
	assert_int_equal(ft_barrier_await(&b, &bad, FT_NOW), -EPIPE);
	assert_int_equal(ft_barrier_arrive(&b, &last, FT_NOW), 0);
	assert_int_equal(ft_barrier_reset(&b), 0);
	assert_int_equal(ft_barrier_await(&b, &bad, FT_NOW), -EPIPE);
	/* Two later failures: it cannot be told from a failed one. */
	assert_int_equal(ft_barrier_await(&b, &good, FT_NOW), -EPIPE);
}

/* ---- threads ----------------------------------------------------------- */

#define PARTIES 5

struct party {
	struct ft_barrier *barrier;
	pthread_t thread;
	uint32_t tid, interrupted;
	ft_deadline deadline;
	int rc;
};

static void *party_run(void *arg)
{
	struct party *party = arg;

	ft__store32_release(&party->tid, (uint32_t)gettid());
	party->rc = ft_barrier_wait(party->barrier, party->deadline);
	return NULL;
}

static void party_start(struct party *party, struct ft_barrier *barrier, ft_deadline deadline)
{
	*party = (struct party){ .barrier = barrier, .deadline = deadline };
	assert_int_equal(pthread_create(&party->thread, NULL, party_run, party), 0);
}

static void all_asleep(struct party *parties, int count)
{
	for (int i = 0; i < count; i++)
		wait_asleep(&parties[i].tid);
}

static void all_end(struct party *parties, int count, int rc)
{
	for (int i = 0; i < count; i++) {
		pthread_join(parties[i].thread, NULL);
		assert_int_equal(parties[i].rc, rc);
	}
}

static void each_index_once(void **state)
{
	struct party parties[PARTIES];
	struct ft_barrier b;

	(void)state;
	assert_int_equal(ft_barrier_init(&b, PARTIES, FT_PRIVATE), 0);
	for (int round = 0; round < 50; round++) {
		uint32_t seen = 0;

		for (int i = 0; i < PARTIES; i++)
			party_start(&parties[i], &b, FT_FOREVER);
		for (int i = 0; i < PARTIES; i++) {
			pthread_join(parties[i].thread, NULL);
			assert_in_range(parties[i].rc, 0, PARTIES - 1);
			seen |= 1u << parties[i].rc;
		}
		assert_int_equal(seen, (1u << PARTIES) - 1);
	}
	assert_int_equal(b.generation, 51);
}

static void broken_for_all(void **state)
{
	struct party parties[PARTIES];
	struct ft_barrier b;

	(void)state;
	assert_int_equal(ft_barrier_init(&b, PARTIES, FT_PRIVATE), 0);
	for (int how = 0; how < 3; how++) {
		int count = how == 2 ? PARTIES - 2 : PARTIES - 1;

		for (int i = 0; i < count; i++)
			party_start(&parties[i], &b, FT_FOREVER);
		all_asleep(parties, count);
		assert_int_equal(ft_barrier_waiting(&b), count);
		assert_true(ft__load32_relaxed(&b.word) & FT_BARRIER_SLEEPERS);
		if (how == 0)
			assert_int_equal(ft_barrier_abort(&b), 0);
		else if (how == 1)
			assert_int_equal(ft_barrier_reset(&b), 0);
		else
			assert_int_equal(ft_barrier_wait(&b, ft_after(1000000)), -ETIMEDOUT);
		all_end(parties, count, -EPIPE);
		assert_int_equal(ft_barrier_broken(&b), how != 1);
		assert_int_equal(ft_barrier_waiting(&b), 0);
		assert_int_equal(ft_barrier_reset(&b), 0);
	}
}

static void deadlines(void **state)
{
	struct ft_barrier b;
	ft_deadline until = ft_after(20000000);

	(void)state;
	assert_int_equal(ft_barrier_init(&b, 2, FT_PRIVATE), 0);
	assert_int_equal(ft_barrier_wait(&b, until), -ETIMEDOUT);
	assert_true(ft_now() >= until);
	assert_int_equal(ft_barrier_broken(&b), 1);
	assert_int_equal(ft_barrier_wait(&b, FT_FOREVER), -EPIPE);
	assert_int_equal(ft_barrier_reset(&b), 0);
	assert_int_equal(ft_barrier_wait(&b, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_barrier_reset(&b), 0);
	assert_int_equal(ft_barrier_wait(&b, -5), -ETIMEDOUT);
}

/* Once all are there a deadline counts no more. */
static void *await_run(void *arg)
{
	struct party *party = arg;
	struct ft_barrier_ticket ticket;

	party->rc = ft_barrier_arrive(party->barrier, &ticket, FT_FOREVER);
	ft__store32_release(&party->tid, (uint32_t)gettid());
	WAIT_FOR(ft__load32_acquire(&party->barrier->state) == FT_BARRIER_LEADING);
	party->rc = ft_barrier_await(party->barrier, &ticket, FT_NOW);
	return NULL;
}

static void leader_takes_its_time(void **state)
{
	struct ft_barrier_ticket ticket;
	struct party party = { .tid = 0 }, late;
	struct ft_barrier b;

	(void)state;
	assert_int_equal(ft_barrier_init(&b, 2, FT_PRIVATE), 0);
	party.barrier = &b;
	assert_int_equal(pthread_create(&party.thread, NULL, await_run, &party), 0);
	WAIT_FOR(ft__load32_acquire(&party.tid));
	assert_int_equal(ft_barrier_arrive(&b, &ticket, FT_NOW), 0);
	assert_true(ticket.last);
	wait_asleep(&party.tid);
	party_start(&late, &b, FT_FOREVER);
	wait_asleep(&late.tid);
	assert_int_equal(ft_barrier_waiting(&b), 2);
	assert_int_equal(ft_barrier_release(&b, &ticket), 1);
	all_end(&party, 1, 0);
	/* Who came meanwhile is the first of the next. */
	WAIT_FOR(ft_barrier_waiting(&b) == 1);
	assert_int_equal(ft_barrier_wait(&b, FT_FOREVER), 1);
	all_end(&late, 1, 0);
}

/* ---- signals ----------------------------------------------------------- */

static void signals(void **state)
{
	struct party party;
	struct ft_barrier b;

	(void)state;
	catch_signal(SIGUSR1);
	assert_int_equal(ft_barrier_init(&b, 2, FT_INTERRUPTIBLE), 0);
	party_start(&party, &b, FT_FOREVER);
	wait_asleep(&party.tid);
	pthread_kill(party.thread, SIGUSR1);
	all_end(&party, 1, -EINTR);
	/* As if it had not come. */
	assert_int_equal(ft_barrier_waiting(&b), 0);
	assert_int_equal(ft_barrier_broken(&b), 0);
	assert_int_equal(b.generation, 1);

	assert_int_equal(ft_barrier_init(&b, 2, FT_PRIVATE), 0);
	party_start(&party, &b, FT_FOREVER);
	wait_asleep(&party.tid);
	pthread_kill(party.thread, SIGUSR1);
	WAIT_FOR(delivered(party.tid));
	wait_asleep(&party.tid);
	assert_int_equal(ft_barrier_wait(&b, FT_FOREVER), 1);
	all_end(&party, 1, 0);
}

#define ROUNDS 3000

struct crowd {
	struct ft_barrier barrier;
	uint32_t rounds[PARTIES];
	uint32_t leaders;
};

struct member {
	struct crowd *crowd;
	int number;
};

/* Nobody is ever a round ahead of anybody who has not passed. */
static int march(void *arg)
{
	struct member *member = arg;
	struct crowd *crowd = member->crowd;

	for (uint32_t round = 1; round <= ROUNDS; round++) {
		int rc;

		ft__store32_release(&crowd->rounds[member->number], round);
		do {
			rc = ft_barrier_wait(&crowd->barrier, FT_FOREVER);
		} while (rc == -EINTR);
		if (rc < 0)
			return 1;
		if (rc == PARTIES - 1)
			ft__add32_seq_cst(&crowd->leaders, 1);
		for (int i = 0; i < PARTIES; i++)
			if (ft__load32_acquire(&crowd->rounds[i]) - round > 1)
				return 2;
	}
	return 0;
}

static void *march_thread(void *arg)
{
	return (void *)(intptr_t)march(arg);
}

static void march_of_threads(uint32_t flags, bool storm)
{
	struct member members[PARTIES];
	pthread_t threads[PARTIES];
	struct crowd crowd = { .leaders = 0 };
	void *wrong;

	assert_true(!storm || storm_begin());
	assert_int_equal(ft_barrier_init(&crowd.barrier, PARTIES, flags), 0);
	for (int i = 0; i < PARTIES; i++) {
		members[i] = (struct member){ &crowd, i };
		assert_int_equal(pthread_create(&threads[i], NULL, march_thread, &members[i]), 0);
	}
	for (int i = 0; i < PARTIES; i++) {
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
	if (storm)
		storm_end();
	assert_int_equal(crowd.leaders, ROUNDS);
	assert_int_equal(crowd.barrier.generation, ROUNDS + 1);
}

static void threads_march(void **state)
{
	(void)state;
	march_of_threads(FT_PRIVATE, false);
}

static void threads_march_in_storm(void **state)
{
	(void)state;
	march_of_threads(FT_INTERRUPTIBLE, true);
}

/* ---- processes --------------------------------------------------------- */

static struct crowd *crowd_new(void)
{
	struct crowd *crowd;
	void *block;

	assert_int_equal(ft_block_alloc(sizeof(*crowd), &block), 0);
	crowd = block;
	memset(crowd, 0, sizeof(*crowd));
	assert_int_equal(ft_barrier_init(&crowd->barrier, PARTIES, FT_SHARED), 0);
	return crowd;
}

static void processes_march(void **state)
{
	struct crowd *crowd = crowd_new();
	struct member members[PARTIES];
	uint32_t owner[PARTIES];
	pid_t pid[PARTIES];

	(void)state;
	for (int i = 0; i < PARTIES; i++) {
		members[i] = (struct member){ crowd, i };
		pid[i] = worker_start(march, &members[i], &owner[i]);
	}
	for (int i = 0; i < PARTIES; i++) {
		assert_int_equal(child_end(pid[i]), 0);
		assert_int_equal(ft__slot_of(owner[i])->noted, 0);
		ft__slot_free(owner[i]);
	}
	assert_int_equal(crowd->leaders, ROUNDS);
	assert_int_equal(ft_block_free(crowd), 0);
}

static int wait_for_ever(void *arg)
{
	struct crowd *crowd = arg;

	return ft_barrier_wait(&crowd->barrier, FT_FOREVER) == -EPIPE ? 0 : 1;
}

static void a_death_breaks_it(void **state)
{
	struct crowd *crowd = crowd_new();
	uint32_t owner[3];
	pid_t pid[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		pid[i] = worker_start(wait_for_ever, crowd, &owner[i]);
	for (int i = 0; i < 3; i++) {
		uint32_t tid = (uint32_t)pid[i];

		WAIT_FOR(ft_barrier_waiting(&crowd->barrier) == 3);
		wait_asleep(&tid);
	}
	assert_int_equal(kill(pid[0], SIGKILL), 0);
	assert_int_equal(child_end(pid[0]), 256 + SIGKILL);
	assert_int_equal(ft__slot_of(owner[0])->journal[0],
			 (uint64_t)FT__NOTE_BARRIER << 56 | ft__offset(&crowd->barrier));
	assert_int_equal(ft__journal_settle(owner[0]), 0);
	assert_int_equal(ft_barrier_broken(&crowd->barrier), 1);
	for (int i = 1; i < 3; i++)
		assert_int_equal(child_end(pid[i]), 0);
	for (int i = 0; i < 3; i++)
		ft__slot_free(owner[i]);
	assert_int_equal(crowd->barrier.state, FT_BARRIER_BROKEN);
	assert_int_equal(crowd->barrier.failed[0], 1);
	assert_int_equal(ft_barrier_wait(&crowd->barrier, FT_FOREVER), -EPIPE);
	assert_int_equal(ft_barrier_reset(&crowd->barrier), 0);
	assert_int_equal(ft_barrier_broken(&crowd->barrier), 0);
	assert_int_equal(ft_block_free(crowd), 0);
}

static int in_fork(void *arg)
{
	struct ft_barrier *shared = arg, private;

	REQUIRE(ft_barrier_wait(shared, FT_NOW) == -ECHILD);
	REQUIRE(ft_barrier_abort(shared) == -ECHILD);
	REQUIRE(ft_barrier_reset(shared) == -ECHILD);
	REQUIRE(ft_barrier_init(&private, 1, FT_PRIVATE) == 0);
	REQUIRE(ft_barrier_wait(&private, FT_NOW) == 0);
	return 0;
}

static void plain_fork(void **state)
{
	struct crowd *crowd = crowd_new();

	(void)state;
	assert_int_equal(child_run(in_fork, &crowd->barrier), 0);
	assert_int_equal(ft_block_free(crowd), 0);
}

/* With the journal full of locks there is no place left for a barrier. */
static void too_many_locks(void **state)
{
	struct crowd *crowd = crowd_new();
	struct ft_lock *locks;
	void *block;

	(void)state;
	assert_int_equal(ft_block_alloc(FT__JOURNAL * sizeof(*locks), &block), 0);
	locks = block;
	for (int i = 0; i < FT__JOURNAL; i++) {
		assert_int_equal(ft_lock_init(&locks[i], FT_SHARED), 0);
		assert_int_equal(ft_lock_acquire(&locks[i], FT_NOW), 0);
	}
	assert_int_equal(ft_barrier_wait(&crowd->barrier, FT_NOW), -EAGAIN);
	assert_int_equal(ft_barrier_waiting(&crowd->barrier), 0);
	for (int i = 0; i < FT__JOURNAL; i++)
		assert_int_equal(ft_lock_release(&locks[i]), 0);
	assert_int_equal(ft_barrier_wait(&crowd->barrier, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_block_free(crowd), 0);
	assert_int_equal(ft_block_free(block), 0);
}

/* ---- a stopped holder of the inner lock: a thread that does not go on ---- */

/* Nobody comes in; who only tried leaves the barrier as it was. */
static void a_holder_that_is_stopped(void **state)
{
	struct ft_barrier_ticket ticket;
	struct holder holder;
	struct ft_barrier b;

	(void)state;
	assert_int_equal(ft_barrier_init(&b, 2, FT_PRIVATE), 0);
	hold(&holder, &b.lock);
	assert_int_equal(ft_barrier_wait(&b, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_barrier_broken(&b), 0);
	assert_int_equal(ft_barrier_arrive(&b, &ticket, ft_after(1000)), -ETIMEDOUT);
	assert_int_equal(ft_barrier_broken(&b), 1);
	assert_int_equal(ft_barrier_reset(&b), -ETIMEDOUT);
	assert_int_equal(ft_barrier_abort(&b), 0);
	let_go(&holder);
	assert_int_equal(b.state, FT_BARRIER_FILLING);
	assert_int_equal(ft_barrier_wait(&b, FT_FOREVER), -EPIPE);
	assert_int_equal(b.state, FT_BARRIER_BROKEN);
	assert_int_equal(ft_barrier_reset(&b), 0);
	assert_int_equal(ft_barrier_waiting(&b), 0);
	assert_int_equal(ft_barrier_wait(&b, FT_NOW), -ETIMEDOUT);
}

/* One who waits gives up, and the other is told when the lock is free. */
static void a_waiter_that_cannot_get_in(void **state)
{
	struct ft_barrier_ticket hasty;
	struct party patient;
	struct holder holder;
	struct ft_barrier b;

	(void)state;
	assert_int_equal(ft_barrier_init(&b, 3, FT_PRIVATE), 0);
	party_start(&patient, &b, FT_FOREVER);
	wait_asleep(&patient.tid);
	assert_int_equal(ft_barrier_arrive(&b, &hasty, FT_FOREVER), 0);
	hold(&holder, &b.lock);
	assert_int_equal(ft_barrier_await(&b, &hasty, ft_after(1000)), -ETIMEDOUT);
	assert_int_equal(ft_barrier_broken(&b), 1);
	assert_int_equal(b.generation, 1);
	let_go(&holder);
	all_end(&patient, 1, -EPIPE);
	assert_int_equal(b.generation, 2);
	assert_int_equal(b.word & FT_BARRIER_DOOMED, 0);
}

/* Who waits at a barrier that nobody can break yet comes back by the clock: its signal
 * may have come when it wanted the lock, where signals end nothing. */
static void an_interruptible_wait_meanwhile(void **state)
{
	struct party party;
	struct holder holder;
	struct ft_barrier b;

	(void)state;
	assert_int_equal(ft_barrier_init(&b, 2, FT_INTERRUPTIBLE), 0);
	party_start(&party, &b, FT_FOREVER);
	wait_asleep(&party.tid);
	hold(&holder, &b.lock);
	assert_int_equal(ft_barrier_abort(&b), 0);
	all_end(&party, 1, -EINTR);
	let_go(&holder);
	assert_int_equal(ft_barrier_wait(&b, FT_FOREVER), -EPIPE);
}

/* Both have arrived, the last of them leads, and then somebody is stopped inside. */
static void stop_inside(struct holder *holder, struct ft_barrier *b,
			struct ft_barrier_ticket *first, struct ft_barrier_ticket *last)
{
	assert_int_equal(ft_barrier_init(b, 2, FT_PRIVATE), 0);
	assert_int_equal(ft_barrier_arrive(b, first, FT_NOW), 0);
	assert_int_equal(ft_barrier_arrive(b, last, FT_NOW), 0);
	hold(holder, &b->lock);
}

/* The action is over, but nobody can be let go. */
static void a_leader_that_cannot_get_in(void **state)
{
	struct ft_barrier_ticket first, last;
	struct holder holder;
	struct ft_barrier b;

	(void)state;
	stop_inside(&holder, &b, &first, &last);
	assert_int_equal(ft_barrier_withdraw(&b, &first), -EALREADY);
	assert_int_equal(ft_barrier_release(&b, &last), -EPIPE);
	let_go(&holder);
	assert_int_equal(ft_barrier_await(&b, &first, FT_FOREVER), -EPIPE);
	assert_int_equal(b.state, FT_BARRIER_BROKEN);
}

/* The one that is stopped has let everybody go already.  Who cannot get in has passed
 * with the others, and does no harm to those that come next. */
static void a_generation_that_is_over(void **state)
{
	struct ft_barrier_ticket first, last;
	struct holder holder;
	struct ft_barrier b;

	(void)state;
	stop_inside(&holder, &b, &first, &last);
	ft__store64_release(&b.generation, 2);
	assert_int_equal(ft_barrier_withdraw(&b, &first), -EALREADY);
	assert_int_equal(ft_barrier_broken(&b), 0);
	assert_int_equal(ft_barrier_await(&b, &first, FT_NOW), 0);
	assert_int_equal(ft_barrier_release(&b, &last), -EPIPE);
	assert_int_equal(ft_barrier_broken(&b), 0);
	ft__store32_seq_cst(&b.word, 2 * G);
	assert_int_equal(ft_barrier_withdraw(&b, &first), -EALREADY);
	assert_int_equal(ft_barrier_broken(&b), 0);
	let_go(&holder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_arguments), cmocka_unit_test(alone),
		cmocka_unit_test(steps), cmocka_unit_test(told_late),
		cmocka_unit_test(each_index_once), cmocka_unit_test(broken_for_all),
		cmocka_unit_test(deadlines), cmocka_unit_test(leader_takes_its_time),
		cmocka_unit_test(signals), cmocka_unit_test(threads_march),
		cmocka_unit_test(processes_march), cmocka_unit_test(a_death_breaks_it),
		cmocka_unit_test(plain_fork), cmocka_unit_test(too_many_locks),
		cmocka_unit_test(threads_march_in_storm),
		cmocka_unit_test(a_holder_that_is_stopped),
		cmocka_unit_test(a_waiter_that_cannot_get_in),
		cmocka_unit_test(a_leader_that_cannot_get_in),
		cmocka_unit_test(a_generation_that_is_over),
		cmocka_unit_test(an_interruptible_wait_meanwhile),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
