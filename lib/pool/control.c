/* SPDX-License-Identifier: MIT */
/* See control.h. */
#include "pool/control.h"

#include <errno.h>
#include <string.h>

#include <freethreading/arena.h>

#include "os/atomic.h"
#include "os/futex.h"

#define PAGE UINT64_C(4096)

static uint64_t page_up(uint64_t size)
{
	return (size + PAGE - 1) & ~(PAGE - 1);
}

static uint64_t head_size(uint32_t seats)
{
	return page_up(sizeof(struct ft__control) + seats * sizeof(struct ft__line));
}

static uint64_t table_size(void)
{
	return FT_POOL_WINDOW * sizeof(struct ft__task_cell);
}

static uint64_t board_size(uint32_t seats)
{
	uint64_t rings = (uint64_t)seats * 2 * FT_POOL_WINDOW * sizeof(uint64_t);

	/* A page more, since a block's payload starts just behind a page's. */
	return PAGE + head_size(seats) + table_size() + rings;
}

static struct ft__control *control_in(void *block)
{
	return (struct ft__control *)(uintptr_t)page_up((uintptr_t)block);
}

static void board_lay(struct ft__board *board, void *block, uint32_t seats)
{
	char *base = (char *)control_in(block);

	board->control = (struct ft__control *)base;
	board->table = (struct ft__task_cell *)(base + head_size(seats));
	board->rings = (uint64_t *)(base + head_size(seats) + table_size());
	board->seats = seats;
}

int ft__board_make(struct ft__board *board, uint32_t seats, void **block)
{
	if (!seats || seats > FT__SEATS_MAX)
		return -EINVAL;
	int rc = ft_block_alloc(board_size(seats), block);
	if (rc)
		return rc;
	board_lay(board, *block, seats);
	memset(board->control, 0, head_size(seats));
	board->control->magic = FT__CONTROL_MAGIC;
	board->control->seats = seats;
	for (uint32_t i = 0; i < seats; i++)
		board->control->lines[i].busy = 1;
	rc = ft__bell_init(&board->control->bell);
	if (rc)
		ft_block_free(*block);
	return rc;
}

int ft__board_find(struct ft__board *board, uint64_t handle)
{
	void *block;
	int rc = ft_block_at(handle, &block);

	if (rc)
		return rc;
	size_t size = ft_block_size(block);
	if (size < board_size(1))
		return -EINVAL;
	uint32_t seats = control_in(block)->seats;
	if (control_in(block)->magic != FT__CONTROL_MAGIC || !seats || seats > FT__SEATS_MAX ||
	    size < board_size(seats))
		return -EINVAL;
	board_lay(board, block, seats);
	return 0;
}

bool ft__board_take_idle_seat(const struct ft__board *board, uint32_t seat)
{
	uint64_t *word = &board->control->idle[seat / 64];
	uint64_t bit = UINT64_C(1) << seat % 64;

	/* Seq_cst, with ft__board_set_idle: a look that misses the bit comes
	 * before the worker's last look at the channels. */
	if (!(ft__load64_seq_cst(word) & bit))
		return false;
	return ft__and64_seq_cst(word, ~bit) & bit;
}

bool ft__board_take_idle(const struct ft__board *board, uint32_t *seat)
{
	uint32_t words = (board->seats + 63) / 64;

	for (uint32_t i = 0; i < words; i++) {
		uint64_t bits = ft__load64_seq_cst(&board->control->idle[i]);
		for (; bits; bits &= bits - 1) {
			*seat = i * 64 + (uint32_t)__builtin_ctzll(bits);
			if (*seat < board->seats && ft__board_take_idle_seat(board, *seat))
				return true;
		}
	}
	return false;
}

void ft__board_set_idle(const struct ft__board *board, uint32_t seat)
{
	/* Seq_cst, with the submitter's look after its push. */
	ft__or64_seq_cst(&board->control->idle[seat / 64], UINT64_C(1) << seat % 64);
}

bool ft__board_any_idle(const struct ft__board *board)
{
	uint32_t words = (board->seats + 63) / 64;

	for (uint32_t i = 0; i < words; i++) {
		/* Seq_cst: after `busy`, with ft__board_set_idle. */
		if (ft__load64_seq_cst(&board->control->idle[i]))
			return true;
	}
	return false;
}

uint32_t ft__board_count_idle(const struct ft__board *board)
{
	uint32_t words = (board->seats + 63) / 64, count = 0;

	for (uint32_t i = 0; i < words; i++)
		count += (uint32_t)__builtin_popcountll(
			ft__load64_relaxed(&board->control->idle[i]));
	return count;
}

void ft__board_call(const struct ft__board *board, uint32_t seat)
{
	struct ft__line *line = ft__board_line(board, seat);

	/* Seq_cst is more than needed: the worker's acquire is the partner. */
	ft__add32_seq_cst(&line->call, 1);
	ft__futex_wake(&line->call, 1, board->control->shared & FT_SHARED);
}

void ft__board_call_any(const struct ft__board *board)
{
	uint32_t seat;

	if (ft__board_take_idle(board, &seat))
		ft__board_call(board, seat);
}
