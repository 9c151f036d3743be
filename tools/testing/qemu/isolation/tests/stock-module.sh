#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# usage: stock-module.sh y|none
#
# The kernel is the distribution's own, and no virtio driver has touched a device yet; then
# dma-window is loaded as a distribution would, from an initramfs, with its parameters
# from the kernel's command line. "none" is the control: it is not.

# shellcheck source=/dev/null
. /tests/kselftest/ktap_helpers.sh
# shellcheck source=/dev/null
. /tests/qemu/isolation-lib.sh

# unused: does no device of /etc/stock have a driver that uses it?
unused() {
	while read -r _ device _; do
		for driver in "/sys/bus/pci/devices/$device"/virtio*/driver; do
			[ ! -e "$driver" ] || {
				ktap_print_msg "$device has $(readlink "$driver")"
				return 1
			}
		done
	done </etc/stock
}

ktap_print_header
ktap_set_plan 4

ktap_print_msg "$(cat /proc/version)"
ktap_test_result "the kernel is Debian's own, with no module of anybody else's" \
	grep -q ' (debian-kernel@lists.debian.org) .* 0$' - <<-END
	$(cat /proc/version) $(cat /proc/sys/kernel/tainted)
	END
ktap_test_result "the kernel has no window of its own" [ ! -e /sys/module/dma_window ]
ktap_test_result "no virtio driver has a device" unused
if [ "$1" = none ]; then
	ktap_print_msg "dma-window is not loaded"
	ktap_test_result "dma-window is not there" [ ! -e /sys/module/dma_window ]
else
	ktap_print_msg "loading dma-window: $(grep -o 'dma_window.map=[^ ]*' /proc/cmdline)"
	ktap_test_result "dma-window is loaded" modprobe dma-window
fi

ktap_finished
