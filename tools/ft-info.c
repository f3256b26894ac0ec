/* SPDX-License-Identifier: MIT */
/* ft-info: what freethreading found on this machine; see ft-info(1). */
#include <freethreading.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "Usage: ft-info [--features] [--help] [-V | --version]\n"
			    "Tells what freethreading found on this machine.\n"
			    "\n"
			    "  --features     only the features, one a line, separated by tabs:\n"
			    "                 name, on or off, first Linux, reason\n"
			    "  --help         print this and leave\n"
			    "  -V, --version  print the library's version and leave\n";

static int print_features(void)
{
	struct ft_feature feature;

	for (unsigned i = 0; ft_info_feature(i, &feature) == 0; i++)
		printf("%s\t%s\t%s\t%s\n", feature.name, feature.on ? "on" : "off", feature.since,
		       feature.why);
	return 0;
}

static int print_page(void)
{
	int size = ft_info_text(NULL, 0) + 1;
	char *text = size > 0 ? malloc((size_t)size) : NULL;

	if (!text) {
		fprintf(stderr, "ft-info: out of memory\n");
		return 1;
	}
	ft_info_text(text, (size_t)size);
	fputs(text, stdout);
	free(text);
	return 0;
}

static int answer(int argc, char **argv)
{
	if (argc == 1)
		return print_page();
	if (argc == 2 && !strcmp(argv[1], "--features"))
		return print_features();
	if (argc == 2 && (!strcmp(argv[1], "-V") || !strcmp(argv[1], "--version")))
		return printf("ft-info %s\n", ft_version()) < 0;
	if (argc == 2 && !strcmp(argv[1], "--help"))
		return fputs(usage, stdout) < 0;
	fputs(usage, stderr);
	return 2;
}

int main(int argc, char **argv)
{
	int status = answer(argc, argv);

	if (fflush(stdout) || ferror(stdout)) {
		perror("ft-info");
		return 1;
	}
	return status;
}
