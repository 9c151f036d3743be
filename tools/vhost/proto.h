/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The vhost-user wire format, as far as vhost-user-guard lets it pass.
 *
 * Sources: QEMU docs/interop/vhost-user.rst (the specification), what QEMU
 * 7.2 to 10 really sends (hw/virtio/vhost-user.c) and what libvhost-user and
 * DPDK's lib/vhost really answer. All numbers are in host byte order. The
 * specification's older SLAVE_* names are called BACKEND_* here, as it does now.
 */
#ifndef VHOST_GUARD_PROTO_H
#define VHOST_GUARD_PROTO_H

#include <assert.h>
#include <stddef.h>

/* Kernel names; and %llx prints a u64 on every machine. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define VU_BIT(n)		(1ULL << (n))

/* Header flags */
#define VU_VERSION		0x1u
#define VU_VERSION_MASK		0x3u
#define VU_REPLY		0x4u
#define VU_NEED_REPLY		0x8u

/* SET_VRING_KICK, _CALL, _ERR */
#define VU_VRING_INDEX_MASK	0xffULL
#define VU_VRING_NOFD		0x100ULL

/* The index field of SET_VRING_KICK is eight bits wide: no device has more */
#define VU_MAX_VRINGS		256u

#define VU_MAX_QUEUE_SIZE	32768u	/* virtio's limit */

#define VU_MAX_TABLE_REGIONS	8u	/* SET_MEM_TABLE */
#define VU_MAX_CONFIG		256u	/* GET_CONFIG, SET_CONFIG */

/* Device feature bits that mean something to the transport */
#define VU_F_LOG_ALL		26
#define VU_F_PROTOCOL_FEATURES	30
#define VU_F_ACCESS_PLATFORM	33

/* Protocol features */
#define VU_PF_MQ		0
#define VU_PF_LOG_SHMFD		1
#define VU_PF_RARP		2
#define VU_PF_REPLY_ACK		3
#define VU_PF_MTU		4
#define VU_PF_BACKEND_REQ	5
#define VU_PF_CROSS_ENDIAN	6
#define VU_PF_CRYPTO_SESSION	7
#define VU_PF_PAGEFAULT		8
#define VU_PF_CONFIG		9
#define VU_PF_BACKEND_SEND_FD	10
#define VU_PF_HOST_NOTIFIER	11
#define VU_PF_INFLIGHT_SHMFD	12
#define VU_PF_RESET_DEVICE	13
#define VU_PF_INBAND		14
#define VU_PF_MEM_SLOTS		15
#define VU_PF_STATUS		16
#define VU_PF_XEN_MMAP		17
#define VU_PF_SHARED_OBJECT	18
#define VU_PF_DEVICE_STATE	19
#define VU_PF_BASE_INFLIGHT	20	/* GET_VRING_BASE_INFLIGHT */
#define VU_PF_GPA_ADDRESSES	21
#define VU_PF_SHMEM		22

/* Requests of the front-end */
enum vu_request {
	VU_GET_FEATURES			= 1,
	VU_SET_FEATURES			= 2,
	VU_SET_OWNER			= 3,
	VU_RESET_OWNER			= 4,
	VU_SET_MEM_TABLE		= 5,
	VU_SET_LOG_BASE			= 6,
	VU_SET_LOG_FD			= 7,
	VU_SET_VRING_NUM		= 8,
	VU_SET_VRING_ADDR		= 9,
	VU_SET_VRING_BASE		= 10,
	VU_GET_VRING_BASE		= 11,
	VU_SET_VRING_KICK		= 12,
	VU_SET_VRING_CALL		= 13,
	VU_SET_VRING_ERR		= 14,
	VU_GET_PROTOCOL_FEATURES	= 15,
	VU_SET_PROTOCOL_FEATURES	= 16,
	VU_GET_QUEUE_NUM		= 17,
	VU_SET_VRING_ENABLE		= 18,
	VU_SEND_RARP			= 19,
	VU_NET_SET_MTU			= 20,
	VU_SET_BACKEND_REQ_FD		= 21,
	VU_IOTLB_MSG			= 22,
	VU_SET_VRING_ENDIAN		= 23,
	VU_GET_CONFIG			= 24,
	VU_SET_CONFIG			= 25,
	VU_CREATE_CRYPTO_SESSION	= 26,
	VU_CLOSE_CRYPTO_SESSION		= 27,
	VU_POSTCOPY_ADVISE		= 28,
	VU_POSTCOPY_LISTEN		= 29,
	VU_POSTCOPY_END			= 30,
	VU_GET_INFLIGHT_FD		= 31,
	VU_SET_INFLIGHT_FD		= 32,
	VU_GPU_SET_SOCKET		= 33,
	VU_RESET_DEVICE			= 34,
	VU_VRING_KICK			= 35,
	VU_GET_MAX_MEM_SLOTS		= 36,
	VU_ADD_MEM_REG			= 37,
	VU_REM_MEM_REG			= 38,
	VU_SET_STATUS			= 39,
	VU_GET_STATUS			= 40,
	VU_GET_SHARED_OBJECT		= 41,
	VU_SET_DEVICE_STATE_FD		= 42,
	VU_CHECK_DEVICE_STATE		= 43,
	VU_GET_SHMEM_CONFIG		= 44,
};

/* Requests of the back-end, on the back-channel */
enum vu_backend_request {
	VU_BACKEND_IOTLB_MSG		= 1,
	VU_BACKEND_CONFIG_CHANGE	= 2,
	VU_BACKEND_HOST_NOTIFIER	= 3,
	VU_BACKEND_VRING_CALL		= 4,
	VU_BACKEND_VRING_ERR		= 5,
	VU_BACKEND_SHARED_OBJECT_ADD	= 6,
	VU_BACKEND_SHARED_OBJECT_REMOVE	= 7,
	VU_BACKEND_SHARED_OBJECT_LOOKUP	= 8,
	VU_BACKEND_SHMEM_MAP		= 9,
	VU_BACKEND_SHMEM_UNMAP		= 10,
};

enum vu_iotlb_type {
	VU_IOTLB_MISS		= 1,
	VU_IOTLB_UPDATE		= 2,
	VU_IOTLB_INVALIDATE	= 3,
	VU_IOTLB_ACCESS_FAIL	= 4,
};

#pragma pack(push, 1)

struct vu_hdr {
	u32 request;
	u32 flags;
	u32 size;
};

struct vu_vring_state {
	u32 index;
	u32 num;
};

#define VU_VRING_ADDR_F_LOG	0x1u

struct vu_vring_addr {
	u32 index;
	u32 flags;
	u64 desc;
	u64 used;
	u64 avail;
	u64 log;
};

struct vu_region {
	u64 gpa;
	u64 size;
	u64 uaddr;		/* in the front-end's address space */
	u64 offset;	/* in the file */
};

struct vu_mem_table {
	u32 nregions;
	u32 padding;
	struct vu_region region[VU_MAX_TABLE_REGIONS];
};

struct vu_mem_reg {
	u64 padding;
	struct vu_region region;
};

struct vu_log {
	u64 size;
	u64 offset;
};

/* The specification has no padding; libvhost-user, QEMU and DPDK have. */
struct vu_inflight {
	u64 size;
	u64 offset;
	u16 queues;
	u16 queue_size;
	u32 padding;
};

#define VU_INFLIGHT_MIN		offsetof(struct vu_inflight, padding)

/* struct vhost_iotlb_msg: the tail is the compiler's padding there */
struct vu_iotlb {
	u64 iova;
	u64 size;
	u64 uaddr;
	u8 perm;
	u8 type;
	u8 padding[6];
};

#define VU_CONFIG_HDR		12u

struct vu_config {
	u32 offset;
	u32 size;
	u32 flags;
	u8 data[VU_MAX_CONFIG];
};

union vu_payload {
	u64 u64;
	struct vu_vring_state state;
	struct vu_vring_addr addr;
	struct vu_mem_table table;
	struct vu_mem_reg mem_reg;
	struct vu_log log;
	struct vu_inflight inflight;
	struct vu_iotlb iotlb;
	struct vu_config config;
	u8 bytes[VU_CONFIG_HDR + VU_MAX_CONFIG];
};

/* A message on the wire; a header is always followed by its payload */
struct vu_wire {
	struct vu_hdr hdr;
	union vu_payload p;
};

#pragma pack(pop)

#define VU_TABLE_HDR		offsetof(struct vu_mem_table, region)

static_assert(sizeof(u64) == 8, "u64");
static_assert(sizeof(struct vu_hdr) == 12, "header");
static_assert(sizeof(struct vu_vring_addr) == 40, "vring address");
static_assert(sizeof(struct vu_region) == 32, "region");
static_assert(sizeof(struct vu_mem_table) == 264, "memory table");
static_assert(sizeof(struct vu_mem_reg) == 40, "single region");
static_assert(sizeof(struct vu_inflight) == 24, "requests in flight");
static_assert(sizeof(struct vu_iotlb) == 32, "IOTLB message");
static_assert(sizeof(union vu_payload) == 268, "payload");
static_assert(offsetof(struct vu_wire, p) == 12, "payload follows header");

#endif
