/* SPDX-License-Identifier: MIT */
/* How long to spin before parking, and parking. */
#include "sync/wait.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/affinity.h"
#include "os/atomic.h"
#include "os/clock.h"
#include "os/compiler.h"
#include "os/futex.h"

#define BUDGET_NS INT64_C(4000)   /* less than a futex wake-up takes */
#define ACTIVE_NS INT64_C(100000) /* FT_WAIT_POLICY=active */
#define WAKES_NS INT64_C(150000)  /* two wake-ups, on a machine that was idle */
#define WAITS_A_TRY 8u            /* doubled for each failure */
#define FAILURES_MAX 5u
#define VAIN_MAX 8u
#define QUICK_TURNS 32u /* a look at the clock takes as long as a hand-off */
#define BACK_OFF_NS INT64_C(2000) /* at first; then doubled */
#define BACK_OFF_MOST 4u          /* times */
#define BACK_OFF_BUDGETS 4        /* what a spin may take, times this */
#define TURNS_A_LOOK 8u           /* turns for each look at the clock */
#define GLANCE_NS INT64_C(250000000)

static int64_t budget;     /* const after load; 0: never spin */
static uint32_t most;      /* const after load: CPUs that may spin at a time */
static uint32_t spinners;  /* atomic, private: threads in a spin loop now */
static FT__THREAD int64_t my_patience;
static FT__THREAD uint32_t my_waits;    /* towards the next try */
static FT__THREAD uint32_t my_failures; /* of tries, up to FAILURES_MAX */
static FT__THREAD uint32_t my_vain;     /* short spins in a row, up to VAIN_MAX */
static FT__THREAD int my_rank;          /* 0: not known; 1: the first thread; -1: another */

static void after_fork(void)
{
	ft__store32_relaxed(&spinners, 0);
	my_rank = 0;
}

static int64_t choose_budget(void)
{
	const char *policy = getenv("FT_WAIT_POLICY");

	if (policy && strcmp(policy, "passive") == 0)
		return 0;
	return policy && strcmp(policy, "active") == 0 ? ACTIVE_NS : BUDGET_NS;
}

/* At load time: a worker that is pinned to one CPU later still has partners on
 * the others, so what counts is what the program may use. */
__attribute__((constructor)) static void choose(void)
{
	struct ft_cpus cpus;
	uint32_t count = 0;

	if (ft__affinity_get(0, &cpus) != 0)
		return;
	for (size_t i = 0; i < sizeof(cpus.bits) / sizeof(cpus.bits[0]); i++)
		count += (uint32_t)__builtin_popcountll(cpus.bits[i]);
	/* One CPU is left to whom the spinners wait for. */
	most = count ? count - 1 : 0;
	budget = most ? choose_budget() : 0;
	pthread_atfork(NULL, NULL, after_fork);
}

static bool begin(struct ft__spin *spin, int64_t least)
{
	if (budget == 0 || ft__load32_relaxed(&spinners) >= most)
		return false;
	/* Only a limit on how many: no other memory hangs on the count. */
	ft__add32_seq_cst(&spinners, 1);
	spin->until = ft_now() + (spin->patience > least ? spin->patience : least);
	spin->turns = 0;
	return true;
}

/* Begun, at the latest now. */
static bool begun(struct ft__spin *spin, int64_t least)
{
	if (spin->until == 0 && !begin(spin, least))
		spin->until = -1;
	return spin->until > 0;
}

static bool give_up(struct ft__spin *spin)
{
	ft__spin_end(spin);
	spin->spent = true;
	return false;
}

/* Not worth it: short spins have come to nothing lately, and there is something
 * to be learned from a wait without. */
static bool hopeless(const struct ft__spin *spin)
{
	return my_vain == VAIN_MAX && spin->learns && !spin->patience;
}

bool ft__spin_not(struct ft__spin *spin)
{
	if (spin->learns && !spin->since)
		spin->since = ft_now();
	return false;
}

static bool look_quickly(struct ft__spin *spin)
{
	if (spin->quick == QUICK_TURNS || !spin->learns || budget == 0)
		return false;
	spin->quick++;
	spin->watched = true;
	ft__cpu_relax();
	return true;
}

bool ft__spin(struct ft__spin *spin)
{
	if (spin->until == 0 && hopeless(spin))
		spin->until = -1;
	if (spin->until == 0 && look_quickly(spin))
		return true;
	ft__spin_not(spin);
	if (!begun(spin, budget)) {
		/* Too many others do: nothing is known of the answer. */
		spin->watched = spin->watched && spin->turns;
		return false;
	}
	spin->watched = true;
	ft__cpu_relax();
	if (++spin->turns % TURNS_A_LOOK == 0 && ft_now() >= spin->until)
		return give_up(spin);
	return true;
}

bool ft__back_off(struct ft__spin *spin, bool parked)
{
	ft__spin_not(spin);
	if ((parked && spin->patience == 0) || !begun(spin, budget * BACK_OFF_BUDGETS))
		return false;

	ft_deadline now = ft_now(), until = now + (BACK_OFF_NS << spin->turns);

	if (now >= spin->until)
		return give_up(spin);
	spin->turns += spin->turns < BACK_OFF_MOST;
	while (ft_now() < until)
		ft__cpu_relax();
	return true;
}

void ft__spin_end(struct ft__spin *spin)
{
	if (spin->until > 0)
		ft__add32_seq_cst(&spinners, (uint32_t)-1);
	spin->until = -1;
}

struct ft__spin ft__spin_start(ft_deadline deadline)
{
	if (deadline <= 0)
		return (struct ft__spin){ 0 };
	return (struct ft__spin){ .patience = my_patience, .learns = true };
}

static void learn_with_patience(bool in_vain)
{
	my_waits = 0;
	if (in_vain) {
		my_patience = 0;
		my_failures += my_failures < FAILURES_MAX;
	} else {
		my_failures /= 2;
		my_vain = 0;
	}
}

static void learn_from_short(bool in_vain)
{
	if (!in_vain)
		my_vain = 0;
	else
		my_vain += my_vain < VAIN_MAX;
}

static void learn_without(int64_t took)
{
	if (took >= WAKES_NS || ++my_waits < WAITS_A_TRY << my_failures)
		return;
	my_waits = 0;
	my_patience = FT__PATIENCE_NS;
}

void ft__spin_over(struct ft__spin *spin, bool answered)
{
	ft__spin_end(spin);
	if (!spin->learns)
		return;

	bool turned = spin->turns || spin->watched;

	if (spin->patience == 0 && spin->watched)
		learn_from_short(spin->spent);
	if (spin->patience > 0 && turned)
		learn_with_patience(spin->spent);
	else if (answered && (spin->spent || !turned))
		learn_without(ft_now() - spin->since);
}

static bool first_thread(void)
{
	if (!my_rank)
		my_rank = syscall(SYS_gettid) == getpid() ? 1 : -1;
	return my_rank > 0;
}

ft_deadline ft__glance_at(uint32_t flags, ft_deadline deadline)
{
	if (!(flags & FT_INTERRUPTIBLE))
		return deadline;

	/* After an SA_RESTART handler the kernel resumes a wait that has no time
	 * limit; one that has returns. */
	ft_deadline until = deadline == FT_FOREVER ? deadline - 1 : deadline;

	if (deadline > 0 && !(flags & FT__IDLE) && first_thread()) {
		ft_deadline soon = ft_after(GLANCE_NS);

		until = soon < until ? soon : until;
	}
	return until;
}

int ft__park(const uint32_t *word, uint32_t expected, uint32_t flags, ft_deadline deadline)
{
	ft_deadline until = ft__glance_at(flags, deadline);
	int rc;

	do {
		rc = ft__futex_wait(word, expected, ft__flags_shared(flags), until);
	} while (rc == -EINTR && !(flags & FT_INTERRUPTIBLE));
	rc = ft__glanced(rc, until, deadline);
	return rc == -ETIMEDOUT || rc == -EINTR ? rc : 0;
}
