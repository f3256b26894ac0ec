/* SPDX-License-Identifier: MIT */
/* A worker's seat: where its tasks come from, and how it sleeps. */
#include "pool/seat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <freethreading/arena.h>

#include "mem/arena.h"
#include "mem/slot.h"
#include "os/affinity.h"
#include "os/atomic.h"
#include "os/clock.h"
#include "sync/wait.h"

/* Turns of a spin for each look at who is where. */
#define TURNS_A_LOOK 16u
/* Work that comes so soon, wake-ups included, is worth spinning for. */
#define SOON_NS (FT__PATIENCE_NS * 3 / 2)

static int ticket_read(uint64_t handle, struct ft__ticket *ticket)
{
	void *block;
	int rc = ft_block_at(handle, &block);

	if (rc)
		return rc;
	if (ft_block_size(block) < sizeof(*ticket))
		return -EINVAL;
	memcpy(ticket, block, sizeof(*ticket));
	return ticket->magic == FT__TICKET_MAGIC ? 0 : -EINVAL;
}

/* One worker at a time may sit here, else its channels had two ends. */
static int seat_take(struct ft_seat *seat)
{
	struct ft__self *self;
	uint32_t nobody = 0;
	int rc = ft__self(&self);

	if (rc)
		return rc;
	return ft__cas32_seq_cst(&seat->line->holder, &nobody, self->owner) ? 0 : -EINVAL;
}

int ft_seat_open(uint64_t handle, struct ft_seat **out)
{
	struct ft__ticket ticket;
	struct ft__board board;

	if (!out)
		return -EINVAL;
	int rc = ticket_read(handle, &ticket);
	if (!rc)
		rc = ft__board_find(&board, ticket.control);
	if (rc)
		return rc;
	if (ticket.seat >= board.seats)
		return -EINVAL;
	struct ft_seat *seat = calloc(1, sizeof(*seat) + board.seats * sizeof(seat->walked[0]));
	if (!seat)
		return -ENOMEM;
	seat->board = board;
	seat->index = (uint32_t)ticket.seat;
	seat->line = ft__board_line(&board, seat->index);
	seat->process = board.control->process;
	rc = seat_take(seat);
	if (rc) {
		free(seat);
		return rc;
	}
	*out = seat;
	return 0;
}

/* The reference leaves the channel after the claim: a worker killed between
 * the two leaves it to its successor. */
static bool take_own(struct ft_seat *seat)
{
	const uint64_t *cells = ft__board_in(&seat->board, seat->index);
	struct ft__channel *in = &seat->line->in;
	uint64_t at = 0, ref, same;

	/* Only a tail that was scribbled over is further away than this. */
	for (uint32_t i = 0; i < FT_POOL_WINDOW; i++) {
		if (!ft__channel_peek(in, cells, FT_POOL_WINDOW, &at, &ref))
			return false;

		bool claimed = ft__task_claim(seat, ref);

		ft__channel_pop(in, cells, FT_POOL_WINDOW, &same);
		seat->owing = true;
		if (claimed)
			return true;
	}
	return false;
}

/* A reference that was not READY once never is again, so that a walk never
 * goes back. */
static bool steal_from(struct ft_seat *seat, uint32_t victim)
{
	const struct ft__channel *in = &ft__board_line(&seat->board, victim)->in;
	const uint64_t *cells = ft__board_in(&seat->board, victim);
	uint64_t *at = &seat->walked[victim], ref;

	for (uint32_t i = 0; i < FT_POOL_WINDOW; i++, (*at)++) {
		if (!ft__channel_peek(in, cells, FT_POOL_WINDOW, at, &ref))
			return false;
		if (!ft__task_claim(seat, ref))
			continue;
		(*at)++;
		ft__store64_relaxed(&seat->line->stolen, seat->line->stolen + 1);
		return true;
	}
	return false;
}

static bool find(struct ft_seat *seat)
{
	if (take_own(seat))
		return true;
	for (uint32_t i = 1; i < seat->board.seats; i++) {
		if (steal_from(seat, (seat->index + i) % seat->board.seats))
			return true;
	}
	return false;
}

/* Whether there is something that this worker has not looked at. */
static bool stirring(const struct ft_seat *seat)
{
	if (ft__channel_length(&seat->line->in))
		return true;
	for (uint32_t i = 0; i < seat->board.seats; i++) {
		const struct ft__line *line = ft__board_line(&seat->board, i);
		if (i != seat->index && ft__channel_beyond(&line->in, seat->walked[i]))
			return true;
	}
	return false;
}

/* This worker looks for work no more, for a while that may be long.  What it
 * has seen and did not take must not wait for it; and whoever called it may
 * have meant another task than the one it took. */
static void turn_away(struct ft_seat *seat)
{
	/* Seq_cst, with the submitter's push and its look at this word: a push
	 * that was left to us is seen below. */
	ft__store32_seq_cst(&seat->line->busy, 1);
	if (ft__board_any_idle(&seat->board) && stirring(seat))
		ft__board_call_any(&seat->board);
}

static bool take_any(struct ft_seat *seat)
{
	/* Relaxed: a submitter that still sees 1 only wakes somebody for nothing. */
	ft__store32_relaxed(&seat->line->busy, 0);
	if (!find(seat))
		return false;
	ft__store32_relaxed(&seat->line->cpu, ft__cpu_here());
	turn_away(seat);
	return true;
}

/* A LAZY sleeper waits for the worker that has run out of work. */
static void settle_up(struct ft_seat *seat)
{
	if (!seat->owing)
		return;
	seat->owing = false;
	ft__bell_ring(&seat->board.control->bell, true);
}

static bool worth_a_look(const struct ft_seat *seat, uint32_t state)
{
	/* Seq_cst, with the submitter's. */
	return ft__load32_seq_cst(&seat->board.control->state) != state || stirring(seat);
}

/* Whether the submitter was last seen on this CPU: it does not run while we do. */
static bool in_the_way(const struct ft_seat *seat)
{
	uint32_t here = ft__cpu_here();

	return here && ft__load32_relaxed(&seat->board.control->cpu) == here;
}

/* Only one idle worker of a pool watches for long: the others' CPUs are for
 * those who have work. */
static bool watch(struct ft_seat *seat, uint32_t state)
{
	uint32_t *watcher = &seat->board.control->watcher, nobody = 0;
	bool alone = ft__cas32_seq_cst(watcher, &nobody, seat->index + 1), stirs = false;
	struct ft__spin spin = { .patience = alone ? seat->patience : 0 };

	while (!stirs && ft__spin(&spin)) {
		stirs = worth_a_look(seat, state);
		if (spin.turns % TURNS_A_LOOK == 0 && in_the_way(seat))
			break;
	}
	ft__spin_end(&spin);
	if (alone) /* nothing hangs on its order */
		ft__store32_relaxed(watcher, 0);
	return stirs;
}

/* Spins, then sleeps.  0: look again. */
static int rest(struct ft_seat *seat, uint32_t state, ft_deadline deadline)
{
	const struct ft__control *control = seat->board.control;
	int rc = 0;

	if (!seat->since)
		seat->since = ft_now();
	if (watch(seat, state))
		return 0;
	/* Acquire, with the submitter's +1: what it pushed before is seen. */
	uint32_t call = ft__load32_acquire(&seat->line->call);
	ft__board_set_idle(&seat->board, seat->index);
	if (!worth_a_look(seat, state))
		rc = ft__park(&seat->line->call, call,
			      (control->shared & FT_SHARED) | (control->flags & FT_INTERRUPTIBLE) |
				      FT__IDLE,
			      deadline);
	/* Whoever took the bit has called: its task must not wait for our next visit. */
	bool called = !ft__board_take_idle_seat(&seat->board, seat->index);
	return called && rc == -ETIMEDOUT ? 0 : rc;
}

/* How long this worker had nothing to do, asleep or not; as in lead.c. */
static void learn(struct ft_seat *seat)
{
	if (seat->since)
		seat->patience = ft__patience(seat->patience, ft_now() - seat->since < SOON_NS);
	seat->since = 0;
}

static int seat_next(struct ft_seat *seat, ft_deadline deadline)
{
	const struct ft__control *control = seat->board.control;

	if (control->quota && seat->taken >= control->quota)
		return -EPIPE;
	for (;;) {
		/* Acquire, with the submitter's: CLOSING comes after the last
		 * push, so nothing found after it means nothing left. */
		uint32_t state = ft__load32_acquire(&control->state);
		if (state == FT__CONTROL_TERMINATED)
			return -EPIPE;
		if (take_any(seat)) {
			learn(seat);
			return 0;
		}
		if (state == FT__CONTROL_CLOSING)
			return -EPIPE;
		settle_up(seat);
		/* Who only asks is told at once, and is nobody to be called. */
		if (deadline == FT_NOW)
			return -ETIMEDOUT;
		int rc = rest(seat, state, deadline);
		if (rc)
			return rc;
	}
}

int ft_seat_next(struct ft_seat *seat, struct ft_task **task, ft_deadline deadline)
{
	if (ft__arena.forked)
		return -ECHILD;
	if (!seat || !task || seat->task.cell)
		return -EINVAL;
	int rc = seat_next(seat, deadline);
	if (rc) {
		settle_up(seat);
		turn_away(seat);
	}
	*task = rc ? NULL : &seat->task;
	return rc;
}

int ft_seat_close(struct ft_seat *seat)
{
	if (!seat || seat->task.cell)
		return -EINVAL;
	struct ft__bell *bell = &seat->board.control->bell;

	/* Release: the submitter sees all that this worker did.  After this
	 * store the seat may be somebody else's; the control block lives until
	 * the worker has ended, as the submitter learns from the kernel. */
	ft__store32_release(&seat->line->left, 1);
	ft__bell_ring(bell, true);
	free(seat);
	return 0;
}

int ft__seat_main(void *arg)
{
	struct ft_seat *seat;
	struct ft_task *task;
	uint64_t handle;
	int rc;

	memcpy(&handle, arg, sizeof(handle));
	rc = ft_seat_open(handle, &seat);
	if (rc)
		return 1;
	while ((rc = ft_seat_next(seat, &task, FT_FOREVER)) == 0 || rc == -EINTR) {
		if (!rc)
			ft__task_run(task);
	}
	ft_seat_close(seat);
	return 0;
}
