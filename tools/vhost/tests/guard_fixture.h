/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixture of the guard's tests: a test that leaves a descriptor open, or a
 * file in its folder, fails. For programs with one main file.
 */
#ifndef _VHOST_TESTS_GUARD_FIXTURE_H
#define _VHOST_TESTS_GUARD_FIXTURE_H

#include <kselftest_harness.h>
#include <signal.h>

#include "program.h"
#include "session.h"

/* HANG_MS says when a test hangs; this is for one that prints for ever. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	600

static inline int start(void)
{
	signal(SIGPIPE, SIG_IGN);
	return count_fds();
}

static inline void finish(struct __test_metadata *_metadata, int fds)
{
	EXPECT_EQ(0, remove_folder());
	EXPECT_EQ(fds, count_fds()) TH_LOG("descriptors are left open");
}

/* @what ends the session of @r, and neither peer gets to see any of it. */
static inline void expect_violation(struct __test_metadata *_metadata,
				    struct rig *r, const char *what)
{
	EXPECT_EQ(VUG_VIOLATION, pump(r)) TH_LOG("%s: %s", what, r->log);
	EXPECT_TRUE(silent(r->back)) TH_LOG("%s: reached the back-end", what);
	EXPECT_TRUE(silent(r->front)) TH_LOG("%s: reached the front-end", what);
	EXPECT_NE(0, r->len) TH_LOG("%s: nothing was logged", what);
}

/* A message that is well-formed but for what it contains. Closes @fd. */
static inline void refuse(struct __test_metadata *_metadata, u32 request,
			  const void *payload, u32 size, int fd)
{
	struct rig r;

	rig_ready(&r);
	send_msg(r.front, request, request == VU_IOTLB_MSG ? NEED : V, payload,
		 size, &fd, fd >= 0);
	expect_violation(_metadata, &r, "content");
	rig_close(&r);
}

#endif
