/* SPDX-License-Identifier: MIT */
/*
 * The mapping behind freethreading/arena.h.  Floor 1.
 *
 * Layout of the file, all of it sparse; offsets are from its start:
 *
 *   0                 struct ft__arena_header, one page
 *   slots_at          struct ft__slot[FT__SLOTS]        (slot.h)
 *   spans_at          one uint64_t for each span        (span.h)
 *   hints_at          bitmaps of spans with room        (span.h)
 *   data_at           spans of FT__SPAN bytes           (span.h, block.h)
 *
 * The header is written by the creating process before anybody else can see
 * it, and only read afterwards, but for the fields marked atomic.
 */
#ifndef FT_MEM_ARENA_H
#define FT_MEM_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#include <freethreading/arena.h>

#include "os/atomic.h"
#include "os/compiler.h"

#define FT__ARENA_MAGIC UINT64_C(0x6165726874656572) /* "reethrea" */
#define FT__ARENA_ABI 2u
#define FT__SPAN_SHIFT 16
#define FT__SPAN (UINT64_C(1) << FT__SPAN_SHIFT)
#define FT__SLOTS 16384u

struct ft__arena_header {
	uint64_t magic;
	uint32_t abi;
	uint32_t slots;      /* FT__SLOTS */
	uint64_t size;       /* of the file */
	uint64_t slots_at, spans_at, hints_at, data_at;
	uint64_t spans;      /* how many fit */
	uint64_t hint_words; /* of each bitmap */
	/* atomic: no slot at or above was ever used; any process raises it */
	uint32_t slots_high FT__ALIGNED(FT__CACHE_LINE);
	uint32_t spans_high; /* atomic: same for spans; any process raises it */
	uint32_t slots_free; /* atomic: used slots that are free again, about; any */
	uint32_t reserved;
	uint64_t tickets;    /* atomic: a counter for names and numbers; any */
	uint64_t warm;       /* atomic: free spans that keep their pages, about; any */
};

/* Private to each process; base is NULL until the arena is open, and written
 * (release) after the other fields. */
struct ft__arena {
	char *base;
	uint64_t size; /* trusted copy of the header's */
	int fd;
	uint32_t forked; /* 1 in a child of a plain fork() */
	struct ft__arena_header *header;
	uint64_t spans, hint_words; /* trusted, as size is */
	struct ft__slot *slot;      /* the tables in the mapping */
	uint64_t *span, *hint;
	char *data;
};
extern struct ft__arena ft__arena;

/* Opens or joins on first use.  0, -ECHILD (forked), -errno. */
int ft__arena_ready(void);

/* The largest arena: a handle has 34 bits for the number of a 64-byte unit. */
#define FT__ARENA_MAX (UINT64_C(1) << 40)

/* In a child that the library itself made by fork or clone: it is a proper
 * part of the program after all.  Clears `forked`, forgets the parent's block
 * cache and thread identity, and takes over the reserved slot (slot.h). */
int ft__arena_adopt(uint32_t owner);

/* Pointer <-> offset.  ft__at checks bounds and alignment against the trusted
 * size: NULL for what does not lie inside data, whoever wrote the offset. */
static inline uint64_t ft__offset(const void *p)
{
	const char *base = FT__LOAD_POINTER(&ft__arena.base); /* pairs with its store */
	uint64_t off = (uint64_t)((uintptr_t)p - (uintptr_t)base);

	return base && off < ft__arena.size ? off : 0;
}
void *ft__at(uint64_t offset, uint64_t size);

/* The arena is open.  Outside it: what is no offset of anything. */
static inline uint64_t ft__offset_unchecked(const void *p)
{
	return (uint64_t)((uintptr_t)p - (uintptr_t)ft__arena.base);
}

#endif
