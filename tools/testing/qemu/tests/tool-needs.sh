#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The window that a survey calls the minimum is one: with it the load runs without a
# failure, with half of it the window is full.
#
# usage: tool-needs.sh DEVICE ID RUNG...
#   DEVICE  a disk without a window; ID is the host's name of it
#   RUNG    KIB:WINDOW:DEVICE:ID of disks in windows of many sizes

# shellcheck source=tools/testing/selftests/dma-window/lib.sh
. /tests/dma-window/lib.sh
plain=$1 id=$2
shift 2
rungs=$*

# slow ID: requests stay in flight, so that as many are as the load has.
slow() {
	host qmp block_set_io_throttle "id=$1" bps=0 bps_rd=0 bps_wr=0 \
		"iops=$2" iops_rd=0 iops_wr=0 >/tmp/throttle || { cat /tmp/throttle && return 1; }
}

# load DISK: 8 readers of 500 KiB each.
load() { inflight "$1" 8 500 2; }

json() { grep -o "\"$1\":[0-9]*" /tmp/needs | head -n 1 | cut -d: -f2; }

surveyed() {
	slow "$id" 10 || return 1
	dma-window survey --json -d "$plain" -- inflight "$(block "$plain")" 8 500 2 >/tmp/needs || {
		cat /tmp/needs
		return 1
	}
	kib=$(($(json minimum) / 1024))
	echo "$kib" >/tmp/minimum
	at_least "bytes in flight" "$(json peak_bytes)" $((8 * 500 * 1024)) &&
		at_least minimum "$kib" 4096 && at_least "largest of the windows" 8192 "$kib" &&
		at_least "without room in half of it" "$(json half_without_room)" 1
}

# in_window KIB: run the load in the largest window of up to KIB; what came of it is in
# size, full and failed.
in_window() {
	best=''
	for r in $rungs; do
		[ "${r%%:*}" -gt "$1" ] || best=$r
	done
	IFS=: read -r size window device name <<-END
	$best
	END
	slow "$name" 10 || return 1
	full=$(win "$window" fail_full) failed=$(failures "$window")
	load "$(block "$device")" || return 1
	full=$(($(win "$window" fail_full) - full))
	failed=$(($(failures "$window") - failed - full))
	echo "$window of $size KiB: $full requests found no room, $failed failed" >>/tmp/said
}

minimum_is_enough() {
	minimum=$(cat /tmp/minimum)
	in_window "$minimum" || return 1
	equal "size of the window" "$size" "$minimum" &&
		equal fail_full "$full" 0 && equal "other failures" "$failed" 0
}

half_is_not() {
	in_window $(($(cat /tmp/minimum) / 2)) && at_least fail_full "$full" 1 &&
		equal "other failures" "$failed" 0
}

ktap_print_header
ktap_set_plan 3
check "survey finds a minimum" surveyed
ktap_print_msg "minimum: $(cat /tmp/minimum) KiB, for $(json peak_bytes) bytes in flight"
check "the load runs in the minimum" minimum_is_enough
check "half of the minimum is full" half_is_not
ktap_print_msg "$(cat /tmp/said)"
ktap_finished
