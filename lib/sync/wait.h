/* SPDX-License-Identifier: MIT */
/*
 * The wait policy: how long to spin before parking, in one place.  Floor 2.
 *
 * Spinning pays only while a hand-off by cache line (about 0.15 µs) is likely
 * sooner than a futex wake (10-60 µs): with more than one usable CPU, fewer
 * spinners than CPUs, and nobody parked on the word yet, or else a thread that was
 * answered soon of late.  FT_WAIT_POLICY says passive (never spin), active (spin
 * longer) or nothing (the default).
 */
#ifndef FT_SYNC_WAIT_H
#define FT_SYNC_WAIT_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include <freethreading/base.h>

struct ft__spin {
	int64_t until;    /* 0: not started; -1: over */
	int64_t patience; /* ns that are worth it here, if more than the policy's */
	ft_deadline since; /* when the wait began, but for the first few turns; 0: not yet */
	uint32_t turns;
	uint32_t quick; /* turns before the first look at the clock */
	bool learns;    /* by ft__spin_start */
	bool spent;   /* a spin came to its end and to nothing */
	bool watched; /* by ft__spin: for an answer, not for others to be through */
};

/* The patience of a place where answers often come within what one small Python
 * call takes: all of it after a spin that was answered, half after one that was
 * not, so that a place where nothing happens soon parks at once. */
#define FT__PATIENCE_NS INT64_C(50000)
static inline int64_t ft__patience(int64_t before, bool answered)
{
	return answered ? FT__PATIENCE_NS : before / 2;
}

/*
 * The calling thread's own patience, for objects that remember none: it is there,
 * FT__PATIENCE_NS, or it is not, 0.
 *
 *   a spin with patience was answered     it stays
 *   a spin with patience was in vain      it goes
 *   a wait without it, but answered       it comes back for a try: after 8 of them,
 *   within two wake-ups                   more after each try in vain, up to 256
 *
 * Without it a short spin comes first, until 8 in a row were in vain: then none, until
 * patience has been answered.  Who shares a CPU with whom he waits for parks at once.
 *
 * The tries are because of two that answer each other: each finds the other asleep,
 * and sleeps itself while that wakes up, although both have a CPU.  If they share
 * one, the tries fail, and become rare.  FT_NOW waits not at all, and teaches nothing.
 */
struct ft__spin ft__spin_start(ft_deadline deadline);

/* The wait is over: ft__spin_end, and what is to be learned from it. */
void ft__spin_over(struct ft__spin *spin, bool answered);

/* One turn of a spin loop: true: look at the word again; false: park now, it
 * stays false until ft__spin_end. */
bool ft__spin(struct ft__spin *spin);

/* No turn at all: false. */
bool ft__spin_not(struct ft__spin *spin);

/* The same where somebody may be parked on the word: that can be the mark of one
 * who has left.  Only a thread that is answered soon spins then. */
static inline bool ft__spin_beside(struct ft__spin *spin, bool parked)
{
	return !parked || spin->patience > 0 ? ft__spin(spin) : ft__spin_not(spin);
}

/* After a park that came to nothing: a hopeful thread, being awake, spins anew. */
static inline void ft__spin_anew(struct ft__spin *spin)
{
	if (spin->patience > 0 && spin->until < 0)
		spin->until = 0;
}

/* The same for what others have only for moments: looks seldom, so that they get
 * through many of these at full speed meanwhile, and longer. */
bool ft__back_off(struct ft__spin *spin, bool parked);

/* The loop was left: the thread counts as a spinner no more.  Does nothing when
 * ft__spin said so itself, or was never called. */
void ft__spin_end(struct ft__spin *spin);

/* With FT_INTERRUPTIBLE: idle for good, and not to be woken for nothing. */
#define FT__IDLE 0x80000000u

/*
 * A signal that is handled after its thread looked for one last, and before that
 * sleeps, wakes nobody.  So the first thread of a program, which is where handlers
 * run that the kernel may choose a thread for, and the only one that runs Python's,
 * sleeps for a quarter of a second at most when it is FT_INTERRUPTIBLE, and is told
 * -EINTR then.
 *
 * ft__glance_at says when a sleep ends that shall last until the deadline, and
 * ft__glanced what is to be made of its answer.
 */
ft_deadline ft__glance_at(uint32_t flags, ft_deadline deadline);

static inline int ft__glanced(int rc, ft_deadline until, ft_deadline deadline)
{
	return rc == -ETIMEDOUT && until < deadline ? -EINTR : rc;
}

/*
 * Parks while *word == expected.  0: look again; -ETIMEDOUT; -EINTR, only if
 * `flags` has FT_INTERRUPTIBLE (else it goes on sleeping).  FT_SHARED in flags
 * chooses the futex's key.
 */
int ft__park(const uint32_t *word, uint32_t expected, uint32_t flags, ft_deadline deadline);

static inline bool ft__flags_shared(uint32_t flags)
{
	return flags & FT_SHARED;
}

#endif
