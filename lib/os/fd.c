/* SPDX-License-Identifier: MIT */
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int ft__fd_raise(int fd)
{
	int error = errno, high;

	if (fd < 0 || fd >= FT__FD_HIGH)
		return fd;
	/* Below is as good, but for who closes by number. */
	high = fcntl(fd, F_DUPFD_CLOEXEC, FT__FD_HIGH);
	errno = error;
	if (high < 0)
		return fd;
	close(fd);
	return high;
}
