/* SPDX-License-Identifier: MIT */
/*
 * A scheduler for the library's own code: a few players, each a process of the
 * program with a slot of its own, take turns on one thread.  They may change at
 * every load and store of shared pages (lib/os/point.h with FT_SCHED) and at
 * every futex call, which this header answers in the kernel's place, as it does
 * for the clock.  One number decides everything, and repeats it.
 *
 * Who runs is the player with the highest priority that can.  At chosen steps the
 * running one falls below all others (PCT: Burckhardt and others, 2010): with d
 * such steps, a fault that needs d + 1 orderings is found with a probability of
 * at least 1/(players * steps^d) in each run.  At other chosen steps the running
 * one dies, and the supervisor's part is one player more.
 *
 * The futex knows who sleeps where.  When nobody can run, and no deadline is to
 * come, the test says whether that is right.
 */
#ifndef TESTS_SCHED_H
#define TESTS_SCHED_H

#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>

#include "../unit/child.h"
#include "mem/block.h"
#include "mem/cache.h"
#include "os/atomic.h"
#include "os/clock.h"
#include "sync/journal.h"

#define PLAYERS 4 /* at most; and the supervisor */
#define SUPERVISOR PLAYERS
#define ALL (PLAYERS + 1)
#define CHANGES 8
#define STACK (64 * 1024)
#define STEPS_MAX 20000 /* far more than any run needs */
#define TICK 2000       /* ns that pass while somebody looks at the clock */

enum condition { ABSENT, READY, ASLEEP, OVER, DEAD };

/* What each player has for itself: the library's FT__THREAD and FT__PROCESS. */
extern char __start_ft_own[], __stop_ft_own[];
#define OWN_MAX 512

struct player {
	ucontext_t context;
	char *stack;
	char own[OWN_MAX];
	uint32_t owner;
	enum condition condition;
	int priority;
	void (*play)(int me);
	const uint32_t *word; /* while ASLEEP */
	ft_deadline until;
	int woken;            /* what the futex call answers: 0 or an error */
	uint64_t since;       /* the step: who came first */
	uint32_t waiting;     /* DEAD: the word of its place at a condition */
	bool noted;           /* DEAD: was there anything in its journal? */
};

/* How the "kernel" misbehaves, to see that the tests see it. */
enum mutant {
	SOUND,
	WAKE_ONE_LESS,  /* a wake of several misses the last */
	WAKE_NONE_ONCE, /* the first wake of a run does nothing */
	SLEEP_BLIND,    /* a wait does not look at the word */
	STORE_LATE,     /* FUTEX_WAKE_OP wakes, then stores */
	NO_SETTLING,    /* the supervisor does nothing about a death */
	MUTANTS,
};

struct plan {
	uint64_t seed;
	int changes;
	uint32_t change_at[CHANGES];
	int kills;
	uint32_t kill_at[2];
	uint32_t mortal;  /* players that may die, one bit each */
	bool walk;        /* at random at every step, instead of by priorities */
	enum mutant mutant;
};

static struct {
	struct player players[ALL];
	ucontext_t home;
	char home_own[OWN_MAX];
	int now;              /* who runs; -1: nobody, the test itself */
	int lowest;           /* priority given out last */
	struct plan plan;
	uint64_t random;
	uint32_t steps, wakes;
	int64_t clock;
	const char *failure;  /* why the run is over */
	bool (*stuck)(void);  /* nobody can run: is that right? */
	uint32_t dead;        /* players that are to be settled, one bit each */
	uint64_t deaths;      /* in all runs */
	bool trace;           /* FT_TRACE: say every step */
} sched = { .now = -1 };

static size_t own_size(void)
{
	return (size_t)(__stop_ft_own - __start_ft_own);
}

static uint32_t sched_random(uint32_t sides)
{
	sched.random = sched.random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(sched.random >> 33) % sides;
}

/* ---- changing players ---- */

static char *own_of(int who)
{
	return who < 0 ? sched.home_own : sched.players[who].own;
}

static ucontext_t *context_of(int who)
{
	return who < 0 ? &sched.home : &sched.players[who].context;
}

static void change_to(int who)
{
	int from = sched.now;

	if (from == who)
		return;
	memcpy(own_of(from), __start_ft_own, own_size());
	memcpy(__start_ft_own, own_of(who), own_size());
	sched.now = who;
	swapcontext(context_of(from), context_of(who));
}

static void give_up(const char *why)
{
	sched.failure = why;
	change_to(-1);
}

static bool can_time_out(const struct player *p)
{
	return p->condition == ASLEEP && p->until != FT_FOREVER;
}

static void end_sleep(struct player *p, int answer)
{
	p->condition = READY;
	p->woken = answer;
}

/* The next deadline comes. */
static bool let_time_pass(void)
{
	struct player *first = NULL;

	for (int i = 0; i < ALL; i++) {
		struct player *p = &sched.players[i];

		if (can_time_out(p) && (!first || p->until < first->until))
			first = p;
	}
	if (!first)
		return false;
	if (sched.clock < first->until)
		sched.clock = first->until;
	end_sleep(first, -ETIMEDOUT);
	return true;
}

static int choose_walk(void)
{
	int ready[ALL], n = 0;

	if (sched.players[sched.now].condition == READY && sched_random(4))
		return sched.now;
	for (int i = 0; i < ALL; i++)
		if (sched.players[i].condition == READY)
			ready[n++] = i;
	return n ? ready[sched_random((uint32_t)n)] : -1;
}

static int choose(void)
{
	int best = -1;

	if (sched.plan.walk && sched.now >= 0)
		return choose_walk();
	for (int i = 0; i < ALL; i++)
		if (sched.players[i].condition == READY &&
		    (best < 0 || sched.players[i].priority > sched.players[best].priority))
			best = i;
	return best;
}

static bool all_over(void)
{
	for (int i = 0; i < ALL; i++)
		if (sched.players[i].condition == ASLEEP && i != SUPERVISOR)
			return false;
	return true;
}

/* Whoever is to run next runs; the caller comes back when it is its turn. */
static void next_turn(void)
{
	for (;;) {
		int who = choose();

		if (who >= 0) {
			change_to(who);
			return;
		}
		if (let_time_pass())
			continue;
		if (!all_over() && !sched.stuck())
			sched.failure = "asleep for ever";
		change_to(-1);
		return;
	}
}

static bool is_step(const uint32_t *steps, int n)
{
	for (int i = 0; i < n; i++)
		if (steps[i] == sched.steps)
			return true;
	return false;
}

static void die(struct player *p)
{
	p->condition = DEAD;
	p->waiting = ft__self_tls.slot->waiter.word;
	for (int i = 0; i < FT__JOURNAL; i++)
		p->noted |= ft__self_tls.slot->journal[i] != 0;
	sched.deaths++;
	sched.dead |= UINT32_C(1) << (p - sched.players);
	if (sched.plan.mutant != NO_SETTLING && sched.players[SUPERVISOR].condition == ABSENT)
		sched.players[SUPERVISOR].condition = READY;
	next_turn();
}

/* Before and after every store, before every load, in every futex call. */
static void step(const char *file, int line)
{
	struct player *p = &sched.players[sched.now];

	if (sched.now < 0)
		return;
	if (sched.trace)
		printf("%5u  player %d  %s:%d\n", sched.steps, sched.now, file ? file : "-", line);
	if (++sched.steps > STEPS_MAX)
		give_up("endless");
	if (is_step(sched.plan.kill_at, sched.plan.kills) &&
	    (sched.plan.mortal >> sched.now & 1))
		die(p);
	if (is_step(sched.plan.change_at, sched.plan.changes))
		p->priority = --sched.lowest;
	/* A deadline may come at any time, whoever could run. */
	if (sched_random(256) == 0)
		let_time_pass();
	next_turn();
}

/* ---- the kernel ---- */

static struct player *first_asleep(const uint32_t *word)
{
	struct player *first = NULL;

	for (int i = 0; i < ALL; i++) {
		struct player *p = &sched.players[i];

		if (p->condition == ASLEEP && p->word == word && (!first || p->since < first->since))
			first = p;
	}
	return first;
}

static int kernel_wait(const uint32_t *word, uint32_t expected, const struct timespec *ts)
{
	struct player *p = &sched.players[sched.now];
	uint32_t luck = sched_random(64);

	step(NULL, 0);
	if (*word != expected && sched.plan.mutant != SLEEP_BLIND)
		return -EAGAIN;
	if (luck == 0)
		return -EINTR;
	if (luck == 1)
		return 0; /* for no reason */
	p->until = ts ? ts->tv_sec * INT64_C(1000000000) + ts->tv_nsec : FT_FOREVER;
	if (p->until <= sched.clock)
		return -ETIMEDOUT;
	p->word = word;
	p->since = sched.steps;
	p->condition = ASLEEP;
	next_turn();
	return p->woken;
}

static int wake_sleepers(const uint32_t *word, int count)
{
	int woken = 0;
	struct player *p;

	if (sched.plan.mutant == WAKE_NONE_ONCE && ++sched.wakes == 1)
		return 0;
	if (sched.plan.mutant == WAKE_ONE_LESS && count > 1)
		count = 1;
	while (woken < count && (p = first_asleep(word))) {
		end_sleep(p, 0);
		woken++;
	}
	return woken;
}

static int kernel_wake(const uint32_t *word, int count)
{
	step(NULL, 0);

	int woken = wake_sleepers(word, count);

	step(NULL, 0);
	return woken;
}

/* Stores, and wakes at the first word; the library wants nothing else of it. */
static int kernel_wake_op(uint32_t *word, int count, uint32_t op)
{
	uint32_t arg = op >> 12 & 0xfff;
	uint32_t value = op >> 28 & FUTEX_OP_OPARG_SHIFT ? UINT32_C(1) << arg : arg;
	int woken;

	if (sched.plan.mutant == STORE_LATE) {
		woken = wake_sleepers(word, count);
		step(NULL, 0);
		__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
		return woken;
	}
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
	return wake_sleepers(word, count);
}

static int kernel_futex(const long *a)
{
	uint32_t *word = (uint32_t *)a[0];

	switch (a[1] & FUTEX_CMD_MASK) {
	case FUTEX_WAIT_BITSET:
		return kernel_wait(word, (uint32_t)a[2], (const struct timespec *)a[3]);
	case FUTEX_WAKE:
		return kernel_wake(word, (int)a[2]);
	case FUTEX_WAKE_OP:
		return kernel_wake_op(word, (int)a[2], (uint32_t)a[5]);
	default:
		return -ENOSYS;
	}
}

/* The linker sends the library's calls here (--wrap). */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_gettid && sched.now >= 0)
		return 1000 + sched.now;
	if (number != SYS_futex || sched.now < 0)
		return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);

	int rc = kernel_futex(a);

	if (rc < 0)
		errno = -rc;
	return rc < 0 ? -1 : rc;
}

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	if (sched.now < 0)
		return __real_clock_gettime(id, ts);
	sched.clock += TICK;
	*ts = (struct timespec){ .tv_sec = sched.clock / 1000000000,
				 .tv_nsec = sched.clock % 1000000000 };
	return 0;
}

/* ---- players ---- */

static void free_one_slot(void *ctx, uint32_t owner, struct ft__slot *slot)
{
	(void)ctx;
	(void)slot;
	ft__slot_free(owner);
}

/* As the real supervisor: false: later again, as some lock cannot be had. */
static bool settle(uint32_t owner)
{
	if (ft__journal_settle(owner) != 0)
		return false;
	ft__block_sweep(owner, NULL);
	ft__slot_each(owner, free_one_slot, NULL);
	ft__slot_free(owner);
	return true;
}

static void supervise(int me)
{
	struct player *p = &sched.players[me];

	for (;;) {
		for (int i = 0; i < PLAYERS; i++) {
			if (!(sched.dead >> i & 1) || !settle(sched.players[i].owner))
				continue;
			sched.dead &= ~(UINT32_C(1) << i);
			sched.players[i].owner = 0;
		}
		if (!sched.dead)
			p->condition = ABSENT; /* until the next death */
		next_turn();
	}
}

static void enter(void)
{
	int me = sched.now;

	sched.players[me].play(me);
	sched.players[me].condition = OVER;
	next_turn();
}

/* A process of the program, in the caller's place for a moment. */
static void player_adopt(struct player *p)
{
	ft__point_hook *hook = ft__point;
	uint32_t owner;

	ft__point = NULL;
	owner = ft__slot_reserve("player");
	REQUIRE(owner);
	memcpy(sched.home_own, __start_ft_own, own_size());
	memset(__start_ft_own, 0, own_size());
	REQUIRE(ft__slot_adopt(owner) == 0);
	p->owner = owner;
	memcpy(p->own, __start_ft_own, own_size());
	memcpy(__start_ft_own, sched.home_own, own_size());
	ft__point = hook;
}

/* The magazines of a dead process are of its own memory, and gone. */
static void player_forget(struct player *p)
{
	size_t at = (size_t)((char *)&ft__self_tls - __start_ft_own);
	struct ft__self self;

	memcpy(&self, p->own + at, sizeof(self));
	free(self.cache);
	p->owner = 0;
}

static void player_set(int i, void (*play)(int me))
{
	struct player *p = &sched.players[i];

	if (p->condition == DEAD)
		player_forget(p);
	if (!p->stack)
		p->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (!p->owner)
		player_adopt(p);
	getcontext(&p->context);
	p->context.uc_stack.ss_sp = p->stack;
	p->context.uc_stack.ss_size = STACK;
	p->context.uc_link = NULL;
	makecontext(&p->context, enter, 0);
	p->play = play;
	p->noted = false;
	p->condition = READY;
}

static void shuffle_priorities(void)
{
	sched.lowest = 0;
	for (int i = 0; i < ALL; i++)
		sched.players[i].priority = (int)(sched_random(1u << 20) + 1);
}

/* Who sleeps rightly when a run ends is killed there, and settled. */
static void end_sleepers(void)
{
	for (int i = 0; i < PLAYERS; i++) {
		struct player *p = &sched.players[i];

		if (p->condition != ASLEEP)
			continue;
		REQUIRE(settle(p->owner));
		p->owner = 0;
		p->condition = DEAD;
	}
}

/* Plays one run to its end.  NULL, or why it failed; `stuck` is asked when
 * nobody can run any more. */
static const char *sched_run(const struct plan *plan, int players, void (*const plays[])(int me),
			     bool (*stuck)(void))
{
	REQUIRE(own_size() <= OWN_MAX);
	sched.plan = *plan;
	sched.random = plan->seed;
	sched.steps = sched.wakes = 0;
	sched.clock = 1;
	sched.failure = NULL;
	sched.stuck = stuck;
	for (int i = 0; i < PLAYERS; i++)
		if (i < players)
			player_set(i, plays[i]);
		else
			sched.players[i].condition = ABSENT;
	player_set(SUPERVISOR, supervise);
	sched.players[SUPERVISOR].condition = ABSENT;
	sched.dead = 0;
	shuffle_priorities();
	ft__point = step;
	/* From here the players go from one to the next. */
	change_to(choose());
	ft__point = NULL;
	if (!sched.failure)
		end_sleepers();
	return sched.failure;
}

#endif
