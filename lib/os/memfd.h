/* SPDX-License-Identifier: MIT */
/* Anonymous shared files.  Floor 0. */
#ifndef FT_OS_MEMFD_H
#define FT_OS_MEMFD_H

#include <stdint.h>

/* A sealed (no shrinking) close-on-exec memfd of exactly `size` sparse bytes.
 * Returns the descriptor, raised (os/fd.h); -EFBIG where RLIMIT_FSIZE forbids the size (the
 * kernel would kill us with SIGXFSZ); other -errno. */
int ft__memfd_create(const char *name, uint64_t size);

#endif
