/* SPDX-License-Identifier: MIT */
/*
 * Atomics with their order in the name.  No other file uses the builtins.
 * Shared structs stay plain integers, so that C++ and other languages can
 * read the public headers.  Floor 0.
 */
#ifndef FT_OS_ATOMIC_H
#define FT_OS_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#include "os/compiler.h"
#include "os/point.h"

#define FT__ATOMIC(T, bits)                                                               \
	static inline T ft__load##bits##_relaxed(const T *p)                              \
	{                                                                                 \
		FT__LOOK();                                                               \
		return __atomic_load_n(p, __ATOMIC_RELAXED);                              \
	}                                                                                 \
	static inline T ft__load##bits##_acquire(const T *p)                              \
	{                                                                                 \
		FT__LOOK();                                                               \
		return __atomic_load_n(p, __ATOMIC_ACQUIRE);                              \
	}                                                                                 \
	static inline T ft__load##bits##_seq_cst(const T *p)                              \
	{                                                                                 \
		FT__LOOK();                                                               \
		return __atomic_load_n(p, __ATOMIC_SEQ_CST);                              \
	}                                                                                 \
	static inline void ft__store##bits##_relaxed(T *p, T v)                           \
	{                                                                                 \
		FT__POINT();                                                              \
		__atomic_store_n(p, v, __ATOMIC_RELAXED);                                 \
		FT__POINT();                                                              \
	}                                                                                 \
	static inline void ft__store##bits##_release(T *p, T v)                           \
	{                                                                                 \
		FT__POINT();                                                              \
		__atomic_store_n(p, v, __ATOMIC_RELEASE);                                 \
		FT__POINT();                                                              \
	}                                                                                 \
	static inline void ft__store##bits##_seq_cst(T *p, T v)                           \
	{                                                                                 \
		FT__POINT();                                                              \
		__atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                 \
		FT__POINT();                                                              \
	}                                                                                 \
	/* On failure *seen is what was there. */                                         \
	static inline bool ft__cas##bits##_acquire(T *p, T *seen, T v)                    \
	{                                                                                 \
		FT__POINT();                                                              \
		bool done = __atomic_compare_exchange_n(p, seen, v, false,                \
							__ATOMIC_ACQUIRE,                 \
							__ATOMIC_RELAXED);                \
		FT__POINT();                                                              \
		return done;                                                              \
	}                                                                                 \
	static inline bool ft__cas##bits##_release(T *p, T *seen, T v)                    \
	{                                                                                 \
		FT__POINT();                                                              \
		bool done = __atomic_compare_exchange_n(p, seen, v, false,                \
							__ATOMIC_RELEASE,                 \
							__ATOMIC_RELAXED);                \
		FT__POINT();                                                              \
		return done;                                                              \
	}                                                                                 \
	static inline bool ft__cas##bits##_seq_cst(T *p, T *seen, T v)                    \
	{                                                                                 \
		FT__POINT();                                                              \
		bool done = __atomic_compare_exchange_n(p, seen, v, false,                \
							__ATOMIC_SEQ_CST,                 \
							__ATOMIC_SEQ_CST);                \
		FT__POINT();                                                              \
		return done;                                                              \
	}                                                                                 \
	static inline T ft__add##bits##_seq_cst(T *p, T v)                                \
	{                                                                                 \
		FT__POINT();                                                              \
		T old = __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);                       \
		FT__POINT();                                                              \
		return old;                                                               \
	}                                                                                 \
	static inline T ft__swap##bits##_seq_cst(T *p, T v)                               \
	{                                                                                 \
		FT__POINT();                                                              \
		T old = __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                      \
		FT__POINT();                                                              \
		return old;                                                               \
	}                                                                                 \
	static inline T ft__or##bits##_seq_cst(T *p, T v)                                 \
	{                                                                                 \
		FT__POINT();                                                              \
		T old = __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST);                        \
		FT__POINT();                                                              \
		return old;                                                               \
	}                                                                                 \
	static inline T ft__and##bits##_seq_cst(T *p, T v)                                \
	{                                                                                 \
		FT__POINT();                                                              \
		T old = __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST);                       \
		FT__POINT();                                                              \
		return old;                                                               \
	}

FT__ATOMIC(uint32_t, 32)
FT__ATOMIC(uint64_t, 64)

/* Private pointers that are set once; an object's own type stays. */
#define FT__LOAD_POINTER(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define FT__STORE_POINTER(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/* Orders this thread's own stores against its own death and its own signal
 * handlers; other threads look only after the kernel proved the death. */
static inline void ft__compiler_barrier(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Orders this thread's stores before its later loads, for all to see.  The
 * sanitizer knows no fences; to it an exchange does the same. */
static inline void ft__fence_seq_cst(void)
{
	FT__POINT();
#ifdef FT__TSAN
	uint32_t here = 0;
	__atomic_exchange_n(&here, 1, __ATOMIC_SEQ_CST);
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* A pause in a spin loop: gives the sibling hyperthread the core's ports. */
static inline void ft__cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("isb" ::: "memory");
#else
	ft__compiler_barrier();
#endif
}

#endif
