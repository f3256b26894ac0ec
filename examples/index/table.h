/* SPDX-License-Identifier: MIT */
/*
 * Tokens and their counts: an open-addressing hash table with linear probing,
 * at most three quarters full.  The tokens lie one behind the other in `text`.
 * A part of 10_index.c.
 */
#ifndef INDEX_TABLE_H
#define INDEX_TABLE_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	uint64_t count; /* 0: free */
	uint32_t hash, length;
	size_t at; /* of the token in text */
};

struct table {
	struct entry *entries;
	size_t size, used; /* size is 0 or a power of two */
	char *text;
	size_t text_size, text_used;
};

static uint32_t hash_of(const char *token, size_t length)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)token[i]) * 16777619u;
	return hash ^ hash >> 15;
}

/* The token's entry, or the free one where it belongs. */
static struct entry *table_find(const struct table *table, const char *token, size_t length,
				uint32_t hash)
{
	size_t i = hash & (table->size - 1);

	for (;; i = (i + 1) & (table->size - 1)) {
		struct entry *entry = &table->entries[i];

		if (!entry->count)
			return entry;
		if (entry->hash == hash && entry->length == length &&
		    !memcmp(table->text + entry->at, token, length))
			return entry;
	}
}

static int table_grow(struct table *table)
{
	struct table bigger = *table;

	bigger.size = table->size ? 2 * table->size : 4096;
	bigger.entries = calloc(bigger.size, sizeof(*bigger.entries));
	if (!bigger.entries)
		return -ENOMEM;
	for (size_t i = 0; i < table->size; i++) {
		const struct entry *old = &table->entries[i];

		if (old->count)
			*table_find(&bigger, table->text + old->at, old->length, old->hash) = *old;
	}
	free(table->entries);
	*table = bigger;
	return 0;
}

static int table_keep_text(struct table *table, const char *token, size_t length)
{
	if (table->text_used + length > table->text_size) {
		size_t size = table->text_size ? 2 * table->text_size : 65536;
		char *text = realloc(table->text, size);

		if (!text)
			return -ENOMEM;
		table->text = text;
		table->text_size = size;
	}
	memcpy(table->text + table->text_used, token, length);
	table->text_used += length;
	return 0;
}

static int table_add(struct table *table, const char *token, size_t length, uint64_t count)
{
	uint32_t hash = hash_of(token, length);
	struct entry *entry;

	if (4 * (table->used + 1) > 3 * table->size && table_grow(table))
		return -ENOMEM;
	entry = table_find(table, token, length, hash);
	if (!entry->count) {
		size_t at = table->text_used;

		if (table_keep_text(table, token, length))
			return -ENOMEM;
		*entry = (struct entry){.hash = hash, .length = (uint32_t)length, .at = at};
		table->used++;
	}
	entry->count += count;
	return 0;
}

static uint64_t table_count(const struct table *table, const char *token, size_t length)
{
	if (!table->size)
		return 0;
	return table_find(table, token, length, hash_of(token, length))->count;
}

static void table_free(struct table *table)
{
	free(table->entries);
	free(table->text);
}

#endif
