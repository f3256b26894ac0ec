/* SPDX-License-Identifier: MIT */
/* Small words for the compiler.  Floor 0; includes nothing of ours. */
#ifndef FT_OS_COMPILER_H
#define FT_OS_COMPILER_H

#define FT__LIKELY(x) __builtin_expect(!!(x), 1)
#define FT__UNLIKELY(x) __builtin_expect(!!(x), 0)
#define FT__ALIGNED(n) __attribute__((aligned(n)))
#define FT__CACHE_LINE 64
/* Initial-exec TLS: one load, no call; a few bytes fit any dlopen'ed object. */
#define FT__THREAD _Thread_local __attribute__((tls_model("initial-exec")))

#endif
