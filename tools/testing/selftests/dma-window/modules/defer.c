// SPDX-License-Identifier: GPL-2.0-only
/*
 * For tests: make the IOMMU group of a device look as if it were still being set
 * up, for the next few probes. That is a race between the probes of an IOMMU and
 * of a device, too short to be met on purpose.
 *
 * iommu_device_use_default_domain() returns -EPROBE_DEFER at once, and has done
 * nothing. Made for arm64, where a function that was not entered can be left so.
 */

#include <linux/atomic.h>
#include <linux/device.h>
#include <linux/errno.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include <linux/string.h>

static char *device = "";
module_param(device, charp, 0400);
MODULE_PARM_DESC(device, "name of the device");

static int times = 1;
module_param(times, int, 0400);
MODULE_PARM_DESC(times, "how many calls are to fail");

static atomic_t left;

static int defer(struct kprobe *probe, struct pt_regs *regs)
{
	struct device *dev = (struct device *)regs_get_kernel_argument(regs, 0);

	if (strcmp(dev_name(dev), device) || atomic_dec_if_positive(&left) < 0)
		return 0;
	regs_set_return_value(regs, -EPROBE_DEFER);
	instruction_pointer_set(regs, procedure_link_pointer(regs));
	return 1;
}

static struct kprobe probe = {
	.symbol_name	= "iommu_device_use_default_domain",
	.pre_handler	= defer,
};

static int __init defer_init(void)
{
	atomic_set(&left, times);
	return register_kprobe(&probe);
}
module_init(defer_init);

static void __exit defer_exit(void)
{
	unregister_kprobe(&probe);
}
module_exit(defer_exit);

MODULE_DESCRIPTION("Defer the probe of a device behind an IOMMU");
MODULE_LICENSE("GPL");
