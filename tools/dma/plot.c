// SPDX-License-Identifier: GPL-2.0-only
/* --plot FILE.svg: gnuplot draws. */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tool.h"

static FILE *plot_open(int width, int height)
{
	const char *c;
	FILE *f;

	if (strchr(opt.plot, '\n'))
		die(EXIT_USAGE, "--plot: a name of a file has no line ends");
	/* If gnuplot is not there, its shell ends before it has read all. */
	signal(SIGPIPE, SIG_IGN);
	fflush(stdout);
	f = popen("exec gnuplot", "we");
	if (!f)
		die(EXIT_CANNOT, "gnuplot: %s", strerror(errno));
	fprintf(f, "set terminal svg size %d,%d background rgb 'white'\nset output '", width,
		height);
	for (c = opt.plot; *c; c++) {
		if (*c == '\'')
			fputc('\'', f);
		fputc(*c, f);
	}
	fprintf(f, "'\nset grid\nset style fill solid 0.6\n");
	return f;
}

static void plot_close(FILE *f)
{
	int status = pclose(f);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		die(EXIT_CANNOT, "gnuplot cannot be run: is gnuplot-nox installed? (On "
		    "another machine: survey --save FILE, and there --from FILE --plot)");
	if (status)
		die(EXIT_CANNOT, "gnuplot failed: no %s", opt.plot);
}

/* A title in which gnuplot takes no character for more than it is. */
static void draw_title(FILE *f, const char *what, const char *device)
{
	fprintf(f, "set title \"%s: ", what);
	for (; *device; device++)
		fprintf(f, strchr("\"\\_^{}@&", *device) ? "?" : "%c", *device);
	fprintf(f, "\" noenhanced\n");
}

static void block(FILE *f, const char *name)
{
	fprintf(f, "$%s << EOD\n", name);
}

/* Four panes: sizes, in flight, fill, and where copying and mapping cost the same. */
void plot_load(struct load *l, uint64_t copybreak, double copy_ns_kib, double map_ns,
	       uint64_t minimum)
{
	FILE *f = plot_open(1000, 700);
	uint64_t size;
	int bars = 0;
	size_t i;

	block(f, "sizes");
	for (i = 0; i < ARRAY_SIZE(l->size_hist.n); i++)
		if (l->size_hist.n[i])
			fprintf(f, "%d \"%s\" %llu\n", bars++, human(1ULL << i),
				(unsigned long long)l->size_hist.n[i]);
	fprintf(f, "EOD\n");
	block(f, "time");
	for (i = 0; i < l->nsamples; i++)
		fprintf(f, "%.6f %llu %.3f\n", l->samples[i].at,
			(unsigned long long)l->samples[i].n,
			l->samples[i].slots * SLOT / 1048576.0);
	fprintf(f, "EOD\n");
	block(f, "cost");
	for (size = 512; size <= MIB; size *= 2)
		fprintf(f, "%llu %.3f %.3f\n", (unsigned long long)size,
			size / 1024.0 * copy_ns_kib / 1e3, map_ns / 1e3);
	fprintf(f, "EOD\nset multiplot layout 2,2\n");
	draw_title(f, "sizes", l->device);
	fprintf(f, "set xlabel 'up to'\nset ylabel 'mappings'\nset boxwidth 0.8\n"
		"set xrange [-1:%d]\nset yrange [0:*]\nset xtics rotate by -45\n"
		"plot $sizes using 1:3:xtic(2) with boxes notitle\n"
		"set xrange [*:*]\nset xtics norotate autofreq\nset xlabel 'seconds'\n", bars);
	draw_title(f, "in flight", l->device);
	fprintf(f, "set ylabel 'mappings'\nplot $time using 1:2 with steps notitle\n");
	draw_title(f, "fill of a window", l->device);
	fprintf(f, "set ylabel 'MiB'\nset yrange [0:%g]\n"
		"plot $time using 1:3 with steps title 'slots', %g title "
		"'minimum'\n",
		minimum * 1.1 / MIB, minimum / 1048576.0);
	draw_title(f, "copy against map", l->device);
	fprintf(f, "set logscale xy\nset xlabel 'bytes'\nset ylabel 'us'\nset yrange [*:*]\n"
		"set key top left\n");
	if (copybreak)
		fprintf(f, "set arrow from %llu, graph 0 to %llu, graph 1 nohead dashtype 2\n",
			(unsigned long long)copybreak, (unsigned long long)copybreak);
	fprintf(f, "plot $cost using 1:2 with lines title 'copy', $cost using 1:3 with lines "
		"title 'map and unmap'\n"
		"unset multiplot\n");
	plot_close(f);
}

/* A window over time: a is the fill in percent, b the mappings per second. */
void plot_fill(const char *name, const struct series *s)
{
	FILE *f = plot_open(1000, 400);
	size_t i;

	block(f, "time");
	for (i = 0; i < s->n; i++)
		fprintf(f, "%.3f %.3f %.3f\n", s->t[i], s->a[i], s->b[i]);
	fprintf(f, "EOD\n");
	draw_title(f, "fill", name);
	fprintf(f, "set xlabel 'seconds'\nset ylabel '%% in use'\nset yrange [0:100]\n"
		"set y2label 'mappings/s'\nset y2tics\nset ytics nomirror\nset y2range [0:*]\n"
		"plot $time using 1:2 with steps title 'fill', $time using 1:3 axes x1y2 with "
		"lines title 'mappings/s'\n");
	plot_close(f);
}

/* Bars, two for each name. */
void plot_bars(const char *what, const char * const *keys, struct bar *bars, size_t n)
{
	FILE *f = plot_open(1000, 400);
	size_t i;
	char *c;

	block(f, "bars");
	for (i = 0; i < n; i++) {
		for (c = bars[i].name; *c; c++)
			if (strchr("\" ", *c))
				*c = '?';
		fprintf(f, "\"%s\" %g %g\n", bars[i].name, bars[i].value[0],
			bars[i].value[1]);
	}
	fprintf(f, "EOD\n");
	draw_title(f, what, "windows and devices");
	fprintf(f, "set style data histograms\nset yrange [0:*]\nset xtics noenhanced\n"
		"plot $bars using 2:xtic(1) title '%s', $bars using 3 title '%s'\n",
		keys[0], keys[1]);
	plot_close(f);
}
