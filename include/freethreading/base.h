/* SPDX-License-Identifier: MIT */
/*
 * What every object shares: how functions answer, how time is given, and the
 * flags that all primitives understand.
 *
 * Answers.  A function that can fail returns 0 (or a count) on success and
 * -errno on failure.  errno itself is neither set nor promised to survive.
 * The library never prints, exits or aborts.
 *
 * Time.  A blocking function takes one absolute deadline in nanoseconds of
 * CLOCK_MONOTONIC.  Being absolute it can be handed on unchanged when a wait
 * is resumed, so signals neither lengthen nor shorten a wait, and setting the
 * wall clock does not matter.  FT_FOREVER never passes; FT_NOW has passed
 * already and turns a wait into a try (-ETIMEDOUT when it would block).
 */
#ifndef FREETHREADING_BASE_H
#define FREETHREADING_BASE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <freethreading/api.h>

FT_BEGIN_DECLS

typedef int64_t ft_deadline;

#define FT_NOW ((ft_deadline)0)
#define FT_FOREVER INT64_MAX

/* Flags of every primitive's init function; unknown bits give -EINVAL. */
#define FT_PRIVATE 0x0u       /* used by the threads of one process */
#define FT_SHARED 0x1u        /* used by several processes; lives in shared memory */
#define FT_INTERRUPTIBLE 0x2u /* waits return -EINTR after a signal handler ran, or may have */

/* Nanoseconds of CLOCK_MONOTONIC now.  Async-signal-safe. */
FT_API ft_deadline ft_now(void);

/* The deadline `ns` nanoseconds from now, saturating at FT_FOREVER;
 * ns <= 0 gives FT_NOW. */
FT_API ft_deadline ft_after(int64_t ns);

/* One English sentence for a -errno that this library returned (the sign is
 * ignored).  Never NULL; static storage; async-signal-safe. */
FT_API const char *ft_strerror(int error);

/* "0.1.0", of the library that is running, not of the header. */
FT_API const char *ft_version(void);

FT_END_DECLS

#endif
