#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A virtio disk on mainline's restricted-dma-pool is confined to it although its
# backend does not offer VIRTIO_F_ACCESS_PLATFORM, and its data is right (I1).
#
# usage: mainline-pool.sh DEVICE POOL ID BASE SIZE

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -eq 5 ] || skip_all "no device given: mainline-pool.sh DEVICE POOL ID BASE SIZE"
have_host || skip_all "no \"host\" command: not in the project's test guest"
device=$1 id=$3 base=$4 size=$5
# The pool's debugfs folder is at one of two paths, by when the device was probed.
for pool in /sys/kernel/debug/$2 $WINDOWS/$2; do
	[ ! -e "$pool/io_tlb_used" ] || break
done

mainline() {
	[ -e "$pool/io_tlb_used" ] || { echo "no pool $2 of mainline's" && return 1; }
	[ ! -e "$pool/maps" ] || { echo "$pool is a window" && return 1; }
}

no_platform_bit() {
	equal "bit 33" "$(cut -c34 "$(virtio "$device")/features")" 0
}

io() {
	dev=$(block "$device") || return 1
	echo swiotlb:swiotlb_bounced >/sys/kernel/tracing/set_event
	echo >/sys/kernel/tracing/trace
	"$DIR/blkio" "$dev" direct 2 512 128 1
	rc=$?
	echo >/sys/kernel/tracing/set_event
	return $rc
}

ktap_print_header
ktap_set_plan 5
check "$id: mainline has the pool" mainline
check "$id: runs without VIRTIO_F_ACCESS_PLATFORM" no_platform_bit
check "$id: data is right" io
check "$id: it was bounced" at_least "bounces in the trace" \
	"$(grep -c "swiotlb_bounced.*dev_name: $device " /sys/kernel/tracing/trace)" 8
check "$id: no address outside the pool in its rings" host vq_inside "$id" "$base" "$size"
ktap_finished
