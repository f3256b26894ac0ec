/* SPDX-License-Identifier: MIT */
/*
 * Export and attribute macros.  Everything without FT_API is hidden, and the
 * version script lib/freethreading.map names the rest once more: `make check`
 * compares the two.
 */
#ifndef FREETHREADING_API_H
#define FREETHREADING_API_H

#if !defined(__linux__)
#error "freethreading is a Linux library: it is made of futexes, pidfds and io_uring"
#endif

#define FT_API __attribute__((visibility("default")))
#define FT_NODISCARD __attribute__((warn_unused_result))

#ifdef __cplusplus
#define FT_BEGIN_DECLS extern "C" {
#define FT_END_DECLS }
#else
#define FT_BEGIN_DECLS
#define FT_END_DECLS
#endif

#endif
