// SPDX-License-Identifier: GPL-2.0-only
/* Percentiles of values that are all kept, and histograms by powers of two. */

#include <stdlib.h>
#include <string.h>

#include "tool.h"

void values_add(struct values *v, uint64_t value)
{
	v->v = xgrow(v->v, v->n, &v->cap, sizeof(*v->v));
	v->v[v->n++] = value;
	v->sorted = false;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t values_at(struct values *v, double per)
{
	size_t i;

	if (!v->n)
		return 0;
	if (!v->sorted)
		qsort(v->v, v->n, sizeof(*v->v), compare);
	v->sorted = true;
	i = per * v->n / 100;
	return v->v[i < v->n ? i : v->n - 1];
}

void values_free(struct values *v)
{
	free(v->v);
}

void hist_add(struct hist *h, uint64_t value)
{
	unsigned int b = 0;

	while (b < ARRAY_SIZE(h->n) - 1 && value > 1ULL << b)
		b++;
	h->n[b]++;
}

static bool hist_range(const struct hist *h, size_t *from, size_t *to, uint64_t *all)
{
	size_t i;

	*from = ARRAY_SIZE(h->n);
	*to = 0;
	*all = 0;
	for (i = 0; i < ARRAY_SIZE(h->n); i++) {
		if (!h->n[i])
			continue;
		if (*from > i)
			*from = i;
		*to = i;
		*all += h->n[i];
	}
	return *all;
}

static const char *bound(unsigned int b, const char *unit)
{
	static char buf[24];
	static const char * const times[] = { "ns", "us", "ms", "s" };
	double ns = 1ULL << b;
	size_t i;

	if (strcmp(unit, "ns"))
		return human(1ULL << b);
	for (i = 0; ns >= 1000 && i < ARRAY_SIZE(times) - 1; i++)
		ns /= 1000;
	snprintf(buf, sizeof(buf), "%.3g %s", ns, times[i]);
	return buf;
}

/* In at most 79 columns; the unit is "ns", "bytes", or "multiple" of bytes. */
void hist_print(const struct hist *h, const char *unit)
{
	size_t i, from, to, stars;
	uint64_t all, most = 0;

	if (!hist_range(h, &from, &to, &all))
		return;
	for (i = from; i <= to; i++)
		if (h->n[i] > most)
			most = h->n[i];
	for (i = from; i <= to; i++) {
		if (!h->n[i])
			continue;
		printf("    %s %8s %9llu %4.0f %% ", strcmp(unit, "multiple") ? "up to" : "   of",
		       bound(i, unit),
		       (unsigned long long)h->n[i], percent(h->n[i], all));
		stars = 40 * h->n[i] / most;
		if (!stars)
			stars = 1;
		while (stars--)
			putchar('#');
		putchar('\n');
	}
}

void hist_json(const struct hist *h, const char *name)
{
	size_t i, from, to;
	uint64_t all;

	json_open(name, '[');
	if (hist_range(h, &from, &to, &all)) {
		for (i = from; i <= to; i++) {
			json_open(NULL, '{');
			json_number("up_to", 1ULL << i);
			json_number("count", h->n[i]);
			json_close('}');
		}
	}
	json_close(']');
}
