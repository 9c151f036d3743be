#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Virtqueues that copy back only as much as the device says it wrote: the buffers of
# these queues, and no others, are not zeroed when mapped (I3).
#
# usage: len-opt-in.sh KIND DEVICE WINDOW all|some|none [ID]
#   KIND     net, console, ...: for net, the control queue has to work, too
#   DEVICE   the transport
#   all...   of its buffers that the device is to write
#   ID       what the host calls the device

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -ge 4 ] || skip_all "no device given: len-opt-in.sh KIND DEVICE WINDOW all|some|none [ID]"
[ -d "$TRACING/events/dma_window" ] || skip_all "no tracepoints"
kind=$1 device=$2 window=$3 want=$4 id=${5:-}
MAC=02:00:00:00:12:34

# DMA_ATTR_WINDOW_NO_FILL, bit 30; below are the 14 bits of DMA_ATTR_WINDOW_FLOOR
from_device="$device addr=.* dir=from-device attrs="
no_fill="${from_device}0x[4-7].......\\ "

interface() { ls "$(virtio "$device")/net"; }

trace() {
	for e in map unmap sync; do
		echo "$1" >"$TRACING/events/dma_window/dma_window_$e/enable"
	done
}

# An interface has no buffers before it is up.
rebind() {
	bound "$device" && { unbind "$device" || return 1; }
	bind "$device" || return 1
	[ "$kind" != net ] || ip link set dev "$(interface)" up
}

opted_in() {
	maps=$(traced map "$from_device") aware=$(traced map "$no_fill")
	at_least "buffers" "$maps" 1 || return 1
	case $want in
	all) equal "of $maps buffers not zeroed" "$aware" "$maps" ;;
	none) equal "of $maps buffers not zeroed" "$aware" 0 ;;
	some)
		at_least "buffers not zeroed" "$aware" 1 &&
			at_least "buffers zeroed" $((maps - aware)) 1
		;;
	esac
}

# If a buffer was not zeroed, a sync copied its bytes, and the unmap copied none.
copied() {
	[ "$want" = all ] || return 0
	equal "bytes copied by unmap" "$(grep " dma_window_unmap: $from_device" "$TRACING/trace" |
		grep -vc 'copied=0$')" 0 &&
		equal "bytes copied" $(($(win "$window" bytes_out) - bytes0)) \
			"$(sed -n "s/.* dma_window_sync: $device .*copied=//p" "$TRACING/trace" |
			awk '{ n += $1 } END { print n + 0 }')"
}

# The filter in the host has the settings it was told: each command reported success,
# in the only byte that was copied for the command.
control() {
	if=$(interface) bytes=$(win "$window" bytes_out)
	ip link set dev "$if" promisc on &&
		ip link set dev "$if" down &&
		ip link set dev "$if" address $MAC &&
		ip link set dev "$if" up || return 1
	equal "the filter in the host" "$(host rx_filter "$id")" "promiscuous $MAC" || return 1
	commands=$(traced map "$device addr=.* size=1 dir=from-device")
	at_least "commands" "$commands" 2 &&
		at_least "bytes copied" $(($(win "$window" bytes_out) - bytes)) 2 &&
		equal "bytes copied in all" $(($(win "$window" bytes_out) - bytes0)) "$commands"
}

ktap_print_header
plan=3
[ -z "$id" ] || plan=4
ktap_set_plan $plan
bytes0=$(win "$window" bytes_out)
echo >"$TRACING/trace"
trace 1
check "the device is bound" rebind
[ -z "$id" ] || check "control queue" control
# Wait for buffers that a device uses by itself.
nap 200
trace 0
check "not zeroed: $want" opted_in
check "copied where it was told how much" copied
ktap_finished
