#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The windows that exist, and exactly the devices that are in each: none that
# names no region, not the bridge that names one for others, and none that is
# gone (I1, I6). And the line about each that the kernel prints at boot.
#
# usage: devices.sh WINDOW=DEVICE,DEVICE... ...

# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ $# -gt 0 ] || skip_all "no windows given: devices.sh WINDOW=DEVICE,..."

sorted() { sed 's/[, ]/\n/g' | sort | tr '\n' ' '; }

# boot_line WINDOW DEVICES: once, with place, size, and all the devices.
boot_line() {
	line=$(dmesg | sed -n "s/.*dma-window: $1: //p")
	equal "boot line" "${line%%, for *}" \
		"$(($(win "$1" size) / 1024)) KiB at $(win "$1" base)" &&
		equal "its devices" "$(echo "${line##*, for }" | sorted)" "$(echo "$2" | sorted)"
}

ktap_print_header
ktap_set_plan $(($# * 2 + 1))
windows=
for arg; do
	w=${arg%%=*}
	windows="$windows $w"
	# shellcheck disable=SC2153 # WINDOWS is set by lib.sh
	check "$w has ${arg#*=}" equal devices "$(sorted <"$WINDOWS/$w/devices")" \
		"$(echo "${arg#*=}" | sorted)"
	check "$w was announced" boot_line "$w" "${arg#*=}"
done
have=$(for d in "$WINDOWS"/*/maps; do basename "$(dirname "$d")"; done | sorted)
check "there are no other windows" equal windows "$have" "$(echo "${windows# }" | sorted)"
ktap_finished
