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
 * The copy is in use from before the driver's probe until after its removal. A
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
 * @list: in transports, from the device's first probe until it is removed
 * @vdev: the device
 * @ops: ours
 * @orig: the transport's
 * @offered: the back end offers the bit by itself
 */
struct transport {
	struct list_head		list;
	struct virtio_device		*vdev;
	struct virtio_config_ops	ops;
	const struct virtio_config_ops	*orig;
	bool				offered;
};

static LIST_HEAD(transports);
static DEFINE_MUTEX(transports_mutex);

static struct transport *transport_of(const struct virtio_device *vdev)
{
	struct transport *tr, *found = NULL;

	mutex_lock(&transports_mutex);
	list_for_each_entry(tr, &transports, list)
		if (tr->vdev == vdev)
			found = tr;
	mutex_unlock(&transports_mutex);
	return found;
}

static u64 transport_get_features(struct virtio_device *vdev)
{
	struct transport *tr = transport_of(vdev);
	u64 features = tr->orig->get_features(vdev);

	tr->offered = features & BIT_ULL(VIRTIO_F_ACCESS_PLATFORM);
	return features | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM);
}

#ifdef DMA_WINDOW_HAVE_EXTENDED_FEATURES
static void transport_get_extended_features(struct virtio_device *vdev, u64 *features)
{
	struct transport *tr = transport_of(vdev);

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
	struct transport *tr = transport_of(vdev);
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
	struct transport *tr = transport_of(vdev);

	if (!tr) {
		/* A probe cannot be failed from here, and must not go on without this. */
		tr = kzalloc(sizeof(*tr), GFP_KERNEL | __GFP_NOFAIL);
		tr->vdev = vdev;
		tr->orig = vdev->config;
		tr->ops = *vdev->config;
		if (tr->ops.get_features)
			tr->ops.get_features = transport_get_features;
		tr->ops.finalize_features = transport_finalize_features;
#ifdef DMA_WINDOW_HAVE_EXTENDED_FEATURES
		if (tr->ops.get_extended_features)
			tr->ops.get_extended_features = transport_get_extended_features;
#endif
		mutex_lock(&transports_mutex);
		list_add(&tr->list, &transports);
		mutex_unlock(&transports_mutex);
	}
	vdev->config = &tr->ops;
}

/* Readers of sysfs use the operations without a lock: keep ours until the device goes. */
static void transport_give_back(struct virtio_device *vdev)
{
	struct transport *tr = transport_of(vdev);

	if (!tr || vdev->config == tr->orig)
		return;
	vdev->config = tr->orig;
	__virtio_clear_bit(vdev, VIRTIO_F_ACCESS_PLATFORM);
}

static void transport_forget(struct virtio_device *vdev)
{
	struct transport *tr = transport_of(vdev);

	if (!tr)
		return;
	vdev->config = tr->orig;
	mutex_lock(&transports_mutex);
	list_del(&tr->list);
	mutex_unlock(&transports_mutex);
	kfree(tr);
}

static int transport_notify(struct notifier_block *nb, unsigned long action,
			    void *data)
{
	struct virtio_device *vdev = dev_to_virtio(data);

	switch (action) {
	case BUS_NOTIFY_BIND_DRIVER:
		/* A device on mainline's pool does not keep the module. */
		if (dma_window_attached(vdev->dev.parent) &&
		    dma_window_virtio_confined(vdev))
			transport_take(vdev);
		break;
	case BUS_NOTIFY_DRIVER_NOT_BOUND:
	case BUS_NOTIFY_UNBOUND_DRIVER:
		transport_give_back(vdev);
		break;
	case BUS_NOTIFY_REMOVED_DEVICE:
		transport_forget(vdev);
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

/* Where transport_note_driver() puts a name. */
struct driver_name {
	char	*name;
	size_t	size;
};

static int transport_note_driver(struct device *child, void *data)
{
	struct driver_name *driver = data;
	int found = 0;

	device_lock(child);
	if (child->bus == transport_driver.driver.bus && child->driver) {
		strscpy(driver->name, child->driver->name, driver->size);
		found = 1;
	}
	device_unlock(child);
	return found;
}

/**
 * dma_window_transport_driver() - the driver of a transport's virtio device
 * @dev: the transport's device
 * @name: filled with the driver's name
 * @size: bytes at @name
 *
 * Context: may sleep.
 *
 * Return: whether there is one.
 */
bool dma_window_transport_driver(struct device *dev, char *name, size_t size)
{
	struct driver_name driver = { .name = name, .size = size };

	return device_for_each_child(dev, &driver, transport_note_driver);
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
	struct transport *tr, *next;

	bus_unregister_notifier(transport_driver.driver.bus, &transport_notifier);
	unregister_virtio_driver(&transport_driver);
	list_for_each_entry_safe(tr, next, &transports, list)
		kfree(tr);
}
