/* SPDX-License-Identifier: MIT */
/* Samples of a row: its subjects in turn, one sample each, again and again. */
#ifndef FT_BENCH_SAMPLE_H
#define FT_BENCH_SAMPLE_H

#include "bench.h"

/* Measures the row for about `budget` ns and prints a JSON line for each
 * subject: {"row", "subject", "unit", "count", "samples"}, or {"row", "subject",
 * "off"}. */
void bench_measure(const struct bench_row *row, int64_t budget);

#endif
