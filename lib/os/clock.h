/* SPDX-License-Identifier: MIT */
/* CLOCK_MONOTONIC in nanoseconds.  ft_now() and ft_after() are public
 * (freethreading/base.h); this adds the conversions.  Floor 0. */
#ifndef FT_OS_CLOCK_H
#define FT_OS_CLOCK_H

#include <stdbool.h>
#include <time.h>

#include <freethreading/base.h>

/* For kernel calls; a deadline <= 0 becomes the epoch of the clock. */
struct timespec ft__timespec(ft_deadline deadline);

bool ft__passed(ft_deadline deadline);

/* Milliseconds until the deadline, rounded up, for poll-like calls: -1 for
 * FT_FOREVER, 0 if it passed, at most INT_MAX. */
int ft__millis_until(ft_deadline deadline);

#endif
