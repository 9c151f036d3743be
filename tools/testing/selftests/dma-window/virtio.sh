#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A virtio device works through its window: its data is right, all of it was
# bounced, the device finds no address outside the window in its rings (I1),
# nothing failed, and unbinding it leaves nothing behind (I7).
#
# usage: virtio.sh KIND DEVICE WINDOW ID FEATURES [PEER]
#   KIND      blk, scsi, rng, console or net
#   DEVICE    the transport: 0000:00:02.0, a000000.virtio_mmio
#   WINDOW    the window it must be in, or "none": I/O only (I6)
#   ID        what the host calls the device, and its disk's image
#   FEATURES  that must be negotiated, comma-separated, "no" before a name for
#             one that must not: packed, indirect, modern, platform
#   PEER      the device that the host connected a "net" to
# The host has to provide the devices and the actions used here.

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=data.sh
. "$DIR/data.sh"

[ $# -ge 5 ] || skip_all "no device given: virtio.sh KIND DEVICE WINDOW ID FEATURES [PEER]"
have_host || skip_all "no \"host\" command: not in the project's test guest"
# shellcheck disable=SC2034 # peer: for data.sh
kind=$1 device=$2 window=$3 id=$4 features=$5 peer=${6:-}
KIB=1024

# KiB that at least go to the device, and come from it, when data is moved.
case $kind in
blk | scsi) in_kib=3072 out_kib=5120 ;;
rng) in_kib=0 out_kib=4 ;;
console) in_kib=256 out_kib=256 ;;
net) in_kib=120 out_kib=120 ;;
*) skip_all "no such kind of device: $kind" ;;
esac

# --- What is asked of the window

# Requests that the backend has taken and not yet completed.
throttle() {
	case $kind,$device in
	scsi,*) disk=$id-disk ;;
	blk,*.virtio_mmio) disk=$id ;;
	blk,*) disk=/machine/peripheral/$id/virtio-backend ;;
	esac
	# By the size: a 64 KiB request takes 16 s and not one, which a busy host
	# may need to have a look.
	host qmp block_set_io_throttle "id=$disk" bps=0 bps_rd=0 bps_wr=0 \
		"iops=$1" iops_rd=0 iops_wr=0 "iops_size=$(($1 * 4096))"
}

# reading DISK N: at least N reads are in flight.
reading() {
	read -r reads _ <"/sys/block/$1/inflight"
	[ "$reads" -ge "$2" ]
}

rings() {
	base=$(win "$window" base) size=$(win "$window" size)
	case $kind in
	blk | scsi)
		dev=$(block "$device") || return 1
		throttle 1 >/tmp/throttle || { cat /tmp/throttle && return 1; }
		echo 3 >/proc/sys/vm/drop_caches
		for i in 1 2 3 4 5 6; do
			dd if="$dev" of=/dev/null bs=64k count=1 skip=$((i * 4)) \
				iflag=direct 2>/dev/null &
		done
		wait_for 5 reading "${dev##*/}" 4
		# Wait: requests are counted before they are in the queue.
		nap 100
		host vq_inside "$id" "$base" "$size" >/tmp/rings
		rc=$?
		throttle 0 >/dev/null
		wait
		;;
	*)
		host vq_inside "$id" "$base" "$size" >/tmp/rings
		rc=$?
		;;
	esac
	cat /tmp/rings
	[ $rc -eq 0 ] || return 1
	# "N addresses, N in flight, N in indirect tables, N outside"
	read -r addresses _ inflight _ _ indirect _ </tmp/rings
	at_least "addresses in the rings" "$addresses" 4 || return 1
	case $kind,$features in
	blk,*noindirect* | scsi,*noindirect*) at_least "in flight" "$inflight" 12 ;;
	blk,* | scsi,*)
		at_least "in flight" "$inflight" 4 &&
			at_least "in indirect tables" "$indirect" 12
		;;
	net,*) at_least "in flight" "$inflight" 16 ;;
	esac
}

# Counted, and by swiotlb's own tracepoint, too.
bounced() {
	events=$(grep -c "swiotlb_bounced.*dev_name: $device " "$TRACING/trace")
	at_least "events" "$events" 1 || return 1
	at_least "maps" $(($(win "$window" maps) - maps0)) 1 &&
		at_least "KiB copied in" $((($(win "$window" bytes_in) - in0) / KIB)) "$in_kib" &&
		at_least "KiB copied out" $((($(win "$window" bytes_out) - out0) / KIB)) "$out_kib"
}

negotiated() {
	bits=$(cat "$(virtio "$device")/features") || return 1
	for f in $(echo "$features" | tr , ' '); do
		want=1
		case $f in no*) want=0 ;; esac
		case $f in
		*indirect) bit=28 ;;
		*modern) bit=32 ;;
		*platform) bit=33 ;;
		*packed) bit=34 ;;
		*) echo "no such feature: $f" && return 1 ;;
		esac
		equal "$f" "$(echo "$bits" | cut -c$((bit + 1)))" $want || return 1
	done
}

# Slots in use after unbinding are the same each time, and none if no other device
# is in the window.
leaks() {
	unbind "$device" || return 1
	left=$(win "$window" io_tlb_used)
	if [ "$(wc -l <"$WINDOWS/$window/devices")" -eq 1 ]; then
		equal "slots in use without the device" "$left" 0 &&
			equal "maps and unmaps" "$(win "$window" maps)" "$(win "$window" unmaps)" &&
			equal "frees" "$(win "$window" frees)" "$(win "$window" allocs)" &&
			equal "largest free run" "$(win "$window" largest_free)" \
				"$(win "$window" size)" ||
			return 1
	fi
	bind "$device" && settled && "data_$kind" && unbind "$device" || return 1
	equal "slots in use after another round" "$(win "$window" io_tlb_used)" "$left" || return 1
	bind "$device"
}

ktap_print_header
if [ "$window" = none ]; then
	settled
	ktap_set_plan 2
	check "$id negotiated $features" negotiated
	check "$id: data is right without a window" "data_$kind"
	ktap_finished
fi

ktap_set_plan 8
[ "$kind" != rng ] || find_rng || ktap_exit_fail_msg "$id: which generator is this?"
settled || ktap_exit_fail_msg "$id: not there for user space"
check "$id is in $window" in_window "$device" "$window"
check "$id negotiated $features" negotiated
maps0=$(win "$window" maps) in0=$(win "$window" bytes_in) out0=$(win "$window" bytes_out)
errors0=$(errors "$window" "$kind")
echo swiotlb:swiotlb_bounced >"$TRACING/set_event"
echo >"$TRACING/trace"
check "$id: data is right" "data_$kind"
echo >"$TRACING/set_event"
check "$id: all of it was bounced" bounced
check "$id: no address outside $window in its rings" rings
check "$id: unbinding leaves nothing behind" leaks
settled
check "$id: data is right after binding again" "data_$kind"
check "$id: nothing failed" equal failures "$(errors "$window" "$kind")" "$errors0"
ktap_finished
