/* SPDX-License-Identifier: MIT */
/* Futures with FT_CALL_NOTIFY, in the order in which they ended. */
#include <errno.h>

#include "pool/pool.h"

struct news_wanted {
	const struct ft_pool *pool;
	uint64_t group;
};

void ft__news_expect(struct ft_pool *pool, const struct ft_future *future)
{
	pool->notify++;
	if (future->group)
		return;
	/* Whoever stands aside has something to wait for now. */
	if (!pool->notify_here++)
		ft__wake_keepers(pool);
}

void ft__news_settle(struct ft_pool *pool, struct ft_future *future)
{
	if (future->news)
		ft__list_remove(&pool->news, future);
	if (future->flags & FT_CALL_NOTIFY) {
		pool->notify--;
		pool->notify_here -= !future->group;
	}
	future->news = false;
	future->flags &= ~FT_CALL_NOTIFY;
}

static struct ft_future *news_of(const struct ft_pool *pool, uint64_t group)
{
	struct ft_future *future = pool->news.first;

	while (future && future->group != group)
		future = future->next;
	return future;
}

/* A group is not counted, and any future may still ask: that nothing is to come
 * is sure at the latest when no task is left. */
static bool no_news(const struct ft_pool *pool)
{
	return pool->closing && !pool->live && !pool->backlog.length;
}

static bool has_news(void *ctx)
{
	const struct news_wanted *wanted = ctx;

	return news_of(wanted->pool, wanted->group) || no_news(wanted->pool);
}

int ft_pool_next(struct ft_pool *pool, struct ft_future **future, ft_deadline deadline)
{
	return ft_pool_next_in(pool, 0, future, deadline);
}

int ft_pool_next_in(struct ft_pool *pool, uint64_t group, struct ft_future **future,
		    ft_deadline deadline)
{
	int rc = ft__pool_check(pool);

	if (rc || !future)
		return rc ? rc : -EINVAL;
	struct news_wanted wanted = {.pool = pool, .group = group};
	struct ft__vigil waiter = {
	    .ready = has_news, .ctx = &wanted, .mode = FT__BELL_EACH, .keeper = !group};
	do {
		rc = ft__wait(pool, &waiter, true, deadline);
		if (rc)
			return rc;
		ft__pool_lock(pool);
		*future = news_of(pool, group);
		rc = *future ? 0 : no_news(pool) ? -EPIPE : -EAGAIN;
		if (!rc) {
			ft__news_settle(pool, *future);
			(*future)->told = true;
		}
		ft__wake_ready(pool);
		ft__pool_unlock(pool);
	} while (rc == -EAGAIN); /* another thread was faster */
	return rc;
}

int ft_future_notify(struct ft_future *future)
{
	int rc = future ? ft__pool_check(future->pool) : -EINVAL;

	if (rc)
		return rc;
	struct ft_pool *pool = future->pool;
	ft__pool_lock(pool);
	rc = future->told || (future->flags & FT_CALL_NOTIFY) ? -EALREADY : 0;
	if (!rc) {
		future->flags |= FT_CALL_NOTIFY;
		ft__news_expect(pool, future);
		future->news = future->stage == FT__STAGE_ENDED;
		if (future->news)
			ft__list_append(&pool->news, future);
		ft__wake_ready(pool);
	}
	ft__pool_unlock(pool);
	return rc;
}
