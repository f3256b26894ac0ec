/* SPDX-License-Identifier: MIT */
/*
 * Text that goes on growing, in thought, after its buffer is full: so that a
 * function can always tell how long its answer would be.  Floor 0.
 */
#ifndef FT_OS_TEXT_H
#define FT_OS_TEXT_H

#include <stddef.h>

struct ft__text {
	char *at;    /* may be NULL if size is 0 */
	size_t size; /* of the buffer; what is in it is always terminated */
	size_t length;
};

__attribute__((format(printf, 2, 3))) void ft__text_add(struct ft__text *text, const char *format,
							 ...);

#endif
