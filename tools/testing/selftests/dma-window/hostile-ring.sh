#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The host inverts the NEXT flag of every descriptor while requests are in
# flight, as a hostile device can: the driver follows its own copy, loses no
# descriptor and no mapping, and data stays right (I4).
#
# The chains of a ring without the DMA API are followed in the same way: with
# "none" for the window the driver has to find their ends there, too (I6).
#
# usage: hostile-ring.sh DEVICE WINDOW ID
# A disk with a split ring, VIRTIO_RING_F_INDIRECT_DESC not negotiated. Two CPUs.

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -eq 3 ] || skip_all "no disk given: hostile-ring.sh DEVICE WINDOW ID"
have_host || skip_all "no \"host\" command: not in the project's test guest"
device=$1 window=$2 id=$3
dev=$(block "$device") || ktap_exit_fail_msg "$device has no disk"

# throttle BYTES: a second; 0 for no limit. With 1, no request but the first ends.
throttle() {
	host qmp block_set_io_throttle "id=/machine/peripheral/$id/virtio-backend" \
		"bps=$1" bps_rd=0 bps_wr=0 iops=0 iops_rd=0 iops_wr=0 >/dev/null
}

indirect() { equal "bit 28" "$(cut -c29 "$(virtio "$device")/features")" "$1"; }

in_flight() {
	read -r reads writes <"/sys/block/${dev##*/}/inflight"
	[ $((reads + writes)) -ge "$1" ]
}

# begin COMMAND...: in the background. A driver that has lost its place in a chain
# may keep a CPU for ever, with interrupts disabled: keep the watching CPU free.
begin() {
	rm -f /tmp/status
	(taskset 1 "$@"; echo $? >/tmp/status) >/tmp/output 2>&1 &
}

# finish SECONDS: the command's status. A process that waits for I/O cannot be ended.
finish() {
	wait_for "$1" [ -s /tmp/status ] >/dev/null || {
		cat /tmp/output
		echo "requests do not end"
		return 1
	}
	[ "$(cat /tmp/status)" -eq 0 ] || {
		cat /tmp/output
		return 1
	}
}

data() {
	begin "$DIR/blkio" "$dev" direct 16 128 128 2
	finish 20
}

# flip ROUNDS: while several requests wait in the host, turn the flags over.
flip() {
	round=0
	while [ $round -lt "$1" ]; do
		throttle 1 || return 1
		begin "$DIR/blkio" "$dev" direct 6 128 64 1
		wait_for 10 in_flight 5 || return 1
		host vq_flip "$id" "$(win "$window" base)" "$(win "$window" size)" || return 1
		throttle 0
		finish 20 || return 1
		round=$((round + 1))
	done
}

# Keep this shell and process 1, which have to go on, off the CPU of begin().
taskset -p 2 $$ >/dev/null
taskset -p 2 1 >/dev/null
trap 'taskset -p 3 1 >/dev/null' EXIT
ktap_print_header
if [ "$window" = none ]; then
	ktap_set_plan 2
	check "$id: no indirect descriptors" indirect 0
	check "$id: every chain ends without the DMA API, data is right" data
	ktap_finished
fi

ktap_set_plan 4
check "$id: no indirect descriptors" indirect 0
used=$(win "$window" io_tlb_used)
check "$id: flags inverted 8 times, data is right" flip 8
check "$id: no mapping lost" equal "slots in use" "$(win "$window" io_tlb_used)" "$used"
check "$id: the queue still has all its descriptors" data
ktap_finished
