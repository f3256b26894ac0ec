/* SPDX-License-Identifier: MIT */
/*
 * ft_event: a flag that threads or processes wait for.
 *
 *     static struct ft_event ready;
 *     ft_event_init(&ready, FT_PRIVATE);
 *     ft_event_wait(&ready, ft_after(1000000000));    // one thread, 1 s
 *     ft_event_set(&ready);                           // another
 *
 * The word (a futex):
 *
 *   bit 0      SET      the flag
 *   bit 1      WAITERS  somebody may be parked on the word
 *   bits 2-31  EPOCH    counts the sets, modulo 2^30
 *
 *   pattern          meaning                  who leaves it, and how
 *   e, 0             clear                    setter: CAS to e+1|SET
 *                                             waiter: CAS adds WAITERS
 *   e|WAITERS        clear, maybe sleepers    setter: CAS to e+1|SET, wakes all
 *   e|SET            set                      clearer: CAS to e, setter: nothing
 *
 * A waiter returns 0 when SET is there or when EPOCH moved on since it came:
 * a set that is cleared at once still releases everybody who was waiting.
 * Legality: WAITERS may be set with nobody parked; never clear while somebody
 * is parked on a clear flag.
 *
 * Death: a setter notes the event in its journal across "CAS, then wake"; the
 * supervisor wakes every sleeper of a noted event.
 *
 * ft_event_set, ft_event_clear and ft_event_is_set are async-signal-safe in a
 * thread that has used the library before.
 */
#ifndef FREETHREADING_EVENT_H
#define FREETHREADING_EVENT_H

#include <freethreading/base.h>

FT_BEGIN_DECLS

#define FT_EVENT_SET 0x1u
#define FT_EVENT_WAITERS 0x2u
#define FT_EVENT_EPOCH 0x4u /* one set */

struct ft_event {
	uint32_t word;  /* futex, table above */
	uint32_t flags; /* const after init */
};

FT_API int ft_event_init(struct ft_event *event, uint32_t flags);

/* Sets the flag and wakes every waiter.  0 or -EINVAL. */
FT_API int ft_event_set(struct ft_event *event);

FT_API int ft_event_clear(struct ft_event *event);

/* 1 or 0. */
FT_API int ft_event_is_set(const struct ft_event *event);

/* 0 when set; -ETIMEDOUT; -EINTR (FT_INTERRUPTIBLE only); -EINVAL. */
FT_API FT_NODISCARD int ft_event_wait(struct ft_event *event, ft_deadline deadline);

/* The same in two steps, for a wait that goes on after -EINTR as if there had been
 * none: the word as the wait finds it, and the wait, which may be called again with
 * it. */
FT_API uint32_t ft_event_arrive(const struct ft_event *event);
FT_API FT_NODISCARD int ft_event_await(struct ft_event *event, uint32_t came, ft_deadline deadline);

FT_END_DECLS

#endif
