/* SPDX-License-Identifier: MIT */
#include "fifo.h"

#include <errno.h>

#include "convert.h"

#define CHUNK 62u

struct core_fifo_chunk {
	struct core_fifo_chunk *next; /* set by the producer that fills the chunk up */
	PyObject *items[CHUNK];
};

/* ---- guards ---- */

static void guard_enter(struct core_fifo_side *side)
{
	/* Never -EINTR for good, and not to be held while we attach again: that may
	 * be never, at the end of the program. */
	while (ft_lock_acquire(&side->guard, FT_NOW) != 0) {
		Py_BEGIN_ALLOW_THREADS
		if (ft_lock_acquire(&side->guard, FT_FOREVER) == 0)
			ft_lock_release(&side->guard);
		Py_END_ALLOW_THREADS
	}
}

static void guard_leave(struct core_fifo_side *side)
{
	ft_lock_release(&side->guard);
}

/* ---- chunks ---- */

static struct core_fifo_chunk *chunk_new(struct core_fifo *fifo)
{
	struct core_fifo_chunk *chunk = atomic_exchange(&fifo->spare, NULL);

	if (!chunk)
		chunk = PyMem_RawMalloc(sizeof(*chunk));
	if (chunk)
		chunk->next = NULL;
	return chunk;
}

static void chunk_drop(struct core_fifo *fifo, struct core_fifo_chunk *chunk)
{
	PyMem_RawFree(atomic_exchange(&fifo->spare, chunk));
}

int core_fifo_init(struct core_fifo *fifo, uint64_t limit)
{
	ft_lock_init(&fifo->put.guard, FT_PRIVATE);
	ft_lock_init(&fifo->get.guard, FT_PRIVATE);
	ft_semaphore_init(&fifo->put.tokens, 0, 0, FT_PRIVATE | FT_INTERRUPTIBLE);
	ft_semaphore_init(&fifo->get.tokens, 0, 0, FT_PRIVATE | FT_INTERRUPTIBLE);
	fifo->limit = limit;
	fifo->put.chunk = fifo->get.chunk = chunk_new(fifo);
	return fifo->put.chunk ? 0 : -ENOMEM;
}

void core_fifo_free(struct core_fifo *fifo)
{
	if (fifo->get.chunk)
		core_fifo_clear(fifo);
	PyMem_RawFree(fifo->get.chunk);
	PyMem_RawFree(atomic_exchange(&fifo->spare, NULL));
	fifo->put.chunk = fifo->get.chunk = NULL;
}

/* ---- the list ---- */

static int append(struct core_fifo *fifo, PyObject *item)
{
	struct core_fifo_side *side = &fifo->put;
	uint64_t puts = atomic_load_explicit(&side->done, memory_order_relaxed);

	if (fifo->limit && puts - side->known >= fifo->limit) {
		side->known = atomic_load_explicit(&fifo->get.done, memory_order_acquire);
		if (puts - side->known >= fifo->limit)
			return -ETIMEDOUT;
	}
	if (side->index == CHUNK) {
		struct core_fifo_chunk *next = chunk_new(fifo);

		if (!next)
			return -ENOMEM;
		side->chunk->next = next;
		side->chunk = next;
		side->index = 0;
	}
	side->chunk->items[side->index++] = Py_NewRef(item);
	atomic_store(&side->done, puts + 1);
	return 0;
}

static int shift(struct core_fifo *fifo, PyObject **item)
{
	struct core_fifo_side *side = &fifo->get;
	uint64_t gets = atomic_load_explicit(&side->done, memory_order_relaxed);

	if (gets == side->known) {
		side->known = atomic_load_explicit(&fifo->put.done, memory_order_acquire);
		if (gets == side->known)
			return -ETIMEDOUT;
	}
	if (side->index == CHUNK) {
		struct core_fifo_chunk *empty = side->chunk;

		side->chunk = empty->next;
		side->index = 0;
		chunk_drop(fifo, empty);
	}
	*item = side->chunk->items[side->index++];
	atomic_store(&side->done, gets + 1);
	return 0;
}

/* ---- waiting ---- */

static int is_full(struct core_fifo *fifo)
{
	/* In this order: a get in between makes it look full, not empty, and sees
	 * that we wait. */
	uint64_t gets = atomic_load(&fifo->get.done);

	return fifo->limit && atomic_load(&fifo->put.done) - gets >= fifo->limit;
}

static int is_empty(struct core_fifo *fifo)
{
	return atomic_load(&fifo->put.done) == atomic_load(&fifo->get.done);
}

/* Takes one of those who wait out of their number; false: there is none. */
static int take_waiter(struct core_fifo_side *side)
{
	uint32_t waiters = atomic_load(&side->waiters);

	while (waiters)
		if (atomic_compare_exchange_weak(&side->waiters, &waiters, waiters - 1))
			return 1;
	return 0;
}

static void wake_one(struct core_fifo_side *side)
{
	if (take_waiter(side))
		ft_semaphore_release(&side->tokens, 1);
}

static int token_call(void *side, ft_deadline deadline)
{
	return ft_semaphore_acquire(&((struct core_fifo_side *)side)->tokens, deadline);
}

/* No longer waits.  If it is not in the number any more its token is there, or
 * about to be; whoever gave that meant somebody to look. */
static void retire(struct core_fifo *fifo, struct core_fifo_side *side,
		   int (*blocked)(struct core_fifo *fifo))
{
	int rc;

	if (take_waiter(side))
		return;
	Py_BEGIN_ALLOW_THREADS
	do
		rc = ft_semaphore_acquire(&side->tokens, FT_FOREVER);
	while (rc == -EINTR);
	Py_END_ALLOW_THREADS
	if (!blocked(fifo))
		wake_one(side);
}

/* Until it is worth another try: 0; -ETIMEDOUT; -EINTR with an exception. */
static int wait_until(struct core_fifo *fifo, struct core_fifo_side *side,
		      int (*blocked)(struct core_fifo *fifo), ft_deadline deadline)
{
	int rc = 0;

	if (deadline == FT_NOW)
		return -ETIMEDOUT;
	atomic_fetch_add(&side->waiters, 1);
	if (blocked(fifo)) {
		rc = core_wait(token_call, side, deadline, 1);
		if (!rc)
			return 0;
	}
	retire(fifo, side, blocked);
	return rc;
}

/* ---- both sides ---- */

static int try_put(struct core_fifo *fifo, PyObject *item)
{
	int rc;

	guard_enter(&fifo->put);
	rc = append(fifo, item);
	guard_leave(&fifo->put);
	if (!rc)
		wake_one(&fifo->get);
	return rc;
}

int core_fifo_put(struct core_fifo *fifo, PyObject *item, ft_deadline deadline)
{
	int rc, waited = 0;

	for (;;) {
		rc = try_put(fifo, item);
		if (rc != -ETIMEDOUT || waited)
			return rc;
		waited = wait_until(fifo, &fifo->put, is_full, deadline);
		if (waited == -EINTR)
			return waited;
	}
}

static int try_get(struct core_fifo *fifo, PyObject **item)
{
	int rc;

	guard_enter(&fifo->get);
	rc = shift(fifo, item);
	guard_leave(&fifo->get);
	if (!rc && fifo->limit)
		wake_one(&fifo->put);
	return rc;
}

int core_fifo_get(struct core_fifo *fifo, PyObject **item, ft_deadline deadline)
{
	int rc, waited = 0;

	for (;;) {
		rc = try_get(fifo, item);
		if (rc != -ETIMEDOUT || waited)
			return rc;
		waited = wait_until(fifo, &fifo->get, is_empty, deadline);
		if (waited == -EINTR)
			return waited;
	}
}

uint64_t core_fifo_size(struct core_fifo *fifo)
{
	uint64_t gets = atomic_load(&fifo->get.done), puts, before;

	do {
		before = gets;
		puts = atomic_load(&fifo->put.done);
		gets = atomic_load(&fifo->get.done);
	} while (gets != before);
	return puts - gets;
}

/* ---- for the collector ---- */

int core_fifo_traverse(struct core_fifo *fifo, visitproc visit, void *arg)
{
	struct core_fifo_chunk *chunk = fifo->get.chunk;
	uint32_t index = fifo->get.index;
	uint64_t left = atomic_load(&fifo->put.done) - atomic_load(&fifo->get.done);

	for (; left; left--) {
		if (index == CHUNK) {
			chunk = chunk->next;
			index = 0;
		}
		Py_VISIT(chunk->items[index]);
		index++;
	}
	return 0;
}

void core_fifo_clear(struct core_fifo *fifo)
{
	PyObject *item;

	while (try_get(fifo, &item) == 0)
		Py_DECREF(item);
}
