/* SPDX-License-Identifier: MIT */
/*
 * Points where a test may let another thread run, or kill this process:
 * nothing in a normal build; with --enable-points a call to the hook that a
 * test installed.  Stores to shared pages go through lib/os/atomic.h, which marks
 * a point before and after each; plain ones, of what nobody reads before a commit,
 * have a point where they end.  Floor 0.
 */
#ifndef FT_OS_POINT_H
#define FT_OS_POINT_H

#ifdef FT_POINTS
typedef void ft__point_hook(const char *file, int line);
extern ft__point_hook *ft__point; /* NULL, or set once by a test before it starts */
#define FT__POINT()                                    \
	do {                                           \
		if (ft__point)                         \
			ft__point(__FILE__, __LINE__); \
	} while (0)
#else
#define FT__POINT() ((void)0)
#endif

/* A point before a load: for the scheduler of tests/sched only, as a kill there
 * is like one after the last store. */
#ifdef FT_SCHED
#define FT__LOOK() FT__POINT()
#else
#define FT__LOOK() ((void)0)
#endif

#endif
