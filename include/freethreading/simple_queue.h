/* SPDX-License-Identifier: MIT */
/*
 * ft_simple_queue: first in, first out, without a limit and without counting
 * what was dealt with.  A put never waits.
 *
 *     void *p;
 *     ft_block_alloc(sizeof(struct ft_simple_queue), &p);
 *     struct ft_simple_queue *q = p;
 *     ft_simple_queue_init(q, FT_SHARED);
 *     ft_simple_queue_put(q, "hello", 6);
 *     void *item; size_t size;
 *     ft_simple_queue_get(q, &item, &size, FT_FOREVER);
 *     ft_block_free(item);
 *
 * It is an ft_queue inside: the words, what a death leaves behind, fork and
 * signals are told in freethreading/queue.h.  The struct is one of its own, so
 * that the two may part ways later without a new name.
 */
#ifndef FREETHREADING_SIMPLE_QUEUE_H
#define FREETHREADING_SIMPLE_QUEUE_H

#include <freethreading/queue.h>

FT_BEGIN_DECLS

struct ft_simple_queue {
	struct ft_queue queue; /* maxsize 0; `unfinished` means nothing */
};

/* 0, -EINVAL, -ECHILD, -ENOMEM. */
FT_API int ft_simple_queue_init(struct ft_simple_queue *queue, uint32_t flags);

/* Frees the items that are left.  Nobody may be inside or come later. */
FT_API int ft_simple_queue_destroy(struct ft_simple_queue *queue);

/* Copies `size` bytes (0 is allowed) and appends them.  0; -ENOMEM; -EPIPE
 * (closed); -EINVAL; -ECHILD. */
FT_API FT_NODISCARD int ft_simple_queue_put(struct ft_simple_queue *queue, const void *data,
					    size_t size);

/* Appends a block without copying; on 0 the queue owns it, else the caller
 * still does.  Errors as ft_simple_queue_put. */
FT_API FT_NODISCARD int ft_simple_queue_put_block(struct ft_simple_queue *queue, void *block);

/* Takes the oldest item as a block that now belongs to the caller.  0;
 * -ETIMEDOUT (empty); -EINTR; -EPIPE (closed and empty); -EINVAL; -ECHILD. */
FT_API FT_NODISCARD int ft_simple_queue_get(struct ft_simple_queue *queue, void **block,
					    size_t *size, ft_deadline deadline);

/* The exact number of items at some moment during the call. */
FT_API uint64_t ft_simple_queue_size(const struct ft_simple_queue *queue);

/* No more puts; gets go on until it is empty.  Wakes everybody. */
FT_API int ft_simple_queue_close(struct ft_simple_queue *queue);

FT_END_DECLS

#endif
