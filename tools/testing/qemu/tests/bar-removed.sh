#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The PCI device that has a window's memory is removed while the window is in use:
# its devices lose their drivers and are refused, others go on (I2). When it is
# back they work again.
#
# usage: bar-removed.sh PCI-DEVICE WINDOW DISK-TRANSPORT OTHER-TRANSPORT
# Both transports are of disks, the first in the window, the second in another one.

# shellcheck source=tools/testing/selftests/dma-window/lib.sh
. /tests/dma-window/lib.sh

[ $# -eq 4 ] || skip_all "usage: bar-removed.sh PCI-DEVICE WINDOW DISK-TRANSPORT OTHER-TRANSPORT"
bar=$1 window=$2 device=$3 other=$4
windows=/sys/kernel/debug/swiotlb

disk_of() { basename "$(echo "$(readlink -f "/sys/bus/pci/devices/$1")"/virtio*/block/*)"; }

read_all() { dd if="/dev/$(disk_of "$1")" of=/dev/null bs=64k iflag=direct 2>/dev/null; }

# Read on and on, until that fails.
reader() {
	while read_all "$device"; do
		echo >>/tmp/bar-rounds
	done
}

in_use() { [ "$(wc -l </tmp/bar-rounds)" -ge 3 ]; }

remove() {
	: >/tmp/bar-rounds
	reader &
	wait_for 20 in_use || return 1
	echo 1 >"/sys/bus/pci/devices/$bar/remove"
	wait $!
}

gone() { [ ! -e "$windows/$window" ] || { echo "$window is still there" && return 1; }; }

refused() {
	[ ! -e "/sys/bus/pci/devices/$device/driver" ] || { echo "$device has a driver" && return 1; }
	n=$(dmesg | grep -c "$device: bar:.*: its PCI device is gone: the device can do no DMA any more")
	[ "$n" -ge 1 ] || { echo "the log does not say so" && return 1; }
	! echo "$device" >/sys/bus/pci/drivers/virtio-pci/bind 2>/dev/null || ! read_all "$device" ||
		{ echo "$device works without its window" && return 1; }
}

back() {
	echo 1 >/sys/bus/pci/rescan
	wait_for 10 [ -e "/sys/bus/pci/devices/$bar/driver" ] || return 1
	[ ! -e "/sys/bus/pci/devices/$device/driver" ] ||
		echo "$device" >/sys/bus/pci/drivers/virtio-pci/unbind
	echo "$device" >/sys/bus/pci/drivers/virtio-pci/bind
	wait_for 10 [ -e "$windows/$window" ] || return 1
	read_all "$device"
}

ktap_print_header
ktap_set_plan 5
check "$bar is removed while $device reads" remove
check "the window is gone" gone
check "$device is refused" refused
check "$other goes on" read_all "$other"
check "both are back" back
ktap_finished
