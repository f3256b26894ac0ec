/* SPDX-License-Identifier: MIT */
/* The places where holds stand: see hold.h. */
#include "mem/hold.h"

#include <errno.h>

#include "os/atomic.h"

#define WINDOW 12u

/* ---- words ---- */

static uint64_t hold_of(uint32_t owner, uint64_t count)
{
	return count ? count << 30 | owner : 0;
}

static uint64_t hold_count(uint64_t hold)
{
	return hold >> 30;
}

static bool is_process(uint64_t hold, uint32_t owner)
{
	return hold && hold_count(hold) <= FT__HOLDS_MOST && (hold & 0x3fffffff) == owner;
}

static bool is_block(uint64_t hold)
{
	return hold_count(hold) > FT__HOLDS_MOST;
}

/* What its window follows from: not how often it holds. */
static uint64_t name_of(uint64_t hold)
{
	return is_block(hold) ? hold : hold & 0x3fffffff;
}

static bool change(uint64_t *place, uint64_t seen, uint64_t next)
{
	return ft__cas64_seq_cst(place, &seen, next);
}

/* ---- pages ---- */

struct walk {
	uint64_t handle, next;  /* whose pages; the next one's offset */
	struct ft__block *page; /* the current one */
	uint64_t *link;         /* that led to `next` */
	uint64_t *places, count;
	uint64_t *cursor;       /* the first page's; NULL: there was none yet */
	uint32_t pages;
};

static struct walk walk_of(const struct ft__block *block, uint64_t handle)
{
	uint64_t *link = (uint64_t *)(uintptr_t)&block->link;

	/* Acquire: pairs with the CAS that links a page. */
	return (struct walk){ .handle = handle, .next = ft__load64_acquire(link), .link = link };
}

/* To the next page.  Who does not hold the block may be in what was one.  False: there
 * is none, or, if `next` is one all the same, not any more, or too many. */
static bool turn(struct walk *walk)
{
	struct ft__block *page = walk->next ? ft__block_at_offset(walk->next) : NULL;
	uint64_t *payload;

	if (!page || walk->pages == FT__PAGES_MOST ||
	    FT__WORD_STATE(ft__load64_acquire(&page->word)) != FT__BLOCK_PAGE ||
	    ft__load64_relaxed(&page->home) != walk->handle)
		return false;
	payload = ft__block_payload(page);
	walk->page = page;
	walk->link = &page->link;
	walk->next = ft__load64_acquire(&page->link); /* pairs: as above */
	walk->places = payload + 1;
	walk->count = ft_block_size(payload) / sizeof(*payload);
	walk->count -= walk->count > 0;
	if (!walk->pages++)
		walk->cursor = payload;
	return true;
}

static uint64_t window(const struct walk *walk)
{
	return walk->count < WINDOW ? walk->count : WINDOW;
}

/* Where the window begins; the rest of it comes behind, and goes on at 0. */
static uint64_t start(uint64_t name, uint64_t count)
{
	return (name * UINT64_C(0x9e3779b97f4a7c15) >> 32) * count >> 32;
}

static uint64_t *place(const struct walk *walk, uint64_t name, uint64_t i)
{
	uint64_t at = start(name, walk->count) + i;

	return &walk->places[at < walk->count ? at : at - walk->count];
}

/* A carrier's hold stands there.  Only by who joins the block: it writes to a page. */
static void remember(const struct walk *walk, uint64_t hold, uint64_t page, uint64_t at)
{
	if (walk->cursor && is_block(hold))
		ft__store64_relaxed(walk->cursor, page << 32 | at);
}

/* With their headers, these fill a size class, or whole spans. */
static size_t page_size(uint32_t pages)
{
	return ((size_t)128 << 2 * pages) - sizeof(struct ft__block);
}

static uint64_t places_in(uint32_t pages)
{
	return page_size(pages) / sizeof(uint64_t) - 1;
}

/* Where who makes a page for its hold puts that. */
static uint64_t first_place(uint64_t hold, uint32_t pages)
{
	return start(name_of(hold), places_in(pages));
}

/* A page for so many before it, linked nowhere yet. */
static struct ft__block *page_new(uint64_t handle, uint64_t hold, uint32_t pages)
{
	struct ft__block *page;
	uint64_t *words, seen;
	void *payload;

	if (ft_block_alloc(page_size(pages), &payload) != 0)
		return NULL;
	page = ft__block_of(payload);
	words = payload;
	for (uint64_t i = 0; i <= places_in(pages); i++)
		ft__store64_relaxed(&words[i], 0);
	ft__store64_relaxed(&words[1 + first_place(hold, pages)], hold);
	ft__store64_relaxed(&page->home, handle);
	ft__store64_relaxed(&page->link, 0);
	seen = ft__load64_relaxed(&page->word);
	/* Release, with turn(). */
	ft__cas64_seq_cst(&page->word, &seen,
			  ft__word(FT__BLOCK_PAGE, ft__process(), FT__WORD_GENERATION(seen)));
	return page;
}

/* It is the block's alone from now on. */
static void page_linked(struct ft__block *page, uint64_t seen)
{
	/* Relaxed would do: only sweepers look at the owner. */
	ft__cas64_release(&page->word, &seen,
			  ft__word(FT__BLOCK_PAGE, 0, FT__WORD_GENERATION(seen)));
}

/* Behind the last page.  0, -errno; -EAGAIN: there is one more by now. */
static int page_add(struct walk *walk, uint64_t hold)
{
	struct ft__block *page;

	if (walk->next || walk->pages == FT__PAGES_MOST)
		return -ENOSPC;
	page = page_new(walk->handle, hold, walk->pages);
	if (!page)
		return -ENOMEM;
	if (ft__cas64_seq_cst(walk->link, &walk->next, ft__offset(page))) {
		page_linked(page, ft__load64_relaxed(&page->word));
		remember(walk, hold, walk->pages, first_place(hold, walk->pages));
		return 0;
	}
	ft__block_end(page, ft__load64_relaxed(&page->word));
	return -EAGAIN;
}

struct ft__block *ft__hold_begin(uint64_t handle, uint32_t process)
{
	return page_new(handle, hold_of(process, 1), 0);
}

void ft__hold_begun(struct ft__block *page)
{
	page_linked(page, ft__load64_relaxed(&page->word));
}

/* ---- holds ---- */

static bool put_here(const struct walk *walk, uint64_t hold)
{
	uint64_t name = name_of(hold);

	for (uint64_t i = 0; i < window(walk); i++) {
		uint64_t *at = place(walk, name, i);

		if (ft__load64_relaxed(at) != 0 || !change(at, 0, hold))
			continue;
		remember(walk, hold, walk->pages - 1, (uint64_t)(at - walk->places));
		return true;
	}
	return false;
}

static int put(struct ft__block *block, uint64_t handle, uint64_t hold)
{
	struct walk walk = walk_of(block, handle);
	int rc;

	do {
		while (turn(&walk))
			if (put_here(&walk, hold))
				return 0;
		rc = page_add(&walk, hold);
	} while (rc == -EAGAIN);
	return rc;
}

int ft__hold_carry(struct ft__block *block, uint64_t handle, uint64_t carrier)
{
	return put(block, handle, carrier);
}

int ft__hold_add(struct ft__block *block, uint64_t handle, uint32_t process)
{
	struct walk walk = walk_of(block, handle);

	while (turn(&walk)) {
		for (uint64_t i = 0; i < window(&walk); i++) {
			uint64_t *at = place(&walk, process, i), seen = ft__load64_relaxed(at);

			if (is_process(seen, process) && hold_count(seen) < FT__HOLDS_MOST &&
			    change(at, seen, hold_of(process, hold_count(seen) + 1)))
				return 0;
		}
	}
	return put(block, handle, hold_of(process, 1));
}

static bool remove_here(uint64_t *at, uint32_t process)
{
	uint64_t seen = ft__load64_relaxed(at);

	while (is_process(seen, process))
		/* Seq_cst, before the look of share.h's step 2. */
		if (ft__cas64_seq_cst(at, &seen, hold_of(process, hold_count(seen) - 1)))
			return true;
	return false;
}

bool ft__hold_remove(struct ft__block *block, uint64_t handle, uint32_t process)
{
	struct walk walk = walk_of(block, handle);

	while (turn(&walk))
		for (uint64_t i = 0; i < window(&walk); i++)
			if (remove_here(place(&walk, process, i), process))
				return true;
	return false;
}

void ft__hold_unload(struct ft__block *block, uint64_t handle, uint64_t carrier)
{
	struct walk walk = walk_of(block, handle);

	while (turn(&walk)) {
		for (uint64_t i = 0; i < window(&walk); i++) {
			uint64_t *at = place(&walk, carrier, i);

			if (ft__load64_relaxed(at) == carrier && change(at, carrier, 0))
				return;
		}
	}
}

static bool is_held(const struct walk *walk, uint64_t at)
{
	/* Seq_cst: pairs with what change() wrote. */
	return at < walk->count && ft__load64_seq_cst(&walk->places[at]);
}

/* Where the cursor points. */
static bool any_at_cursor(struct walk walk)
{
	uint64_t cursor;

	if (!turn(&walk))
		return false;
	cursor = ft__load64_relaxed(walk.cursor);
	while (walk.pages <= cursor >> 32)
		if (!turn(&walk))
			return false;
	return is_held(&walk, cursor & UINT32_MAX);
}

/* Reads only: whoever asks may have come too late, and the pages be somebody else's. */
bool ft__hold_any(const struct ft__block *block, uint64_t handle)
{
	struct walk walk = walk_of(block, handle);

	if (any_at_cursor(walk))
		return true;
	while (turn(&walk))
		for (uint64_t at = 0; at < walk.count; at++)
			if (is_held(&walk, at))
				return true;
	/* Of what was not looked at, something may be held. */
	return walk.next != 0;
}

uint32_t ft__hold_count(const struct ft__block *block)
{
	struct walk walk = walk_of(block, ft__block_name(block));
	uint32_t count = 0;

	while (turn(&walk))
		for (uint64_t i = 0; i < walk.count; i++)
			count += ft__load64_relaxed(&walk.places[i]) != 0;
	return count;
}

/* ---- the end ---- */

/* Links that were scribbled over may lead to one page twice.  A sweeper, or who made
 * the page, may say once that it is linked, just now. */
static void free_page(struct ft__block *page, uint64_t handle)
{
	for (int i = 0; i < 2; i++) {
		/* Acquire: pairs with page_new(). */
		uint64_t seen = ft__load64_acquire(&page->word);

		if (FT__WORD_STATE(seen) != FT__BLOCK_PAGE ||
		    ft__load64_relaxed(&page->home) != handle || ft__block_end(page, seen))
			return;
	}
}

void ft__hold_end(const struct ft__block *block, uint64_t handle)
{
	struct walk walk = walk_of(block, handle);
	struct ft__block *pages[FT__PAGES_MOST];
	uint32_t count = 0;

	while (turn(&walk))
		pages[count++] = walk.page;
	while (count)
		free_page(pages[--count], handle);
}

/* Is this what nobody will take away any more? */
static bool is_left(uint64_t hold, uint32_t dead)
{
	void *carrier;

	return is_block(hold) ? ft_block_at(hold, &carrier) != 0 : is_process(hold, dead);
}

void ft__hold_sweep(struct ft__block *block, uint64_t handle, uint32_t dead)
{
	struct walk walk = walk_of(block, handle);

	while (turn(&walk)) {
		for (uint64_t i = 0; i < walk.count; i++) {
			uint64_t hold = ft__load64_relaxed(&walk.places[i]);

			if (hold && is_left(hold, dead))
				change(&walk.places[i], hold, 0);
		}
	}
}

static bool is_linked(const struct ft__block *block, uint64_t handle,
		      const struct ft__block *page)
{
	struct walk walk = walk_of(block, handle);

	while (turn(&walk))
		if (walk.page == page)
			return true;
	return false;
}

/* The dead may have linked it, or not; or its block may be gone.  What is linked and
 * not free can be reached, also while somebody ends the block. */
void ft__hold_settle(struct ft__block *page, uint64_t seen, uint32_t dead)
{
	uint64_t handle = ft__load64_relaxed(&page->home);
	void *payload;
	bool there = ft_block_at(handle, &payload) == 0;

	if (there && FT__WORD_OWNER(seen) != dead)
		return;
	if (there && is_linked((struct ft__block *)payload - 1, handle, page))
		page_linked(page, seen);
	else
		ft__block_end(page, seen);
}
