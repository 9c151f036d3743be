#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A device whose region cannot be used is refused (I2): its probe failed, the
# log says why in one line that names device, property, region and reason, and
# a rebind fails in the same way. Other devices have tests of their own.
#
# usage: attach.sh TABLE
# A line of TABLE: KIND DEVICE MESSAGE. KIND is "transport" if the probe of
# DEVICE itself must have failed, "virtio" if only that of its virtio device.

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ -s "${1:-}" ] || skip_all "no table of refused devices given: attach.sh TABLE"

# How often the kernel said "DRIVER NAME: MESSAGE", as the whole line.
said() {
	dmesg | sed 's/^\[[^]]*\] //' | grep -cxF "$1: $2"
}

refused() {
	case $kind in
	transport)
		who="$(basename "$(default_driver "$device")") $device"
		where=$device
		;;
	virtio)
		where=$(basename "$(virtio "$device")") || return 1
		who=$where
		;;
	esac
	if [ "$kind" = virtio ]; then
		# The refusal is logged for the driver that the device would have had.
		who="$(dmesg | sed -n "s/.*\] \([a-z0-9_]* $where\): .*/\1/p" | tail -n 1)"
	fi
	! bound "$where" || { echo "$where has a driver" && return 1; }
	equal "times that the log says \"$who: $message\"" "$(said "$who" "$message")" "$1"
}

again() {
	case $kind in
	transport) drv=$(default_driver "$device") ;;
	virtio) drv=/sys/bus/virtio/drivers/${who%% *} ;;
	esac
	echo >"$TRACING/trace"
	! echo "$where" 2>/dev/null >"$drv/bind" || { echo "binding $where worked" && return 1; }
	[ "$kind" = virtio ] ||
		equal "events" "$(traced refuse "$device error=-[1-9]")" 1 || return 1
	refused 2
}

echo dma_window:dma_window_refuse >"$TRACING/set_event"
ktap_print_header
ktap_set_plan $(($(wc -l <"$1") * 2))
while read -r kind device message; do
	check "$device: $message" refused 1 || :
	# check() runs refused() in a subshell: call it here to set $who for again().
	refused 1 >/dev/null
	check "$device: the same at a rebind" again
done <"$1"
echo >"$TRACING/set_event"
ktap_finished
