/* SPDX-License-Identifier: MIT */
/*
 * A pool's shared pages as a worker reads them: its ticket, the control block, the
 * rings and the cells of tasks, all of them written over.  It opens its seat or is
 * told no; what it takes for a task has an argument that it can read.
 */
#include "fuzz.h"

#include <freethreading.h>

#include "mem/block.h"
#include "mem/slot.h"
#include "pool/seat.h"

#define SEATS 2
#define CELLS 8
#define TASKS_MOST 32
#define LARGE 3000

static struct {
	struct ft__board board;
	struct ft__ticket *ticket;
	uint64_t ticket_handle, board_handle;
	void *args[CELLS];
} stage;

static volatile unsigned char sink; /* makes every byte be read */

static void board_open(void)
{
	void *block;

	if (stage.ticket)
		return;
	INSIST(ft__process() != 0);
	INSIST(ft__board_make(&stage.board, SEATS, &block) == 0);
	stage.board_handle = ft_block_handle(block);
	INSIST(ft_block_alloc(sizeof(*stage.ticket), &block) == 0);
	stage.ticket = block;
	stage.ticket_handle = ft_block_handle(block);
}

static void channel_fill(struct ft__channel *channel, uint64_t *ring, uint32_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		INSIST(ft__channel_push(channel, ring, FT_POOL_WINDOW,
					ft__task_ref(first + i, 1)));
}

static void cell_fill(uint32_t i)
{
	struct ft__task_cell *cell = &stage.board.table[i];

	memset(cell, 0, sizeof(*cell));
	cell->id = i + 1;
	cell->arg_size = i % 2 ? LARGE : FT__TASK_SMALL_ARG - i;
	if (i % 2) {
		if (!stage.args[i])
			INSIST(ft_block_alloc(LARGE, &stage.args[i]) == 0);
		cell->arg = ft_block_handle(stage.args[i]);
	}
	cell->state = ft__task_word(FT__TASK_READY, 0, ft__task_ref(i, 1));
}

/* A pool of two seats, with four tasks in each channel. */
static void board_fill(void)
{
	struct ft__control *control = stage.board.control;

	memset(control->lines, 0, SEATS * sizeof(control->lines[0]));
	memset(control, 0, offsetof(struct ft__control, lines));
	control->magic = FT__CONTROL_MAGIC;
	control->seats = SEATS;
	control->process = ft__process();
	control->shared = FT_SHARED;
	INSIST(ft__bell_init(&control->bell) == 0);
	*stage.ticket = (struct ft__ticket){ FT__TICKET_MAGIC, stage.board_handle, 0 };
	for (uint32_t i = 0; i < CELLS; i++)
		cell_fill(i);
	for (uint32_t seat = 0; seat < SEATS; seat++)
		channel_fill(&control->lines[seat].in, ft__board_in(&stage.board, seat),
			     seat * CELLS / SEATS, CELLS / SEATS);
}

/* Where the next word goes. */
static void *target(uint8_t which, uint64_t at)
{
	struct ft__control *control = stage.board.control;

	switch (which % 6) {
	case 0:
		return (char *)stage.ticket + at % sizeof(*stage.ticket) / 8 * 8;
	case 1:
		return (char *)control + at % offsetof(struct ft__control, idle) / 8 * 8;
	case 2:
		return &control->idle[at % 4];
	case 3:
		return (char *)control->lines + at % (SEATS * sizeof(control->lines[0])) / 8 * 8;
	case 4:
		return ft__board_in(&stage.board, (uint32_t)(at % SEATS)) + at / SEATS % CELLS;
	default:
		return (char *)stage.board.table +
		       at % (CELLS * sizeof(struct ft__task_cell)) / 8 * 8;
	}
}

static void scribble(struct bytes *bytes)
{
	while (bytes->left) {
		uint8_t which = byte_take(bytes);
		uint64_t at = byte_take(bytes) * 8u + byte_take(bytes) * 2048u;
		uint64_t *to = target(which, at), value = word_take(bytes);

		*to = which & 0x80 ? *to ^ value : value;
	}
}

/* A worker looks through all of a channel: a length of ages is not what this
 * program waits for. */
static void limit_channels(void)
{
	for (uint32_t seat = 0; seat < SEATS; seat++) {
		struct ft__channel *in = &stage.board.control->lines[seat].in;

		if (in->tail > in->head && in->tail - in->head > FT_POOL_WINDOW)
			in->tail = in->head + FT_POOL_WINDOW;
	}
}

static void read_all(const void *arg, size_t size)
{
	const unsigned char *at = arg;

	for (size_t i = 0; i < size; i++)
		sink ^= at[i];
}

/* As a worker does: read, reply in one way or another, end. */
static void work(struct ft_task *task, unsigned n)
{
	char reply[200] = { 0 };
	void *block;
	size_t size;
	const void *arg = ft_task_arg(task, &size);

	INSIST(arg || size == 0);
	if (arg && size > FT__TASK_SMALL_ARG)
		INSIST(ft_block_size(arg) >= size);
	read_all(arg, size);
	sink ^= (unsigned char)(ft_task_id(task) ^ ft_task_code(task));
	if (n % 3 == 0) {
		int rc = ft_task_reply(task, reply, n % 2 ? sizeof(reply) : 20);

		/* Nobody to give a block to. */
		INSIST(rc == 0 || (rc == -EINVAL && !stage.board.control->process));
	}
	/* The program's own blocks are not a worker's, if it is the program. */
	INSIST(ft_task_take(task, &block) != 0 ||
	       stage.board.control->process != ft__process());
	INSIST(ft_task_end(task, 0) == 0);
}

static void serve(struct ft_seat *seat)
{
	struct ft_task *task;

	for (unsigned n = 0; n < TASKS_MOST && ft_seat_next(seat, &task, FT_NOW) == 0; n++)
		work(task, n);
	INSIST(ft_seat_close(seat) == 0);
}

/* Results that lie in blocks, and arguments that were given away. */
static void clean_up(void)
{
	for (uint32_t i = 0; i < CELLS; i++) {
		void *block;

		if (stage.board.table[i].result &&
		    ft_block_at(stage.board.table[i].result, &block) == 0 &&
		    block != stage.ticket && ft_block_size(block) == 200)
			(void)ft_block_free(block);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes bytes = { data, size };
	struct ft_seat *seat;

	board_open();
	board_fill();
	scribble(&bytes);
	limit_channels();
	if (ft_seat_open(stage.ticket_handle, &seat) == 0)
		serve(seat);
	clean_up();
	return 0;
}

#ifndef FT_LIBFUZZER
static const struct fuzz_sample samples[] = {
	SAMPLE(""),
	SAMPLE("\200\1\0\1\0\0\0\0\0\0\0"),
	SAMPLE("\200\2\0\1\0\0\0\0\0\0\0\1\4\0\1\0\0\0\0\0\0\0"),
	SAMPLE("\203\0\0\7\0\0\0\0\0\0\0\4\1\0\3\0\0\0\1\0\0\0"),
	SAMPLE("\205\5\0\377\0\0\0\0\0\0\0\205\4\0\1\0\0\0\0\0\0\0\205\45\0\1\0\0\0\0\0\0\0"),
};
#endif

FUZZ_MAIN("frames", 60000, samples)
