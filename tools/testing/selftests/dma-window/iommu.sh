#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A virtio device with a window behind an IOMMU: its data is right whatever is
# copied and whatever is mapped, copying takes no operation of the IOMMU, and
# unbinding leaves nothing behind (I1, I7).
#
# usage: iommu.sh KIND DEVICE WINDOW ID FEATURES [PEER]
# As for virtio.sh, which moves the data. No other device may be in WINDOW.

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -ge 5 ] || skip_all "no device given: iommu.sh KIND DEVICE WINDOW ID FEATURES [PEER]"
have_host || skip_all "no \"host\" command: not in the project's test guest"
kind=$1 device=$2 window=$3 id=$4 features=$5 peer=${6:-}

# of FILE: one figure of the device.
of() { cat "$WINDOWS/$window/$device/$1"; }
copied() { echo $(($(of bytes_in) + $(of bytes_out))); }
operations() { echo $(($(of iommu_maps) + $(of iommu_unmaps))); }
copybreak() { echo "$1" >"$(sysfs "$device")/dma_window/copybreak"; }

data() {
	"$DIR/virtio.sh" "$kind" "$device" none "$id" "$features" "$peer" >/tmp/data 2>&1 || {
		grep -v '^ok' /tmp/data
		return 1
	}
}

behind() {
	group=$(readlink -f "$(sysfs "$device")/iommu_group") || return 1
	case $(cat "$group/type") in
	DMA | DMA-FQ) ;;
	*) cat "$group/type" && return 1 ;;
	esac
}

# Data with a copybreak of BYTES, and what that costs.
with() {
	copybreak "$1" || return 1
	copied0=$(copied) operations0=$(operations) granules0=$(of granules)
	data
}

some_copied() {
	with "$default" && at_least "bytes copied" $(($(copied) - copied0)) 1024
}

all_copied() {
	with 1048576 || return 1
	# 2 MiB and more each way for disks; entropy comes in small pieces.
	case $kind in
	blk | scsi) at_least "bytes copied" $(($(copied) - copied0)) 4194304 ;;
	*) at_least "bytes copied" $(($(copied) - copied0)) 1024 ;;
	esac
	equal "IOMMU operations" $(($(operations) - operations0)) 0
}

# With a virtio-iommu all of the 4 MiB, in granules of 4 KiB. An SMMU cannot let the
# device write what it could not read as well: half of them, which are written to the
# disk, in granules of a page. With large pages, the ends of buffers are copied.
all_mapped() {
	with 0 || return 1
	case $kind in
	blk | scsi) ;;
	*) return 0 ;;
	esac
	# The size of a block of /proc is that of a page.
	page=$(stat -f -c %S /proc) parts=1
	[ "$page" -le 16384 ] || parts=2
	at_least "IOMMU operations" $(($(operations) - operations0)) $((64 / parts)) || return 1
	case $(readlink "$(sysfs "$device")/iommu") in
	*/virtio*) at_least "granules mapped" $(($(of granules) - granules0)) 1024 ;;
	*)
		at_least "granules mapped" $(($(of granules) - granules0)) \
			$((2097152 / page / parts)) &&
			at_least "bytes copied" $(($(copied) - copied0)) 2097152
		;;
	esac
}

leaves_nothing() {
	unbind "$device" || return 1
	equal "slots in use" "$(win "$window" io_tlb_used)" 0 &&
		equal "unmaps and frees" "$(win "$window" unmaps) $(win "$window" frees)" \
			"$(win "$window" maps) $(win "$window" allocs)"
}

again() {
	bind "$device" && wait_for 10 virtio "$device" || return 1
	case $kind in
	blk | scsi) wait_for 10 block "$device" || return 1 ;;
	esac
	data
}

ktap_print_header
ktap_set_plan 8
check "$id is in $window" in_window "$device" "$window"
check "$id is behind an IOMMU, in a domain for DMA" behind
default=$(cat "$(sysfs "$device")/dma_window/copybreak")
failures0=$(failures "$window")
check "$id: data is right, some of it bounced" some_copied
check "$id: all of it bounced, by no operation of the IOMMU" all_copied
check "$id: data is right, what can be mapped is" all_mapped
copybreak "$default"
check "$id: unbinding leaves nothing behind" leaves_nothing
check "$id: data is right after binding again" again
check "$id: nothing failed" equal failures "$(failures "$window")" "$failures0"
ktap_finished
