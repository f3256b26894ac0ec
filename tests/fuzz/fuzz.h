/* SPDX-License-Identifier: MIT */
/*
 * What fuzz targets have in common.  A target is one function of bytes, by
 * libFuzzer's name and rules; with -DFT_LIBFUZZER and clang's -fsanitize=fuzzer it
 * is driven by that.  Otherwise main() here does: input number n is made from the
 * target's samples and the number alone, so a failure names the number, and
 * FT_SEED=n plays it again.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>

#include "../unit/child.h"

#define INPUT_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes of an input, one after the other; zeros when they are used up. */
struct bytes {
	const uint8_t *at;
	size_t left;
};

static inline void bytes_take(struct bytes *bytes, void *to, size_t size)
{
	size_t n = size < bytes->left ? size : bytes->left;

	memset(to, 0, size);
	if (n)
		memcpy(to, bytes->at, n);
	bytes->at += n;
	bytes->left -= n;
}

static inline uint8_t byte_take(struct bytes *bytes)
{
	uint8_t byte;

	bytes_take(bytes, &byte, sizeof(byte));
	return byte;
}

static inline uint64_t word_take(struct bytes *bytes)
{
	uint64_t word;

	bytes_take(bytes, &word, sizeof(word));
	return word;
}

/* libFuzzer's own main calls this, too, if a target has it. */
#define INSIST(what)                                                                          \
	do {                                                                                  \
		if (!(what)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);            \
			abort();                                                              \
		}                                                                             \
	} while (0)

#ifndef FT_LIBFUZZER
static uint64_t fuzz_number;

static inline uint64_t fuzz_random(uint64_t *state, uint64_t sides)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*state >> 33) % sides;
}

static inline uint8_t fuzz_value(uint64_t *state)
{
	static const uint8_t edges[] = { 0, 1, 0x7f, 0x80, 0xff, '0', '9', '-', ',', '/' };

	return fuzz_random(state, 2) ? edges[fuzz_random(state, sizeof(edges))]
				     : (uint8_t)fuzz_random(state, 256);
}

/* One change: a byte, a run of bytes, a piece lost, a piece twice. */
static inline size_t fuzz_change(uint8_t *data, size_t size, uint64_t *state)
{
	size_t at = size ? fuzz_random(state, size) : 0;
	size_t n = size ? fuzz_random(state, size - at < 16 ? size - at : 16) + 1 : 0;

	switch (size ? fuzz_random(state, 5) : 4) {
	case 0:
		data[at] ^= (uint8_t)(1u << fuzz_random(state, 8));
		return size;
	case 1:
		memset(data + at, fuzz_value(state), n);
		return size;
	case 2:
		n = n < size - at ? n : size - at;
		memmove(data + at, data + at + n, size - at - n);
		return size - n;
	case 3:
		n = n < size - at ? n : size - at;
		n = n < INPUT_MAX - size ? n : INPUT_MAX - size;
		memmove(data + at + n, data + at, size - at);
		return size + n;
	default:
		n = fuzz_random(state, 24) + 1;
		n = n < INPUT_MAX - size ? n : INPUT_MAX - size;
		for (size_t i = 0; i < n; i++)
			data[size + i] = fuzz_value(state);
		return size + n;
	}
}

struct fuzz_sample {
	const void *data;
	size_t size;
};
#define SAMPLE(text) { text, sizeof(text) - 1 }

static inline void fuzz_one(uint64_t number, const struct fuzz_sample *samples, size_t count)
{
	uint64_t state = number * UINT64_C(0x9e3779b97f4a7c15) + 1;
	const struct fuzz_sample *sample = &samples[number % count];
	uint8_t data[INPUT_MAX];
	size_t size = sample->size;

	fuzz_number = number;
	memcpy(data, sample->data, size);
	/* The first round plays the samples themselves. */
	for (uint64_t n = number < count ? 0 : fuzz_random(&state, 8) + 1; n > 0; n--)
		size = fuzz_change(data, size, &state);

	/* So much and no more, for whoever watches the end of memory. */
	uint8_t *exact = malloc(size ? size : 1);

	INSIST(exact);
	memcpy(exact, data, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
}

static inline void fuzz_failed(int signo)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "failed with FT_SEED=%llu\n",
			 (unsigned long long)fuzz_number);

	if (write(STDERR_FILENO, text, (size_t)n) != n)
		_exit(99);
	signal(signo, SIG_DFL);
	raise(signo);
}

static inline int fuzz_main(const char *what, uint64_t inputs, const struct fuzz_sample *samples,
			    size_t count)
{
	static const int fatal[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM };
	const char *seed = getenv("FT_SEED");

	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		signal(fatal[i], fuzz_failed);
	alarm(CHILD_SECONDS * effort(20));
	inputs *= effort(100);
	if (seed) {
		fuzz_one(strtoull(seed, NULL, 0), samples, count);
		return 0;
	}
	for (uint64_t number = 0; number < inputs; number++)
		fuzz_one(number, samples, count);
	printf("%s: %llu inputs\n", what, (unsigned long long)inputs);
	return 0;
}

#define FUZZ_MAIN(what, inputs, samples)                                                      \
	int main(void)                                                                        \
	{                                                                                     \
		return fuzz_main(what, inputs, samples, sizeof(samples) / sizeof(samples[0])); \
	}
#else
#define FUZZ_MAIN(what, inputs, samples)
#endif

#endif
