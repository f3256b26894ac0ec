/* SPDX-License-Identifier: MIT */
/* The hook behind FT__POINT(). */
#include "os/point.h"

#ifdef FT_POINTS
ft__point_hook *ft__point;
#else
/* ISO C wants a declaration in every file. */
typedef int ft__points_are_off;
#endif
