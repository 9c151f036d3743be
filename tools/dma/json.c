// SPDX-License-Identifier: GPL-2.0-only
/* JSON on standard output; commas are put where they belong. */

#include <math.h>

#include "tool.h"

static bool first = true;

static void quote(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		unsigned char c = *s;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void name_it(const char *name)
{
	if (!first)
		putchar(',');
	first = false;
	if (name) {
		quote(name);
		putchar(':');
	}
}

void json_open(const char *name, char bracket)
{
	name_it(name);
	putchar(bracket);
	first = true;
}

void json_close(char bracket)
{
	putchar(bracket);
	first = false;
}

void json_text(const char *name, const char *value)
{
	name_it(name);
	quote(value);
}

void json_number(const char *name, uint64_t value)
{
	name_it(name);
	printf("%llu", (unsigned long long)value);
}

void json_float(const char *name, double value)
{
	name_it(name);
	if (isfinite(value))
		printf("%.6g", value);
	else
		fputs("null", stdout);
}

void json_bool(const char *name, bool value)
{
	name_it(name);
	fputs(value ? "true" : "false", stdout);
}

/* End a document; one a line, so that "top" makes lines of JSON. */
void json_end(void)
{
	putchar('\n');
	fflush(stdout);
	first = true;
}
