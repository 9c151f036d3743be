// SPDX-License-Identifier: GPL-2.0-only
/*
 * Answers of a back-end, and their order.
 */
#include <sys/socket.h>

#include "guard_fixture.h"

FIXTURE(answers) { int fds; };
FIXTURE_SETUP(answers) { self->fds = start(); }
FIXTURE_TEARDOWN(answers) { finish(_metadata, self->fds); }

TEST_F(answers, answers)
{
	for (const struct spec *m = specs; m->name; m++) {
		u32 size = m->reply ? m->reply : 8;
		const struct {
			u32 request, flags, size;
			unsigned int nfds;
		} bad[] = {
			{ m->request + 1, ANSWER, size, 0 },
			{ 0, ANSWER, size, 0 },
			{ 0xffffffff, ANSWER, size, 0 },
			{ m->request, V, size, 0 },
			{ m->request, VU_REPLY, size, 0 },
			{ m->request, ANSWER | 2, size, 0 },
			{ m->request, ANSWER | 0x10, size, 0 },
			{ m->request, ANSWER, size - 1, 0 },
			{ m->request, ANSWER, size + 1, 0 },
			{ m->request, ANSWER, 268, 0 },
			{ m->request, ANSWER, 269, 0 },
			{ m->request, ANSWER, 0xffffffff, 0 },
			{ m->request, ANSWER, size, 1 },
			{ m->request, ANSWER, size, 8 },
		};

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			union vu_payload p = valid_payload(m);
			struct vu_hdr h = { bad[i].request, bad[i].flags,
					    bad[i].size };
			u32 flags = m->reply ? V : NEED;
			struct vug_msg got;
			int fds[8];
			struct rig r;

			rig_ready_proto(&r, m->log, ~0ULL);
			send_spec(&r, m, flags, m->size, nfds_of(m));
			EXPECT_TRUE(reaches(&r, m->request, &got))
				TH_LOG("%s: %s", m->name, r.log);
			drop_fds(&got);
			for (unsigned int n = 0; n < bad[i].nfds; n++)
				fds[n] = mem_fd(4096);
			send_part(r.back, &h, sizeof(h), fds, bad[i].nfds);
			send_part(r.back, &p, bad[i].size < sizeof(p) ?
				  bad[i].size : sizeof(p), NULL, 0);
			for (unsigned int n = 0; n < bad[i].nfds; n++)
				close(fds[n]);
			expect_violation(_metadata, &r, m->name);
			rig_close(&r);
		}
	}
}

TEST_F(answers, unsolicited)
{
	u64 v = 0;

	/* Before anything; after a request without answer; a second answer. */
	for (int when = 0; when < 3; when++) {
		struct vug_msg got;
		struct rig r;

		rig_ready(&r);
		if (when == 1) {
			send_msg(r.front, VU_SET_OWNER, V, NULL, 0, NULL, 0);
			EXPECT_TRUE(reaches(&r, VU_SET_OWNER, &got))
				TH_LOG("%s", r.log);
		}
		if (when == 2)
			u64_exchange(&r, VU_GET_STATUS, 1, NULL);
		send_msg(r.back, when == 1 ? VU_SET_OWNER : VU_GET_STATUS,
			 ANSWER, &v, 8, NULL, 0);
		expect_violation(_metadata, &r, "unsolicited answer");
		rig_close(&r);
	}
}

/* libvhost-user echoes NEED_REPLY; QEMU does not take such an answer. */
TEST_F(answers, echoed_flag)
{
	struct vug_msg got;
	struct rig r;
	u64 v = 3;

	rig_ready(&r);
	send_msg(r.front, VU_GET_STATUS, NEED, NULL, 0, NULL, 0);
	EXPECT_TRUE(reaches(&r, VU_GET_STATUS, &got)) TH_LOG("%s", r.log);
	send_msg(r.back, VU_GET_STATUS, ANSWER | VU_NEED_REPLY, &v, 8, NULL, 0);
	pump(&r);
	EXPECT_TRUE(recv_msg(r.front, &got) && got.w.hdr.flags == ANSWER)
		TH_LOG("%s", r.log);
	rig_close(&r);

	rig_ready(&r);
	send_msg(r.front, VU_GET_STATUS, V, NULL, 0, NULL, 0);
	EXPECT_TRUE(reaches(&r, VU_GET_STATUS, &got)) TH_LOG("%s", r.log);
	send_msg(r.back, VU_GET_STATUS, ANSWER | VU_NEED_REPLY, &v, 8, NULL, 0);
	expect_violation(_metadata, &r, "NEED_REPLY in an answer");
	rig_close(&r);
}

TEST_F(answers, config_answers)
{
	static const struct {
		u32 offset, size, bytes;
		bool ok;
	} cases[] = {
		{ 4, 8, 20, true }, { 0, 0, 0, true }, { 4, 8, 12, false },
		/* An error as rust-vmm's back-ends send it: only the header */
		{ 4, 0, 12, true }, { 5, 0, 12, false }, { 4, 0, 13, false },
		{ 4, 0, 20, false }, { 4, 0, 8, false },
		{ 4, 9, 21, false }, { 4, 9, 20, false }, { 5, 8, 20, false },
		{ 4, 7, 19, false }, { 4, 256, 268, false }, { 0, 0, 4, false },
	};
	struct vu_config ask = { 4, 8, 0, { 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vu_config c = { cases[i].offset, cases[i].size, 0,
				       { 0 } };
		struct vug_msg got;
		struct rig r;

		rig_ready(&r);
		send_msg(r.front, VU_GET_CONFIG, V, &ask, 20, NULL, 0);
		EXPECT_TRUE(reaches(&r, VU_GET_CONFIG, &got))
			TH_LOG("%s", r.log);
		send_msg(r.back, VU_GET_CONFIG, ANSWER, &c, cases[i].bytes,
			 NULL, 0);
		pump(&r);
		EXPECT_EQ(cases[i].ok, (r.st == VUG_RUNNING))
			TH_LOG("case %zu: %s", i, r.log);
		EXPECT_EQ(cases[i].ok, recv_msg(r.front, &got))
			TH_LOG("case %zu", i);
		rig_close(&r);
	}
}

TEST_F(answers, vring_base_answer)
{
	struct vu_vring_state st = { 1, 0 };
	struct vug_msg got;
	struct rig r;

	rig_ready(&r);
	send_msg(r.front, VU_GET_VRING_BASE, V, &st, 8, NULL, 0);
	EXPECT_TRUE(reaches(&r, VU_GET_VRING_BASE, &got)) TH_LOG("%s", r.log);
	st.index = 2;
	send_msg(r.back, VU_GET_VRING_BASE, ANSWER, &st, 8, NULL, 0);
	expect_violation(_metadata, &r, "answer for another vring");
	rig_close(&r);
}

TEST_F(answers, bytewise_answer)
{
	struct vu_wire w = { .hdr = { VU_GET_STATUS, ANSWER, 8 } };
	struct vug_msg got;
	struct rig r;

	w.p.u64 = 42;
	rig_ready(&r);
	send_msg(r.front, VU_GET_STATUS, V, NULL, 0, NULL, 0);
	EXPECT_TRUE(reaches(&r, VU_GET_STATUS, &got)) TH_LOG("%s", r.log);
	for (size_t i = 0; i < 20; i++) {
		EXPECT_TRUE(silent(r.front)) TH_LOG("byte %zu", i);
		send_part(r.back, (char *)&w + i, 1, NULL, 0);
		pump(&r);
	}
	EXPECT_TRUE(recv_msg(r.front, &got) && got.w.p.u64 == 42)
		TH_LOG("%s", r.log);
	rig_close(&r);
}

/* The guard's own acknowledgment does not overtake the back-end's. */
TEST_F(answers, order)
{
	struct vu_region far = { 0, 4096, 0, 0 };
	struct vu_mem_reg reg = { 0, far };
	struct vug_msg got;
	struct rig r;
	u64 v = 9;
	int fd;

	rig_ready(&r);
	send_msg(r.front, VU_GET_STATUS, V, NULL, 0, NULL, 0);
	fd = mem_fd(4096);
	send_msg(r.front, VU_ADD_MEM_REG, NEED, &reg, sizeof(reg), &fd, 1);
	EXPECT_TRUE(reaches(&r, VU_GET_STATUS, &got)) TH_LOG("%s", r.log);
	EXPECT_TRUE(silent(r.front)) TH_LOG("acknowledged too early");
	send_msg(r.back, VU_GET_STATUS, ANSWER, &v, 8, NULL, 0);
	pump(&r);
	EXPECT_TRUE(recv_msg(r.front, &got) &&
		    got.w.hdr.request == VU_GET_STATUS)
		TH_LOG("%s", r.log);
	EXPECT_TRUE(recv_msg(r.front, &got) &&
		    got.w.hdr.request == VU_ADD_MEM_REG)
		TH_LOG("%s", r.log);
	rig_close(&r);
}

TEST_F(answers, answer_too_early)
{
	struct vu_vring_state st = { 1, 0 };
	int small = 1;
	struct rig r;
	u64 v = 0;

	rig_ready(&r);
	setsockopt(r.s.front.rsp.fd, SOL_SOCKET, SO_SNDBUF, &small,
		   sizeof(small));
	for (int i = 0; i < 10000 && !r.s.front.rsp.writing; i++) {
		send_msg(r.front, VU_SET_VRING_NUM, NEED, &st, 8, NULL, 0);
		for (int k = 0; k < 3; k++)
			vug_poll(&r.s, -1, 0);
		if (!r.s.front.rsp.writing)
			send_msg(r.back, VU_SET_VRING_NUM, ANSWER, &v, 8, NULL,
				 0);
		for (int k = 0; k < 3; k++)
			vug_poll(&r.s, -1, 0);
	}
	EXPECT_TRUE(r.s.front.rsp.writing) TH_LOG("never blocked");
	send_msg(r.back, VU_SET_VRING_NUM, ANSWER, &v, 8, NULL, 0);
	EXPECT_EQ(VUG_VIOLATION, pump(&r)) TH_LOG("%s", r.log);
	rig_close(&r);
}

TEST_HARNESS_MAIN
