/* SPDX-License-Identifier: MIT */
/*
 * Handles, offsets and pointers that nobody gave out: whatever takes one says no,
 * or answers about a block that is there, in the arena, with room for what it
 * says; and only blocks that are ours can be freed, once.
 */
#include "fuzz.h"

#include <freethreading.h>

#include "mem/block.h"
#include "mem/span.h"
#include "os/atomic.h"
#include "pool/seat.h"
#include "work/mail.h"

#define BLOCKS 6
#define CHECK_EVERY 4096

static struct mine {
	char *data; /* NULL: none */
	size_t size;
	uint64_t handle, stale; /* stale: of one that was freed */
} mine[BLOCKS];

static char pattern_of(const struct mine *block)
{
	return (char)('A' + (block - mine));
}

static void make(struct mine *block, uint64_t size)
{
	void *data;

	if (block->data)
		return;
	block->size = size % (3 * FT__SPAN) + 1;
	INSIST(ft_block_alloc(block->size, &data) == 0);
	block->data = data;
	block->handle = ft_block_handle(data);
	memset(data, pattern_of(block), block->size);
}

static void forget(struct mine *block)
{
	block->stale = block->handle;
	block->data = NULL;
}

static bool is_whole(const struct mine *block)
{
	return block->data[0] == pattern_of(block) &&
	       memcmp(block->data, block->data + 1, block->size - 1) == 0;
}

/* Whose payload this is; NULL: nobody's here. */
static struct mine *whose(const void *data)
{
	for (int i = 0; i < BLOCKS; i++)
		if (mine[i].data && mine[i].data == data)
			return &mine[i];
	return NULL;
}

static struct mine *named(uint64_t handle)
{
	for (int i = 0; i < BLOCKS; i++)
		if (mine[i].data && mine[i].handle == handle)
			return &mine[i];
	return NULL;
}

/* Noise, or near the truth: a handle of ours or one that was, with a bit changed or
 * another generation, or as it is. */
static uint64_t some_handle(struct bytes *bytes)
{
	uint8_t how = byte_take(bytes);
	const struct mine *block = &mine[how % BLOCKS];
	uint64_t word = word_take(bytes), handle = how & 0x80 ? block->handle : block->stale;

	switch (how >> 4 & 7) {
	case 0:
	case 1:
		return word;
	case 2:
		return handle ^ UINT64_C(1) << word % 64;
	case 3:
		return handle + word % 16 - 8;
	case 4:
		return handle + ((word % 4096) << 30);
	default:
		return handle;
	}
}

static void look_up(uint64_t handle)
{
	void *data = NULL;
	int rc = ft_block_at(handle, &data);

	if (rc != 0) {
		INSIST(rc == -EINVAL || rc == -ESTALE);
		INSIST(!named(handle));
		return;
	}
	INSIST((char *)data > ft__arena.data);
	INSIST((char *)data + ft_block_size(data) <= ft__arena.base + ft__arena.size);
	INSIST(ft_block_handle(data) == handle);
}

static void free_pointer(uint64_t word)
{
	const struct mine *near = &mine[word % BLOCKS];
	char *base = near->data && word & 64 ? near->data : ft__arena.data;
	void *data = base + (int64_t)(word >> 8) % (1 << 20);
	struct mine *block = whose(data);
	int rc = ft_block_free(data);

	INSIST(rc == 0 || rc == -EINVAL || rc == -EPERM);
	INSIST((rc == 0) == (block != NULL));
	if (block)
		forget(block);
}

static void free_by_handle(uint64_t handle)
{
	struct mine *block = named(handle);
	int rc = ft__block_release(handle);

	INSIST((rc == 0) == (block != NULL));
	if (block)
		forget(block);
}

/* A letter lies in a block, and says itself how long it is. */
static void read_letter(struct bytes *bytes)
{
	struct mine *block = &mine[byte_take(bytes) % BLOCKS];
	struct ft__letter forged, kept;
	const struct ft__letter *letter;

	if (!block->data || block->size < sizeof(forged))
		return;
	memcpy(&kept, block->data, sizeof(kept));
	bytes_take(bytes, &forged, sizeof(forged));
	memcpy(block->data, &forged, sizeof(forged));
	letter = ft__letter_at(block->handle);
	INSIST(!letter || letter->size <= block->size - sizeof(forged));
	INSIST(letter || forged.size > block->size - sizeof(forged));
	memcpy(block->data, &kept, sizeof(kept));
}

/* What a block says of its size, scribbled over. */
static void read_size(struct bytes *bytes)
{
	struct mine *block = &mine[byte_take(bytes) % BLOCKS];
	struct ft__block *head;
	uint64_t kept;

	if (!block->data)
		return;
	head = ft__block_of(block->data);
	INSIST(head);
	kept = head->size;
	head->size = word_take(bytes);
	INSIST(ft_block_size(block->data) <= (kept + 4 * FT__SPAN) / FT__SPAN * FT__SPAN);
	INSIST(block->data + ft_block_size(block->data) <= ft__arena.base + ft__arena.size);
	look_up(block->handle);
	head->size = kept;
}

static void act(struct bytes *bytes)
{
	struct ft_seat *seat;
	struct ft__block *head;
	uint64_t handle;
	uint32_t owner;

	switch (byte_take(bytes) % 10) {
	case 0:
	case 1:
		make(&mine[byte_take(bytes) % BLOCKS], word_take(bytes));
		break;
	case 2:
		look_up(some_handle(bytes));
		break;
	case 3:
		free_pointer(word_take(bytes));
		break;
	case 4:
		free_by_handle(some_handle(bytes));
		break;
	case 5:
		/* Nobody else has any; to seize it from ourselves changes nothing. */
		handle = some_handle(bytes);
		owner = (uint32_t)word_take(bytes);
		INSIST(ft__block_seize(handle, owner) != 0 ||
		       (owner == ft__process() && named(handle)));
		break;
	case 6:
		INSIST(ft_seat_open(some_handle(bytes), &seat) != 0);
		break;
	case 7:
		head = ft__block_at_offset(some_handle(bytes) >> 24);
		INSIST(!head || ft__at(ft__offset(head), sizeof(*head)));
		break;
	case 8:
		read_letter(bytes);
		break;
	default:
		read_size(bytes);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes bytes = { data, size };
	static uint64_t inputs;

	INSIST(ft__process() != 0);
	while (bytes.left)
		act(&bytes);
	for (int i = 0; i < BLOCKS; i++) {
		if (!mine[i].data)
			continue;
		INSIST(is_whole(&mine[i]));
		INSIST(ft_block_free(mine[i].data) == 0);
		forget(&mine[i]);
	}
	if (++inputs % CHECK_EVERY == 0)
		INSIST(ft_arena_check(NULL) == 0 && ft__block_count(ft__process()) == 0);
	return 0;
}

/* Two blocks, a look at each by its handle and near it; letters; frees. */
#ifndef FT_LIBFUZZER
static const struct fuzz_sample samples[] = {
	SAMPLE("\0\0\100\0\0\0\0\0\0\0\0\1\0\20\0\0\0\0\0\0\2\320\0\0\0\0\0\0\0\0\4\321\0\0\0\0\0\0\0"),
	SAMPLE("\0\2\0\0\1\0\0\0\0\0\2\242\7\0\0\0\0\0\0\0\3\102\0\0\0\0\0\0\0\7\322\1\2\3\4\5\6\7\0"),
	SAMPLE("\0\3\0\2\0\0\0\0\0\0\10\3\1\0\0\0\0\0\0\0\1\2\3\11\3\377\377\377\377\377\377\377\377"),
	SAMPLE("\0\4\0\0\0\0\0\0\0\0\4\324\0\0\0\0\0\0\0\0\2\124\0\0\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\0"
	       "\2\124\0\0\0\0\0\0\0\0\4\124\0\0\0\0\0\0\0\0\5\324\0\0\0\0\0\0\0\0\6\324\0\0\0\0\0\0\0\0"),
};
#endif

FUZZ_MAIN("handles", 60000, samples)
