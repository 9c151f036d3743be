// SPDX-License-Identifier: GPL-2.0-only
/* Messages, memory, files, numbers. */

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

#define BUFFERS	8

const char *verb;

static void say(const char *fmt, va_list args)
{
	fflush(stdout);
	fprintf(stderr, "dma-window%s%s: ", verb ? " " : "", verb ? verb : "");
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
}

void complain(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(fmt, args);
	va_end(args);
}

void die(int status, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(fmt, args);
	va_end(args);
	exit(status);
}

void *xalloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p)
		die(EXIT_CANNOT, "out of memory: %zu bytes", size);
	return p;
}

/* Room for at least n + 1 elements. */
void *xgrow(void *array, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? *cap * 2 : 16;
	void *p;

	if (n < *cap)
		return array;
	p = reallocarray(array, want, size);
	if (!p)
		die(EXIT_CANNOT, "out of memory: %zu elements of %zu bytes", want, size);
	memset((char *)p + *cap * size, 0, (want - *cap) * size);
	*cap = want;
	return p;
}

const char *at(const char *fmt, ...)
{
	static char bufs[BUFFERS][1024];
	static int next;
	char *buf = bufs[next++ % BUFFERS];
	va_list args;
	int n;

	n = snprintf(buf, sizeof(bufs[0]), "%s", opt.root);
	va_start(args, fmt);
	if (n < (int)sizeof(bufs[0]))
		n += vsnprintf(buf + n, sizeof(bufs[0]) - n, fmt, args);
	va_end(args);
	if (n >= (int)sizeof(bufs[0]))
		die(EXIT_CANNOT, "a path is too long: %s", buf);
	return buf;
}

ssize_t read_text(const char *path, char *buf, size_t size)
{
	size_t n = 0;
	ssize_t ret;
	int fd;

	buf[0] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do {
		ret = read(fd, buf + n, size - 1 - n);
		if (ret > 0)
			n += ret;
	} while ((ret > 0 && n < size - 1) || (ret < 0 && errno == EINTR));
	if (ret < 0)
		ret = -errno;
	close(fd);
	if (ret < 0)
		n = 0;
	buf[n] = '\0';
	while (n && buf[n - 1] == '\n')
		buf[--n] = '\0';
	return ret < 0 ? ret : (ssize_t)n;
}

int read_number(const char *path, uint64_t *value)
{
	char buf[64], *end;
	ssize_t n = read_text(path, buf, sizeof(buf));

	if (n < 0)
		return n;
	errno = 0;
	*value = strtoull(buf, &end, 0);
	return end == buf || *end || errno ? -EINVAL : 0;
}

int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_TRUNC);
	ssize_t ret;
	int err = 0;

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text));
	if (ret < 0)
		err = -errno;
	if (close(fd) && !err)
		err = -errno;
	return err;
}

/* A number with K, M or G, or "all" for the largest of 32 bits. */
bool parse_size(const char *text, uint64_t *value)
{
	unsigned int shift = 0;
	char *end;

	if (!strcmp(text, "all")) {
		*value = UINT32_MAX;
		return true;
	}
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 0);
	if (errno)
		return false;
	switch (*end) {
	case 'k':
	case 'K':
		shift = 10;
		break;
	case 'm':
	case 'M':
		shift = 20;
		break;
	case 'g':
	case 'G':
		shift = 30;
		break;
	}
	if (shift)
		end++;
	if (*end || *value > UINT64_MAX >> shift)
		return false;
	*value <<= shift;
	return true;
}

bool parse_seconds(const char *text, double *value)
{
	char *end;

	errno = 0;
	*value = strtod(text, &end);
	return end != text && !*end && !errno && *value >= 0 && *value <= 1e7;
}

const char *human(uint64_t bytes)
{
	static char bufs[BUFFERS][24];
	static int next;
	char *buf = bufs[next++ % BUFFERS];
	static const char * const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
	double v = bytes;
	size_t i;

	if (bytes < KIB) {
		snprintf(buf, sizeof(bufs[0]), "%llu B", (unsigned long long)bytes);
		return buf;
	}
	v /= KIB;
	for (i = 0; v >= 1024 && i < ARRAY_SIZE(units) - 1; i++)
		v /= KIB;
	if (v == floor(v) || v >= 100)
		snprintf(buf, sizeof(bufs[0]), "%.0f %s", v, units[i]);
	else
		snprintf(buf, sizeof(bufs[0]), "%.3g %s", v, units[i]);
	return buf;
}

const char *brief(double v)
{
	static char bufs[BUFFERS][16];
	static int next;
	char *buf = bufs[next++ % BUFFERS];
	static const char units[] = "\0kMGT";
	int i;

	for (i = 0; v >= 999.5 && i < 4; i++)
		v /= 1000;
	snprintf(buf, sizeof(bufs[0]), v >= 99.5 || v == floor(v) ? "%.0f%c" : "%.1f%c",
		 v, units[i]);
	return buf;
}

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

double percent(double part, double whole)
{
	return whole > 0 ? 100 * part / whole : 0;
}

int worse(int a, int b)
{
	return a > b ? a : b;
}

/* Was the device, or no device at all, asked for? */
bool wanted(const char *device)
{
	int i;

	for (i = 0; i < opt.ndevices; i++)
		if (!strcmp(opt.devices[i], device))
			return true;
	return !opt.ndevices;
}
