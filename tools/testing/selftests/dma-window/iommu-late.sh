#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A device whose IOMMU group is still being set up is probed again later, and has
# its window then. Deferring is no refusal: nothing is logged, and the device has no
# driver and no DMA meanwhile (I2). The groups of other devices are left alone (I6).
#
# usage: iommu-late.sh DEVICE WINDOW OTHER
#   DEVICE  behind an IOMMU, in WINDOW, bound
#   OTHER   behind it as well, names no region, bound

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -eq 3 ] || skip_all "no devices given: iommu-late.sh DEVICE WINDOW OTHER"
device=$1 window=$2 other=$3
[ -e "$DIR/dma_window_defer.ko" ] || skip_all "dma_window_defer.ko was not built: no KDIR"
kprobes=/sys/kernel/tracing/kprobe_events
[ -e $kprobes ] || skip_all "no kprobes in this kernel"

silent() {
	! dmesg | grep -F " $device: " | grep -v 'DMA goes through' || return 1
}

deferred() {
	unbind "$device" && insmod "$DIR/dma_window_defer.ko" "device=$device" || return 1
	dmesg -c >/tmp/dmesg.old
	# A write to a driver's "bind" would not be tried again.
	echo "$device" >"$(sysfs "$device")/subsystem/drivers_probe"
	! bound "$device" || { echo "$device was bound" && return 1; }
	silent && grep -F "$device" /sys/kernel/debug/devices_deferred
}

# Bind any device: the kernel then probes deferred devices again.
resolved() {
	unbind "$other" && bind "$other" && wait_for 10 bound "$device" || return 1
	rmmod dma_window_defer
	in_window "$device" "$window" && silent
}

# calls DEVICE: how often a probe takes the device's IOMMU group.
calls() {
	unbind "$1" || return 1
	echo "p:late/use iommu_device_use_default_domain" >>$kprobes
	echo 1 >"$TRACING/events/late/use/enable"
	echo >"$TRACING/trace"
	bind "$1"
	grep -c "use: " "$TRACING/trace"
	echo 0 >"$TRACING/events/late/use/enable"
	echo "-:late/use" >>$kprobes
}

# The bus takes the group once, as without windows; windows do once more for theirs.
once() {
	equal "calls for $device" "$(calls "$device")" 2 &&
		equal "calls for $other" "$(calls "$other")" 1
}

ktap_print_header
ktap_set_plan 3
check "$device is deferred while its group is set up" deferred
check "$device has its window when it is probed again" resolved
check "the group of $other is only taken by its bus" once
ktap_finished
