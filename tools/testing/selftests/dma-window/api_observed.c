// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DMA API, call by call: counters and tracepoints.
 */

#include "api_fixture.h"

/* Counters and events, for an operator. */
FIXTURE(observed) { struct state s; };
FIXTURE_SETUP(observed) { start(&self->s); }
FIXTURE_TEARDOWN(observed) { finish(_metadata, &self->s); }

#define TRACING "/sys/kernel/tracing/"

static int tracing(const char *file, const char *text)
{
	char path[64];
	int fd, ret;

	snprintf(path, sizeof(path), TRACING "%s", file);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/* The next line of the trace, from the name of its event on. */
static const char *next_event(FILE *trace, char *line, int size)
{
	while (fgets(line, size, trace)) {
		char *event = strstr(line, "dma_window_");

		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '#' && event)
			return event;
	}
	return "";
}

/* Each call leaves its event, with the size asked for and the bytes copied. */
TEST_F_TIMEOUT(observed, tracepoints, LIMIT)
{
	const char *dev = setting("EDU");
	char line[512], want[16][256];
	struct mem buf, m;
	struct map p;
	FILE *trace;
	int i, n = 0;

	ASSERT_EQ(0, tracing("set_event", "dma_window:*"));
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 8 * KIB, 0, 0));
	ASSERT_EQ(0, tracing("trace", ""));
#define EVENT(format, ...) \
	snprintf(want[n++], sizeof(*want), "dma_window_" format, ##__VA_ARGS__)
	ASSERT_EQ(0, map(E, &p, &buf, 0, 5000, EDU_BIDIRECTIONAL, 0));
	EVENT("map: %s addr=%#llx size=5000 dir=bidirectional attrs=0x0 copied=5000", dev,
	      (unsigned long long)p.addr);
	ASSERT_EQ(0, sync_range(E, &p, 100, 200, EDU_FROM_DEVICE, true));
	EVENT("sync: %s addr=%#llx size=200 dir=from-device for=cpu copied=200", dev,
	      (unsigned long long)p.addr + 100);
	ASSERT_EQ(0, sync_range(E, &p, 8, 7, EDU_TO_DEVICE, false));
	EVENT("sync: %s addr=%#llx size=7 dir=to-device for=device copied=7", dev,
	      (unsigned long long)p.addr + 8);
	ASSERT_EQ(0, unmap(E, &p, EDU_SKIP_CPU_SYNC));
	EVENT("unmap: %s addr=%#llx size=5000 dir=bidirectional attrs=0x20 copied=0", dev,
	      (unsigned long long)p.addr);
	ASSERT_EQ(0, map(E, &p, &buf, 0, 300, EDU_FROM_DEVICE, 0));
	EVENT("map: %s addr=%#llx size=300 dir=from-device attrs=0x0 copied=0", dev,
	      (unsigned long long)p.addr);
	ASSERT_EQ(0, unmap(E, &p, 0));
	EVENT("unmap: %s addr=%#llx size=300 dir=from-device attrs=0x0 copied=300", dev,
	      (unsigned long long)p.addr);
	raw(E, EDU_RAW_UNMAP, p.addr, 5000, 0);
	EVENT("fail: %s reason=invalid size=0", dev);
	self->s.invalid++;
	ASSERT_EQ(-EIO, raw(E, EDU_RAW_MAP, 0, E->size + 1, buf.id));
	EVENT("fail: %s reason=full size=%llu", dev, (unsigned long long)E->size + 1);
	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 8 * KIB, 0, 0));
	EVENT("alloc: %s addr=%#llx size=%zu", dev, (unsigned long long)m.addr,
	      whole_pages(8 * KIB));
	EXPECT_EQ(0, mem_free(E, &m));
	EVENT("free: %s addr=%#llx size=%zu", dev, (unsigned long long)m.addr,
	      whole_pages(8 * KIB));
#undef EVENT
	EXPECT_EQ(0, tracing("set_event", ""));
	trace = fopen(TRACING "trace", "re");
	ASSERT_NE(NULL, trace);
	for (i = 0; i < n; i++)
		EXPECT_STREQ(want[i], next_event(trace, line, sizeof(line)));
	EXPECT_STREQ("", next_event(trace, line, sizeof(line)));
	fclose(trace);
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* The counters, for one call of each kind. */
TEST_F_TIMEOUT(observed, counters, LIMIT)
{
	static const char * const names[] = {
		"maps", "unmaps", "allocs", "frees", "bytes_in", "bytes_out",
		"fail_full", "fail_mask", "fail_nomem", "fail_invalid",
	};
	static const u64 want[] = { 2, 2, 1, 1, 5000 + 7, 5000 + 300, 1, 0, 0, 0 };
	u64 used = counter("io_tlb_used"), memory = whole_pages(8 * KIB) / SLOT, before[10], i;
	struct mem buf, m;
	struct map p, q;

	EXPECT_EQ(E->size / SLOT, counter("io_tlb_nslabs"));
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 16 * KIB, 0, 0));
	for (i = 0; i < 10; i++)
		before[i] = counter(names[i]);
	ASSERT_EQ(0, map(E, &p, &buf, 0, 5000, EDU_TO_DEVICE, 0));
	ASSERT_EQ(0, map(E, &q, &buf, 8 * KIB, 5000, EDU_FROM_DEVICE, 0));
	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 8 * KIB, 0, 0));
	/* 5000 bytes need three slots, and may get four. */
	EXPECT_GE(counter("io_tlb_used"), used + 3 + 3 + memory);
	EXPECT_LE(counter("io_tlb_used"), used + 4 + 4 + memory);
	EXPECT_EQ(0, sync_range(E, &p, 8, 7, EDU_TO_DEVICE, false));
	EXPECT_EQ(0, sync_range(E, &q, 8, 300, EDU_FROM_DEVICE, true));
	EXPECT_EQ(-EIO, raw(E, EDU_RAW_MAP, 0, E->size + 1, buf.id));
	EXPECT_EQ(0, mem_free(E, &m));
	EXPECT_EQ(0, unmap(E, &q, 0));
	EXPECT_EQ(0, unmap(E, &p, 0));
	for (i = 0; i < 10; i++)
		EXPECT_EQ(before[i] + want[i], counter(names[i])) {
			TH_LOG("%s", names[i]);
		}
	EXPECT_EQ(0, mem_free(E, &buf));
}

TEST_HARNESS_MAIN
