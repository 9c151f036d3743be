// SPDX-License-Identifier: GPL-2.0-only
/*
 * How messages arrive: in parts, in one, with descriptors where none belong.
 */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "guard_fixture.h"

FIXTURE(stream) { int fds; };
FIXTURE_SETUP(stream) { self->fds = start(); }
FIXTURE_TEARDOWN(stream) { finish(_metadata, self->fds); }

TEST_F(stream, bytewise)
{
	for (const struct spec *m = specs; m->name; m++) {
		struct vu_wire w = {
			.hdr = { m->request, flags_of(m), m->size },
			.p = valid_payload(m),
		};
		union vu_payload sent = sent_payload(m);
		size_t len = sizeof(w.hdr) + m->size;
		unsigned int nfds = nfds_of(m);
		struct vug_msg got;
		struct rig r;
		int fd;

		rig_ready_proto(&r, m->log, ~0ULL);
		fd = valid_fd(m);
		for (size_t i = 0; i < len; i++) {
			send_part(r.front, (char *)&w + i, 1, &fd,
				  i ? 0 : nfds);
			pump(&r);
			if (i + 1 == len)
				break;
			EXPECT_TRUE(silent(r.back))
				TH_LOG("%s: byte %zu", m->name, i);
		}
		if (nfds)
			close(fd);
		EXPECT_TRUE(recv_msg(r.back, &got) && got.nfds == sent_fds(m))
			TH_LOG("%s: %s", m->name, r.log);
		EXPECT_EQ(0, memcmp(&got.w.hdr, &w.hdr, sizeof(w.hdr)))
			TH_LOG("%s", m->name);
		EXPECT_EQ(0, memcmp(&got.w.p, &sent, m->size))
			TH_LOG("%s", m->name);
		drop_fds(&got);
		rig_close(&r);
	}
}

/* Several in one write; an answer is due before the next is sent on. */
TEST_F(stream, pipelined)
{
	struct vu_wire w[3] = {
		{ .hdr = { VU_GET_STATUS, V, 0 } },
		{ .hdr = { VU_SET_OWNER, V, 0 } },
		{ .hdr = { VU_GET_STATUS, V, 0 } },
	};
	struct vug_msg got;
	char buf[36];
	struct rig r;
	u64 v = 9;

	for (int i = 0; i < 3; i++)
		memcpy(buf + 12 * i, &w[i], 12);
	rig_ready(&r);
	send_part(r.front, buf, sizeof(buf), NULL, 0);
	EXPECT_TRUE(reaches(&r, VU_GET_STATUS, &got)) TH_LOG("%s", r.log);
	EXPECT_TRUE(silent(r.back)) TH_LOG("the second was not held back");
	send_msg(r.back, VU_GET_STATUS, ANSWER, &v, 8, NULL, 0);
	EXPECT_TRUE(reaches(&r, VU_SET_OWNER, &got)) TH_LOG("%s", r.log);
	EXPECT_TRUE(recv_msg(r.back, &got) &&
		    got.w.hdr.request == VU_GET_STATUS)
		TH_LOG("%s", r.log);
	send_msg(r.back, VU_GET_STATUS, ANSWER, &v, 8, NULL, 0);
	pump(&r);
	EXPECT_TRUE(recv_msg(r.front, &got) && recv_msg(r.front, &got))
		TH_LOG("%s", r.log);
	rig_close(&r);
}

TEST_F(stream, truncated_control)
{
	struct rlimit old, low;
	int fds[VUG_MAX_FDS];
	struct vu_mem_table t = { .nregions = 8 };
	struct rig r;
	int top;

	rig_ready(&r);
	for (int i = 0; i < 8; i++)
		fds[i] = mem_fd(4096);
	send_msg(r.front, VU_SET_MEM_TABLE, V, &t, sizeof(t), fds, 8);
	/* Too few free descriptors: the kernel cuts the message short. */
	top = dup(r.front);
	close(top);
	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	low.rlim_cur = (rlim_t)top + 3;
	setrlimit(RLIMIT_NOFILE, &low);
	pump(&r);
	setrlimit(RLIMIT_NOFILE, &old);
	EXPECT_NE(NULL, strstr(r.log, "truncated")) TH_LOG("%s", r.log);
	expect_violation(_metadata, &r, "truncated control message");
	rig_close(&r);
}

TEST_F(stream, too_many_fds)
{
	static const unsigned int counts[] = { 9, 16, 64, 253 };

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		struct vu_hdr h = { VU_SET_OWNER, V, 0 };
		int fds[253];
		struct rig r;

		rig_ready(&r);
		fds[0] = mem_fd(4096);
		for (unsigned int n = 1; n < counts[i]; n++)
			fds[n] = fds[0];
		send_part(r.front, &h, sizeof(h), fds, counts[i]);
		close(fds[0]);
		expect_violation(_metadata, &r, "too many descriptors");
		rig_close(&r);
	}
}

TEST_F(stream, late_fds)
{
	struct vu_mem_table t = { .nregions = 1 };
	struct vu_wire w = { .hdr = { VU_SET_MEM_TABLE, V, 40 } };
	size_t at[] = { 1, 4, 11 };

	t.region[0] = window();
	w.p.table = t;
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		struct rig r;
		int fd;

		rig_ready(&r);
		send_part(r.front, &w, at[i], NULL, 0);
		pump(&r);
		fd = mem_fd(WIN_SIZE);
		send_part(r.front, (char *)&w + at[i], 52 - at[i], &fd, 1);
		close(fd);
		expect_violation(_metadata, &r, "descriptor inside the header");
		rig_close(&r);
	}
	/* In the payload: of a message that has its count already. */
	for (int n = 0; n < 2; n++) {
		struct rig r;
		int fd = mem_fd(WIN_SIZE);

		rig_ready(&r);
		w.hdr.request = n ? VU_ADD_MEM_REG : VU_REM_MEM_REG;
		send_part(r.front, &w, 12, &fd, n);
		pump(&r);
		send_part(r.front, &w.p, 40, &fd, 1);
		close(fd);
		expect_violation(_metadata, &r, "descriptor with the payload");
		rig_close(&r);
	}
}

TEST_F(stream, cloexec)
{
	struct vu_hdr h = { VU_ADD_MEM_REG, V, 40 };
	struct rig r;
	int fd;

	rig_ready(&r);
	fd = mem_fd(WIN_SIZE);
	fcntl(fd, F_SETFD, 0);
	send_part(r.front, &h, sizeof(h), &fd, 1);
	close(fd);
	pump(&r);
	EXPECT_EQ(1, r.s.front.req.in.nfds) TH_LOG("%s", r.log);
	EXPECT_EQ(FD_CLOEXEC, fcntl(r.s.front.req.in.fds[0], F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(r.s.proc_fd, F_GETFD));
	rig_close(&r);
}

/* A peer that does not read holds up the other, loses nothing, and can go. */
TEST_F(stream, backpressure)
{
	struct vu_vring_state st = { 1, 0 };
	int small = 1, sent = 0;
	struct vug_msg m;
	struct rig r;

	rig_ready(&r);
	setsockopt(r.s.front.rsp.fd, SOL_SOCKET, SO_SNDBUF, &small,
		   sizeof(small));
	for (; !r.s.front.rsp.writing && sent < 10000; sent++) {
		st.num = (u32)sent;
		send_msg(r.front, VU_SET_VRING_NUM, V, &st, 8, NULL, 0);
		vug_poll(&r.s, -1, 0);
	}
	EXPECT_TRUE(r.s.front.rsp.writing) TH_LOG("never blocked");
	for (int i = 0; i < 3; i++) {
		st.num = (u32)sent++;
		send_msg(r.front, VU_SET_VRING_NUM, V, &st, 8, NULL, 0);
		EXPECT_EQ(VUG_RUNNING, vug_poll(&r.s, -1, 0))
			TH_LOG("%s", r.log);
	}
	for (int i = 0; i < sent; i++) {
		ASSERT_TRUE(recv_msg(r.back, &m) && m.w.p.state.num == (u32)i)
			TH_LOG("message %d of %d", i, sent);
		pump(&r);
	}
	for (int i = 0; i < 10000 && !r.s.front.rsp.writing; i++) {
		send_msg(r.front, VU_SET_VRING_NUM, V, &st, 8, NULL, 0);
		vug_poll(&r.s, -1, 0);
	}
	close(r.front);
	r.front = -1;
	EXPECT_EQ(VUG_HANGUP, pump(&r)) TH_LOG("%s", r.log);
	rig_close(&r);
}

TEST_F(stream, long_session)
{
	struct rig r;
	int before;

	rig_ready(&r);
	before = count_fds();
	for (int i = 0; i < 300; i++) {
		for (const struct spec *m = specs; m->name; m++) {
			u64 v = all_proto(&r);
			struct vug_msg got;

			if (m->reply || m->log || m->need ||
			    m->request == VU_SET_BACKEND_REQ_FD ||
			    m->request == VU_SET_FEATURES ||
			    m->request == VU_SET_MEM_TABLE)
				continue;
			if (m->request == VU_SET_PROTOCOL_FEATURES) {
				send_msg(r.front, m->request, V, &v, 8, NULL,
					 0);
			} else {
				send_valid(&r, m);
			}
			ASSERT_TRUE(reaches(&r, m->request, &got))
				TH_LOG("%s: %s", m->name, r.log);
			drop_fds(&got);
			r.len = 0;
			if (m->request == VU_RESET_OWNER)
				negotiate(&r, PROTO_PASSED);
		}
		add_region(&r, (struct vu_region){ 0, 1, 0, 0 }, mem_fd(1), V);
		ASSERT_TRUE(silent(r.back)) TH_LOG("dropped region");
		r.len = 0;
	}
	EXPECT_EQ(before, count_fds());
	rig_close(&r);
}

TEST_HARNESS_MAIN
