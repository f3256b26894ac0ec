/* SPDX-License-Identifier: MIT */
/*
 * ft_queue: first in, first out, any number of producers and consumers,
 * items of any size, bounded or not.  A put item is visible when put returns;
 * no thread works behind it, nothing is to be joined at exit.
 *
 *     void *p;
 *     ft_block_alloc(sizeof(struct ft_queue), &p);
 *     struct ft_queue *q = p;
 *     ft_queue_init(q, 0, FT_SHARED);
 *     ft_queue_put(q, "hello", 6, FT_FOREVER);
 *     void *item; size_t size;
 *     ft_queue_get(q, &item, &size, FT_FOREVER);   // item is a block of ours
 *     ft_block_free(item);
 *
 * Items are arena blocks linked by offsets; all fields below are written under
 * `lock` only.  The committing store of a put is the one that links the block
 * behind the last one (or into `head`); of a get, the one that moves `head`.
 * A killed producer therefore leaves nothing half-written, a killed consumer
 * at most takes the one item it had in its hands with it.  What is derived is
 * stored after the commit, `size` last, so that `size` and the list differ by
 * at most the one operation that a death cut short.
 *
 * Wait words (three of the same kind: not_empty, not_full, all_done):
 *
 *   field    who writes                      meaning
 *   seq      a waker, under the lock,        futex; sleepers park on the value
 *            before it wakes                 they read under the lock
 *   tokens   waiter: +1 under the lock;      wake-ups that somebody may need;
 *            waker: -n under the lock        may be too high (a dead or timed
 *                                            out waiter), never too low
 *
 * Death: whoever is inside a queue function has noted the queue in its
 * journal; the note stands for its lock too.  After its death the supervisor
 * marks the lock, takes it, raises every seq and wakes every sleeper.  Whoever
 * gets the lock as the next owner of a dead one, the supervisor or a user,
 * recounts from the list and makes linked blocks HELD (lib/mem/block.h) first.
 * Users never see -EOWNERDEAD from a queue.
 *
 * A waiter whose time is over leaves only after the kernel said that no wake-up
 * was spent on it, or after another look under the lock.
 *
 * The items of an FT_PRIVATE queue stay OWNED by its process: they die with it.
 *
 * FT_SHARED queues must lie in an arena block (-EINVAL otherwise).
 * Signals: no function is async-signal-safe.  Fork: -ECHILD, as for blocks.
 */
#ifndef FREETHREADING_QUEUE_H
#define FREETHREADING_QUEUE_H

#include <freethreading/lock.h>

FT_BEGIN_DECLS

struct ft_queue_wait {
	uint32_t seq;
	uint32_t tokens;
};

struct ft_queue {
	struct ft_lock lock;
	uint32_t flags;      /* const after init */
	uint32_t closed;     /* 1 after ft_queue_close */
	uint64_t maxsize;    /* const after init; 0: no limit */
	uint64_t head;       /* offset of the oldest block, 0: empty */
	uint64_t tail;       /* offset of the youngest; derived, see above */
	uint64_t size;       /* items in the list; derived */
	uint64_t unfinished; /* puts not yet answered by task_done */
	struct ft_queue_wait not_empty;
	struct ft_queue_wait not_full;
	struct ft_queue_wait all_done;
	uint64_t intent;     /* `unfinished` after the put that is being committed */
	uint64_t mark;       /* FT_QUEUE_MARK between init and destroy */
};

#define FT_QUEUE_MARK UINT64_C(0x6575657571746600) /* "\0ftqueue" */

/* maxsize 0 means no limit.  0, -EINVAL, -ECHILD, -ENOMEM. */
FT_API int ft_queue_init(struct ft_queue *queue, uint64_t maxsize, uint32_t flags);

/* Frees the items that are left.  Nobody may be inside or come later.  0; -EBUSY:
 * somebody is inside, and stopped; -EINVAL. */
FT_API int ft_queue_destroy(struct ft_queue *queue);

/* Copies `size` bytes (0 is allowed) and appends them.  0; -ETIMEDOUT (full);
 * -EINTR; -ENOMEM; -EPIPE (closed); -EINVAL; -ECHILD. */
FT_API FT_NODISCARD int ft_queue_put(struct ft_queue *queue, const void *data, size_t size,
				     ft_deadline deadline);

/* Appends a block without copying; on 0 the queue owns it, else the caller
 * still does.  Errors as ft_queue_put. */
FT_API FT_NODISCARD int ft_queue_put_block(struct ft_queue *queue, void *block,
					   ft_deadline deadline);

/* Takes the oldest item as a block that now belongs to the caller (free it
 * with ft_block_free); *size is what was put.  0; -ETIMEDOUT (empty); -EINTR;
 * -EPIPE (closed and empty); -EINVAL; -ECHILD. */
FT_API FT_NODISCARD int ft_queue_get(struct ft_queue *queue, void **block, size_t *size,
				     ft_deadline deadline);

/* The exact number of items at some moment during the call. */
FT_API uint64_t ft_queue_size(const struct ft_queue *queue);

/* One item has been dealt with.  -EINVAL: called more often than put. */
FT_API int ft_queue_task_done(struct ft_queue *queue);

/* Waits until every item ever put was answered by ft_queue_task_done. */
FT_API FT_NODISCARD int ft_queue_join(struct ft_queue *queue, ft_deadline deadline);

/* No more puts; gets go on until it is empty.  Wakes everybody. */
FT_API int ft_queue_close(struct ft_queue *queue);

FT_END_DECLS

#endif
