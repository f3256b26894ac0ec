/* SPDX-License-Identifier: MIT */
/* CLOCK_MONOTONIC as one number. */
#include "os/clock.h"

#include <limits.h>

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

ft_deadline ft_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (ft_deadline)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

ft_deadline ft_after(int64_t ns)
{
	if (ns <= 0)
		return FT_NOW;

	ft_deadline now = ft_now();

	return ns >= FT_FOREVER - now ? FT_FOREVER : now + ns;
}

struct timespec ft__timespec(ft_deadline deadline)
{
	if (deadline < 0)
		deadline = 0;
	return (struct timespec){
		.tv_sec = (time_t)(deadline / NS_PER_S),
		.tv_nsec = (long)(deadline % NS_PER_S),
	};
}

bool ft__passed(ft_deadline deadline)
{
	/* FT_NOW is the common "try": no need to ask the clock. */
	if (deadline <= 0)
		return true;
	return deadline != FT_FOREVER && ft_now() >= deadline;
}

int ft__millis_until(ft_deadline deadline)
{
	if (deadline == FT_FOREVER)
		return -1;
	if (deadline <= 0)
		return 0;

	int64_t left = deadline - ft_now();

	if (left <= 0)
		return 0;
	/* Rounded up, so that a caller who polls and looks again does not spin
	 * through the last millisecond. */
	int64_t ms = left / NS_PER_MS + (left % NS_PER_MS != 0);

	return ms > INT_MAX ? INT_MAX : (int)ms;
}
