// SPDX-License-Identifier: GPL-2.0-only
/*
 * Behind an IOMMU: counters.
 */

#include "iommu_fixture.h"

/* Counters, for an operator. */
FIXTURE(observed) { struct state s; };
FIXTURE_SETUP(observed) { start(&self->s); }
FIXTURE_TEARDOWN(observed) { finish(_metadata, &self->s); }

/* One call of each kind. */
TEST_F_TIMEOUT(observed, counters, LIMIT)
{
	u64 before[COUNTERS], after[COUNTERS], in, out;
	const u64 should[COUNTERS] = {
		[BYTES_IN] = 100 + (G - 100) + 100, [BYTES_OUT] = (G - 100) + 100 + 50,
		[GRANULES] = 31, [IOMMU_MAPS] = 1, [IOMMU_UNMAPS] = 1, [HEADS] = 1, [TAILS] = 1,
	};
	struct mem buf;
	struct map p;
	size_t i;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, copybreak(4096));
	device_counters(before);
	in = counter("bytes_in");
	out = counter("bytes_out");
	ASSERT_EQ(0, map(E, &p, &buf, 0, 100, EDU_TO_DEVICE, 0));
	ASSERT_EQ(0, unmap(E, &p, 0));
	ASSERT_EQ(0, map(E, &p, &buf, 100, 32 * G, EDU_BIDIRECTIONAL, 0));
	/* Of the 200 bytes, 50 are of the tail. */
	ASSERT_EQ(0, sync_range(E, &p, 32 * G - 250, 200, EDU_BIDIRECTIONAL, true));
	ASSERT_EQ(0, unmap(E, &p, 0));
	device_counters(after);
	for (i = 0; i < COUNTERS; i++)
		EXPECT_EQ(should[i], after[i] - before[i]) {
			TH_LOG("counter %zu", i);
		}
	EXPECT_EQ(should[BYTES_IN], counter("bytes_in") - in);
	EXPECT_EQ(should[BYTES_OUT], counter("bytes_out") - out);
	EXPECT_EQ(0, mem_free(E, &buf));
}

TEST_HARNESS_MAIN
