/* SPDX-License-Identifier: MIT */
/* Claiming, cutting and joining spans. */
#include "mem/span.h"

#include <string.h>
#include <sys/mman.h>

#include "os/atomic.h"

#define WORD_BITS 64u

static uint64_t *span_word(uint64_t index)
{
	return &ft__arena.span[index];
}

static uint64_t *hint_word(uint32_t map, uint64_t word)
{
	return &ft__arena.hint[map * ft__arena.hint_words + word];
}

static uint64_t span_state(uint64_t word)
{
	return FT__WORD_STATE(word);
}

uint64_t ft__spans_high(void)
{
	/* Acquire: pairs with extend's CAS. */
	uint64_t high = ft__load32_acquire(&ft__arena.header->spans_high);

	return high < ft__arena.spans ? high : ft__arena.spans;
}

void ft__hint_set(uint32_t map, uint64_t index)
{
	uint64_t *word = hint_word(map, index / WORD_BITS), bit = UINT64_C(1) << index % WORD_BITS;

	/* Mostly it is set already, and the line stays shared.  Relaxed: it is a
	 * hint. */
	if (!(ft__load64_relaxed(word) & bit))
		ft__or64_seq_cst(word, bit);
}

static void hint_clear(uint32_t map, uint64_t index)
{
	uint64_t *word = hint_word(map, index / WORD_BITS), bit = UINT64_C(1) << index % WORD_BITS;

	if (ft__load64_relaxed(word) & bit)
		ft__and64_seq_cst(word, ~bit);
}

/* Clears one of the bits of `mask` in a word; its number, or WORD_BITS. */
static uint32_t take_bit(uint64_t *word, uint64_t mask)
{
	uint64_t bits = ft__load64_relaxed(word) & mask;

	while (bits) {
		uint64_t bit = bits & -bits;

		/* Seq_cst: who finds the bit sees the frees it speaks of. */
		if (ft__and64_seq_cst(word, ~bit) & bit)
			return (uint32_t)__builtin_ctzll(bit);
		bits &= ~bit;
	}
	return WORD_BITS;
}

uint32_t ft__hint_take(uint32_t map, uint32_t from)
{
	uint64_t high = ft__spans_high(), words = (high + WORD_BITS - 1) / WORD_BITS;
	uint64_t first = from < high ? from / WORD_BITS : 0;

	/* One word more than there are: the first one's lower bits come last. */
	for (uint64_t i = 0; i <= words && words; i++) {
		uint64_t at = (first + i) % words;
		uint64_t mask = i == 0 ? ~UINT64_C(0) << (from < high ? from % WORD_BITS : 0)
				       : ~UINT64_C(0);
		uint32_t bit = take_bit(hint_word(map, at), mask);
		uint64_t index = at * WORD_BITS + bit;

		if (bit < WORD_BITS && index < high)
			return (uint32_t)index;
	}
	return FT__SPAN_NONE;
}

/* FREE -> CLAIM(me); keeps the generation and WARM. */
static bool claim(uint64_t index, uint32_t me)
{
	/* Acquire: pairs with set_free; the span's last user is through with it. */
	uint64_t seen = ft__load64_acquire(span_word(index));

	if (span_state(seen) != FT__SPAN_FREE)
		return false;

	uint64_t mine = ft__word(FT__SPAN_CLAIM, me, FT__WORD_GENERATION(seen)) |
			(seen & FT__SPAN_WARM);

	return ft__cas64_acquire(span_word(index), &seen, mine);
}

/* CLAIM(me) -> FREE, as it was: nothing was written to it. */
static void unclaim(uint64_t index)
{
	uint64_t word = ft__load64_relaxed(span_word(index)); /* mine */

	ft__store64_release(span_word(index), /* pairs with claim */
			    ft__word(FT__SPAN_FREE, 0, FT__WORD_GENERATION(word)) |
				    (word & FT__SPAN_WARM));
	ft__hint_set(FT__HINTS_FREE, index);
}

/* Claims all of [start, start + length), or none.  A span that was not free has
 * a wrong hint, which goes: so a search that starts over comes to an end. */
static bool claim_all(uint64_t start, uint64_t length, uint32_t me)
{
	for (uint64_t i = 0; i < length; i++) {
		hint_clear(FT__HINTS_FREE, start + i);
		if (claim(start + i, me))
			continue;
		while (i--)
			unclaim(start + i);
		return false;
	}
	return true;
}

/* Spans never used before.  Raised before they are claimed, so that a walk over
 * the used ones misses none. */
static uint64_t extend(uint64_t length)
{
	uint32_t high = ft__load32_acquire(&ft__arena.header->spans_high); /* pairs: below */

	do {
		if (high > ft__arena.spans || length > ft__arena.spans - high)
			return FT__SPAN_NONE;
	} while (!ft__cas32_seq_cst(&ft__arena.header->spans_high, &high,
				    high + (uint32_t)length));
	return high;
}

static bool hinted_free(uint64_t index)
{
	return ft__load64_relaxed(hint_word(FT__HINTS_FREE, index / WORD_BITS)) >>
	       index % WORD_BITS & 1;
}

static bool really_free(uint64_t index)
{
	return span_state(ft__load64_relaxed(span_word(index))) == FT__SPAN_FREE;
}

/* First fit.  Words of the bitmap without a set bit are passed over whole. */
static uint64_t find(uint64_t length, bool by_hints)
{
	uint64_t high = ft__spans_high(), found = 0;

	for (uint64_t i = 0; i < high;) {
		if (by_hints && i % WORD_BITS == 0 &&
		    !ft__load64_relaxed(hint_word(FT__HINTS_FREE, i / WORD_BITS))) {
			found = 0;
			i += WORD_BITS;
			continue;
		}
		found = (by_hints ? hinted_free(i) : really_free(i)) ? found + 1 : 0;
		i++;
		if (found == length)
			return i - length;
	}
	return FT__SPAN_NONE;
}

/* Free spans that are known, then new ones, then whatever a look at each finds. */
static uint64_t claim_somewhere(uint64_t length, uint32_t me)
{
	uint64_t at;

	while ((at = find(length, true)) != FT__SPAN_NONE)
		if (claim_all(at, length, me))
			return at;
	while ((at = extend(length)) != FT__SPAN_NONE)
		if (claim_all(at, length, me))
			return at;
	while ((at = find(length, false)) != FT__SPAN_NONE)
		if (claim_all(at, length, me))
			return at;
	return FT__SPAN_NONE;
}

static void count_warm(uint64_t spans)
{
	if (spans)
		ft__add64_seq_cst(&ft__arena.header->warm, spans);
}

static bool too_warm(uint64_t more)
{
	/* The sum may be a little off after deaths, even below nothing. */
	int64_t warm = (int64_t)ft__load64_relaxed(&ft__arena.header->warm);

	return warm > 0 && (uint64_t)warm + more > FT__WARM_MAX;
}

/* Old contents are no block words.  The first block of the span goes on with the
 * span's generation: there may be handles to a run that started here. */
static void make_blocks(uint64_t index, uint32_t class, uint32_t generation)
{
	uint64_t size = ft__class_size(class);

	for (uint64_t at = size; at < FT__SPAN; at += size)
		memset(ft__span_data(index) + at, 0, sizeof(struct ft__block));
	FT__POINT();

	struct ft__block *first = (struct ft__block *)ft__span_data(index);

	ft__store64_relaxed(&first->word, ft__word(FT__BLOCK_FREE, 0, generation));
}

uint32_t ft__span_open(uint32_t class, uint32_t me)
{
	uint64_t index = claim_somewhere(1, me);

	if (index == FT__SPAN_NONE)
		return FT__SPAN_NONE;

	uint64_t word = ft__load64_relaxed(span_word(index)); /* mine */
	uint32_t generation = FT__WORD_GENERATION(word);

	/* Untouched spans are all zeros, which is "free blocks" already, and their
	 * pages need not come into being before somebody needs them. */
	if (generation)
		make_blocks(index, class, generation);
	if (word & FT__SPAN_WARM)
		count_warm(-UINT64_C(1));
	ft__store64_release(span_word(index), /* pairs with the loads of block.c */
			    ft__word(FT__SPAN_CLASS, class, generation));
	return (uint32_t)index;
}

struct ft__block *ft__span_run(uint64_t length, uint32_t me)
{
	uint64_t at = length < ft__arena.spans ? claim_somewhere(length, me) : FT__SPAN_NONE;

	if (at == FT__SPAN_NONE)
		return NULL;

	uint64_t word = ft__load64_relaxed(span_word(at)); /* mine, and so are the RESTs */
	uint64_t warm = !!(word & FT__SPAN_WARM);
	uint32_t generation = FT__WORD_GENERATION(word);
	struct ft__block *block = (struct ft__block *)ft__span_data(at);

	for (uint64_t i = at + 1; i < at + length; i++) {
		uint64_t rest = ft__load64_relaxed(span_word(i));

		warm += !!(rest & FT__SPAN_WARM);
		ft__store64_relaxed(span_word(i), ft__word(FT__SPAN_REST, (uint32_t)at,
							   FT__WORD_GENERATION(rest)));
	}
	ft__store64_relaxed(&block->word, ft__word(FT__BLOCK_OWNED, me, generation));
	/* The commit; pairs with the loads of block.c. */
	ft__store64_release(span_word(at),
			    ft__word(FT__SPAN_RUN, (uint32_t)length, generation));
	count_warm(-warm);
	return block;
}

/* Never back to 0: that means "nobody ever wrote here". */
static uint32_t next_generation(uint64_t word)
{
	uint32_t next = (FT__WORD_GENERATION(word) + 1) & 0x3fffffffu;

	return next ? next : 1;
}

static uint64_t freed_word(uint64_t word, bool warm)
{
	return ft__word(FT__SPAN_FREE, 0, next_generation(word)) | (warm ? FT__SPAN_WARM : 0);
}

bool ft__span_unrun(uint64_t index, uint64_t word, uint32_t me)
{
	uint64_t length = FT__WORD_OWNER(word), seen = word;
	uint64_t mine = ft__word(FT__SPAN_CLAIM, me, FT__WORD_GENERATION(word));

	if (length == 0 || length > ft__arena.spans - index ||
	    !ft__cas64_seq_cst(span_word(index), &seen, mine))
		return false;

	/* While it is ours: later the pages may be another block's. */
	bool warm = !too_warm(length) ||
		    madvise(ft__span_data(index), length << FT__SPAN_SHIFT, MADV_REMOVE) != 0;

	for (uint64_t i = index + length - 1; i > index; i--) {
		uint64_t rest = ft__load64_relaxed(span_word(i)); /* mine */

		if (span_state(rest) != FT__SPAN_REST || FT__WORD_OWNER(rest) != index)
			continue;
		ft__store64_release(span_word(i), freed_word(rest, warm)); /* pairs: claim */
		ft__hint_set(FT__HINTS_FREE, i);
	}
	ft__store64_release(span_word(index), freed_word(mine, warm)); /* pairs: claim */
	ft__hint_set(FT__HINTS_FREE, index);
	if (warm)
		count_warm(length);
	return true;
}

static bool claimed_by(uint64_t word, uint32_t owner)
{
	return span_state(word) == FT__SPAN_CLAIM && FT__WORD_OWNER(word) == owner;
}

/* A further span of a run that the dead was building or taking apart. */
static bool orphan(uint64_t word, uint32_t dead)
{
	uint64_t head = FT__WORD_OWNER(word);

	return span_state(word) == FT__SPAN_REST && head < ft__arena.spans &&
	       claimed_by(ft__load64_acquire(span_word(head)), dead); /* pairs with claim */
}

/* RESTs before heads: a head in CLAIM is what tells whose they are. */
void ft__span_sweep(uint32_t dead)
{
	uint64_t high = ft__spans_high(), warm = 0;

	for (uint64_t i = 0; i < high; i++) {
		uint64_t word = ft__load64_acquire(span_word(i)); /* pairs with its stores */

		if (orphan(word, dead))
			ft__cas64_seq_cst(span_word(i), &word, freed_word(word, true));
	}
	for (uint64_t i = 0; i < high; i++) {
		uint64_t word = ft__load64_acquire(span_word(i)); /* pairs with its stores */

		if (claimed_by(word, dead) &&
		    ft__cas64_seq_cst(span_word(i), &word, freed_word(word, true)))
			word = freed_word(word, true);
		if (span_state(word) != FT__SPAN_FREE)
			continue;
		warm += !!(word & FT__SPAN_WARM);
		ft__hint_set(FT__HINTS_FREE, i);
	}
	ft__store64_relaxed(&ft__arena.header->warm, warm);
}
