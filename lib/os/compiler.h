/* SPDX-License-Identifier: MIT */
/* Small words for the compiler.  Floor 0; includes nothing of ours. */
#ifndef FT_OS_COMPILER_H
#define FT_OS_COMPILER_H

#define FT__LIKELY(x) __builtin_expect(!!(x), 1)
#define FT__UNLIKELY(x) __builtin_expect(!!(x), 0)
/* What seldom runs: out of the way of what often does, and of its registers. */
#define FT__COLD __attribute__((cold, noinline))
#define FT__ALIGNED(n) __attribute__((aligned(n)))
#define FT__CACHE_LINE 64
/* Initial-exec TLS: one load, no call; a few bytes fit any dlopen'ed object.
 * FT__PROCESS marks what tells one process from another.  The scheduler of
 * tests/sched plays threads and processes, and changes what is theirs itself. */
#ifdef FT_SCHED
#define FT__THREAD __attribute__((section("ft_own")))
#define FT__PROCESS FT__THREAD
#else
#define FT__THREAD _Thread_local __attribute__((tls_model("initial-exec")))
#define FT__PROCESS
#endif

#if defined(__SANITIZE_THREAD__)
#define FT__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FT__TSAN 1
#endif
#endif

/* For code that runs where a sanitizer's own state does not hold. */
#define FT__NO_SANITIZE __attribute__((no_sanitize_address, no_sanitize_thread))

#ifdef FT__TSAN
void __tsan_release(void *address);
/* A release that the compiler cannot see: the kernel does the store. */
#define FT__TSAN_RELEASE(p) __tsan_release(p)
#else
#define FT__TSAN_RELEASE(p) ((void)(p))
#endif

#endif
