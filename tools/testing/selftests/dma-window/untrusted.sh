#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# With dma_window.untrusted=SIZE, a PCI device that firmware calls untrusted and
# that names no region has a window of its own: buffers that share granules with
# others go through it (I1, I3), and when the device goes, so does the window (I7).
#
# usage: untrusted.sh DISK OTHER TRUSTED
# Two untrusted PCI devices with a disk, in IOMMU groups of their own, and one
# that is trusted.

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -eq 3 ] || skip_all "no devices given: untrusted.sh DISK OTHER TRUSTED"
disk=$1 other=$2 trusted=$3

# The window of a device.
window() {
	for w in "$WINDOWS"/untrusted-*; do
		[ "$(cat "$w/devices" 2>/dev/null)" != "$1" ] || { echo "${w##*/}" && return 0; }
	done
	echo "$1 has no window"
	return 1
}

own_windows() {
	a=$(window "$disk") || { echo "$a" && return 1; }
	b=$(window "$other") || { echo "$b" && return 1; }
	[ "$a" != "$b" ] || { echo "both are in $a" && return 1; }
	equal "bytes" "$(win "$a" size) $(win "$b" size)" "$1 $1"
}

trusted_has_none() { ! w=$(window "$trusted") || { echo "$trusted is in $w" && return 1; }; }

# Reads and writes of all sizes, checked; in place and bounced.
moves() {
	w=$(window "$disk") || return 1
	maps=$(win "$w" "$disk/iommu_maps") granules=$(win "$w" "$disk/granules")
	in=$(win "$w" "$disk/bytes_in") out=$(win "$w" "$disk/bytes_out")
	dev=$(block "$disk") || return 1
	"$DIR/blkio" "$dev" direct 1 512 256 1 || return 1
	# Whole pages, which virtio maps one by one unless they are contiguous; for
	# the device to read: not every IOMMU lets buffers to be written be in place.
	echo 0 >"$(sysfs "$disk")/dma_window/copybreak"
	dd if=/dev/urandom of="$dev" bs=256k count=4 conv=fsync 2>/dev/null || return 1
	echo 16384 >"$(sysfs "$disk")/dma_window/copybreak"
	at_least "calls to map" $(($(win "$w" "$disk/iommu_maps") - maps)) 1 &&
		at_least "granules in place" $(($(win "$w" "$disk/granules") - granules)) 256 &&
		at_least "bytes copied in" $(($(win "$w" "$disk/bytes_in") - in)) 4096 &&
		at_least "bytes copied out" $(($(win "$w" "$disk/bytes_out") - out)) 512 &&
		equal "calls to map, and unmap" "$(win "$w" "$disk/iommu_maps")" \
			"$(win "$w" "$disk/iommu_unmaps")"
}

gone() { [ ! -e "/sys/bus/pci/devices/$disk" ]; }
no_window() { ! window "$disk" >/dev/null; }

removed() {
	echo 1 >"/sys/bus/pci/devices/$disk/remove"
	wait_for 5 gone && wait_for 5 no_window
}

# If the device is found again, it gets a new window.
again() {
	echo 1 >/sys/bus/pci/rescan
	wait_for 20 block "$disk" && own_windows "$1" && moves
}

# A window of 4 MiB per round, if never freed, would show in MemAvailable.
no_leak() {
	free=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)
	i=0
	while [ $i -lt "$rounds" ]; do
		removed && again "$1" || return 1
		i=$((i + 1))
	done
	lost=$((free - $(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)))
	[ $lost -lt $((rounds * 1000)) ] || { echo "$lost KiB less than before" && return 1; }
}

# Make the IOMMU fail to unmap, once, whoever lets go of the device last.
fail_unmap() {
	[ -e $FAIL/dma_window_unmap_invalidate ] ||
		echo dma_window_unmap_invalidate >$FAIL/inject || return 1
	echo 0xfffffffffffffff4 >$FAIL/dma_window_unmap_invalidate/retval &&
		echo 0 >$FAIL/verbose && echo N >$FAIL/task-filter && echo 1 >$FAIL/interval &&
		echo 100 >$FAIL/probability && echo 0 >$FAIL/space && echo 1 >$FAIL/times
}

# Three windows of 4 MiB stay where they are: the device may still reach them.
never_freed() {
	free=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)
	for i in 1 2 3; do
		fail_unmap || return 1
		removed || return 1
		equal "calls left to fail" "$(cat $FAIL/times)" 0 && again "$1" || return 1
		equal "messages" "$(dmesg | grep -c 'go of it: never given to others')" "$i" ||
			return 1
	done
	at_least "KiB less than before" \
		$((free - $(awk '/^MemAvailable/ { print $2 }' /proc/meminfo))) 9000
}

bound_again() { unbind "$disk" && bind "$disk" && wait_for 10 block "$disk" && moves; }

FAIL=/sys/kernel/debug/fail_function
# A kernel that can fail on request is slow.
rounds=20
[ ! -e $FAIL ] || rounds=5

ktap_print_header
ktap_set_plan 7
check "each untrusted device has a window of its own" own_windows 4194304
check "the trusted one has none" trusted_has_none
check "data is right, in place and bounced" moves
check "and after unbinding and binding" bound_again
check "removed and found again many times, its window comes and goes" no_leak 4194304
if [ -e $FAIL ]; then
	check "a window that the IOMMU does not let go of is not freed" never_freed 4194304
else
	ktap_test_skip "a window that the IOMMU does not let go of: no CONFIG_FAIL_FUNCTION"
fi
check "nothing failed" equal failures "$(failures "$(window "$disk")")" 0
ktap_finished
