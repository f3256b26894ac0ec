/* SPDX-License-Identifier: MIT */
/* Which library is running. */
#include <freethreading/base.h>
#include <freethreading/version.h>

const char *ft_version(void)
{
	return FT_VERSION_STRING;
}
