/* SPDX-License-Identifier: MIT */
/* Where descriptors lie.  Floor 0. */
#ifndef FT_OS_FD_H
#define FT_OS_FD_H

/* Programs that become daemons close the descriptors 3 to 1000 by number. */
#define FT__FD_HIGH 1001

/* Moves a close-on-exec descriptor of ours to FT__FD_HIGH or above, where the
 * limit of the process has room there; returns where it lies now, with errno
 * as it was.  Negative ones come back as they are. */
int ft__fd_raise(int fd);

#endif
