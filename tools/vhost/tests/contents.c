// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contents of messages: rings, configuration, the log, the IOTLB.
 */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "guard_fixture.h"

FIXTURE(contents) { int fds; };
FIXTURE_SETUP(contents) { self->fds = start(); }
FIXTURE_TEARDOWN(contents) { finish(_metadata, self->fds); }

TEST_F(contents, vring_index)
{
	static const u32 requests[] = {
		VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_GET_VRING_BASE,
		VU_SET_VRING_ENABLE, VU_SET_VRING_ENDIAN,
	};
	struct vu_vring_state st = { 256, 1 };
	struct vu_vring_addr a = { .index = 256 };

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		refuse(_metadata, requests[i], &st, sizeof(st), -1);
	st.index = 0xffffffff;
	refuse(_metadata, VU_SET_VRING_NUM, &st, sizeof(st), -1);
	st = (struct vu_vring_state){ 1, 2 };
	refuse(_metadata, VU_SET_VRING_ENDIAN, &st, sizeof(st), -1);
	refuse(_metadata, VU_SET_VRING_ADDR, &a, sizeof(a), -1);
	a = (struct vu_vring_addr){ .flags = VU_VRING_ADDR_F_LOG };
	refuse(_metadata, VU_SET_VRING_ADDR, &a, sizeof(a), -1);
	a.flags = 2;
	refuse(_metadata, VU_SET_VRING_ADDR, &a, sizeof(a), -1);
}

TEST_F(contents, vring_fds)
{
	for (u32 req = VU_SET_VRING_KICK; req <= VU_SET_VRING_ERR; req++) {
		static const u64 bad[] = { 0x200, 0x1000000000000001ULL,
					   0x80000000, 0xffff };
		int fds[] = {
			mem_fd(4096), pipe_fd(), sock_fd(SOCK_STREAM),
			open("/dev/null", O_RDWR | O_CLOEXEC),
			timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC),
			epoll_create1(EPOLL_CLOEXEC), proc_mem_fd(),
			path_fd(),
		};
		u64 v = 255, nofd = VU_VRING_NOFD | 3;
		struct vug_msg got;
		struct rig r;
		int fd;

		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			refuse(_metadata, req, &v, 8, fds[i]);
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
			refuse(_metadata, req, &bad[i], 8, event_fd());
		refuse(_metadata, req, &nofd, 8, event_fd());
		refuse(_metadata, req, &v, 8, -1);

		rig_ready(&r);
		send_msg(r.front, req, V, &nofd, 8, NULL, 0);
		EXPECT_TRUE(reaches(&r, req, &got) && !got.nfds)
			TH_LOG("%s", r.log);
		fd = event_fd();
		send_msg(r.front, req, V, &v, 8, &fd, 1);
		EXPECT_TRUE(reaches(&r, req, &got)) TH_LOG("%s", r.log);
		/* The descriptor for errors stays here, and is closed. */
		EXPECT_EQ((req != VU_SET_VRING_ERR), got.nfds);
		EXPECT_EQ(v | (got.nfds ? 0 : VU_VRING_NOFD), got.w.p.u64);
		drop_fds(&got);
		rig_close(&r);
	}
}

/* The back-end learns guest-physical addresses in place of the front-end's. */
TEST_F(contents, vring_addr)
{
	static const struct {
		u64 sent, got;	/* got 0: somewhere outside the regions */
	} cases[] = {
		{ WIN_UA, WIN }, { WIN_UA + 16, WIN + 16 },
		{ WIN_UA + WIN_SIZE - 1, WIN + WIN_SIZE - 1 },
		{ WIN_UA + WIN_SIZE, 0 }, { WIN_UA - 1, 0 }, { 0x1000, 0 },
		{ WIN, 0 }, { ~0ULL, 0 },
	};
	struct vug_msg got;
	struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int field = 0; field < 3; field++) {
			struct vu_vring_addr a = {
				.index = 3, .desc = WIN_UA, .used = WIN_UA,
				.avail = WIN_UA, .log = 0x1234,
			};
			u64 others = WIN, v;

			memcpy((char *)&a + 8 + 8 * field, &cases[i].sent, 8);
			rig_ready(&r);
			u64_set(&r, VU_SET_FEATURES,
				VU_BIT(VU_F_PROTOCOL_FEATURES));
			send_msg(r.front, VU_SET_VRING_ADDR, V, &a, sizeof(a),
				 NULL, 0);
			EXPECT_TRUE(reaches(&r, VU_SET_VRING_ADDR, &got))
				TH_LOG("case %zu: %s", i, r.log);
			memcpy(&v, (char *)&got.w.p + 8 + 8 * field, 8);
			if (cases[i].got) {
				EXPECT_EQ(cases[i].got, v) TH_LOG("case %zu", i);
			} else {
				EXPECT_TRUE(v != cases[i].sent && !(v & 4095) &&
					    (v < WIN || v >= WIN + WIN_SIZE))
					TH_LOG("case %zu, 0x%llx", i, v);
			}
			/* A ring is all there, or not at all. */
			if (!cases[i].got)
				others = v;
			a.desc = others;
			a.used = others;
			a.avail = others;
			memcpy((char *)&a + 8 + 8 * field, &v, 8);
			EXPECT_EQ(0, memcmp(&got.w.p, &a, sizeof(a)))
				TH_LOG("case %zu", i);
			rig_close(&r);
		}
	}
	/* With ACCESS_PLATFORM they are the guest's I/O addresses. */
	rig_ready(&r);
	send_msg(r.front, VU_SET_VRING_ADDR, V,
		 &(struct vu_vring_addr){ .desc = WIN_UA, .used = 0x1000 },
		 sizeof(struct vu_vring_addr), NULL, 0);
	EXPECT_TRUE(reaches(&r, VU_SET_VRING_ADDR, &got) &&
		    got.w.p.addr.desc == WIN_UA && got.w.p.addr.used == 0x1000)
		TH_LOG("%s", r.log);
	rig_close(&r);
}

/* A ring outside all regions stays there, wherever these are. */
TEST_F(contents, vring_nowhere)
{
	struct vu_region region = { 0x2000, 0x1000, 0x102000, 0 };
	struct vu_vring_addr a = { .desc = WIN_UA };
	struct vug_msg got;
	struct rig r;

	memset(&r.cfg, 0, sizeof(r.cfg));
	r.cfg.range[0] = (struct vug_range){ 0, 0x10000 };
	r.cfg.nranges = 1;
	rig_open(&r);
	negotiate(&r, PROTO_PASSED);
	u64_set(&r, VU_SET_FEATURES, VU_BIT(VU_F_PROTOCOL_FEATURES));
	for (int i = 0; i < 3; i++) {
		add_region(&r, region, mem_fd(0x1000), V);
		EXPECT_TRUE(recv_msg(r.back, &got)) TH_LOG("%s", r.log);
		drop_fds(&got);
		region.gpa -= 0x1000;
		region.uaddr -= 0x1000;
	}
	send_msg(r.front, VU_SET_VRING_ADDR, V, &a, sizeof(a), NULL, 0);
	EXPECT_TRUE(reaches(&r, VU_SET_VRING_ADDR, &got) &&
		    got.w.p.addr.desc == 0x3000)
		TH_LOG("0x%llx: %s", got.w.p.addr.desc, r.log);
	EXPECT_NE(NULL, strstr(r.log, "is not in a passed region"))
		TH_LOG("%s", r.log);
	rig_close(&r);
}

TEST_F(contents, config)
{
	static const struct {
		struct vu_config c;
		u32 size;
		bool ok;
	} cases[] = {
		{ { 0, 256, 0, { 0 } }, 268, true },
		{ { 255, 1, 1, { 0 } }, 13, true },
		{ { 0, 60, 0, { 0 } }, 72, true },
		{ { 0, 0, 0, { 0 } }, 12, false },
		{ { 0, 8, 0, { 0 } }, 21, false },
		{ { 0, 8, 0, { 0 } }, 19, false },
		{ { 1, 256, 0, { 0 } }, 268, false },
		{ { 256, 1, 0, { 0 } }, 13, false },
		{ { 0xffffffff, 2, 0, { 0 } }, 14, false },
		{ { 0, 257, 0, { 0 } }, 268, false },
		{ { 0, 0xfffffffd, 0, { 0 } }, 20, false },
		{ { 0, 8, 2, { 0 } }, 20, false },
	};

	for (u32 req = VU_GET_CONFIG; req <= VU_SET_CONFIG; req++) {
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			struct vug_msg got;
			struct rig r;

			if (!cases[i].ok) {
				refuse(_metadata, req, &cases[i].c,
				       cases[i].size, -1);
				continue;
			}
			rig_ready(&r);
			send_msg(r.front, req, V, &cases[i].c, cases[i].size,
				 NULL, 0);
			EXPECT_TRUE(reaches(&r, req, &got))
				TH_LOG("case %zu: %s", i, r.log);
			rig_close(&r);
		}
	}
}

TEST_F(contents, log)
{
	static const struct {
		u64 size, offset, file;
		bool ok;
	} cases[] = {
		{ 4096, 0, 4096, true }, { 100, 0, 4096, true },
		{ 100, 0, 100, true }, { 4096, 0, 4097, false },
		{ 4096, 4096, 8192, false }, { 4096, 4096, 4096, false },
		{ 4096, 1, 100, false }, { 0, 0, 0, false },
		{ 4096, 0, 1 << 30, false }, { ~0ULL, 0, 4096, false },
	};
	struct vug_msg got;
	struct rig r;
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vu_log l = { cases[i].size, cases[i].offset };

		rig_ready_proto(&r, true, ~0ULL);
		fd = mem_fd(cases[i].file);
		send_msg(r.front, VU_SET_LOG_BASE, V, &l, 16, &fd, 1);
		EXPECT_EQ(cases[i].ok, reaches(&r, VU_SET_LOG_BASE, &got))
			TH_LOG("case %zu: %s", i, r.log);
		drop_fds(&got);
		rig_close(&r);
	}
	rig_ready_proto(&r, true, ~0ULL);
	fd = mem_fd(4096);
	send_msg(r.front, VU_SET_LOG_FD, V, NULL, 0, &fd, 1);
	expect_violation(_metadata, &r, "memory as log eventfd");
	rig_close(&r);
}

TEST_F(contents, iotlb)
{
	static const struct {
		u64 uaddr, size;
		u8 type, perm;
		int what;	/* 0 refused, 1 passes, 2 answered */
	} cases[] = {
		{ WIN_UA, WIN_SIZE, VU_IOTLB_UPDATE, 1, 1 },
		{ WIN_UA + 4096, 4096, VU_IOTLB_UPDATE, 3, 1 },
		{ WIN_UA - 1, 4096, VU_IOTLB_UPDATE, 3, 2 },
		{ WIN_UA + 1, WIN_SIZE, VU_IOTLB_UPDATE, 3, 2 },
		{ WIN_UA + WIN_SIZE, 1, VU_IOTLB_UPDATE, 3, 2 },
		{ 0x1000, 4096, VU_IOTLB_UPDATE, 3, 2 },
		{ WIN_UA, ~0ULL, VU_IOTLB_UPDATE, 3, 2 },
		{ 0, 4096, VU_IOTLB_INVALIDATE, 0, 1 },
		/* QEMU leaves the address of these as it finds it. */
		{ WIN_UA + 4096, 4096, VU_IOTLB_INVALIDATE, 7, 1 },
		{ WIN_UA, 0, VU_IOTLB_UPDATE, 3, 0 },
		{ WIN_UA, 4096, VU_IOTLB_UPDATE, 4, 0 },
		{ WIN_UA, 4096, VU_IOTLB_MISS, 3, 0 },
		{ WIN_UA, 4096, VU_IOTLB_ACCESS_FAIL, 3, 0 },
		{ WIN_UA, 4096, 0, 3, 0 }, { WIN_UA, 4096, 255, 3, 0 },
	};
	struct vu_iotlb t = { 0 };
	struct vug_msg got;
	struct rig r;
	u64 f = 0;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 want = 0;

		t = (struct vu_iotlb){
			.iova = 0x8000, .size = cases[i].size,
			.uaddr = cases[i].uaddr, .perm = cases[i].perm,
			.type = cases[i].type, .padding = { 1, 2, 3, 4, 5, 6 },
		};
		if (!cases[i].what) {
			refuse(_metadata, VU_IOTLB_MSG, &t, 32, -1);
			continue;
		}
		rig_ready(&r);
		send_msg(r.front, VU_IOTLB_MSG, NEED, &t, 32, NULL, 0);
		EXPECT_EQ((cases[i].what == 1), reaches(&r, VU_IOTLB_MSG, &got))
			TH_LOG("case %zu: %s", i, r.log);
		if (cases[i].what == 1) {
			if (cases[i].type == VU_IOTLB_UPDATE)
				want = cases[i].uaddr - WIN_UA + WIN;
			EXPECT_EQ(want, got.w.p.iotlb.uaddr)
				TH_LOG("case %zu", i);
			EXPECT_EQ(0, got.w.p.iotlb.padding[5]);
		}
		if (cases[i].what == 2) {
			EXPECT_TRUE(recv_msg(r.front, &got) && got.w.p.u64 == 1)
				TH_LOG("case %zu: %s", i, r.log);
		}
		EXPECT_EQ(VUG_RUNNING, r.st) TH_LOG("case %zu: %s", i, r.log);
		rig_close(&r);
	}
	/* Refuse updates without ACCESS_PLATFORM, and unacknowledged ones. */
	t = (struct vu_iotlb){ .size = 1, .uaddr = WIN_UA,
			       .type = VU_IOTLB_UPDATE };
	rig_ready(&r);
	u64_set(&r, VU_SET_FEATURES, f);
	send_msg(r.front, VU_IOTLB_MSG, NEED, &t, 32, NULL, 0);
	expect_violation(_metadata, &r, "IOTLB without ACCESS_PLATFORM");
	rig_close(&r);
	rig_ready(&r);
	send_msg(r.front, VU_IOTLB_MSG, V, &t, 32, NULL, 0);
	expect_violation(_metadata, &r, "IOTLB without NEED_REPLY");
	rig_close(&r);
}

TEST_HARNESS_MAIN
