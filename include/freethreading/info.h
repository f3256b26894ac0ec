/* SPDX-License-Identifier: MIT */
/*
 * What this library found on this machine, for people and bug reports:
 * `ft-info` prints it, `python -m freethreading` too.
 */
#ifndef FREETHREADING_INFO_H
#define FREETHREADING_INFO_H

#include <freethreading/base.h>

FT_BEGIN_DECLS

struct ft_feature {
	const char *name; /* "clone3", "io_uring", "io_uring-futex", … */
	int on;
	const char *since; /* the first Linux that has it: "5.3" */
	const char *why;   /* one line: what is used instead, or why it is off */
};

/* The i-th feature, i from 0; -ENOENT past the last.  Static storage. */
FT_API int ft_info_feature(unsigned i, struct ft_feature *feature);

/* A page of text: version, kernel, features, CPUs, nodes, quota, limits.
 * Always terminated; returns the length it needs. */
FT_API int ft_info_text(char *text, size_t size);

FT_END_DECLS

#endif
