/* SPDX-License-Identifier: MIT */
/*
 * Counting the tokens of one file, in memory that does not grow with the
 * file's size.  A part of 10_index.c.
 */
#ifndef INDEX_COUNT_H
#define INDEX_COUNT_H

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "table.h"

#define TOKEN_MAX 64
#define CHUNK	  262144
#define PROBE	  8192 /* a NUL byte in here makes a file binary */

enum kind { READ, UNREADABLE, BINARY, EMPTY, VANISHED, SYMLINK, SPECIAL, KINDS };

/* What a batch, or all of them, came to. */
struct summary {
	uint64_t files[KINDS];
	uint64_t bytes, tokens, distinct;
};

struct tally {
	struct summary sum; /* .distinct counts in replies only */
	struct table table;
};

/* What a byte becomes in a token; 0: it is no part of one. */
static unsigned char folded[256];

static void fold_init(void)
{
	for (int c = 0; c < 256; c++) {
		int digit = (c >= '0' && c <= '9') || c == '_';
		int lower = c >= 'a' && c <= 'z', upper = c >= 'A' && c <= 'Z';

		folded[c] = (unsigned char)(digit || lower ? c : upper ? c - 'A' + 'a' : 0);
	}
}

struct token {
	char text[TOKEN_MAX];
	size_t length;
};

static int token_end(struct tally *tally, struct token *token)
{
	size_t length = token->length;

	token->length = 0;
	if (!length)
		return 0;
	tally->sum.tokens++;
	return table_add(&tally->table, token->text, length, 1);
}

/* Counts a piece of a file; a token may go on in the next one. */
static int count_piece(struct tally *tally, struct token *token, const unsigned char *data,
		       size_t size)
{
	tally->sum.bytes += size;
	for (size_t i = 0; i < size; i++) {
		unsigned char c = folded[data[i]];

		if (!c && token->length && token_end(tally, token))
			return -ENOMEM;
		if (c && token->length < TOKEN_MAX)
			token->text[token->length++] = (char)c;
	}
	return 0;
}

/* Reads until the buffer is full or the file ends. */
static ssize_t fill(int fd, unsigned char *buffer, size_t size)
{
	size_t have = 0;

	while (have < size) {
		ssize_t n = read(fd, buffer + have, size - have);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			break;
		have += n > 0 ? (size_t)n : 0;
	}
	return (ssize_t)have;
}

static int count_open_file(struct tally *tally, int fd, enum kind *kind)
{
	static unsigned char buffer[CHUNK];
	struct token token = {.length = 0};
	struct stat st;
	ssize_t n = 0;

	*kind = UNREADABLE;
	if (fstat(fd, &st))
		return 0;
	*kind = SPECIAL;
	if (!S_ISREG(st.st_mode))
		return 0;
	*kind = EMPTY;
	while ((n = fill(fd, buffer, CHUNK)) > 0) {
		if (*kind == EMPTY && memchr(buffer, 0, n < PROBE ? (size_t)n : PROBE)) {
			*kind = BINARY;
			return 0;
		}
		*kind = READ;
		if (count_piece(tally, &token, buffer, (size_t)n))
			return -ENOMEM;
	}
	if (n < 0)
		*kind = UNREADABLE;
	return token_end(tally, &token);
}

static enum kind kind_of_error(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return VANISHED;
	case ELOOP:
		return SYMLINK;
	case ENXIO:
		return SPECIAL;
	default:
		return UNREADABLE;
	}
}

/* The tree may have changed since it was walked: O_NOFOLLOW and O_NONBLOCK
 * keep a new link or pipe from leading astray or blocking. */
static int count_file(struct tally *tally, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	enum kind kind;
	int rc = 0;

	if (fd < 0) {
		kind = kind_of_error(errno);
	} else {
		rc = count_open_file(tally, fd, &kind);
		close(fd);
	}
	tally->sum.files[kind]++;
	return rc;
}

#endif
