#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# usage: isolation-iommu.sh NAME=DEVICE...
#
# The same I/O on each disk, small and large, while the host keeps a record of
# what the guest asks its IOMMU for. With two large writes in flight, from memory
# that has a known string around the data, the host searches what the device
# can read. The pages of one follow each other, so that they are mapped together;
# those of the other are where they happen to be.

# shellcheck source=/dev/null
. /tests/kselftest/ktap_helpers.sh
# shellcheck source=/dev/null
. /tests/qemu/isolation-lib.sh

C=/tests/qemu/isolation-canary
SMALL=4096
LARGE=1048576
HOW="beside contiguous"
# Bytes that the small writes and the large ones cover.
SMALL_BYTES=1048576
LARGE_BYTES=2097152

disk() {
	set -- "/sys/bus/pci/devices/$1"/virtio*/block/*
	echo "/dev/${1##*/}"
}

# throttle NAME N: 512 bytes N times a second; 0 is no limit.
throttle() {
	host qmp block_set_io_throttle "id=/machine/peripheral/$1/virtio-backend" \
		bps=0 bps_rd=0 bps_wr=0 "iops=$2" iops_rd=0 iops_wr=0 \
		"iops_size=$(($2 * 512))" >/dev/null
}

# settled DISK: wait until writes of both are in flight and no more come.
settled() {
	writes=0
	for _ in $(seq 50); do
		last=$writes
		nap 200
		read -r _ writes <"/sys/block/${1##*/}/inflight"
		[ "$writes" -lt 2 ] || [ "$writes" -ne "$last" ] || return 0
	done
	return 1
}

small() {
	ktap_print_msg "$1: reading and writing, $SMALL bytes at a time"
	host cut "$1.small.begin"
	have=$(dd if="$2" bs=$SMALL iflag=direct 2>/dev/null | sha256sum | cut -d' ' -f1)
	dd if=/tmp/data of="$2" bs=$SMALL oflag=direct 2>/dev/null
	host cut "$1.small.end"
	ktap_test_result "$1: the guest reads what the host wrote, bit by bit" \
		[ "$have" = "$(host known "$1.to_guest.host")" ]
	want=$(sum /tmp/data)
	ktap_test_result "$1: the host reads what the guest wrote, bit by bit" \
		[ "$(host stored "$1" $SMALL_BYTES)" = "$want" ]
	host fact "$1.to_guest.guest=$have" "$1.to_host.guest=$want"
}

# write_each DISK: 1 MiB from each kind of memory, one after the other on the disk.
write_each() {
	at=0 pids=''
	for how in $HOW; do
		$C write "$1" "$how" $at $((LARGE / 1024)) $LARGE once &
		pids="$pids $!"
		at=$((at + LARGE / 1024))
	done
}

written() {
	rc=0
	for pid in $pids; do
		wait "$pid" || rc=1
	done
	return $rc
}

large() {
	ktap_print_msg "$1: reading and writing, $LARGE bytes at a time"
	host fact "$1.large.bytes=$LARGE_BYTES"
	host cut "$1.large.begin"
	write_each "$2"
	written
	ktap_test_result "$1: large buffers that share pages: all data is right" [ $? -eq 0 ]

	# Read something first, which uses up all that the throttled disk may do for a while.
	throttle "$1" 1
	dd if="$2" of=/dev/null bs=64k count=1 iflag=direct 2>/dev/null
	write_each "$2"
	settled "$2" && host search "$1" >/tmp/search
	ktap_test_result "$1: the host has searched, with writes in flight" [ $? -eq 0 ]
	host fact "$1.search.writes=$writes"
	throttle "$1" 0
	written
	ktap_test_result "$1: and the data of those is right" [ $? -eq 0 ]
	host cut "$1.large.end"
	ktap_test_result "$1: the host has what was written" host lines "$1" $LARGE_BYTES
}

ktap_print_header
ktap_set_plan $((6 * $#))

head -c $SMALL_BYTES /dev/urandom >/tmp/data
for d in "$@"; do
	name=${d%%=*} device=${d#*=}
	disk=$(disk "$device")
	small "$name" "$disk"
	# Set copybreak to 0, if there is one: any buffer that covers a page is mapped.
	copybreak=/sys/bus/pci/devices/$device/dma_window/copybreak
	[ ! -e "$copybreak" ] || echo 0 >"$copybreak"
	large "$name" "$disk"
done

ktap_finished
