#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Each device of a random tree is confined, refused with a word, or names no region
# (I1, I2, I6).
#
# usage: tree.sh TABLE
# A line of TABLE: DEVICE KIND, as trees.py writes it.

# shellcheck source=tools/testing/selftests/dma-window/lib.sh
. /tests/dma-window/lib.sh

dmesg >/tmp/log

# What trees.py calls the device.
ident() {
	case $1 in
	0000:00:*) printf 'pci%d' $((0x$(echo "$1" | cut -c9-10))) ;;
	*) printf 'mmio%d' $(((0x${1%%.*} - 0xa000000) / 0x200)) ;;
	esac
}

# window_of DEVICE: the one that it is in, if any.
window_of() {
	for w in "$WINDOWS"/*/devices; do
		[ -e "$w" ] || continue
		grep -qxF "$1" "$w" || continue
		w=${w%/devices}
		echo "${w##*/}"
		return 0
	done
	return 1
}

# drives DEVICE: does a driver use its virtio device?
drives() {
	bound "$1" || return 1
	v=$(virtio "$1" 2>/dev/null) && [ -e "$v/driver" ]
}

# said DEVICE: the kernel said something about it, or its virtio device, and a region.
said() {
	names=$1
	if v=$(virtio "$1" 2>/dev/null); then
		names="$names|${v##*/}"
	fi
	grep -qE "($names): .*(restricted-dma-region|memory-region|window|confined)" /tmp/log
}

verdict() {
	device=$1 kind=$2
	window=$(window_of "$device")
	if ! drives "$device"; then
		[ "$kind" != none ] || { echo "names no region, and has no driver" && return 1; }
		said "$device" || { echo "refused without a word" && return 1; }
		return 0
	fi
	case $kind in
	region)
		[ -n "$window" ] || { echo "names a region, and works without a window" && return 1; }
		;;
	none)
		[ -z "$window" ] || { echo "names no region, and is in $window" && return 1; }
		;;
	esac
	[ -n "$window" ] || return 0
	host vq_inside "$(ident "$device")" "$(win "$window" base)" "$(win "$window" size)"
}

ktap_print_header
ktap_set_plan $(($(wc -l <"$1") + 1))
inside=0 refused=0
while read -r device kind; do
	check "$device $kind" verdict "$device" "$kind"
	if window_of "$device" >/dev/null; then
		inside=$((inside + 1))
	elif ! drives "$device"; then
		refused=$((refused + 1))
	fi
done <"$1"
ktap_test_pass "$inside confined, $refused refused"
ktap_finished
