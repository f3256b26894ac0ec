/* SPDX-License-Identifier: MIT */
/* Spinning and parking: how long, how many, and what ends it. */
#include <setjmp.h>
#include <stdarg.h>

#include "sync_tools.h"

#include <cmocka.h>

#include "os/affinity.h"
#include "os/futex.h"
#include "sync/wait.h"

#define LONG_RUN 10000000

static unsigned cpus(void)
{
	struct ft_cpus set;
	unsigned count = 0;

	REQUIRE(ft__affinity_get(0, &set) == 0);
	for (size_t i = 0; i < FT_CPUS_MAX / 64; i++)
		count += (unsigned)__builtin_popcountll(set.bits[i]);
	return count;
}

/* The shortest of many, since others run on these CPUs, too. */
static int64_t shortest_spin(void)
{
	int64_t best = INT64_MAX;

	for (int i = 0; i < 200; i++) {
		struct ft__spin spin = { 0 };
		ft_deadline start = ft_now();

		while (ft__spin(&spin))
			;
		REQUIRE(!ft__spin(&spin));
		ft__spin_end(&spin);
		REQUIRE(!ft__spin(&spin));

		int64_t took = ft_now() - start;

		best = took < best ? took : best;
	}
	return best;
}

static int print_spin(void)
{
	printf("%lld\n", (long long)shortest_spin());
	return 0;
}

static int64_t spin_with(const char *policy)
{
	char text[64] = "";
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);

	pid_t pid = fork();

	if (pid == 0) {
		dup2(pipes[1], 1);
		setenv("FT_WAIT_POLICY", policy, 1);
		execl("/proc/self/exe", "test", "spin", (char *)NULL);
		_exit(98);
	}
	close(pipes[1]);
	assert_true(read(pipes[0], text, sizeof(text) - 1) > 0);
	close(pipes[0]);
	assert_int_equal(child_end(pid), 0);
	return atoll(text);
}

static void policies(void **state)
{
	int64_t passive = spin_with("passive"), usual = spin_with("what?");
	int64_t active = spin_with("active");

	(void)state;
	print_message("%u CPUs; a spin takes at least %lld, %lld, %lld ns\n", cpus(),
		      (long long)passive, (long long)usual, (long long)active);
	assert_true(passive < 3000);
	if (cpus() > 1) {
		assert_true(usual >= 4000 && usual < 50000);
		assert_true(active >= 100000);
	} else {
		assert_true(usual < 3000 && active < 3000);
	}
}

/* Fewer spinners than CPUs: the next one is told to park at once. */
static void as_many_as_cpus(void **state)
{
	unsigned most = cpus() - 1;
	struct ft__spin *spins = calloc(most + 2, sizeof(*spins));

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < most; i++) {
			spins[i] = (struct ft__spin){ 0 };
			assert_true(ft__spin(&spins[i]));
		}
		spins[most] = (struct ft__spin){ 0 };
		assert_false(ft__spin(&spins[most]));
		ft__spin_end(&spins[most]);
		spins[most + 1] = (struct ft__spin){ 0 };
		ft__spin_end(&spins[most + 1]); /* never begun */
		for (unsigned i = 0; i < most; i++) {
			ft__spin_end(&spins[i]);
			ft__spin_end(&spins[i]);
		}
	}
	free(spins);
}

static int spin_once(void *arg)
{
	struct ft__spin spin = { 0 };

	(void)arg;
	return !ft__spin(&spin);
}

/* Who spins in the parent does not spin in the child. */
static void fork_while_spinning(void **state)
{
	struct ft__spin spin = { 0 };

	(void)state;
	if (cpus() == 1) /* nobody ever spins there: as_many_as_cpus tells */
		return;
	assert_true(ft__spin(&spin));
	assert_int_equal(child_run(spin_once, NULL), 0);
	ft__spin_end(&spin);
}

static void parking(void **state)
{
	uint32_t word = 7;
	ft_deadline start = ft_now();

	(void)state;
	assert_int_equal(ft__park(&word, 8, 0, FT_FOREVER), 0);
	assert_int_equal(ft__park(&word, 7, 0, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft__park(&word, 7, 0, -5), -ETIMEDOUT);
	assert_int_equal(ft__park(&word, 7, FT_SHARED, start + 20 * MS), -ETIMEDOUT);
	assert_true(ft_now() - start >= 20 * MS);
}

struct park {
	uint32_t word, flags;
	ft_deadline deadline;
};

static int park(void *arg)
{
	struct park *p = arg;

	return ft__park(&p->word, 0, p->flags, p->deadline);
}

static void woken(void **state)
{
	static const uint32_t flags[] = { 0, FT_SHARED, FT_INTERRUPTIBLE,
					  FT_SHARED | FT_INTERRUPTIBLE };

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct park p = { .flags = flags[i], .deadline = FT_FOREVER };
		struct helper helper;

		helper_start(&helper, park, &p);
		UNTIL(helper_asleep(&helper));
		/* The other key wakes nobody. */
		assert_int_equal(ft__futex_wake(&p.word, 1, !(flags[i] & FT_SHARED)), 0);
		UNTIL(ft__futex_wake(&p.word, 1, flags[i] & FT_SHARED) == 1);
		assert_int_equal(helper_join(&helper), 0);
	}
}

/* Handlers with and without SA_RESTART, limits or none: signals end a wait if
 * it is interruptible, and never otherwise. */
static void signals(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++) {
		struct sigaction action = { .sa_handler = storm_handler,
					    .sa_flags = i & 1 ? SA_RESTART : 0 };
		struct park p = { .flags = i & 2 ? FT_INTERRUPTIBLE : 0,
				  .deadline = i & 4 ? FT_FOREVER : ft_after(LONG) };
		struct helper helper;
		int sent = 0;

		sigaction(SIGUSR1, &action, NULL);
		helper_start(&helper, park, &p);
		while ((i & 2 || sent < 20) && !ft__load32_seq_cst(&helper.done)) {
			if (helper_asleep(&helper))
				sent += pthread_kill(helper.thread, SIGUSR1) == 0;
			sched_yield();
		}
		if (!(i & 2))
			UNTIL(helper_asleep(&helper) && ft__futex_wake(&p.word, 1, false) == 1);
		assert_int_equal(helper_join(&helper), i & 2 ? -EINTR : 0);
	}
}

static void nothing(int signo)
{
	(void)signo;
}

/* A handler ran between the last look for one and the park: the first thread of
 * a process is told soon, whatever its deadline is, unless it is idle. */
static int told(void *arg)
{
	const uint32_t *flags = arg;
	struct sigaction action = { .sa_handler = nothing };
	uint32_t word = 0;

	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 3; i++) {
		raise(SIGUSR1);
		REQUIRE(ft__park(&word, 0, *flags | FT_INTERRUPTIBLE, FT_FOREVER) == -EINTR);
	}
	REQUIRE(ft__park(&word, 0, *flags | FT_INTERRUPTIBLE, ft_after(MS)) == -ETIMEDOUT);
	REQUIRE(ft__park(&word, 0, *flags | FT_INTERRUPTIBLE, FT_NOW) == -ETIMEDOUT);
	REQUIRE(ft__park(&word, 0, *flags | FT_INTERRUPTIBLE | FT__IDLE, ft_after(400 * MS)) ==
		-ETIMEDOUT);
	REQUIRE(ft__park(&word, 0, *flags, ft_after(400 * MS)) == -ETIMEDOUT);
	return 0;
}

static int not_told(void *arg)
{
	uint32_t word = 0;

	(void)arg;
	return ft__park(&word, 0, FT_INTERRUPTIBLE, ft_after(400 * MS));
}

static int glances(void *unused)
{
	ft_deadline until = ft__glance_at(FT_INTERRUPTIBLE, FT_FOREVER);

	(void)unused;
	REQUIRE(until > ft_now() - LONG && until <= ft_after(250 * MS));
	REQUIRE(ft__glanced(-ETIMEDOUT, until, FT_FOREVER) == -EINTR);
	REQUIRE(ft__glanced(-EAGAIN, until, FT_FOREVER) == -EAGAIN);
	REQUIRE(ft__glanced(-ETIMEDOUT, until, until) == -ETIMEDOUT);
	REQUIRE(ft__glance_at(FT_INTERRUPTIBLE, 5) == 5);
	REQUIRE(ft__glance_at(FT_INTERRUPTIBLE | FT__IDLE, FT_FOREVER) == FT_FOREVER - 1);
	REQUIRE(ft__glance_at(0, FT_FOREVER) == FT_FOREVER);
	return 0;
}

static void first_thread(void **state)
{
	uint32_t flags[] = { FT_PRIVATE, FT_SHARED };
	struct helper helper;

	(void)state;
	assert_int_equal(child_run(told, &flags[0]), 0);
	assert_int_equal(child_run(told, &flags[1]), 0);
	assert_int_equal(child_run(glances, NULL), 0);
	helper_start(&helper, not_told, NULL);
	assert_int_equal(helper_join(&helper), -ETIMEDOUT);
}

/* Answered waits, each `late` ns long or more, until the thread is patient. */
static int waits_for_patience(int64_t late, int most_waits)
{
	for (int count = 0; count < most_waits; count++) {
		struct ft__spin spin = ft__spin_start(FT_FOREVER);

		if (spin.patience)
			return count;
		spin.since = ft_now() - late;
		ft__spin_over(&spin, true);
	}
	return -1;
}

/* A patient wait that ends in the spin loop, or does not. */
static void patient_wait(bool in_vain)
{
	struct ft__spin spin = ft__spin_start(FT_FOREVER);

	REQUIRE(spin.patience == FT__PATIENCE_NS);
	spin.turns = 1;
	spin.spent = in_vain;
	ft__spin_over(&spin, true);
}

/* In a thread of its own: what others waited for is no part of it.  A wait of this
 * thread may take long by chance, and counts for nothing then; hence "at least". */
static int learning(void *unused)
{
	struct ft__spin spin = ft__spin_start(FT_NOW);

	(void)unused;
	REQUIRE(!spin.learns && !spin.patience);
	ft__spin_over(&spin, true);
	REQUIRE(waits_for_patience(200000, 1000) == -1);
	REQUIRE(waits_for_patience(0, LONG_RUN) >= 8);
	for (int i = 0; i < 20; i++)
		patient_wait(false);
	for (int least = 16, i = 0; i < 8; i++) {
		patient_wait(true);
		REQUIRE(waits_for_patience(0, LONG_RUN) >= least);
		least = least < 256 ? 2 * least : least;
	}
	return 0;
}

static void patience(void **state)
{
	struct helper helper;

	(void)state;
	helper_start(&helper, learning, NULL);
	assert_int_equal(helper_join(&helper), 0);
}

/* One wait that spins until it is told not to, or that finds it need not. */
static bool short_wait(bool in_vain)
{
	struct ft__spin spin = ft__spin_start(FT_FOREVER);
	bool spins = ft__spin(&spin);

	REQUIRE(!spin.patience);
	while (in_vain && ft__spin(&spin))
		;
	/* Answered by nobody: no try is near. */
	ft__spin_over(&spin, !in_vain);
	return spins;
}

static int short_spins(void *unused)
{
	(void)unused;
	for (int round = 0; round < 3; round++) {
		struct ft__spin other = { 0 };

		for (int i = 0; i < 7; i++)
			REQUIRE(short_wait(true));
		REQUIRE(short_wait(false));
		for (int i = 0; i < 8; i++)
			REQUIRE(short_wait(true));
		for (int i = 0; i < 100; i++)
			REQUIRE(!short_wait(true));
		/* What says nothing of itself spins as ever. */
		REQUIRE(ft__spin(&other));
		ft__spin_end(&other);
		REQUIRE(waits_for_patience(0, LONG_RUN) >= 0);
		patient_wait(false);
		patient_wait(true);
	}
	return 0;
}

/* After some in vain there are no more, until a patient one was answered. */
static void in_vain(void **state)
{
	struct helper helper;

	(void)state;
	if (cpus() == 1)
		return;
	helper_start(&helper, short_spins, NULL);
	assert_int_equal(helper_join(&helper), 0);
}

/* Nobody who finds others parked looks on, unless he has reason to hope. */
static void beside_others(void **state)
{
	struct ft__spin spin = ft__spin_start(FT_FOREVER), off = ft__spin_start(FT_FOREVER);

	(void)state;
	spin.patience = off.patience = 0;
	assert_false(ft__spin_beside(&spin, true));
	assert_false(ft__back_off(&off, true));
	spin.patience = off.patience = FT__PATIENCE_NS;
	assert_int_equal(ft__spin_beside(&spin, true), cpus() > 1);
	ft__spin_end(&spin);
	assert_int_equal(ft__back_off(&off, true), cpus() > 1);
	while (ft__back_off(&off, true))
		;
	assert_int_equal(off.until, -1);
	ft__spin_anew(&off);
	assert_int_equal(off.until, 0);
}

int main(int argc, char **argv)
{
	static const struct mode modes[] = { { "spin", print_spin } };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policies),
		cmocka_unit_test(as_many_as_cpus),
		cmocka_unit_test(fork_while_spinning),
		cmocka_unit_test(parking),
		cmocka_unit_test(woken),
		cmocka_unit_test(signals),
		cmocka_unit_test(first_thread),
		cmocka_unit_test(patience),
		cmocka_unit_test(in_vain),
		cmocka_unit_test(beside_others),
	};
	int rc = mode_run(modes, 1, argc, argv);

	return rc >= 0 ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
