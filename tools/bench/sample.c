/* SPDX-License-Identifier: MIT */
/* Samples of a row; see sample.h. */
#include "sample.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SUBJECTS_MAX 8
#define SAMPLES_MAX 1000
#define SAMPLES_MIN 5
#define DEFAULT_SAMPLE INT64_C(1000000)

struct track {
	struct bench_job job;
	long count; /* operations in a sample */
	unsigned samples;
	double us[SAMPLES_MAX]; /* of one operation, in each sample */
};

static void print_off(const struct bench_row *row, const struct bench_subject *subject)
{
	printf("{\"row\": \"%s\", \"subject\": \"%s\", \"off\": \"%s\"}\n", row->name,
	       subject->name, subject->off);
}

static void print_samples(const struct track *track)
{
	printf("{\"row\": \"%s\", \"subject\": \"%s\", \"unit\": \"us\", \"count\": %ld, "
	       "\"samples\": [",
	       track->job.row->name, track->job.subject->name, track->count);
	for (unsigned i = 0; i < track->samples; i++)
		printf("%s%.6g", i ? ", " : "", track->us[i]);
	printf("]}\n");
}

/* Whether so many operations last as long as a sample should: each time of
 * three, since another program may have had the CPU for a while. */
static int long_enough(struct track *track)
{
	const struct bench_row *row = track->job.row;
	int64_t least = row->sample ? row->sample : DEFAULT_SAMPLE;

	for (int i = 0; i < 3; i++)
		if (track->job.subject->run(&track->job, track->count) < least)
			return 0;
	return 1;
}

/* Finds how many operations make a sample; warms up, too. */
static void calibrate(struct track *track)
{
	track->count = track->job.row->count;
	if (track->count) {
		track->job.subject->run(&track->job, track->count);
		return;
	}
	track->count = 1;
	while (track->count < 1L << 40 && !long_enough(track))
		track->count *= 2;
}

static void sample(struct track *track)
{
	int64_t taken = track->job.subject->run(&track->job, track->count);

	track->us[track->samples++] = (double)taken / (double)track->count / 1e3;
}

static unsigned open_all(const struct bench_row *row, struct track *tracks)
{
	unsigned number = 0;

	for (const struct bench_subject *s = row->subjects; s->name; s++) {
		struct track *track = &tracks[number];

		if (s->off) {
			print_off(row, s);
			continue;
		}
		if (++number > SUBJECTS_MAX)
			bench_fail(row->name, E2BIG);
		track->job = (struct bench_job){ .row = row, .subject = s };
		if (s->open)
			s->open(&track->job);
	}
	return number;
}

void bench_measure(const struct bench_row *row, int64_t budget)
{
	struct track *tracks = calloc(SUBJECTS_MAX, sizeof(*tracks));
	unsigned number;
	int64_t end;

	if (!tracks)
		bench_fail(row->name, ENOMEM);
	number = open_all(row, tracks);
	for (unsigned i = 0; i < number; i++)
		calibrate(&tracks[i]);
	end = bench_now() + budget;
	for (unsigned round = 0; round < SAMPLES_MAX; round++) {
		if (round >= SAMPLES_MIN && bench_now() > end)
			break;
		for (unsigned i = 0; i < number; i++)
			sample(&tracks[i]);
	}
	for (unsigned i = 0; i < number; i++) {
		print_samples(&tracks[i]);
		if (tracks[i].job.subject->close)
			tracks[i].job.subject->close(&tracks[i].job);
	}
	free(tracks);
}
