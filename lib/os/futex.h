/* SPDX-License-Identifier: MIT */
/*
 * The futex system call; lib/os/futex.c is its only caller.  Floor 0.
 *
 * Words in shared pages need `shared` true on both sides: the kernel keys
 * private and shared futexes differently, and a mismatch wakes nobody.
 */
#ifndef FT_OS_FUTEX_H
#define FT_OS_FUTEX_H

#include <stdbool.h>
#include <stdint.h>

#include <freethreading/base.h>

/* Sleeps while *word == expected.  0: woken, perhaps spuriously; -EAGAIN: the
 * word differs; -ETIMEDOUT; -EINTR.  The caller always looks again. */
int ft__futex_wait(const uint32_t *word, uint32_t expected, bool shared, ft_deadline deadline);

/* Wakes up to `count` sleepers; returns how many.  An address that is no
 * longer mapped wakes nobody and is no error. */
int ft__futex_wake(const uint32_t *word, int count, bool shared);

/* In one system call, which a kill cannot split: *word = value (value must be
 * a single bit or 0), then wakes up to `count` sleepers.  Returns how many. */
int ft__futex_store_wake(uint32_t *word, uint32_t value, int count, bool shared);

#endif
