/* SPDX-License-Identifier: MIT */
/* Sealed anonymous files. */
#include "os/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "os/fd.h"
#include "os/probe.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

static int resize_and_seal(int fd, uint64_t size)
{
	if (ftruncate(fd, (off_t)size) != 0)
		return -errno;
	/* Nobody can cut pages off under our feet, which would be SIGBUS. */
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		return -errno;
	return 0;
}

int ft__memfd_create(const char *name, uint64_t size)
{
	struct rlimit limit;

	if (size > INT64_MAX)
		return -EFBIG;
	/* Beyond the limit ftruncate does not fail, it kills (SIGXFSZ). */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
	    size > limit.rlim_cur)
		return -EFBIG;

	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;

	/* vm.memfd_noexec=2 refuses files that could be executed. */
	if (ft__have(FT__MEMFD_NOEXEC))
		flags |= MFD_NOEXEC_SEAL;

	int fd = memfd_create(name, flags);

	if (fd < 0)
		return -errno;

	int rc = resize_and_seal(fd, size);

	if (rc != 0) {
		close(fd);
		return rc;
	}
	return ft__fd_raise(fd);
}
