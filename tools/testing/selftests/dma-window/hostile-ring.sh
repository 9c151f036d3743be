#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The host inverts the NEXT flag of every descriptor while requests are in
# flight, as a hostile device can: the driver follows its own copy, loses no
# descriptor and no mapping, and data stays right (I4).
#
# usage: hostile-ring.sh DEVICE WINDOW ID
# A disk with a split ring, VIRTIO_RING_F_INDIRECT_DESC not negotiated.

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -eq 3 ] || skip_all "no disk given: hostile-ring.sh DEVICE WINDOW ID"
have_host || skip_all "no \"host\" command: not in the project's test guest"
device=$1 window=$2 id=$3
dev=$(block "$device") || ktap_exit_fail_msg "$device has no disk"

throttle() {
	host qmp block_set_io_throttle "id=/machine/peripheral/$id/virtio-backend" \
		bps=0 bps_rd=0 bps_wr=0 "iops=$1" iops_rd=0 iops_wr=0 >/dev/null
}

in_flight() {
	read -r reads writes <"/sys/block/${dev##*/}/inflight"
	[ $((reads + writes)) -ge "$1" ]
}

# flip ROUNDS: while several requests wait in the host, turn the flags over.
flip() {
	round=0
	while [ $round -lt "$1" ]; do
		throttle 1 || return 1
		"$DIR/blkio" "$dev" direct 6 128 64 1 >/tmp/blkio 2>&1 &
		wait_for 10 in_flight 5 || return 1
		# QEMU has seen the last of them, too.
		usleep 100000
		host vq_flip "$id" "$(win "$window" base)" "$(win "$window" size)" || return 1
		throttle 0
		wait $! || { cat /tmp/blkio && return 1; }
		round=$((round + 1))
	done
}

ktap_print_header
ktap_set_plan 4
check "$id: no indirect descriptors" equal "bit 28" "$(cut -c29 "$(virtio "$device")/features")" 0
used=$(win "$window" io_tlb_used)
check "$id: flags inverted 8 times, data is right" flip 8
check "$id: no mapping lost" equal "slots in use" "$(win "$window" io_tlb_used)" "$used"
check "$id: the queue still has all its descriptors" "$DIR/blkio" "$dev" direct 16 128 128 2
ktap_finished
