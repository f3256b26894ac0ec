/* SPDX-License-Identifier: MIT */
/*
 * What workers write to before they have a job is about the same in each: a
 * helper's first spare tells on which pages that was, and those that come later
 * find them copied (os/pages.h).  Nothing depends on it: where anything of this
 * is refused, each worker copies its pages by itself, one by one.  Floor 3.
 *
 * `told` (atomic, in a page shared by helper and spare):
 *
 *   0 -> 1    the spare, after it wrote the list; it may also die before
 */
#ifndef FT_WORK_IMPRINT_H
#define FT_WORK_IMPRINT_H

/* In the helper, before it clones a spare, and after that. */
void ft__imprint_expect(void);
void ft__imprint_cloned(void);

/* In the spare, when it has nothing more to do without a job. */
void ft__imprint_tell(void);

#endif
