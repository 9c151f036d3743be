// SPDX-License-Identifier: GPL-2.0-only
/* dma-window: looks at restricted DMA windows, and sizes them. */

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

#ifndef VERSION
#define VERSION "unknown"
#endif

struct options opt = { .root = "", .seconds = -1, .interval = -1, .rounds = -1,
		       .buffer = 4 * MIB };

enum {
	OPT_ROOT = 256, OPT_JSON, OPT_PLOT, OPT_FROM, OPT_SAVE, OPT_LOG, OPT_BUFFER, OPT_MAP_NS,
	OPT_PROMETHEUS, OPT_COMPARE, OPT_KIND
};

static const struct option longs[] = {
	{ "device", required_argument, NULL, 'd' },
	{ "seconds", required_argument, NULL, 't' },
	{ "interval", required_argument, NULL, 'i' },
	{ "rounds", required_argument, NULL, 'n' },
	{ "batch", no_argument, NULL, 'b' },
	{ "events", no_argument, NULL, 'e' },
	{ "help", no_argument, NULL, 'h' },
	{ "root", required_argument, NULL, OPT_ROOT },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "plot", required_argument, NULL, OPT_PLOT },
	{ "from", required_argument, NULL, OPT_FROM },
	{ "save", required_argument, NULL, OPT_SAVE },
	{ "log", required_argument, NULL, OPT_LOG },
	{ "buffer", required_argument, NULL, OPT_BUFFER },
	{ "map-ns", required_argument, NULL, OPT_MAP_NS },
	{ "prometheus", no_argument, NULL, OPT_PROMETHEUS },
	{ "compare", no_argument, NULL, OPT_COMPARE },
	{ "kind", required_argument, NULL, OPT_KIND },
	{ }
};

enum rest { REST_NONE, REST_NAMES, REST_COMMAND, REST_ARGS };

static const struct {
	const char	*name;
	const char	*options;	/* of those below, beside --root, --json and --help */
	enum rest	rest;
	const char	*help;
} verbs[] = {
	{ "status", "device interval prometheus plot", REST_NAMES,
	  "status [-i SECONDS] [--prometheus] [WINDOW|DEVICE]...\n"
	  "    windows, who is in them, fill, failures and what to do about them" },
	{ "top", "device interval rounds batch events plot buffer", REST_NAMES,
	  "top [-e] [-i SECONDS] [-b] [-n ROUNDS] [WINDOW|DEVICE]...\n"
	  "    the same, live; -e: also by device, and how long mappings live" },
	{ "survey", "device seconds from save buffer map-ns compare kind plot", REST_COMMAND,
	  "survey [-d DEVICE]... [-t SECONDS] [--save FILE] [--compare] [[--] COMMAND...]\n"
	  "survey [-d DEVICE]... --from FILE [--kind KIND]\n"
	  "    what a load does with memory, and what window it needs" },
	{ "size", "device seconds plot", REST_COMMAND,
	  "size [-d WINDOW|DEVICE]... [-t SECONDS] [[--] COMMAND...]\n"
	  "    how large a window has to be, from the counters of one that runs" },
	{ "set", "", REST_ARGS,
	  "set copybreak DEVICE BYTES\n"
	  "    up to which size buffers are copied, behind an IOMMU" },
	{ "events", "device seconds from buffer", REST_COMMAND,
	  "events [-d DEVICE]... [-t SECONDS] [--from FILE] [[--] COMMAND...]\n"
	  "    a trace, decoded" },
	{ "doctor", "log", REST_NONE,
	  "doctor [--log FILE]\n"
	  "    what is wrong with this guest, and what to do" },
};

static void print_usage(FILE *f)
{
	size_t i;

	fprintf(f, "usage: dma-window VERB [OPTION]...\n");
	for (i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(f, "  %s\n", verbs[i].help);
	fprintf(f, "Each has --json, and --root DIR to look below DIR. --plot FILE.svg: "
		"status, top,\nsurvey, size. Exit status: 0 fine, 1 a warning, 2 something is "
		"wrong, 3 nothing\ncould be said, 4 wrong usage. See dma-window(8).\n");
}

static void add_name(const char *name)
{
	if (opt.ndevices == (int)ARRAY_SIZE(opt.devices))
		die(EXIT_USAGE, "more than %zu names", ARRAY_SIZE(opt.devices));
	/* Names go into filters of the kernel. */
	if (!*name || strlen(name) > 63 || strpbrk(name, "\" /\n"))
		die(EXIT_USAGE, "\"%s\" is no name of a device or window", name);
	opt.devices[opt.ndevices++] = name;
}

static void seconds_of(double *value, const char *name, const char *text)
{
	if (!parse_seconds(text, value))
		die(EXIT_USAGE, "--%s: \"%s\" is no time in seconds", name, text);
}

/* Words of a list, separated by spaces. */
static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);
	const char *p = list;

	while ((p = strstr(p, word))) {
		if ((p == list || p[-1] == ' ') && (!p[n] || p[n] == ' '))
			return true;
		p += n;
	}
	return false;
}

static void take_option(int c)
{
	char *end;

	switch (c) {
	case 'd':
		add_name(optarg);
		break;
	case 't':
		seconds_of(&opt.seconds, "seconds", optarg);
		break;
	case 'i':
		seconds_of(&opt.interval, "interval", optarg);
		break;
	case 'n':
		opt.rounds = strtol(optarg, &end, 10);
		if (*end || end == optarg || opt.rounds < 1)
			die(EXIT_USAGE, "--rounds: \"%s\" is no number from 1 on", optarg);
		break;
	case 'b':
		opt.batch = true;
		break;
	case 'e':
		opt.events = true;
		break;
	case OPT_ROOT:
		opt.root = optarg;
		break;
	case OPT_JSON:
		opt.json = true;
		break;
	case OPT_PLOT:
		opt.plot = optarg;
		break;
	case OPT_FROM:
		opt.from = optarg;
		break;
	case OPT_SAVE:
		opt.save = optarg;
		break;
	case OPT_LOG:
		opt.log = optarg;
		break;
	case OPT_KIND:
		opt.kind = optarg;
		break;
	case OPT_BUFFER:
		if (!parse_size(optarg, &opt.buffer) || opt.buffer < 64 * KIB ||
		    opt.buffer > GIB)
			die(EXIT_USAGE, "--buffer: \"%s\" is no size from 64K to 1G", optarg);
		break;
	case OPT_MAP_NS:
		opt.map_ns = strtoull(optarg, &end, 10);
		if (*optarg < '1' || *optarg > '9' || *end || opt.map_ns > 1000000000)
			die(EXIT_USAGE, "--map-ns: \"%s\" is no number of nanoseconds", optarg);
		break;
	case OPT_PROMETHEUS:
		opt.prometheus = true;
		break;
	case OPT_COMPARE:
		opt.compare = true;
		break;
	}
}

static void parse(size_t v, int argc, char **argv)
{
	/* Options behind a command are the command's. */
	const char *shorts = verbs[v].rest == REST_COMMAND ? "+:d:t:i:n:beh" : ":d:t:i:n:beh";
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		size_t i;

		if (c == ':')
			die(EXIT_USAGE, "%s needs a value", argv[optind - 1]);
		if (c == '?')
			die(EXIT_USAGE, "there is no option %s", argv[optind - 1]);
		if (c == 'h') {
			print_usage(stdout);
			exit(EXIT_FINE);
		}
		for (i = 0; longs[i].val != c; i++)
			;
		if (c != OPT_ROOT && c != OPT_JSON && !has_word(verbs[v].options, longs[i].name))
			die(EXIT_USAGE, "--%s is not for %s", longs[i].name, verb);
		take_option(c);
	}
	if (opt.json && opt.prometheus)
		die(EXIT_USAGE, "--json or --prometheus, not both");
	if (optind == argc)
		return;
	switch (verbs[v].rest) {
	case REST_NONE:
		die(EXIT_USAGE, "\"%s\": %s takes no argument", argv[optind], verb);
	case REST_NAMES:
		for (; optind < argc; optind++)
			add_name(argv[optind]);
		break;
	case REST_COMMAND:
		if (opt.from)
			die(EXIT_USAGE, "with --from nothing is recorded: no command");
		opt.command = argv + optind;
		break;
	case REST_ARGS:
		break;
	}
}

int main(int argc, char **argv)
{
	int status = EXIT_FINE;
	size_t v;

	if (argc < 2) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_usage(stdout);
		return EXIT_FINE;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("dma-window %s\n", VERSION);
		return EXIT_FINE;
	}
	for (v = 0; v < ARRAY_SIZE(verbs); v++)
		if (!strcmp(argv[1], verbs[v].name))
			break;
	if (v == ARRAY_SIZE(verbs))
		die(EXIT_USAGE, "there is no verb \"%s\"; dma-window --help lists them", argv[1]);
	verb = verbs[v].name;
	parse(v, argc - 1, argv + 1);
	catch_signals();

	if (!strcmp(verb, "status"))
		status = verb_status();
	else if (!strcmp(verb, "top"))
		status = verb_top();
	else if (!strcmp(verb, "survey"))
		status = verb_survey();
	else if (!strcmp(verb, "size"))
		status = verb_size();
	else if (!strcmp(verb, "set"))
		status = verb_set(argc - 1 - optind, argv + 1 + optind);
	else if (!strcmp(verb, "events"))
		status = verb_events();
	else
		status = verb_doctor();
	if (fflush(stdout) || ferror(stdout))
		die(EXIT_CANNOT, "standard output: what was to be said could not be written");
	return status;
}
