// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: a floor for each virtqueue.
 *
 * A floor is a run of slots that only one virtqueue takes from, and only when
 * there is no other room. For the kinds of devices whose chains are bounded (see
 * floor_want()), the floor holds the largest chain that the driver adds to the
 * queue, so a queue with nothing in flight takes one more chain, whatever the
 * window's other users do. A chain that finds no room while
 * others are in flight is told to the driver as a full ring (-ENOSPC), for which
 * virtio drivers wait already, and what they wait for comes: the completion of
 * a chain of their own.
 *
 * Floors go by queue, not by device: the queue pairs of a NIC, or the queues of
 * a disk, would starve each other otherwise.
 *
 * Two kinds of queues. Some have a largest chain that is known: the floor has
 * that size, or the device is refused. Others can be told what they may ask
 * for, those of disks above all: their floor is a share of the window, and
 * dma_window_max_sectors() and dma_window_max_segments() follow from the smallest
 * one.
 *
 * A mapping names its floor by a number, in DMA_ATTR_WINDOW_FLOOR, so that it
 * is made by dma_map_page_attrs() like any other.
 */

#include <linux/bitfield.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/dma-window.h>
#include <linux/math.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <uapi/linux/virtio_blk.h>
#include <uapi/linux/virtio_console.h>
#include <uapi/linux/virtio_crypto.h>
#include <uapi/linux/virtio_ids.h>
#include <uapi/linux/virtio_net.h>
#include <uapi/linux/virtio_scsi.h>

#include "window.h"

#define SLOTS_OF_PAGE	(PAGE_SIZE >> DMA_WINDOW_SLOT_SHIFT)

/*
 * Slots of a disk's floor that are not for data: header, status, sense, and one
 * in 128 for an indirect table, of 16 bytes for each slot at most.
 */
#define SHARE_OVERHEAD	8

/*
 * Slots that 4 KiB of a disk's request cost: two for the bytes, and one for
 * the segment that they may be of, which may end within a slot. One segment more
 * is there for a request that does not begin with one.
 */
#define SHARE_PER_4K	3

/* The least share: a request of 8 KiB, or of a page. */
#define SHARE_MIN	(SHARE_PER_4K * max(PAGE_SIZE / SZ_4K, 2UL) + SHARE_OVERHEAD + 2)

/* A disk's share if there is plenty: 1280 KiB, the block layer's own bound. */
#define SHARE_WANT	(SHARE_PER_4K * 320 + 8 + SHARE_OVERHEAD + 1)

/* How long to wait for room for a floor: what is in flight may be in the way. */
#define RESERVE_TRIES	10
#define RESERVE_WAIT_MS	20

/**
 * struct floor - slots that one virtqueue falls back on
 * @vq: the virtqueue
 * @slot: first slot
 * @nslots: number of slots
 * @rcu: frees the floor
 */
struct floor {
	const struct dma_window_vq	*vq;
	unsigned int			slot;
	unsigned int			nslots;
	struct rcu_head			rcu;
};

/**
 * struct floor_want - what a virtqueue needs a floor for
 * @nslots: slots of the largest chain; of a share, the most that is of use
 * @queues: 0, or for a share how many queues of this kind the device has
 */
struct floor_want {
	unsigned int	nslots;
	unsigned int	queues;
};

/* Slots of a chain of @bytes in @segments, each of which may begin a slot. */
static unsigned int chain_slots(size_t bytes, unsigned int segments)
{
	return (bytes >> DMA_WINDOW_SLOT_SHIFT) + segments +
	       DIV_ROUND_UP(segments * 16, DMA_WINDOW_SLOT_SIZE);
}

static struct floor_want floor_want_blk(struct virtio_device *vdev)
{
	u16 queues = 1;

	virtio_cread_feature(vdev, VIRTIO_BLK_F_MQ, struct virtio_blk_config,
			     num_queues, &queues);
	return (struct floor_want){
		.nslots = SHARE_WANT,
		.queues = clamp_t(u32, queues, 1, nr_cpu_ids),
	};
}

static struct floor_want floor_want_scsi(struct virtio_device *vdev,
					 unsigned int index)
{
	u32 queues;

	/* Task management; events, of which there are eight. */
	if (index < 2)
		return (struct floor_want){ .nslots = 4 };
	virtio_cread(vdev, struct virtio_scsi_config, num_queues, &queues);
	return (struct floor_want){
		.nslots = SHARE_WANT,
		.queues = clamp_t(u32, queues, 1, nr_cpu_ids),
	};
}

static bool net_guest_gso(struct virtio_device *vdev)
{
	return virtio_has_feature(vdev, VIRTIO_NET_F_GUEST_TSO4) ||
	       virtio_has_feature(vdev, VIRTIO_NET_F_GUEST_TSO6) ||
	       virtio_has_feature(vdev, VIRTIO_NET_F_GUEST_ECN) ||
	       virtio_has_feature(vdev, VIRTIO_NET_F_GUEST_UFO) ||
	       virtio_has_feature(vdev, VIRTIO_NET_F_GUEST_USO4);
}

/*
 * Receive buffers stay in the ring until a packet comes, and a packet may need
 * many: the floor holds buffers for the largest packet.
 */
static unsigned int net_rx_slots(struct virtio_device *vdev)
{
	u16 mtu = ETH_DATA_LEN;

	virtio_cread_feature(vdev, VIRTIO_NET_F_MTU, struct virtio_net_config,
			     mtu, &mtu);
	/* A buffer of a byte more than a slot takes two. */
	if (virtio_has_feature(vdev, VIRTIO_NET_F_MRG_RXBUF))
		return 2 * chain_slots(SZ_64K, 0) + 4;
	if (net_guest_gso(vdev))
		return chain_slots((MAX_SKB_FRAGS + 2) * PAGE_SIZE,
				   MAX_SKB_FRAGS + 2);
	if (mtu > ETH_DATA_LEN)
		return chain_slots(round_up(mtu, PAGE_SIZE) + PAGE_SIZE,
				   DIV_ROUND_UP(mtu, PAGE_SIZE) + 2);
	return 16;
}

static struct floor_want floor_want_net(struct virtio_device *vdev,
					unsigned int index)
{
	u16 pairs = 1;

	if (virtio_has_feature(vdev, VIRTIO_NET_F_MQ) ||
	    virtio_has_feature(vdev, VIRTIO_NET_F_RSS))
		virtio_cread(vdev, struct virtio_net_config,
			     max_virtqueue_pairs, &pairs);
	if (index >= 2 * pairs)
		return (struct floor_want){ .nslots = 8 };
	if (index % 2 == 0)
		return (struct floor_want){ .nslots = net_rx_slots(vdev) };
	/* A header, a linear part and fragments. */
	return (struct floor_want){
		.nslots = chain_slots(SZ_64K, MAX_SKB_FRAGS + 2),
	};
}

static struct floor_want floor_want_console(unsigned int index)
{
	/* The control queues lie between port 0 and the others. */
	bool control = index == 2 || index == 3;

	/* Buffers of a page in; up to 32 KiB at once out: see port_fops_write(). */
	if (index % 2 == 0)
		return (struct floor_want){ .nslots = 2 * SLOTS_OF_PAGE };
	return (struct floor_want){
		.nslots = control ? 1 : SZ_32K >> DMA_WINDOW_SLOT_SHIFT,
	};
}

static struct floor_want floor_want_vsock(unsigned int index)
{
	switch (index) {
	case 0:		/* buffers of 4 KiB, headers included */
		return (struct floor_want){ .nslots = 16 };
	case 1:		/* VIRTIO_VSOCK_MAX_PKT_BUF_SIZE, and a header */
		return (struct floor_want){
			.nslots = chain_slots(SZ_64K, MAX_SKB_FRAGS + 2),
		};
	default:	/* events, of which there are eight */
		return (struct floor_want){ .nslots = 2 };
	}
}

/* A request of 64 KiB there and back: dm-crypt's are smaller, AF_ALG's may be larger. */
static struct floor_want floor_want_crypto(struct virtio_device *vdev,
					   unsigned int index)
{
	u32 data_queues;

	virtio_cread_le(vdev, struct virtio_crypto_config, max_dataqueues,
			&data_queues);
	/* The control queue: a request, a key of 4 KiB, a status, a table. */
	if (index >= max(data_queues, 1U))
		return (struct floor_want){ .nslots = 6 };
	/* The first and last page of both may be parts; header, IV and status. */
	return (struct floor_want){ .nslots = chain_slots(2 * SZ_64K, 4 + 3) };
}

/*
 * The largest chains of drivers. Where a driver's bound is not in a header, the
 * comment names the constant.
 */
static struct floor_want floor_want(struct virtio_device *vdev,
				    unsigned int index)
{
	switch (vdev->id.device) {
	case VIRTIO_ID_BLOCK:
		return floor_want_blk(vdev);
	case VIRTIO_ID_SCSI:
		return floor_want_scsi(vdev, index);
	case VIRTIO_ID_NET:
		return floor_want_net(vdev, index);
	case VIRTIO_ID_CONSOLE:
		return floor_want_console(index);
	case VIRTIO_ID_VSOCK:
		return floor_want_vsock(index);
	case VIRTIO_ID_RNG:
		return (struct floor_want){ .nslots = 1 };
	case VIRTIO_ID_INPUT:
		/* A device drops what takes more events than it has buffers. */
		return (struct floor_want){ .nslots = index ? 1 : 16 };
	case VIRTIO_ID_9P:
		/* VIRTQUEUE_NUM segments of a page at most */
		return (struct floor_want){
			.nslots = 128 * SLOTS_OF_PAGE + 2,
		};
	case VIRTIO_ID_FS:
		/* FORGET; FUSE_MAX_MAX_PAGES and arguments */
		return (struct floor_want){
			.nslots = index ? 256 * SLOTS_OF_PAGE + 16 : 4,
		};
	case VIRTIO_ID_CRYPTO:
		return floor_want_crypto(vdev, index);
	case VIRTIO_ID_GPU:
	case VIRTIO_ID_SOUND:
		/* Chains of any size: whatever a share holds. */
		return (struct floor_want){ .nslots = 64, .queues = 1 };
	default:
		return (struct floor_want){ .nslots = 4 };
	}
}

/*
 * The share of a queue: an equal part, for each queue of the device, of an eighth
 * of the window; half of what is left of a fourth of the window at most, so that
 * devices that come later get a share, too.
 */
static unsigned int floor_share(const struct dma_window_pool *pool,
				const struct floor_want *want)
{
	unsigned int all = pool->nslots / 4, most = pool->nslots / 8 / want->queues;
	unsigned int left = all - min(all, READ_ONCE(pool->floor_slots));

	return max_t(unsigned int, SHARE_MIN, min3(want->nslots, most, left / 2));
}

static int floor_reserve(struct dma_window_pool *pool, struct floor *floor)
{
	int tries;

	for (tries = 0; tries < RESERVE_TRIES; tries++) {
		if (tries)
			msleep(RESERVE_WAIT_MS);
		floor->slot = dma_window_pool_floor_reserve(pool, floor->nslots);
		if (floor->slot != DMA_WINDOW_NO_SLOT)
			return 0;
	}
	return -ENOSPC;
}

/* The least share of the device's queues, which bounds its requests. */
static void client_note_share(struct dma_window_client *client,
			      unsigned int nslots)
{
	unsigned int least = READ_ONCE(client->least_share);

	if (!least || nslots < least)
		WRITE_ONCE(client->least_share, nslots);
}

int __dma_window_vq_create(struct dma_window_vq *vq, struct virtio_device *vdev,
			   struct device *dev, unsigned int index)
{
	struct dma_window_client *client;
	struct floor_want want;
	struct floor *floor;
	u32 id;
	int ret;

	if (!dev || !dma_window_has_window(dev))
		return 0;
	client = dma_window_client_of(dev);
	if (!client)
		return 0;

	floor = kzalloc(sizeof(*floor), GFP_KERNEL);
	if (!floor)
		return -ENOMEM;
	want = floor_want(vdev, index);
	floor->vq = vq;
	floor->nslots = want.queues ? floor_share(&client->win->pool, &want) :
				      want.nslots;
	ret = floor_reserve(&client->win->pool, floor);
	if (ret) {
		/* Transports try again with fewer interrupts: once per probe. */
		if (!test_and_set_bit(DMA_WINDOW_NO_FLOOR, &client->warned))
			dev_err(&vdev->dev, "%s: %s: is too small, or too full: no %u KiB for virtqueue %u\n",
				client->prop, client->win->where,
				floor->nslots << DMA_WINDOW_SLOT_SHIFT >> 10,
				index);
		/* Mainline's pools have no floors: the device can do without. */
		if (client->or_mainline)
			ret = 0;
		goto free;
	}
	ret = xa_alloc(&client->floors, &id, floor,
		       XA_LIMIT(1, FIELD_MAX(DMA_ATTR_WINDOW_FLOOR)), GFP_KERNEL);
	if (ret)
		goto release;

	if (want.queues)
		client_note_share(client, floor->nslots);
	vq->floor = id;
	vq->attrs = FIELD_PREP(DMA_ATTR_WINDOW_FLOOR, id);
	return 0;

release:
	dma_window_pool_floor_release(&client->win->pool, floor->slot,
				      floor->nslots);
free:
	kfree(floor);
	return ret;
}
EXPORT_SYMBOL_GPL(__dma_window_vq_create);

bool __dma_window_vq_floor_is_free(const struct dma_window_vq *vq,
				   struct device *dev)
{
	struct dma_window_client *client = dma_window_client_of(dev);
	struct floor *floor;
	bool is_free = true;

	if (!client)
		return true;
	rcu_read_lock();
	floor = xa_load(&client->floors, vq->floor);
	if (floor)
		is_free = dma_window_pool_floor_is_free(&client->win->pool,
							floor->slot, floor->nslots);
	rcu_read_unlock();
	return is_free;
}
EXPORT_SYMBOL_GPL(__dma_window_vq_floor_is_free);

static void floor_free(struct dma_window_client *client, struct floor *floor)
{
	dma_window_pool_floor_release(&client->win->pool, floor->slot,
				      floor->nslots);
	kfree_rcu(floor, rcu);
}

void __dma_window_vq_destroy(struct dma_window_vq *vq, struct device *dev)
{
	struct dma_window_client *client = dma_window_client_of(dev);
	struct floor *floor;

	/* If the client is another by now, its predecessor took the floor. */
	floor = client ? xa_load(&client->floors, vq->floor) : NULL;
	if (!floor || floor->vq != vq)
		return;
	xa_erase(&client->floors, vq->floor);
	floor_free(client, floor);
	if (xa_empty(&client->floors))
		WRITE_ONCE(client->least_share, 0);
}
EXPORT_SYMBOL_GPL(__dma_window_vq_destroy);

/**
 * dma_window_floors_drop() - give back all floors of a client
 * @client: the device and its window; nobody maps for it any more
 *
 * Does nothing if all of its virtqueues are gone.
 *
 * Context: may sleep.
 */
void dma_window_floors_drop(struct dma_window_client *client)
{
	struct floor *floor;
	unsigned long id;

	xa_for_each(&client->floors, id, floor)
		floor_free(client, floor);
	xa_destroy(&client->floors);
}

/**
 * dma_window_floor_alloc() - take a run from the floor that a mapping names
 * @client: the device and its window
 * @req: what is wanted
 * @attrs: attributes of the mapping
 *
 * Context: any. Takes pool->lock.
 *
 * Return: as dma_window_pool_alloc(); NULL also if @attrs name no floor.
 */
struct dma_window_mapping *
dma_window_floor_alloc(struct dma_window_client *client,
		       const struct dma_window_req *req, unsigned long attrs)
{
	u32 id = FIELD_GET(DMA_ATTR_WINDOW_FLOOR, attrs);
	struct dma_window_mapping *map = NULL;
	struct floor *floor;

	if (!id)
		return NULL;
	rcu_read_lock();
	floor = xa_load(&client->floors, id);
	if (floor)
		map = dma_window_pool_floor_alloc(&client->win->pool, req,
						  floor->slot, floor->nslots);
	rcu_read_unlock();
	if (map)
		this_cpu_add(client->win->pool.cpu->stats.floor_maps, 1);
	return map;
}

/**
 * dma_window_floor_4k() - how large a request a floor holds
 * @client: the device and its window
 *
 * Context: any.
 *
 * Return: the request's size in units of 4 KiB, if the request has at most as
 * many segments and one more; 0 if the device has no queue with a share.
 */
unsigned int dma_window_floor_4k(const struct dma_window_client *client)
{
	unsigned int least = READ_ONCE(client->least_share);

	if (!least)
		return 0;
	return (least - SHARE_OVERHEAD - DIV_ROUND_UP(least, 128) - 1) /
	       SHARE_PER_4K;
}
