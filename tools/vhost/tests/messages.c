// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each message alone: its form, its descriptors, the features that it needs.
 */
#include "guard_fixture.h"

FIXTURE(messages) { int fds; };
FIXTURE_SETUP(messages) { self->fds = start(); }
FIXTURE_TEARDOWN(messages) { finish(_metadata, self->fds); }

TEST_F(messages, valid)
{
	for (const struct spec *m = specs; m->name; m++) {
		union vu_payload p = sent_payload(m);
		u32 reply = m->reply ? m->reply : m->need ? 8 : 0;
		struct vug_msg got;
		struct rig r;

		rig_ready_proto(&r, m->log, ~0ULL);
		if (m->request == VU_SET_PROTOCOL_FEATURES)
			p.u64 = 1;
		send_valid(&r, m);
		EXPECT_TRUE(reaches(&r, m->request, &got))
			TH_LOG("%s: %s", m->name, r.log);
		EXPECT_EQ(flags_of(m), got.w.hdr.flags) TH_LOG("%s", m->name);
		EXPECT_EQ(m->size, got.w.hdr.size) TH_LOG("%s", m->name);
		EXPECT_EQ(sent_fds(m), got.nfds)
			TH_LOG("%s: %u", m->name, got.nfds);
		EXPECT_EQ(0, memcmp(&got.w.p, &p, m->size))
			TH_LOG("%s", m->name);
		drop_fds(&got);
		if (reply) {
			send_msg(r.back, m->request, ANSWER, &p, reply, NULL,
				 0);
			EXPECT_EQ(VUG_RUNNING, pump(&r))
				TH_LOG("%s: %s", m->name, r.log);
			EXPECT_TRUE(recv_msg(r.front, &got))
				TH_LOG("%s", m->name);
			EXPECT_EQ(m->request, got.w.hdr.request)
				TH_LOG("%s", m->name);
			EXPECT_EQ(ANSWER, got.w.hdr.flags)
				TH_LOG("%s", m->name);
			EXPECT_EQ(reply, got.w.hdr.size) TH_LOG("%s", m->name);
		}
		EXPECT_TRUE(silent(r.front)) TH_LOG("%s", m->name);
		rig_close(&r);
	}
}

TEST_F(messages, acknowledged)
{
	for (const struct spec *m = specs; m->name; m++) {
		struct vug_msg got;
		u64 ack = 7;
		struct rig r;

		if (m->reply)
			continue;
		rig_ready_proto(&r, m->log, ~0ULL);
		send_spec(&r, m, NEED, m->size, nfds_of(m));
		EXPECT_TRUE(reaches(&r, m->request, &got))
			TH_LOG("%s: %s", m->name, r.log);
		EXPECT_EQ(NEED, got.w.hdr.flags) TH_LOG("%s", m->name);
		drop_fds(&got);
		send_msg(r.back, m->request, ANSWER, &ack, 8, NULL, 0);
		pump(&r);
		EXPECT_TRUE(recv_msg(r.front, &got))
			TH_LOG("%s: %s", m->name, r.log);
		EXPECT_EQ(ANSWER, got.w.hdr.flags) TH_LOG("%s", m->name);
		EXPECT_EQ(7, got.w.p.u64) TH_LOG("%s", m->name);
		rig_close(&r);

		/* Without REPLY_ACK a back-end does not have to answer. */
		rig_ready_proto(&r, m->log, ~VU_BIT(VU_PF_REPLY_ACK));
		send_spec(&r, m, NEED, m->size, nfds_of(m));
		expect_violation(_metadata, &r, m->name);
		rig_close(&r);
	}
}

TEST_F(messages, sizes)
{
	for (const struct spec *m = specs; m->name; m++) {
		const u32 bad[] = { 0, m->size - 1, m->size + 1, m->size + 32,
				    269, 0x7fffffff, 0xffffffff };

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			struct vu_hdr h = { m->request, flags_of(m), bad[i] };
			union vu_payload p = valid_payload(m);
			unsigned int nfds = nfds_of(m);
			struct rig r;
			int fd;

			if (bad[i] == m->size)
				continue;
			rig_ready_proto(&r, m->log, ~0ULL);
			fd = valid_fd(m);
			send_part(r.front, &h, sizeof(h), &fd, nfds);
			/* Send all that fits: the guard must not wait. */
			if (bad[i])
				send_part(r.front, &p, bad[i] < sizeof(p) ?
					  bad[i] : sizeof(p), NULL, 0);
			if (nfds)
				close(fd);
			expect_violation(_metadata, &r, m->name);
			rig_close(&r);
		}
	}
}

TEST_F(messages, fd_counts)
{
	for (const struct spec *m = specs; m->name; m++) {
		for (unsigned int n = 0; n <= VUG_MAX_FDS + 1; n++) {
			struct rig r;

			/* REM_MEM_REG may have one; see test_rem_with_fd(). */
			if (n == nfds_of(m) ||
			    (m->request == VU_REM_MEM_REG && n == 1))
				continue;
			rig_ready_proto(&r, m->log, ~0ULL);
			send_spec(&r, m, flags_of(m), m->size, n);
			expect_violation(_metadata, &r, m->name);
			rig_close(&r);
		}
	}
}

TEST_F(messages, flags)
{
	for (const struct spec *m = specs; m->name; m++) {
		const u32 bad[] = { 0, 2, 3, V | VU_REPLY, V | 0x10,
				    V | 0x80000000, ANSWER | VU_NEED_REPLY };

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			struct rig r;

			rig_ready_proto(&r, m->log, ~0ULL);
			send_spec(&r, m, bad[i], m->size, nfds_of(m));
			expect_violation(_metadata, &r, m->name);
			rig_close(&r);
		}
	}
}

TEST_F(messages, gates)
{
	for (const struct spec *m = specs; m->name; m++) {
		struct rig r;

		if (m->proto) {
			rig_ready_proto(&r, m->log, ~m->proto);
			send_valid(&r, m);
			expect_violation(_metadata, &r, m->name);
			rig_close(&r);
		}
		if (m->log) {
			rig_ready(&r);
			send_valid(&r, m);
			expect_violation(_metadata, &r, m->name);
			rig_close(&r);
		}
		if (m->offered) {
			rig_plain(&r);
			send_valid(&r, m);
			expect_violation(_metadata, &r, m->name);
			rig_close(&r);
		}
	}
}

TEST_F(messages, unknown)
{
	static const u32 extra[] = { 64, 255, 256, 0x7fffffff, 0xffffffff };

	for (u32 i = 0; i < 64 + ARRAY_SIZE(extra); i++) {
		u32 request = i < 64 ? i : extra[i - 64];
		bool known = false;
		u64 payload = 0;
		struct rig r;
		int fd;

		for (const struct spec *m = specs; m->name; m++)
			known |= m->request == request;
		if (known)
			continue;
		for (u32 size = 0; size <= 8; size += 8) {
			rig_ready_proto(&r, true, ~0ULL);
			fd = mem_fd(4096);
			send_msg(r.front, request, V, &payload, size, &fd, 1);
			expect_violation(_metadata, &r, "unknown request");
			rig_close(&r);
		}
	}
}

TEST_F(messages, masks)
{
	for (int log = 0; log < 2; log++) {
		u64 want = PROTO_PASSED |
			   (log ? VU_BIT(VU_PF_LOG_SHMFD) : 0);
		u64 f = ~0ULL, got = 0;
		struct vug_msg m;
		struct rig r;

		rig_plain(&r);
		r.cfg.allow_log = log;
		u64_exchange(&r, VU_GET_FEATURES, ~0ULL, &got);
		if (!log)
			f &= ~VU_BIT(VU_F_LOG_ALL);
		EXPECT_EQ(f, got) TH_LOG("features 0x%llx", got);
		u64_exchange(&r, VU_GET_PROTOCOL_FEATURES, ~0ULL, &got);
		EXPECT_EQ(want, got) TH_LOG("protocol features 0x%llx", got);
		f = VU_BIT(VU_F_LOG_ALL);
		send_msg(r.front, VU_SET_FEATURES, V, &f, 8, NULL, 0);
		pump(&r);
		EXPECT_EQ(log, recv_msg(r.back, &m)) TH_LOG("%s", r.log);
		EXPECT_EQ(!log, (r.st == VUG_VIOLATION)) TH_LOG("%s", r.log);
		rig_close(&r);
	}
	for (int bit = 0; bit < 64; bit++) {
		u64 v = VU_BIT(bit);
		struct rig r;

		if (PROTO_PASSED & v)
			continue;
		rig_plain(&r);
		u64_exchange(&r, VU_GET_FEATURES, ~0ULL, NULL);
		u64_exchange(&r, VU_GET_PROTOCOL_FEATURES, ~0ULL, NULL);
		send_msg(r.front, VU_SET_PROTOCOL_FEATURES, V, &v, 8, NULL, 0);
		expect_violation(_metadata, &r, "masked protocol feature");
		rig_close(&r);
	}
}

/* Messages that need a masked feature are known, and refused for that. */
TEST_F(messages, masked)
{
	static const u32 requests[] = {
		VU_CREATE_CRYPTO_SESSION, VU_POSTCOPY_ADVISE, VU_VRING_KICK,
		VU_GET_SHARED_OBJECT, VU_SET_DEVICE_STATE_FD,
		VU_GET_SHMEM_CONFIG,
	};

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		struct rig r;

		rig_ready(&r);
		send_msg(r.front, requests[i], V, NULL, 0, NULL, 0);
		expect_violation(_metadata, &r, "masked");
		EXPECT_NE(NULL, strstr(r.log, "is masked"))
			TH_LOG("request %u: %s", requests[i], r.log);
		rig_close(&r);
	}
}

TEST_F(messages, status)
{
	u64 v = 0x100;

	refuse(_metadata, VU_SET_STATUS, &v, 8, -1);
}

TEST_HARNESS_MAIN
