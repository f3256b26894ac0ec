/* SPDX-License-Identifier: MIT */
/* Tasks come in: futures are made, and join the backlog. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <freethreading/arena.h>

#include "mem/block.h"
#include "mem/slot.h"
#include "pool/pool.h"

static int call_check(const struct ft_pool *pool, const struct ft_call *call)
{
	if (!call || (call->flags & ~FT_CALL_NOTIFY))
		return -EINVAL;
	if (!call->main && !pool->options.start)
		return -EINVAL;
	if (call->block && (call->arg || call->arg_size > ft_block_size(call->block)))
		return -EINVAL;
	return !call->block && !call->arg && call->arg_size ? -EINVAL : 0;
}

/* Giving a block to oneself succeeds only with a block of one's own. */
static int arg_adopt(struct ft_future *future, const struct ft_call *call)
{
	struct ft__block *block = ft__block_of(call->block);

	if (!block || ft__block_assign(block, ft__process()))
		return -EINVAL;
	future->arg = call->block;
	future->arg_handle = ft_block_handle(call->block);
	future->arg_size = call->arg_size ? call->arg_size : ft_block_size(call->block);
	return 0;
}

int ft__future_arg(struct ft_future *future, const void *arg, size_t size)
{
	future->arg = NULL;
	future->arg_size = size;
	if (size <= FT__TASK_SMALL_ARG) {
		if (size)
			memcpy(future->small, arg, size);
		return 0;
	}
	int rc = ft_block_alloc(size, &future->arg);
	if (rc)
		return rc;
	future->arg_handle = ft_block_handle(future->arg);
	memcpy(future->arg, arg, size);
	return 0;
}

static int future_new(struct ft_pool *pool, const struct ft_call *call, struct ft_future **out)
{
	struct ft_future *future = malloc(sizeof(*future));

	if (!future)
		return -ENOMEM;
	memset(future, 0, offsetof(struct ft_future, small));
	int rc = call->block ? arg_adopt(future, call)
			     : ft__future_arg(future, call->arg, call->arg_size);
	if (rc) {
		free(future);
		return rc;
	}
	future->pool = pool;
	future->main = call->main;
	future->code = call->code;
	future->user = call->user;
	future->flags = call->flags;
	future->group = call->group;
	future->retries = pool->options.retries;
	ft__pool_get(pool);
	*out = future;
	return 0;
}

void ft__future_delete(struct ft_future *future)
{
	struct ft_pool *pool = future->pool;

	if (future->result != future->small)
		ft_block_free(future->result);
	free(future);
	ft__pool_put(pool);
}

int ft__submit(struct ft_pool *pool, struct ft_future *future)
{
	/* A map that had begun goes on in a closed pool. */
	if (pool->closing && !future->sink)
		return -EPIPE;
	if (pool->terminated)
		return -ECANCELED;
	if (pool->broken)
		return -EOWNERDEAD;
	future->id = ++pool->ids;
	future->stage = FT__STAGE_BACKLOG;
	ft__list_append(&pool->backlog, future);
	if (future->flags & FT_CALL_NOTIFY)
		ft__news_expect(pool, future);
	if (pool->unkept)
		ft__wake_keepers(pool);
	return 0;
}

void ft__submit_flush(struct ft_pool *pool)
{
	/* Room is made by taking results in. */
	if (pool->live >= FT_POOL_WINDOW) {
		ft__harvest(pool);
		ft__wake_ready(pool);
	}
	ft__deal(pool);
}

/* A refused task's block is the caller's again. */
static void refuse(struct ft_future *future, const struct ft_call *call)
{
	if (!call->block)
		ft_block_free(future->arg);
	ft__future_delete(future);
}

int ft_pool_submit(struct ft_pool *pool, const struct ft_call *call, struct ft_future **out)
{
	struct ft_future *future;
	int rc = ft__pool_check(pool);

	if (!rc)
		rc = out ? call_check(pool, call) : -EINVAL;
	if (!rc)
		rc = future_new(pool, call, &future);
	if (rc)
		return rc;
	ft__pool_lock(pool);
	rc = ft__submit(pool, future);
	if (!rc) {
		*out = future;
		ft__submit_flush(pool);
	}
	ft__pool_unlock(pool);
	if (rc)
		refuse(future, call);
	return rc;
}
