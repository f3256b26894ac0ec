/* SPDX-License-Identifier: MIT */
/* Sets of CPUs: their arithmetic and their text. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "os/text.h"
#include "work/place.h"

unsigned ft_cpus_count(const struct ft_cpus *cpus)
{
	unsigned count = 0;

	if (!cpus)
		return 0;
	for (size_t i = 0; i < FT_CPUS_MAX / 64; i++)
		count += (unsigned)__builtin_popcountll(cpus->bits[i]);
	return count;
}

bool ft__cpus_and(struct ft_cpus *a, const struct ft_cpus *b)
{
	uint64_t any = 0;

	for (size_t i = 0; i < FT_CPUS_MAX / 64; i++) {
		a->bits[i] &= b->bits[i];
		any |= a->bits[i];
	}
	return any;
}

/* One number; -EINVAL if there is none, -ERANGE if it is no CPU of ours. */
static int parse_cpu(const char **list, unsigned *cpu)
{
	unsigned long value = 0;

	if (!isdigit((unsigned char)**list))
		return -EINVAL;
	for (; isdigit((unsigned char)**list); (*list)++) {
		value = value * 10 + (unsigned long)(**list - '0');
		if (value >= FT_CPUS_MAX)
			return -ERANGE;
	}
	*cpu = (unsigned)value;
	return 0;
}

/* "3" or "0-7". */
static int parse_range(const char **list, struct ft_cpus *cpus)
{
	unsigned first, last;
	int rc = parse_cpu(list, &first);

	if (rc)
		return rc;
	last = first;
	if (**list == '-') {
		(*list)++;
		rc = parse_cpu(list, &last);
		if (rc)
			return rc;
	}
	if (last < first)
		return -EINVAL;
	for (unsigned cpu = first; cpu <= last; cpu++)
		ft__cpus_add(cpus, cpu);
	return 0;
}

int ft_cpus_parse(const char *list, struct ft_cpus *cpus)
{
	struct ft_cpus parsed = { 0 };

	if (!list || !cpus)
		return -EINVAL;
	while (*list) {
		int rc = parse_range(&list, &parsed);
		if (rc)
			return rc;
		if (*list && (*list != ',' || !list[1]))
			return -EINVAL;
		list += *list == ',';
	}
	*cpus = parsed;
	return 0;
}

int ft_cpus_format(const struct ft_cpus *cpus, char *text, size_t size)
{
	struct ft__text out = { .at = text, .size = size };

	if (!cpus || (!text && size))
		return -EINVAL;
	if (size)
		text[0] = '\0';
	for (unsigned first = 0; first < FT_CPUS_MAX; first++) {
		unsigned last = first;

		if (!ft__cpus_has(cpus, first))
			continue;
		while (ft__cpus_has(cpus, last + 1))
			last++;
		ft__text_add(&out, first == last ? "%s%u" : "%s%u-%u", out.length ? "," : "", first,
			     last);
		first = last;
	}
	return (int)out.length;
}
