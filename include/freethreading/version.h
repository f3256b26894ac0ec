/* SPDX-License-Identifier: MIT */
#ifndef FREETHREADING_VERSION_H
#define FREETHREADING_VERSION_H

/* The one place where the version lives; configure.ac reads it from here. */
#define FT_VERSION_MAJOR 0
#define FT_VERSION_MINOR 1
#define FT_VERSION_PATCH 0
#define FT_VERSION_STRING "0.1.0"

#endif
