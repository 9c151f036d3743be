// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows, as a module: virtio devices that use the DMA API.
 *
 * A virtio driver gives a device guest-physical addresses unless the device has
 * VIRTIO_F_ACCESS_PLATFORM. A kernel with windows built in asks for them in
 * virtio_has_dma_quirk(); a module cannot. So the device gets the bit, and the
 * back end is not told: a copy of the transport's operations adds the bit to what
 * the back end offers, and takes it out of what the back end is sent, unless the
 * back end has offered it by itself.
 *
 * The copy is there from before the driver's probe until after its removal. A
 * transport's own operations are never written to.
 */

#define pr_fmt(fmt) "dma-window: " fmt

#include <linux/dma-window.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>

#include "module.h"
#include "window.h"

/**
 * struct transport - a transport's operations, and ours in their place
 * @ops: ours
 * @orig: the transport's
 * @offered: the back end offers the bit by itself
 */
struct transport {
	struct virtio_config_ops	ops;
	const struct virtio_config_ops	*orig;
	bool				offered;
};

static u64 transport_get_features(struct virtio_device *vdev)
{
	struct transport *tr = container_of(vdev->config, struct transport, ops);
	u64 features = tr->orig->get_features(vdev);

	tr->offered = features & BIT_ULL(VIRTIO_F_ACCESS_PLATFORM);
	return features | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM);
}

#ifdef DMA_WINDOW_HAVE_EXTENDED_FEATURES
static void transport_get_extended_features(struct virtio_device *vdev, u64 *features)
{
	struct transport *tr = container_of(vdev->config, struct transport, ops);

	tr->orig->get_extended_features(vdev, features);
	tr->offered = features[0] & BIT_ULL(VIRTIO_F_ACCESS_PLATFORM);
	features[0] |= BIT_ULL(VIRTIO_F_ACCESS_PLATFORM);
}
#endif

/*
 * Refuse a device here: the driver's probe fails with the error. Ask while the bit
 * says what the back end does with addresses.
 */
static int transport_finalize_features(struct virtio_device *vdev)
{
	struct transport *tr = container_of(vdev->config, struct transport, ops);
	int ret;

	if (!tr->offered)
		__virtio_clear_bit(vdev, VIRTIO_F_ACCESS_PLATFORM);
	ret = tr->orig->finalize_features(vdev);
	if (!ret)
		ret = dma_window_virtio_check(vdev);
	__virtio_set_bit(vdev, VIRTIO_F_ACCESS_PLATFORM);
	return ret;
}

static void transport_take(struct virtio_device *vdev)
{
	/* A probe cannot be failed from here, and without this it must not go on. */
	struct transport *tr = kzalloc(sizeof(*tr), GFP_KERNEL | __GFP_NOFAIL);

	tr->ops = *vdev->config;
	tr->orig = vdev->config;
	tr->ops.get_features = transport_get_features;
	tr->ops.finalize_features = transport_finalize_features;
#ifdef DMA_WINDOW_HAVE_EXTENDED_FEATURES
	if (tr->ops.get_extended_features)
		tr->ops.get_extended_features = transport_get_extended_features;
#endif
	vdev->config = &tr->ops;
}

static void transport_give_back(struct virtio_device *vdev)
{
	struct transport *tr = container_of(vdev->config, struct transport, ops);

	vdev->config = tr->orig;
	__virtio_clear_bit(vdev, VIRTIO_F_ACCESS_PLATFORM);
	kfree(tr);
}

static bool transport_is_taken(const struct virtio_device *vdev)
{
	return vdev->config->finalize_features == transport_finalize_features;
}

static int transport_notify(struct notifier_block *nb, unsigned long action,
			    void *data)
{
	struct virtio_device *vdev = dev_to_virtio(data);

	switch (action) {
	case BUS_NOTIFY_BIND_DRIVER:
		if (dma_window_attached(vdev->dev.parent) && !transport_is_taken(vdev))
			transport_take(vdev);
		break;
	case BUS_NOTIFY_DRIVER_NOT_BOUND:
	case BUS_NOTIFY_UNBOUND_DRIVER:
		if (transport_is_taken(vdev))
			transport_give_back(vdev);
		break;
	}
	return NOTIFY_OK;
}

static struct notifier_block transport_notifier = {
	.notifier_call	= transport_notify,
};

/* The bus of virtio devices is not exported; a driver knows it. */
static const struct virtio_device_id no_id[] = { { } };

static int no_probe(struct virtio_device *vdev)
{
	return -ENODEV;
}

static void no_remove(struct virtio_device *vdev)
{
}

static struct virtio_driver transport_driver = {
	.driver.name	= "dma-window",
	.id_table	= no_id,
	.probe		= no_probe,
	.remove		= no_remove,
};

static int transport_note_driver(struct device *child, void *name)
{
	if (child->bus == transport_driver.driver.bus && child->driver)
		*(const char **)name = child->driver->name;
	return 0;
}

/**
 * dma_window_transport_driver() - the driver of a transport's virtio device
 * @dev: the transport's device
 *
 * Context: may sleep.
 *
 * Return: the driver's name, or NULL if it has none yet.
 */
const char *dma_window_transport_driver(struct device *dev)
{
	const char *name = NULL;

	device_for_each_child(dev, &name, transport_note_driver);
	return name;
}

/**
 * dma_window_transport_init() - watch virtio devices
 *
 * Context: may sleep.
 *
 * Return: 0, or what register_virtio_driver() or bus_register_notifier() returns.
 */
int __init dma_window_transport_init(void)
{
	int ret;

	ret = register_virtio_driver(&transport_driver);
	if (ret)
		return ret;
	ret = bus_register_notifier(transport_driver.driver.bus, &transport_notifier);
	if (ret)
		unregister_virtio_driver(&transport_driver);
	return ret;
}

/**
 * dma_window_transport_exit() - undo dma_window_transport_init()
 *
 * Context: may sleep; no virtio device is confined any more.
 */
void dma_window_transport_exit(void)
{
	bus_unregister_notifier(transport_driver.driver.bus, &transport_notifier);
	unregister_virtio_driver(&transport_driver);
}
