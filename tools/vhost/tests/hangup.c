// SPDX-License-Identifier: GPL-2.0-only
/*
 * A peer goes.
 */
#include "guard_fixture.h"

FIXTURE(hangup) { int fds; };
FIXTURE_SETUP(hangup) { self->fds = start(); }
FIXTURE_TEARDOWN(hangup) { finish(_metadata, self->fds); }

TEST_F(hangup, hangup)
{
	for (int side = 0; side < 2; side++) {
		for (size_t sent = 0; sent < 21; sent++) {
			struct vu_wire w = {
				.hdr = { VU_SET_VRING_NUM, V, 8 },
			};
			bool whole = sent == 0 || sent == 20;
			struct vug_msg m;
			struct rig r;

			rig_ready(&r);
			if (side) {
				w.hdr = (struct vu_hdr){ VU_GET_STATUS, ANSWER,
							 8 };
				send_msg(r.front, VU_GET_STATUS, V, NULL, 0,
					 NULL, 0);
				EXPECT_TRUE(reaches(&r, VU_GET_STATUS, &m))
					TH_LOG("%s", r.log);
			}
			send_part(side ? r.back : r.front, &w, sent, NULL, 0);
			pump(&r);
			close(side ? r.back : r.front);
			*(side ? &r.back : &r.front) = -1;
			EXPECT_EQ((whole ? VUG_HANGUP : VUG_VIOLATION),
				  pump(&r))
				TH_LOG("side %d, %zu bytes: %d: %s", side, sent,
				       r.st, r.log);
			rig_close(&r);
		}
	}
}

/* Messages sent before the hang-up still arrive. */
TEST_F(hangup, hangup_after)
{
	struct vug_msg m;
	struct rig r;

	rig_ready(&r);
	for (int i = 0; i < 3; i++)
		send_msg(r.front, VU_SET_OWNER, V, NULL, 0, NULL, 0);
	close(r.front);
	r.front = -1;
	EXPECT_EQ(VUG_HANGUP, pump(&r)) TH_LOG("%s", r.log);
	for (int i = 0; i < 3; i++) {
		EXPECT_TRUE(recv_msg(r.back, &m))
			TH_LOG("message %d", i);
	}
	rig_close(&r);
}

TEST_F(hangup, hangup_waiting)
{
	for (int side = 0; side < 2; side++) {
		struct vug_msg m;
		struct rig r;

		rig_ready(&r);
		send_msg(r.front, VU_GET_STATUS, V, NULL, 0, NULL, 0);
		EXPECT_TRUE(reaches(&r, VU_GET_STATUS, &m)) TH_LOG("%s", r.log);
		close(side ? r.back : r.front);
		*(side ? &r.back : &r.front) = -1;
		EXPECT_EQ(VUG_HANGUP, pump(&r))
			TH_LOG("side %d: %s", side, r.log);
		rig_close(&r);
	}
}

TEST_F(hangup, peers_see_end)
{
	struct rig r;

	rig_ready(&r);
	vug_fini(&r.s);
	EXPECT_TRUE(hung_up(r.front) && hung_up(r.back))
		TH_LOG("a socket is open");
	rig_close(&r);
}

TEST_HARNESS_MAIN
