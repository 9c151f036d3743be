#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# dma-window on live devices: each figure is compared with one that does not come
# from the events it was made of.
#
# usage: tool.sh looks BEHIND WINDOW SHOWN PLAIN HIDDEN RUNG RUNG-WINDOW
#   BEHIND  a disk behind the IOMMU, in WINDOW     SHOWN   another, without one
#   PLAIN   a disk that uses the DMA API           HIDDEN  another, that does not
#   RUNG    a disk in RUNG-WINDOW, without an IOMMU

# shellcheck source=tools/testing/selftests/dma-window/lib.sh
. /tests/dma-window/lib.sh
shift
behind=$1 window=$2 shown=$3 plain=$4 hidden=$5 rung=$6 rung_window=$7
OUT=/tmp/tool.out

# tool STATUS ARG...: the status has to be this one; what it says is in OUT.
tool() {
	want=$1
	shift
	rc=0
	dma-window "$@" >$OUT 2>&1 || rc=$?
	[ "$rc" -eq "$want" ] || {
		echo "dma-window $*: status $rc, should be $want"
		cat $OUT
		return 1
	}
}

says() { grep -qF -- "$1" $OUT || { echo "does not say \"$1\":" && cat $OUT && return 1; }; }

# json NAME: the first number of that name in OUT.
json() { grep -o "\"$1\":[0-9]*" $OUT | head -n 1 | cut -d: -f2; }

# Reads and sectors of a disk, so far.
reads() { awk '{ print $1 }' "/sys/block/${1##*/}/stat"; }
sectors() { awk '{ print $3 }' "/sys/block/${1##*/}/stat"; }

# surveyed DEVICE: read its disk while it is surveyed, and compare: each request has a
# header and a table for the device, and its data and a byte of status from it.
surveyed() {
	disk=$(block "$1") || return 1
	reads0=$(reads "$disk") sectors0=$(sectors "$disk")
	echo 3 >/proc/sys/vm/drop_caches
	tool 0 survey --json -d "$1" -- dd if="$disk" of=/dev/null bs=64k || return 1
	reads=$(($(reads "$disk") - reads0))
	at_least reads $reads 8 && equal requests "$(json requests)" $reads &&
		equal "bytes from the device" "$(json from_device_bytes)" \
			$((($(sectors "$disk") - sectors0) * 512 + reads)) &&
		equal "mappings for the device" "$(json to_device)" $((2 * reads)) &&
		equal lost "$(json lost)" 0 && equal unmaps "$(json unmaps)" "$(json maps)" &&
		equal "exact" "$(grep -c '"requests_exact":true' $OUT)" 1 &&
		at_least "cost of an event" "$(json record_ns)" 1
}

# The window's own counters say the same.
surveyed_window() {
	maps0=$(win "$2" maps) in0=$(win "$2" bytes_in) out0=$(win "$2" bytes_out)
	surveyed "$1" || return 1
	equal maps "$(json maps)" $(($(win "$2" maps) - maps0)) &&
		equal "copied in" "$(json copied_in)" $(($(win "$2" bytes_in) - in0)) &&
		equal "copied out" "$(json copied_out)" $(($(win "$2" bytes_out) - out0))
}

passed_by() {
	tool 3 survey -d "$hidden" -- dd if="$(block "$hidden")" of=/dev/null bs=64k &&
		says "$hidden mapped nothing: its back end does not offer VIRTIO_F_ACCESS_PLATFORM"
}

compared() {
	disk=$(block "$plain")
	tool 0 survey -d "$plain" --compare -- sh -c \
		"echo 3 >/proc/sys/vm/drop_caches; dd if=$disk of=/dev/null bs=64k" &&
		says "without recording" && says "window      minimum 1 MiB" && says "lost events: 0"
}

# Too small a buffer: events are lost, and it says how many.
lossy() {
	disk=$(block "$rung")
	tool 1 survey --json --buffer 64K -d "$rung" -- sh -c \
		"for i in 1 2 3 4 5 6 7 8; do echo 3 >/proc/sys/vm/drop_caches; dd if=$disk of=/dev/null bs=4k; done" &&
		at_least lost "$(json lost)" 1
}

status_right() {
	tool 0 status -i 0 "$rung_window" && says "$rung_window: 1 MiB at 0x${rung_window#*@}" &&
		says "virtio-blk" && says "failures         none" &&
		tool 0 status --json -i 0 "$window" && equal size "$(json size)" "$(win "$window" size)" &&
		equal maps "$(json maps)" "$(win "$window" maps)" &&
		tool 0 status --prometheus "$window" &&
		says "dma_window_size{window=\"$window\"} $(win "$window" size)"
}

# Nobody but root may read debugfs; who may not is told what there is besides.
not_for_all() {
	echo 'nobody:x:65534:65534::/:/bin/sh' >/etc/passwd
	for what in status survey; do
		rc=0
		start-stop-daemon -S -c nobody -x /bin/dma-window -- $what >$OUT 2>&1 || rc=$?
		equal "status of $what" $rc 3 || { cat $OUT && return 1; }
		case $what in
		status) says "only root may read" && says "$rung: names a region" || return 1 ;;
		survey) says "only root may trace" || return 1 ;;
		esac
	done
}

size_right() {
	tool 0 size -d "$rung_window" -- dd if="$(block "$rung")" of=/dev/null bs=64k &&
		says "minimum 1 MiB"
}

copybreak_set() {
	file=$(sysfs "$behind")/dma_window/copybreak
	tool 0 set copybreak "$behind" 4K && equal copybreak "$(cat "$file")" 4096 &&
		tool 0 set copybreak "$behind" all && equal copybreak "$(cat "$file")" 4294967295 &&
		tool 0 set copybreak "$behind" 64K && says "copybreak 65536, was 4294967295" &&
		tool 3 set copybreak "$rung" 4K && says "not behind an IOMMU" &&
		tool 4 set copybreak "$behind" 5G && equal copybreak "$(cat "$file")" 65536
}

events_right() {
	disk=$(block "$rung")
	maps0=$(win "$rung_window" maps)
	echo 3 >/proc/sys/vm/drop_caches
	tool 0 events -d "$rung" -- dd if="$disk" of=/dev/null bs=64k || return 1
	maps=$(($(win "$rung_window" maps) - maps0))
	at_least maps $maps 8 && equal "window map" "$(grep -c ' window map ' $OUT)" $maps &&
		equal "map" "$(grep -c "$rung *map " $OUT)" $maps
}

top_right() {
	disk=$(block "$rung")
	rm -f /tmp/top.stop
	while [ ! -e /tmp/top.stop ]; do
		echo 3 >/proc/sys/vm/drop_caches
		dd if="$disk" of=/dev/null bs=64k 2>/dev/null
	done &
	rc=0
	tool 0 top -e -b -n 2 -i 0.5 "$rung_window" || rc=1
	touch /tmp/top.stop
	wait
	[ $rc -eq 0 ] || return 1
	says "$rung_window" && says "  $rung" &&
		equal "lines that are too long" "$(awk 'length > 79' $OUT | wc -l)" 0
	# The device's line has a lifetime.
	grep -qE "^  $rung .*[0-9](us|ms) +[0-9.]+(us|ms)\$" $OUT || { cat $OUT && return 1; }
}

doctor_right() {
	tool 1 doctor && says "ok   kernel: has restricted DMA windows, built in" &&
		says "$shown (virtio-blk)" && says "$hidden (virtio-blk)" &&
		says "ok   log: no complaint" && says "ok   tracing"
}

nothing_left() { [ -z "$(ls $TRACING/instances)" ]; }

ktap_print_header
ktap_set_plan 15
check "survey of a disk without a window" surveyed "$plain"
check "survey of one that is behind an IOMMU" surveyed "$shown"
check "survey of a disk in a window" surveyed_window "$rung" "$rung_window"
check "survey of one behind an IOMMU" surveyed "$behind"
check "survey of a disk that passes the DMA API by" passed_by
check "survey says what it costs" compared
check "survey says that events were lost" lossy
check "status" status_right
check "status for others than root" not_for_all
check "size" size_right
check "set copybreak" copybreak_set
check "events" events_right
check "top" top_right
check "doctor" doctor_right
check "no instance of tracing is left" nothing_left
ktap_finished
