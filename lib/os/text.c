/* SPDX-License-Identifier: MIT */
#include "os/text.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

void ft__text_add(struct ft__text *text, const char *format, ...)
{
	bool fits = text->length < text->size;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(fits ? text->at + text->length : NULL, fits ? text->size - text->length : 0,
		      format, args);
	va_end(args);
	text->length += n > 0 ? (size_t)n : 0;
}
