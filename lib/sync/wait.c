/* SPDX-License-Identifier: MIT */
/* How long to spin before parking, and parking. */
#include "sync/wait.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "os/affinity.h"
#include "os/atomic.h"
#include "os/clock.h"
#include "os/compiler.h"
#include "os/futex.h"

#define BUDGET_NS INT64_C(4000)   /* less than a futex wake-up takes */
#define ACTIVE_NS INT64_C(100000) /* FT_WAIT_POLICY=active */
#define TURNS_A_LOOK 8u           /* turns for each look at the clock */

static int64_t budget;     /* const after load; 0: never spin */
static uint32_t most;      /* const after load: CPUs that may spin at a time */
FT__THREAD int64_t ft__my_patience;
static uint32_t spinners;  /* atomic, private: threads in a spin loop now */

static void forget_spinners(void)
{
	ft__store32_relaxed(&spinners, 0);
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
	pthread_atfork(NULL, NULL, forget_spinners);
}

static bool begin(struct ft__spin *spin)
{
	if (budget == 0 || ft__load32_relaxed(&spinners) >= most)
		return false;
	/* Only a limit on how many: no other memory hangs on the count. */
	ft__add32_seq_cst(&spinners, 1);
	spin->until = ft_now() + (spin->patience > budget ? spin->patience : budget);
	spin->turns = 0;
	return true;
}

bool ft__spin(struct ft__spin *spin)
{
	if (spin->until < 0)
		return false;
	if (spin->until == 0 && !begin(spin)) {
		spin->until = -1;
		return false;
	}
	ft__cpu_relax();
	if (++spin->turns % TURNS_A_LOOK == 0 && ft_now() >= spin->until) {
		ft__spin_end(spin);
		return false;
	}
	return true;
}

void ft__spin_end(struct ft__spin *spin)
{
	if (spin->until > 0)
		ft__add32_seq_cst(&spinners, (uint32_t)-1);
	spin->until = -1;
}

int ft__park(const uint32_t *word, uint32_t expected, uint32_t flags, ft_deadline deadline)
{
	/* After an SA_RESTART handler the kernel resumes a wait that has no time
	 * limit; one that has returns. */
	if (deadline == FT_FOREVER && (flags & FT_INTERRUPTIBLE))
		deadline--;
	for (;;) {
		int rc = ft__futex_wait(word, expected, ft__flags_shared(flags), deadline);

		if (rc == -ETIMEDOUT || (rc == -EINTR && (flags & FT_INTERRUPTIBLE)))
			return rc;
		if (rc != -EINTR)
			return 0;
	}
}
