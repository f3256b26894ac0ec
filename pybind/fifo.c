/* SPDX-License-Identifier: MIT */
#include "fifo.h"

#include <errno.h>

#include "convert.h"

#define CHUNK 62u
/* Looks at a guard that is held before its thread detaches to wait: a guard is
 * held for some ten nanoseconds, unless its holder lost its CPU.  With a GIL
 * nobody ever finds one held. */
#define LOOKS 100
#define LOOKS_AGAIN 4
#define LOOK_AGAIN_NS 500

struct core_fifo_chunk {
	struct core_fifo_chunk *next; /* set by the producer that fills the chunk up */
	PyObject *items[CHUNK];
};

/* ---- lines ---- */

/* Why somebody waits; false: it need not. */
typedef int is_blocked(struct core_fifo *fifo);

/* Takes one of those who wait out of their number; false: there is none. */
static int leave_line(struct core_fifo_line *line)
{
	uint32_t waiters = atomic_load(&line->waiters);

	while (waiters)
		if (atomic_compare_exchange_weak(&line->waiters, &waiters, waiters - 1))
			return 1;
	return 0;
}

static inline void wake_one(struct core_fifo_line *line)
{
	if (atomic_load(&line->waiters) && leave_line(line))
		ft_semaphore_release(&line->tokens, 1);
}

static void wake_all(struct core_fifo_line *line)
{
	while (leave_line(line))
		ft_semaphore_release(&line->tokens, 1);
}

static int token_call(void *line, ft_deadline deadline)
{
	return ft_semaphore_acquire(&((struct core_fifo_line *)line)->tokens, deadline);
}

/* Takes a token, whatever signals come: their handlers run later. */
static void take_token(struct core_fifo_line *line)
{
	Py_BEGIN_ALLOW_THREADS while (token_call(line, FT_FOREVER) != 0);
	Py_END_ALLOW_THREADS
}

/* Waits no longer.  If the caller is not in the number any more, its token is
 * there or about to be; whoever gave that meant somebody to look. */
static void retire(struct core_fifo *fifo, struct core_fifo_line *line, is_blocked *blocked)
{
	if (leave_line(line))
		return;
	take_token(line);
	if (!blocked(fifo))
		wake_one(line);
}

/* A short time in which the other side may do something, without detaching from the
 * interpreter; with a GIL it could not.  It is looked at seldom: who puts many items
 * in a row shall be slowed down little, and some are there then. */
static int stays_blocked(struct core_fifo *fifo, is_blocked *blocked)
{
#ifdef Py_GIL_DISABLED
	for (int look = 0; look < LOOKS_AGAIN; look++) {
		ft_deadline until = ft_now() + LOOK_AGAIN_NS;

		while (ft_now() < until)
			;
		if (!blocked(fifo))
			return 0;
	}
#endif
	return blocked(fifo);
}

/* Until it is worth another try: 0; -ETIMEDOUT; -EINTR with an exception. */
static int wait_in(struct core_fifo *fifo, struct core_fifo_line *line, is_blocked *blocked,
		   ft_deadline deadline)
{
	int rc = 0;

	if (deadline == FT_NOW)
		return -ETIMEDOUT;
	if (!stays_blocked(fifo, blocked))
		return 0;
	atomic_fetch_add(&line->waiters, 1);
	if (blocked(fifo)) {
		rc = core_wait(token_call, line, deadline, 1);
		if (!rc)
			return 0;
	}
	retire(fifo, line, blocked);
	return rc;
}

/* ---- guards ---- */

static inline int guard_try(struct core_fifo_side *side, uint64_t *turns)
{
	*turns = atomic_load_explicit(&side->turns, memory_order_relaxed);
	/* Acquire: pairs with guard_leave(). */
	return !(*turns & 1) &&
	       atomic_compare_exchange_strong_explicit(&side->turns, turns, *turns + 1,
						       memory_order_acquire, memory_order_relaxed);
}

/* With so many turns.  Whoever wakes those who wait for turns does it after. */
static inline void guard_leave(struct core_fifo_side *side, uint64_t turns)
{
	atomic_store(&side->turns, turns);
	wake_one(&side->guard);
}

static void guard_wait(struct core_fifo_side *side, uint64_t *turns)
{
	for (int looks = 0; !guard_try(side, turns); looks++) {
		if (looks < LOOKS)
			continue;
		atomic_fetch_add(&side->guard.waiters, 1);
		if ((atomic_load(&side->turns) & 1) || !leave_line(&side->guard))
			take_token(&side->guard);
	}
}

/* Says how many turns there were. */
static inline uint64_t guard_enter(struct core_fifo_side *side)
{
	uint64_t turns;

	if (!guard_try(side, &turns))
		guard_wait(side, &turns);
	return turns;
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

static void line_init(struct core_fifo_line *line)
{
	ft_semaphore_init(&line->tokens, 0, 0, FT_PRIVATE | FT_INTERRUPTIBLE);
}

int core_fifo_init(struct core_fifo *fifo, uint64_t limit)
{
	line_init(&fifo->put.guard);
	line_init(&fifo->put.room);
	line_init(&fifo->get.guard);
	line_init(&fifo->get.room);
	atomic_init(&fifo->limit, limit);
	fifo->put.chunk = fifo->get.chunk = chunk_new(fifo);
	return fifo->put.chunk ? 0 : -ENOMEM;
}

void core_fifo_set_limit(struct core_fifo *fifo, uint64_t limit)
{
	atomic_store(&fifo->limit, limit);
	/* Partner: is_full(), after who waits has joined the line. */
	wake_all(&fifo->put.room);
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

/* Under the guard.  With this many puts there is no room. */
static inline int lacks_room(struct core_fifo *fifo, uint64_t puts)
{
	struct core_fifo_side *side = &fifo->put;

	uint64_t limit = atomic_load_explicit(&fifo->limit, memory_order_relaxed);

	if (!limit || puts - side->others < limit)
		return 0;
	/* Acquire: pairs with guard_leave() of a consumer. */
	side->others = atomic_load_explicit(&fifo->get.turns, memory_order_acquire) / 2;
	return puts - side->others >= limit;
}

/* Under the guard: where the next item goes; NULL: no memory. */
static inline PyObject **slot_new(struct core_fifo *fifo)
{
	struct core_fifo_side *side = &fifo->put;

	if (side->index == CHUNK) {
		struct core_fifo_chunk *next = chunk_new(fifo);

		if (!next)
			return NULL;
		side->chunk->next = next;
		side->chunk = next;
		side->index = 0;
	}
	return &side->chunk->items[side->index++];
}

/* Under the guard.  After this many gets there is nothing. */
static inline int lacks_items(struct core_fifo *fifo, uint64_t gets)
{
	struct core_fifo_side *side = &fifo->get;

	if (gets != side->others)
		return 0;
	/* Acquire: pairs with guard_leave() of a producer. */
	side->others = atomic_load_explicit(&fifo->put.turns, memory_order_acquire) / 2;
	return gets == side->others;
}

/* Under the guard, and there is one: where the oldest item is. */
static inline PyObject **slot_oldest(struct core_fifo *fifo)
{
	struct core_fifo_side *side = &fifo->get;

	if (side->index == CHUNK) {
		struct core_fifo_chunk *empty = side->chunk;

		side->chunk = empty->next;
		side->index = 0;
		chunk_drop(fifo, empty);
	}
	return &side->chunk->items[side->index++];
}

/* ---- putting ---- */

/* Under the guard: 0, or why nothing can be put now. */
static inline int put_next(struct core_fifo *fifo, uint64_t puts, PyObject *reference)
{
	PyObject **slot;

	if (atomic_load_explicit(&fifo->closed, memory_order_relaxed))
		return -EPIPE;
	if (lacks_room(fifo, puts))
		return -ETIMEDOUT;
	slot = slot_new(fifo);
	if (!slot)
		return -ENOMEM;
	*slot = reference;
	return 0;
}

static int try_put(struct core_fifo *fifo, PyObject *reference)
{
	uint64_t turns = guard_enter(&fifo->put);
	int rc = put_next(fifo, turns / 2, reference);

	if (rc) {
		guard_leave(&fifo->put, turns);
		return rc;
	}
	guard_leave(&fifo->put, turns + 2);
	wake_one(&fifo->get.room);
	return 0;
}

static int is_full(struct core_fifo *fifo)
{
	/* In this order: a get in between makes it look full, not empty, and sees
	 * that we wait. */
	uint64_t gets = atomic_load(&fifo->get.turns) / 2, limit = atomic_load(&fifo->limit);

	return limit && core_fifo_puts(fifo) - gets >= limit && !atomic_load(&fifo->closed);
}

int core_fifo_give(struct core_fifo *fifo, PyObject *reference, ft_deadline deadline)
{
	int rc = try_put(fifo, reference), waited = 0;

	while (rc == -ETIMEDOUT && !waited) {
		waited = wait_in(fifo, &fifo->put.room, is_full, deadline);
		rc = waited == -EINTR ? waited : try_put(fifo, reference);
	}
	return rc;
}

int core_fifo_put(struct core_fifo *fifo, PyObject *item, ft_deadline deadline)
{
	int rc = core_fifo_give(fifo, Py_NewRef(item), deadline);

	if (rc)
		Py_DECREF(item);
	return rc;
}

void core_fifo_close(struct core_fifo *fifo)
{
	uint64_t turns = guard_enter(&fifo->put);

	/* Partner: why_empty(), is_full() and is_empty(). */
	atomic_store(&fifo->closed, 1);
	guard_leave(&fifo->put, turns);
	wake_all(&fifo->put.room);
	wake_all(&fifo->get.room);
}

/* ---- getting ---- */

/* Under the guard, when nothing was there; 0: there is something now. */
static int why_empty(struct core_fifo *fifo, uint64_t gets)
{
	if (!atomic_load(&fifo->closed))
		return -ETIMEDOUT;
	/* No put came later: one that came before is seen now. */
	return lacks_items(fifo, gets) ? -EPIPE : 0;
}

static int try_get(struct core_fifo *fifo, PyObject **item)
{
	uint64_t turns = guard_enter(&fifo->get);
	int rc = lacks_items(fifo, turns / 2) ? why_empty(fifo, turns / 2) : 0;

	if (rc) {
		guard_leave(&fifo->get, turns);
		return rc;
	}
	*item = *slot_oldest(fifo);
	guard_leave(&fifo->get, turns + 2);
	if (atomic_load_explicit(&fifo->limit, memory_order_relaxed))
		wake_one(&fifo->put.room);
	return 0;
}

static int is_empty(struct core_fifo *fifo)
{
	return core_fifo_puts(fifo) == atomic_load(&fifo->get.turns) / 2 &&
	       !atomic_load(&fifo->closed);
}

int core_fifo_get(struct core_fifo *fifo, PyObject **item, ft_deadline deadline)
{
	int rc = try_get(fifo, item), waited = 0;

	while (rc == -ETIMEDOUT && !waited) {
		waited = wait_in(fifo, &fifo->get.room, is_empty, deadline);
		rc = waited == -EINTR ? waited : try_get(fifo, item);
	}
	return rc;
}

/* ---- what is in it ---- */

uint64_t core_fifo_size(struct core_fifo *fifo)
{
	uint64_t gets = atomic_load(&fifo->get.turns) / 2, puts, before;

	do {
		before = gets;
		puts = core_fifo_puts(fifo);
		gets = atomic_load(&fifo->get.turns) / 2;
	} while (gets != before);
	return puts - gets;
}

int core_fifo_traverse(struct core_fifo *fifo, visitproc visit, void *arg)
{
	struct core_fifo_chunk *chunk = fifo->get.chunk;
	uint32_t index = fifo->get.index;

	for (uint64_t left = core_fifo_size(fifo); left; left--) {
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
