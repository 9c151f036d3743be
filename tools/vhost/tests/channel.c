// SPDX-License-Identifier: GPL-2.0-only
/*
 * The back-channel: the back-end's requests.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "guard_fixture.h"

FIXTURE(channel) { int fds; };
FIXTURE_SETUP(channel) { self->fds = start(); }
FIXTURE_TEARDOWN(channel) { finish(_metadata, self->fds); }

struct channel {
	struct rig r;
	int front;		/* the front-end's end */
	int back;		/* the back-end's end */
};

static void channel_open(struct __test_metadata *_metadata, struct channel *c)
{
	struct vug_msg got;
	int p[2];

	rig_ready(&c->r);
	sock_pair(SOCK_STREAM, p);
	c->front = p[0];
	c->back = -1;
	send_msg(c->r.front, VU_SET_BACKEND_REQ_FD, V, NULL, 0, &p[1], 1);
	EXPECT_TRUE(reaches(&c->r, VU_SET_BACKEND_REQ_FD, &got) &&
		    got.nfds == 1)
		TH_LOG("%s", c->r.log);
	if (got.nfds == 1)
		c->back = got.fds[0];
	else
		drop_fds(&got);
}

static void channel_close(struct channel *c)
{
	if (c->front >= 0)
		close(c->front);
	if (c->back >= 0)
		close(c->back);
	rig_close(&c->r);
}

static void channel_refuse(struct __test_metadata *_metadata, u32 request,
			   u32 flags, const void *payload, u32 size,
			   unsigned int nfds)
{
	int fd = nfds ? mem_fd(4096) : -1;
	struct channel c;
	struct vug_msg m;

	channel_open(_metadata, &c);
	send_msg(c.back, request, flags, payload, size, &fd, nfds);
	EXPECT_EQ(VUG_VIOLATION, pump(&c.r))
		TH_LOG("request %u: %s", request, c.r.log);
	EXPECT_FALSE(recv_msg(c.front, &m)) TH_LOG("request %u", request);
	drop_fds(&m);
	channel_close(&c);
}

TEST_F(channel, channel)
{
	struct vu_iotlb t = { .iova = 1, .size = 1, .type = VU_IOTLB_MISS };
	struct channel c;
	struct vug_msg m;
	u64 ack = 5;

	channel_open(_metadata, &c);
	send_msg(c.back, VU_BACKEND_CONFIG_CHANGE, V, NULL, 0, NULL, 0);
	pump(&c.r);
	EXPECT_TRUE(recv_msg(c.front, &m) &&
		    m.w.hdr.request == VU_BACKEND_CONFIG_CHANGE)
		TH_LOG("%s", c.r.log);
	send_msg(c.back, VU_BACKEND_IOTLB_MSG, NEED, &t, 32, NULL, 0);
	pump(&c.r);
	EXPECT_TRUE(recv_msg(c.front, &m) && !memcmp(&m.w.p, &t, 32))
		TH_LOG("%s", c.r.log);
	EXPECT_EQ(NEED, m.w.hdr.flags) TH_LOG("%s", c.r.log);
	send_msg(c.front, VU_BACKEND_IOTLB_MSG, ANSWER, &ack, 8, NULL, 0);
	pump(&c.r);
	EXPECT_TRUE(recv_msg(c.back, &m) && m.w.p.u64 == 5 &&
		    m.w.hdr.flags == ANSWER)
		TH_LOG("%s", c.r.log);
	/* Both links are independent: this one waits, the other one works. */
	send_msg(c.back, VU_BACKEND_CONFIG_CHANGE, NEED, NULL, 0, NULL, 0);
	pump(&c.r);
	EXPECT_TRUE(recv_msg(c.front, &m)) TH_LOG("%s", c.r.log);
	u64_exchange(&c.r, VU_GET_STATUS, 1, NULL);
	EXPECT_EQ(VUG_RUNNING, c.r.st) TH_LOG("%s", c.r.log);
	channel_close(&c);
}

TEST_F(channel, channel_refused)
{
	struct vu_iotlb t = { .iova = 1, .size = 1, .type = VU_IOTLB_UPDATE };
	u8 big[268] = { 0 };
	struct channel c;
	u64 ack = 0;

	channel_refuse(_metadata, VU_BACKEND_IOTLB_MSG, V, &t, 32, 0);
	t.type = VU_IOTLB_INVALIDATE;
	channel_refuse(_metadata, VU_BACKEND_IOTLB_MSG, V, &t, 32, 0);
	t.type = VU_IOTLB_MISS;
	channel_refuse(_metadata, VU_BACKEND_IOTLB_MSG, V, &t, 32, 1);
	channel_refuse(_metadata, VU_BACKEND_IOTLB_MSG, V, &t, 31, 0);
	channel_refuse(_metadata, VU_BACKEND_IOTLB_MSG, V, big, 268, 0);
	channel_refuse(_metadata, VU_BACKEND_IOTLB_MSG, ANSWER, &t, 32, 0);
	channel_refuse(_metadata, VU_BACKEND_CONFIG_CHANGE, V, NULL, 0, 1);
	channel_refuse(_metadata, VU_BACKEND_CONFIG_CHANGE, V, &ack, 8, 0);
	channel_refuse(_metadata, VU_BACKEND_CONFIG_CHANGE, 2, NULL, 0, 0);
	channel_refuse(_metadata, VU_BACKEND_HOST_NOTIFIER, V, big, 24, 1);
	channel_refuse(_metadata, VU_BACKEND_HOST_NOTIFIER, V, big, 24, 0);
	for (u32 req = VU_BACKEND_VRING_CALL; req < 16; req++)
		channel_refuse(_metadata, req, V, big, 8, 0);
	channel_refuse(_metadata, 0, V, NULL, 0, 0);
	channel_refuse(_metadata, 0xffffffff, V, NULL, 0, 0);

	/* The front-end answers although nothing was asked. */
	channel_open(_metadata, &c);
	send_msg(c.front, VU_BACKEND_CONFIG_CHANGE, ANSWER, &ack, 8, NULL, 0);
	EXPECT_EQ(VUG_VIOLATION, pump(&c.r)) TH_LOG("%s", c.r.log);
	EXPECT_TRUE(silent(c.back)) TH_LOG("%s", c.r.log);
	channel_close(&c);
}

TEST_F(channel, channel_fd)
{
	int fds[] = {
		mem_fd(4096), event_fd(), pipe_fd(), sock_fd(SOCK_DGRAM),
		sock_fd(SOCK_SEQPACKET),
		socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
	};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] < 0)
			continue;	/* no network here */
		refuse(_metadata, VU_SET_BACKEND_REQ_FD, NULL, 0, fds[i]);
	}
}

/* The features that the back-channel's messages need have gone again. */
TEST_F(channel, channel_gates)
{
	struct vu_iotlb t = { .iova = 1, .size = 1, .type = VU_IOTLB_MISS };
	u64 f = VU_BIT(VU_F_PROTOCOL_FEATURES);
	struct channel c;

	channel_open(_metadata, &c);
	u64_set(&c.r, VU_SET_FEATURES, f);
	send_msg(c.back, VU_BACKEND_IOTLB_MSG, V, &t, 32, NULL, 0);
	EXPECT_EQ(VUG_VIOLATION, pump(&c.r)) TH_LOG("%s", c.r.log);
	EXPECT_TRUE(silent(c.front)) TH_LOG("%s", c.r.log);
	channel_close(&c);

	channel_open(_metadata, &c);
	u64_set(&c.r, VU_SET_PROTOCOL_FEATURES,
		PROTO_PASSED & ~VU_BIT(VU_PF_CONFIG));
	send_msg(c.back, VU_BACKEND_CONFIG_CHANGE, V, NULL, 0, NULL, 0);
	EXPECT_EQ(VUG_VIOLATION, pump(&c.r)) TH_LOG("%s", c.r.log);
	EXPECT_TRUE(silent(c.front)) TH_LOG("%s", c.r.log);
	channel_close(&c);
}

/* The VMM's own socket must not get to the backend. */
TEST_F(channel, channel_interposed)
{
	struct channel c;
	struct stat a, b;
	char byte = 0;

	channel_open(_metadata, &c);
	EXPECT_TRUE(!fstat(c.back, &a) && !fstat(c.r.s.back.rsp.fd, &b) &&
		    a.st_ino != b.st_ino)
		TH_LOG("same socket");
	EXPECT_EQ(FD_CLOEXEC, fcntl(c.r.s.back.req.fd, F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(c.r.s.back.rsp.fd, F_GETFD));
	send_part(c.back, &byte, 1, NULL, 0);
	pump(&c.r);
	EXPECT_TRUE(recv(c.front, &byte, 1, MSG_DONTWAIT) < 0)
		TH_LOG("not interposed");
	channel_close(&c);
}

TEST_F(channel, channel_hangup)
{
	for (int side = 0; side < 2; side++) {
		struct channel c;

		channel_open(_metadata, &c);
		close(side ? c.front : c.back);
		*(side ? &c.front : &c.back) = -1;
		EXPECT_EQ(VUG_RUNNING, pump(&c.r)) TH_LOG("%s", c.r.log);
		EXPECT_TRUE(hung_up(side ? c.back : c.front))
			TH_LOG("side %d", side);
		u64_exchange(&c.r, VU_GET_STATUS, 1, NULL);
		channel_close(&c);
	}
}

/* RESET_OWNER: the channel, features and memory of the owner before are gone. */
TEST_F(channel, reset_owner)
{
	struct vu_mem_reg reg = { 0, window() };
	struct channel c;
	struct vug_msg got;

	channel_open(_metadata, &c);
	send_msg(c.r.front, VU_RESET_OWNER, V, NULL, 0, NULL, 0);
	EXPECT_TRUE(reaches(&c.r, VU_RESET_OWNER, &got)) TH_LOG("%s", c.r.log);
	EXPECT_TRUE(hung_up(c.front) && hung_up(c.back))
		TH_LOG("the channel is still there");
	/* Offers still hold: a new owner need not ask again. */
	u64_set(&c.r, VU_SET_PROTOCOL_FEATURES, PROTO_PASSED);
	send_msg(c.r.front, VU_REM_MEM_REG, V, &reg, sizeof(reg), NULL, 0);
	EXPECT_EQ(VUG_RUNNING, pump(&c.r)) TH_LOG("%s", c.r.log);
	EXPECT_TRUE(silent(c.r.back)) TH_LOG("the region is still held");
	channel_close(&c);

	channel_open(_metadata, &c);
	send_msg(c.r.front, VU_RESET_OWNER, NEED, NULL, 0, NULL, 0);
	EXPECT_TRUE(reaches(&c.r, VU_RESET_OWNER, &got)) TH_LOG("%s", c.r.log);
	send_msg(c.r.back, VU_RESET_OWNER, ANSWER, "1234567", 8, NULL, 0);
	pump(&c.r);
	EXPECT_TRUE(recv_msg(c.r.front, &got)) TH_LOG("%s", c.r.log);
	send_msg(c.r.front, VU_GET_STATUS, V, NULL, 0, NULL, 0);
	expect_violation(_metadata, &c.r, "a feature of the owner before");
	channel_close(&c);
}

TEST_F(channel, channel_replaced)
{
	struct channel c;
	struct vug_msg got;
	int p[2];

	channel_open(_metadata, &c);
	sock_pair(SOCK_STREAM, p);
	send_msg(c.r.front, VU_SET_BACKEND_REQ_FD, V, NULL, 0, &p[1], 1);
	EXPECT_TRUE(reaches(&c.r, VU_SET_BACKEND_REQ_FD, &got))
		TH_LOG("%s", c.r.log);
	EXPECT_TRUE(hung_up(c.front) && hung_up(c.back))
		TH_LOG("the first is still there");
	drop_fds(&got);
	close(p[0]);
	channel_close(&c);
}

TEST_HARNESS_MAIN
