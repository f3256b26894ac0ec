/* SPDX-License-Identifier: MIT */
#include "rest.h"

#include <errno.h>

#include "convert.h"

static _Thread_local int am_soon; /* between core_rest_soon and core_rest_looked */

int core_rest_init(struct core_rest *rest, uint32_t count)
{
	*rest = (struct core_rest){
		.order = PyMem_RawCalloc(count, sizeof(*rest->order)),
		.beds = PyMem_RawCalloc(count, sizeof(*rest->beds)),
		.count = count,
	};
	if (!rest->order || !rest->beds)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		ft_event_init(&rest->beds[i].call, FT_PRIVATE);
	return ft_lock_init(&rest->lock, FT_PRIVATE);
}

void core_rest_fini(struct core_rest *rest)
{
	PyMem_RawFree(rest->order);
	PyMem_RawFree(rest->beds);
}

int core_rest_enter(struct core_rest *rest, uint32_t server)
{
	return atomic_exchange(&rest->beds[server].taken, 1) ? -EBUSY : 0;
}

void core_rest_leave(struct core_rest *rest, uint32_t server)
{
	atomic_store(&rest->beds[server].taken, 0);
}

/* Held for moments and around no Python, so that nobody has to detach. */
static void lock(struct core_rest *rest)
{
	(void)!ft_lock_acquire(&rest->lock, FT_FOREVER);
}

static void unlock(struct core_rest *rest)
{
	(void)ft_lock_release(&rest->lock);
}

/* With the lock: the event of one who is to be called now, or NULL. */
static struct ft_event *pick(struct core_rest *rest)
{
	uint32_t resting = atomic_load(&rest->resting);

	if (!resting)
		return NULL;
	atomic_store(&rest->resting, --resting);
	return &rest->beds[rest->order[resting]].call;
}

void core_rest_call(struct core_rest *rest)
{
	struct ft_event *call = NULL;

	/* Of this look and the put before it, and of a server's lying down and its
	 * second look, one comes first: either sees the other. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load(&rest->resting) || atomic_load(&rest->called) || atomic_load(&rest->soon))
		return;
	lock(rest);
	if (!atomic_load(&rest->called))
		call = pick(rest);
	if (call)
		atomic_store(&rest->called, 1);
	unlock(rest);
	if (call)
		ft_event_set(call);
}

void core_rest_soon(struct core_rest *rest)
{
	am_soon = 1;
	atomic_fetch_add(&rest->soon, 1);
}

void core_rest_looked(struct core_rest *rest)
{
	if (!am_soon)
		return;
	am_soon = 0;
	atomic_fetch_sub(&rest->soon, 1);
}

void core_rest_call_all(struct core_rest *rest)
{
	struct ft_event *call;

	lock(rest);
	while ((call = pick(rest)))
		ft_event_set(call);
	unlock(rest);
}

void core_rest_lie_down(struct core_rest *rest, uint32_t server)
{
	uint32_t resting;

	lock(rest);
	ft_event_clear(&rest->beds[server].call);
	resting = atomic_load(&rest->resting);
	rest->order[resting] = server;
	atomic_store(&rest->resting, resting + 1);
	unlock(rest);
	atomic_thread_fence(memory_order_seq_cst); /* see core_rest_call */
}

static int sleep_call(void *call, ft_deadline deadline)
{
	return ft_event_wait(call, deadline);
}

void core_rest_sleep(struct core_rest *rest, uint32_t server)
{
	(void)core_wait(sleep_call, &rest->beds[server].call, FT_FOREVER, 1);
	/* A call that was late may have been meant for its rest before. */
	core_rest_get_up(rest, server);
}

void core_rest_get_up(struct core_rest *rest, uint32_t server)
{
	uint32_t resting, at = 0;

	lock(rest);
	resting = atomic_load(&rest->resting);
	while (at < resting && rest->order[at] != server)
		at++;
	if (at == resting) {
		/* It was called meanwhile. */
		atomic_store(&rest->called, 0);
	} else {
		for (; at + 1 < resting; at++)
			rest->order[at] = rest->order[at + 1];
		atomic_store(&rest->resting, resting - 1);
	}
	unlock(rest);
}
