/* SPDX-License-Identifier: MIT */
/* The queue without a limit: see freethreading/simple_queue.h. */
#include <freethreading/simple_queue.h>

#include <stddef.h>

/* The queue comes first, so its journal notes and its blocks' home are right,
 * and NULL stays NULL. */
_Static_assert(offsetof(struct ft_simple_queue, queue) == 0, "one address for both");

int ft_simple_queue_init(struct ft_simple_queue *queue, uint32_t flags)
{
	return ft_queue_init((struct ft_queue *)queue, 0, flags);
}

int ft_simple_queue_destroy(struct ft_simple_queue *queue)
{
	return ft_queue_destroy((struct ft_queue *)queue);
}

int ft_simple_queue_put(struct ft_simple_queue *queue, const void *data, size_t size)
{
	return ft_queue_put((struct ft_queue *)queue, data, size, FT_FOREVER);
}

int ft_simple_queue_put_block(struct ft_simple_queue *queue, void *block)
{
	return ft_queue_put_block((struct ft_queue *)queue, block, FT_FOREVER);
}

int ft_simple_queue_get(struct ft_simple_queue *queue, void **block, size_t *size,
			ft_deadline deadline)
{
	return ft_queue_get((struct ft_queue *)queue, block, size, deadline);
}

uint64_t ft_simple_queue_size(const struct ft_simple_queue *queue)
{
	return ft_queue_size((const struct ft_queue *)queue);
}

int ft_simple_queue_close(struct ft_simple_queue *queue)
{
	return ft_queue_close((struct ft_queue *)queue);
}
