#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A virtio device in a window that is full: nobody gets an error, nobody waits for
# ever, every byte is right (I5). Alone first, then with a disk that keeps the
# window full.
#
# usage: full.sh KIND DEVICE WINDOW ID DISK [PEER]
#   KIND, DEVICE, WINDOW, ID, PEER   as for virtio.sh; also 9p, fs, input, and those of data.sh
#   DISK                             transport of a disk in the same window

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=data.sh
. "$DIR/data.sh"

[ $# -ge 5 ] || skip_all "no device given: full.sh KIND DEVICE WINDOW ID DISK [PEER]"
have_host || skip_all "no \"host\" command: not in the project's test guest"
[ -e "$WINDOWS/$3" ] || ktap_exit_fail_msg "no window $3 here"
# shellcheck disable=SC2034 # for data.sh
kind=$1 device=$2 window=$3 id=$4 disk=$5 peer=${6:-}

# Write the disk and read it back until told to stop.
load() {
	rm -f /tmp/load.stop /tmp/load.bad
	while [ ! -e /tmp/load.stop ]; do
		"$DIR/blkio" "$(block "$disk")" direct 8 512 512 1 >/tmp/load.out 2>&1 || {
			cp /tmp/load.out /tmp/load.bad
			break
		}
	done &
	loader=$!
}

is_full() { [ "$(win "$window" fail_full)" -gt "$1" ]; }

under_load() {
	load
	rc=0
	# Three rounds, and more until the window was full often enough to tell.
	round=0
	while [ $round -lt 3 ] || { [ $round -lt 20 ] && ! is_full $((full0 + 99)); }; do
		round=$((round + 1))
		# The window is full again before each round.
		now=$(win "$window" fail_full)
		wait_for 10 is_full "$now" || rc=1
		[ $rc -ne 0 ] || "data_$kind" || rc=1
		[ $rc -eq 0 ] || { echo "round $round" && break; }
	done
	touch /tmp/load.stop
	wait $loader
	return $rc
}

disk_right() { [ ! -e /tmp/load.bad ] || { cat /tmp/load.bad && return 1; }; }

no_complaint() {
	! dmesg | tail -n "+$from" |
		grep -m 3 -E 'I/O error|timed out|Unexpected TXQ|failed add_buf|Cannot allocate'
}

ktap_print_header
ktap_set_plan 8
[ "$kind" != rng ] || find_rng || ktap_exit_fail_msg "$id: which generator is this?"
settled || ktap_exit_fail_msg "$id: not there for user space"
wait_for 10 block "$disk" || ktap_exit_fail_msg "$disk: no disk"
from=$(dmesg | wc -l)
failed0=$(failures "$window") full0=$(win "$window" fail_full)
floors0=$(win "$window" floor_maps)
check "$id and a disk are in $window" in_window "$device" "$window"
check "$id: data is right alone" "data_$kind"
check "$id: data is right while the window is full" under_load
full=$(($(win "$window" fail_full) - full0))
check "the disk's data is right" disk_right
check "the window was full" at_least fail_full $full 100
check "floors were used" at_least floor_maps $(($(win "$window" floor_maps) - floors0)) 10
check "nothing failed for another reason" equal failures \
	$(($(failures "$window") - failed0)) $full
check "no driver complains" no_complaint
ktap_finished
