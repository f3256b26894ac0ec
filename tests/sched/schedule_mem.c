/* SPDX-License-Identifier: MIT */
/* The code of lib/mem under a scheduler that decides every step: see scene.h. */
#include "scene.h"

#include "mem/span.h"

/* What the test itself knows: who has the block with this payload; the handle of
 * the block that they share. */
static struct {
	void *has[PLAYERS];
	uint64_t shared;
} truth;

static void begin(void)
{
	memset(&truth, 0, sizeof(truth));
}

static bool alive(int i)
{
	return sched.players[i].condition != DEAD;
}

/* What a block is: its owner's alone, and no two lie on each other. */
static void *get(int me, size_t size)
{
	uint32_t mark = 0x5eed0000u + (uint32_t)me, *data;
	void *block;
	int rc = ft_block_alloc(size, &block);

	if (rc == -ENOMEM)
		return NULL;
	insist(rc == 0, "alloc failed");
	for (int i = 0; i < scene->players; i++)
		insist(i == me || !alive(i) || truth.has[i] != block, "two have one block");
	truth.has[me] = block;
	data = block;
	data[0] = data[size / 4 - 1] = mark;
	step(NULL, 0);
	insist(data[0] == mark && data[size / 4 - 1] == mark, "somebody wrote to it");
	insist(ft_block_size(block) == size, "it has another size");
	return block;
}

static void put(int me, void *block)
{
	if (!block)
		return;
	truth.has[me] = NULL;
	insist(ft_block_free(block) == 0, "free failed");
	insist(ft_block_free(block) != 0, "freed twice");
}

static void play_small(int me)
{
	for (int turn = 0; turn < 2; turn++)
		put(me, get(me, turn ? 40 : 3000));
}

/* Runs of different lengths, so that they are cut from each other's spans. */
static void play_runs(int me)
{
	for (size_t turn = 0; turn < 2; turn++)
		put(me, get(me, ((size_t)me + turn) % 3 * FT__SPAN + FT__SPAN));
}

/* A block where a page of holds may have been, with words that are one's, and words
 * that are nobody's: somebody who comes late to look at the page writes nothing. */
static void get_page(int me)
{
	uint64_t *words = get(me, 96);

	if (!words)
		return;
	for (uint64_t i = 0; i < 12; i++)
		words[i] = i % 4 ? i : 0;
	for (uint64_t i = 0; i < 24; i++) {
		step(NULL, 0);
		insist(words[i % 12] == (i % 4 ? i % 12 : 0), "somebody wrote to a word");
	}
	put(me, words);
}

static void play_maker(int me)
{
	uint64_t handle, *block;

	insist(ft_block_alloc(16, (void **)&block) == 0, "alloc failed");
	handle = ft_block_handle(block);
	*block = handle;
	insist(ft_block_share(block) == 0, "share failed");
	truth.shared = handle;
	step(NULL, 0);
	insist(ft_block_drop(block) == 0, "drop failed");
	get_page(me);
}

static void play_guest(int me)
{
	for (int turn = 0; turn < 2; turn++) {
		uint64_t handle = truth.shared;
		void *block;

		if (handle && ft_block_hold(handle, &block) == 0) {
			insist(*(uint64_t *)block == handle, "it is another block");
			insist(ft_block_drop(block) == 0, "drop failed");
		}
		get_page(me);
	}
}

/* Nobody holds it any more. */
static const char *is_gone(void)
{
	void *block;

	return truth.shared && ft_block_at(truth.shared, &block) != -ESTALE ? "it is still there"
									    : NULL;
}

/* There is nothing but what they allocate. */
static void no_stage(void *block)
{
	REQUIRE(ft_block_free(block) == 0);
}

static const struct scenario scenarios[] = {
	SCENE("blocks", 3, begin, never, nothing, 7, 400, 0, play_small, play_small,
	      play_small),
	SCENE("runs", 3, begin, never, nothing, 7, 300, 0, play_runs, play_runs, play_runs),
	SCENE("both", 4, begin, never, nothing, 15, 500, 0, play_runs, play_small, play_runs,
	      play_small),
	SCENE("shared", 3, begin, never, is_gone, 7, 400, 0, play_maker, play_guest, play_guest),
};

static const struct scenario small[] = {
	SCENE("runs, 2", 2, begin, never, nothing, 3, 160, 0, play_runs, play_runs),
};

int main(int argc, char **argv)
{
	static const struct play_list plays = {
		.scenes = scenarios,
		.scenes_count = sizeof(scenarios) / sizeof(scenarios[0]),
		.small = small,
		.small_count = 1,
		.stage_size = 64,
		.stage = no_stage,
	};

	/* A small arena, so that looking it over takes no time. */
	setenv("FT_ARENA_SIZE", "16M", 1);
	return play(&plays, argc, argv);
}
