#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A region that overlaps what EFI keeps is refused, with the kind and place of
# what is there, and what is there is not cleared (I2).
#
# usage: efi.sh KIND=DEVICE=ADDRESS=SIZE...
#   KIND  what EFI keeps in the region at ADDRESS that DEVICE, on virtio-mmio, names

# shellcheck source=tools/testing/selftests/dma-window/lib.sh
. /tests/dma-window/lib.sh

[ -d /sys/firmware/efi ] || skip_all "not booted by UEFI"

refused() {
	! bound "$device" || { echo "$device has a driver" && return 1; }
	said=$(dmesg | sed -n "s,.* $device: restricted-dma-region: /reserved-memory/window@${address#0x}: ,,p")
	equal reason "${said% at 0x*}" "overlaps memory that EFI keeps: $kind" || return 1
	at=${said##* }
	[ "$((at >= address && at < address + size))" = 1 ] || { echo "$said: not in it" && return 1; }
}

# Memory that EFI keeps is not all zero, at its beginning or in the region's last page.
kept() {
	bytes=$(host xp "$at" 0x200 && host xp $((address + size - 0x1000)) 0x200) || return 1
	[ -n "$(echo "$bytes" | tr -d '0\n')" ] || { echo "all is zero at $at" && return 1; }
}

ktap_print_header
ktap_set_plan $(($# * 2))
for arg; do
	IFS='=' read -r kind device address size <<-END
	$arg
	END
	check "$device: refused, EFI keeps $kind" refused
	at=$(dmesg | sed -n "s,.* $device: .*EFI keeps: .* at ,,p")
	check "$device: what EFI keeps at $at is still there" kept
done
ktap_finished
